// SPDX-License-Identifier: GPL-2.0

//! The log of the durable queues: one for all of them, so that whoever waits for the disk waits
//! together.
//!
//! There are two files. One has it all; when it has grown the other is begun with what there is
//! then, and the first is emptied. See [`virgo_proto::queue::record`].
//!
//! Locking: the writer's lock is taken before that of the table of queues, and held while a message
//! gets its number, goes to the file, and goes into its queue, so that the file has them in order.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        lock::mutex::MutexGuard,
        Arc,
        Mutex, //
    }, //
};
use linux::{
    append::AppendFile,
    bytes::Fill,
    crypto::crc32c,
    deadline::wall, //
};
use virgo_proto::queue::record::{
    Found,
    Kind,
    Record,
    Scan, //
};

const PATHS: [&CStr; 2] = [
    c"/var/log/virgo_queue/messages.0",
    c"/var/log/virgo_queue/messages.1",
];

/// A file is not followed by the next before it has so many bytes.
const LEAST: u64 = 4 << 20;

/// The most that is read of a file.
const MOST: u64 = 1 << 30;

/// See the module.
#[pin_data]
pub(crate) struct Log {
    files: [AppendFile; 2],
    #[pin]
    writer: Mutex<Writer>,
    /// Held while the disk works.
    #[pin]
    syncing: Mutex<()>,
    /// All before this place is on disk.
    synced: Atomic<u64>,
}

/// Who writes.
pub(crate) struct Writer {
    /// The file that is written.
    active: usize,
    /// Its bytes.
    size: u64,
    /// Bytes after which the next one is begun.
    limit: u64,
    generation: u64,
    /// Bytes written since the module was loaded: places in the log.
    place: u64,
    /// The disk has failed, and nobody knows what is there.
    failed: bool,
}

/// What a file says when it is read.
pub(crate) struct Contents {
    pub(crate) bytes: KVVec<u8>,
    /// Bytes at its end that were being written when the machine stopped.
    pub(crate) torn: usize,
    /// Bytes that are damaged.
    pub(crate) damaged: usize,
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let (seconds, nanos) = wall();
    seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000)
}

fn read(file: &AppendFile) -> Result<(Contents, bool, u64)> {
    let size = file.size()?;
    if size > MOST {
        return Err(EFBIG);
    }
    let mut bytes = KVVec::new();
    bytes.put_zeros(size as usize, GFP_KERNEL)?;
    let filled = file.read_at(&mut bytes, 0)?;
    bytes.truncate(filled);
    let (mut whole, mut generation, mut torn, mut damaged) = (false, 0, 0, 0);
    let mut scan = Scan::new(&bytes, crc32c);
    let mut before = 0;
    while let Some(found) = scan.next() {
        match found {
            Found::Record(record) => match record.kind {
                Kind::Begin => generation = record.seq,
                Kind::Whole => whole = true,
                _ => (),
            },
            Found::Damaged(bytes) => damaged += bytes,
            Found::Torn => torn = scan.at() - before,
        }
        before = scan.at();
    }
    let contents = Contents {
        bytes,
        torn,
        damaged,
    };
    Ok((contents, whole, generation))
}

impl Log {
    /// Opens the files. Returns what the one says that counts. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] without the folder; those of files; [`ENOMEM`].
    pub(crate) fn open() -> Result<(Arc<Self>, Contents)> {
        let [first, second] = PATHS.map(AppendFile::open);
        let files = [first?, second?];
        let [(first, first_whole, first_generation), (second, second_whole, second_generation)] =
            [read(&files[0])?, read(&files[1])?];
        // One that is not whole counts only if the other says nothing.
        let rank =
            |contents: &Contents, whole, generation| (whole, generation, contents.bytes.len());
        let second_counts = rank(&second, second_whole, second_generation)
            > rank(&first, first_whole, first_generation);
        let (active, contents) = match second_counts {
            true => (1, second),
            false => (0, first),
        };
        let writer = Writer {
            active,
            size: (contents.bytes.len() - contents.torn) as u64,
            limit: 0,
            generation: first_generation.max(second_generation),
            place: 0,
            failed: false,
        };
        let log = Arc::pin_init(
            pin_init!(Self {
                files,
                writer <- kernel::new_mutex!(writer, "virgo_log"),
                syncing <- kernel::new_mutex!((), "virgo_log_sync"),
                synced: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        Ok((log, contents))
    }

    /// The right to write. May sleep.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    /// Writes a record. Returns the place to [commit](Self::commit). May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`] and other errors of files: nothing is written then. [`EIO`] after the disk has
    /// failed.
    pub(crate) fn append(&self, writer: &mut Writer, record: &Record<'_>) -> Result<u64> {
        if writer.failed {
            return Err(EIO);
        }
        let file = self.files.get(writer.active).ok_or(EIO)?;
        if let Err(e) = put(file, &mut writer.size, record) {
            // A part of it may be there.
            writer.failed |= file.truncate(writer.size).is_err();
            return Err(e);
        }
        writer.place += record.size() as u64;
        Ok(writer.place)
    }

    /// Returns when all up to `place` is on disk. May sleep.
    ///
    /// # Errors
    ///
    /// [`EIO`] if the disk has failed.
    pub(crate) fn commit(&self, place: u64) -> Result {
        if self.synced.load(Relaxed) >= place {
            return Ok(());
        }
        // Whoever comes while the disk works finds its own on disk after the next turn.
        let _syncing = self.syncing.lock();
        if self.synced.load(Relaxed) >= place {
            return Ok(());
        }
        let writer = self.writer.lock();
        let (active, upto, failed) = (writer.active, writer.place, writer.failed);
        drop(writer);
        // If the next file is begun meanwhile, that has brought all to disk itself.
        let synced = match failed {
            true => Err(EIO),
            false => self.files.get(active).ok_or(EIO)?.sync(),
        };
        if let Err(e) = synced {
            self.writer.lock().failed = true;
            pr_err!("durable queues: the disk has failed: {e:?}\n");
            return Err(EIO);
        }
        self.synced.store(upto, Relaxed);
        Ok(())
    }

    /// Whether the file should be followed by the next.
    pub(crate) fn is_long(&self, writer: &Writer) -> bool {
        writer.size >= writer.limit
    }

    /// Begins the next file with what `fill` writes: all that counts. May sleep.
    ///
    /// # Errors
    ///
    /// Those of files: then all goes on in the old one.
    pub(crate) fn begin_next(
        &self,
        writer: &mut Writer,
        fill: impl FnOnce(&mut dyn FnMut(&Record<'_>) -> Result) -> Result,
    ) -> Result {
        let old = self.files.get(writer.active).ok_or(EIO)?;
        let next = 1 - writer.active;
        let file = self.files.get(next).ok_or(EIO)?;
        let generation = writer.generation + 1;
        let mut size = 0;
        let write = || -> Result {
            file.truncate(0)?;
            let begin = Record {
                seq: generation,
                time: now(),
                ..Record::new(Kind::Begin)
            };
            put(file, &mut size, &begin)?;
            fill(&mut |record| put(file, &mut size, record))?;
            put(file, &mut size, &Record::new(Kind::Whole))?;
            file.sync()
        };
        // Not tried again for every message.
        if let Err(e) = write() {
            writer.limit = writer.size + LEAST;
            let _ = file.truncate(0);
            return Err(e);
        }
        (writer.active, writer.size, writer.generation) = (next, size, generation);
        writer.limit = LEAST.max(size.saturating_mul(2));
        writer.failed = false;
        self.synced.store(writer.place, Relaxed);
        // What stays there is older, and does not count.
        let _ = old.truncate(0);
        Ok(())
    }

    /// Message `seq` of queue `queue` is done. That it is gets to disk with the next message, or
    /// when the system writes. May sleep.
    pub(crate) fn done(&self, writer: &mut Writer, queue: &[u8], seq: u64) {
        let record = Record {
            seq,
            queue,
            ..Record::new(Kind::Done)
        };
        // Without it the message comes again after a restart.
        let _ = self.append(writer, &record);
    }
}

/// Writes a record at the end of a file of `size` bytes.
fn put(file: &AppendFile, size: &mut u64, record: &Record<'_>) -> Result {
    let mut bytes = KVVec::with_capacity(record.size(), GFP_KERNEL)?;
    record
        .write(crc32c, |part| bytes.extend_from_slice(part, GFP_KERNEL))
        .ok_or(EMSGSIZE)??;
    file.write_at(&bytes, *size)?;
    *size += bytes.len() as u64;
    Ok(())
}
