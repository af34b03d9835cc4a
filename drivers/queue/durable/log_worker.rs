// SPDX-License-Identifier: GPL-2.0

//! The work that reads and writes the files of the log.
//!
//! Only this task opens, reads and writes them, in a worker of the kernel: with the kernel's
//! credentials, without limits and signals of whoever uses a queue. A round writes what is pending,
//! brings it to disk if somebody waits for that, takes room for more, and begins the other file when
//! the present one has grown ([`virgo_proto::queue::rewrite`]). While that goes on, what is pending
//! is written between its steps.
//!
//! The task holds the table of queues, to write down what they have; the table holds the log, which
//! only knows how to wake this task. So the module drops the task first.

use crate::{
    disk::{
        kept,
        put,
        Disk,
        Retry,
        FOLDER_NAME,
        RETRY_MS, //
    },
    log::{
        self,
        Log,
        LogState,
        MARGIN, //
    },
    queues::Queues,
    recovery, //
};
use core::mem;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    bytes::Fill,
    crypto::crc32c,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_proto::queue::{
    record::{
        Record,
        RecordKind,
        FORMAT,
        HEAD, //
    },
    rewrite::{
        FileIndex,
        Step,
        PIECE, //
    }, //
};

/// A file is not followed by the next before it has so many bytes.
const ROTATE_MIN: u64 = 4 << 20;

/// Bytes of room that are taken at a time.
const ROOM: u64 = 1 << 20;

/// Bytes of a snapshot that are brought to disk at a time, so that who waits for the disk does not
/// wait for more of them.
const SYNCED_AT_ONCE: u64 = 1 << 20;

/// See the module.
#[pin_data]
pub(crate) struct LogWorker {
    pub(crate) queues: Arc<Queues>,
    pub(crate) log: Arc<Log>,
    max_bytes: u64,
    /// Only the task itself uses it.
    #[pin]
    disk: Mutex<Option<Disk>>,
}

/// Writes records of a snapshot to the next file.
struct Snapshot<'a> {
    worker: &'a LogWorker,
    disk: &'a mut Disk,
    file: FileIndex,
    bytes: KVVec<u8>,
    /// Bytes that were written since the file was brought to disk.
    unsynced: u64,
}

impl Snapshot<'_> {
    fn put(&mut self, record: &Record<'_>) -> Result {
        self.bytes.reserve(record.size(), GFP_KERNEL)?;
        let (bytes, cookie) = (&mut self.bytes, self.disk.cookie);
        record
            .write(cookie, crc32c, |part| bytes.put_bytes(part, GFP_KERNEL))
            .ok_or(EMSGSIZE)??;
        match self.bytes.len() as u64 >= PIECE {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn write(&mut self) -> Result {
        let (at, len) = (self.disk.files.snapshot_at(), self.bytes.len() as u64);
        if at + len > self.disk.max_bytes {
            return Err(ENOSPC);
        }
        self.disk.handle(self.file)?.write_at(&self.bytes, at)?;
        self.disk.files.wrote_snapshot(len);
        self.bytes.clear();
        self.unsynced += len;
        if self.unsynced >= SYNCED_AT_ONCE {
            self.disk.handle(self.file)?.sync()?;
            self.unsynced = 0;
        }
        // Others wait meanwhile: for the disk, and for room.
        self.worker.flush(self.disk)?;
        if self.worker.extend(self.disk).is_ok() {
            self.worker.log.end_round();
        }
        Ok(())
    }
}

impl LogWorker {
    pub(crate) fn new(
        queues: Arc<Queues>,
        log: Arc<Log>,
        max_bytes: u64,
    ) -> Result<Arc<Task<LogWorker>>> {
        let work = queues.work.clone();
        let worker = pin_init!(Self {
            queues,
            log,
            max_bytes,
            disk <- kernel::new_mutex!(None, "virgo_log_disk"),
        });
        Arc::pin_init(linux::new_task!(work, worker, "virgo_log"), GFP_KERNEL)
    }

    /// Opens the files, and makes the queues that they have.
    fn open(&self) -> Option<Disk> {
        let opened = recovery::open(&self.queues, &self.log, self.max_bytes);
        let (state, disk) = match opened {
            Ok((disk, true)) => (LogState::Ready, Some(disk)),
            // Begun before anything is appended, or begun anew if it is of another format.
            Ok((disk, false)) => (LogState::Failed(EAGAIN), Some(disk)),
            Err((e, reason)) => {
                pr_warn!("no durable queues: {FOLDER_NAME}: {reason}: {e:?}\n");
                (LogState::Unusable(e, reason), None)
            }
        };
        let mut numbers = self.log.numbers();
        numbers.kept = kept();
        numbers.max_bytes = self.max_bytes;
        drop(numbers);
        let mut writer = self.log.lock();
        writer.state = state;
        if let Some(disk) = &disk {
            writer.cookie = disk.cookie;
        }
        drop(writer);
        disk
    }

    /// Writes what is pending, and brings it to disk if somebody waits for that.
    ///
    /// # Errors
    ///
    /// The log has failed then; whoever waits is told.
    fn flush(&self, disk: &mut Disk) -> Result {
        if !disk.files.may_append() {
            return Ok(());
        }
        let mut writer = self.log.lock();
        if !matches!(writer.state, LogState::Ready) {
            // What was lost must not count as being on disk.
            return Ok(());
        }
        let (upto, sync_to) = (writer.lsn, writer.sync_to);
        mem::swap(&mut writer.pending, &mut disk.spare);
        drop(writer);
        self.write(disk, upto, sync_to)
            .inspect_err(|e| self.fail(disk, *e))
    }

    fn write(&self, disk: &mut Disk, upto: u64, sync_to: u64) -> Result {
        if !disk.spare.is_empty() {
            let file = disk.handle(disk.files.active())?;
            file.write_at(&disk.spare, disk.files.size())?;
            disk.files.appended(disk.spare.len() as u64);
            disk.spare.clear();
        }
        disk.written = upto;
        if !self.log.is_synced(sync_to) {
            disk.handle(disk.files.active())?.sync()?;
            self.log.set_synced(upto);
        }
        Ok(())
    }

    /// The disk has failed. Nothing more is accepted, and whoever waits is told.
    fn fail(&self, disk: &mut Disk, e: Error) {
        pr_err!("durable queues: the disk has failed, and is tried again: {e:?}\n");
        disk.spare.clear();
        disk.retry = Retry::new();
        disk.retry.later();
        // A part of what was to be written may be there. It counts as torn or damaged if it stays.
        if let Ok(file) = disk.handle(disk.files.active()) {
            let _ = file.truncate(disk.files.size());
        }
        self.log.numbers().failures += 1;
        let mut writer = self.log.lock();
        writer.state = LogState::Failed(e);
        writer.pending.clear();
        (writer.room, writer.asked) = (0, 0);
        self.log.set_lost(writer.lsn);
        drop(writer);
        self.log.tell_lost();
    }

    /// Whether the disk has failed and not worked since.
    fn has_failed(&self) -> bool {
        matches!(self.log.lock().state, LogState::Failed(_))
    }

    /// Takes room for what somebody wants to append. If there is none the log is written anew, which
    /// may make some; whoever waits is told.
    fn make_room(&self, disk: &mut Disk) {
        let mut made = self.extend(disk);
        // Perhaps the disk is not full of what still counts.
        if made.is_err() && disk.files.size() > disk.base && disk.retry.at.passed() {
            match self.rewrite(disk) {
                Ok(()) => made = self.extend(disk),
                Err(_) => disk.retry.later(),
            }
        }
        if let Err(e) = made {
            self.log.lock().refuse(e);
        }
    }

    /// Takes room for what somebody wants to append.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`] and other errors of files: nobody is told.
    fn extend(&self, disk: &mut Disk) -> Result {
        let writer = self.log.lock();
        let (asked, pending) = (writer.asked, writer.pending.len() as u64);
        drop(writer);
        if asked == 0 {
            return Ok(());
        }
        self.reserve(disk, pending + asked)?;
        self.set_room(disk, &mut self.log.lock());
        Ok(())
    }

    /// Takes room for `bytes` more bytes of the active file, and some beyond.
    fn reserve(&self, disk: &mut Disk, bytes: u64) -> Result {
        let (size, max) = (disk.files.size(), disk.max_bytes);
        let need = size.saturating_add(bytes);
        if need <= disk.reserved {
            return Ok(());
        }
        if need > max {
            return Err(ENOSPC);
        }
        let file = disk.handle(disk.files.active())?;
        let from = disk.reserved.max(size);
        let more = need.saturating_add(ROOM).min(max);
        let reserved = match file.reserve(from, more - from) {
            Ok(()) => more,
            // The file system finds out when it writes.
            Err(EOPNOTSUPP) => max,
            Err(_) => {
                file.reserve(from, need - from)?;
                need
            }
        };
        disk.reserved = reserved;
        Ok(())
    }

    /// Tells how much may be appended.
    fn set_room(&self, disk: &Disk, writer: &mut log::LogWriter) {
        let used = disk.files.size() + writer.pending.len() as u64;
        writer.grant(disk.reserved.saturating_sub(used));
    }

    /// Begins the other file with what the queues have, which is the active one then.
    ///
    /// # Errors
    ///
    /// Those of files, [`ENOMEM`]: all goes on as it was.
    fn rewrite(&self, disk: &mut Disk) -> Result {
        let mut writer = self.log.lock();
        writer.stale = false;
        let failed = matches!(writer.state, LogState::Failed(_));
        if failed {
            // The queues have it.
            writer.pending.clear();
        }
        drop(writer);
        disk.files.begin();
        let result = self.take_steps(disk);
        if let Err(e) = result {
            let stuck = !disk.files.may_append();
            disk.files.give_up();
            self.log.lock().stale = true;
            let next = 1usize.saturating_sub(disk.files.active());
            if !disk.keep.get(next).copied().unwrap_or(true) {
                // Gives the room back.
                let _ = disk.handle(next).and_then(|file| file.truncate(0));
            }
            disk.limit = disk.files.size() + ROTATE_MIN;
            if !failed && disk.retry.ms == RETRY_MS.0 {
                pr_warn!("durable queues: the log goes on as it is: {e:?}\n");
            }
            if stuck && !failed {
                self.fail(disk, e);
            }
        }
        result
    }

    fn take_steps(&self, disk: &mut Disk) -> Result {
        loop {
            let step = disk.files.step();
            match step {
                Step::Nothing => return Ok(()),
                Step::Clear(file) => {
                    self.empty(disk, file)?;
                    disk.handle(file)?.sync()?;
                }
                Step::Snapshot(file) => self.snapshot(disk, file)?,
                Step::Copy { from, to, len } => {
                    let mut bytes = KVVec::new();
                    bytes.put_zeros(len as usize, GFP_KERNEL)?;
                    if disk.handle(from.0)?.read_at(&mut bytes, from.1)? < bytes.len() {
                        return Err(EIO);
                    }
                    if to.1 + len > disk.max_bytes {
                        return Err(ENOSPC);
                    }
                    disk.handle(to.0)?.write_at(&bytes, to.1)?;
                }
                Step::Sync(file) => disk.handle(file)?.sync()?,
                Step::Whole(file, at) => self.seal(disk, file, at)?,
                Step::Seal(file) => {
                    disk.handle(file)?.sync()?;
                    disk.files.done();
                    self.switched(disk);
                    continue;
                }
                // If that fails it is tried when the file is begun again.
                Step::Empty(file) => {
                    let _ = self.empty(disk, file);
                }
            }
            disk.files.done();
        }
    }

    /// Writes the last record of a snapshot, when there is room for what is pending.
    fn seal(&self, disk: &mut Disk, file: FileIndex, at: u64) -> Result {
        // What is pending will be written to this file, and so will what is appended until it is the
        // active one: all of that was promised room.
        let mut writer = self.log.lock();
        let pending = writer.pending.len() as u64;
        let promised = at + HEAD as u64 + pending;
        let reserved = (promised + writer.room.max(2 * MARGIN)).min(disk.max_bytes);
        if promised > reserved {
            return Err(ENOSPC);
        }
        writer.room = writer.room.min(reserved - promised);
        drop(writer);
        match disk.handle(file)?.reserve(at, reserved - at) {
            Ok(()) | Err(EOPNOTSUPP) => (),
            Err(e) => return Err(e),
        }
        disk.next_reserved = reserved;
        let whole = Record {
            seq: disk.files.next_generation(),
            time: log::now(),
            ..Record::new(RecordKind::Whole)
        };
        put(disk.handle(file)?, at, &whole, disk.cookie)
    }

    fn empty(&self, disk: &mut Disk, file: FileIndex) -> Result {
        if let Some(number) = disk.empty(file)? {
            self.log.numbers().kept |= 1u64.wrapping_shl(number - 1);
        }
        Ok(())
    }

    /// The other file is the active one now.
    fn switched(&self, disk: &mut Disk) {
        let size = disk.files.size();
        disk.reserved = disk.next_reserved.max(size);
        disk.base = size;
        disk.limit = ROTATE_MIN.max(size.saturating_mul(2)).min(disk.max_bytes);
        disk.retry = Retry::new();
        let mut writer = self.log.lock();
        if let LogState::Failed(e) = writer.state {
            writer.state = LogState::Ready;
            // What could not be written is in what the queues have.
            disk.written = writer.lsn;
            // Otherwise it is begun for the first time.
            if e != EAGAIN {
                pr_info!("durable queues: the log is written again\n");
            }
        }
        self.set_room(disk, &mut writer);
        drop(writer);
        self.log.set_synced(disk.written);
    }

    /// Writes what the queues have to the next file. They are used meanwhile.
    fn snapshot(&self, disk: &mut Disk, file: FileIndex) -> Result {
        let (mut durable, mut listed) = (KVVec::new(), Ok(()));
        self.queues.for_each(|channel| {
            if channel.is_durable() {
                listed = durable.push(channel.clone(), GFP_KERNEL);
            }
            listed.is_ok()
        });
        listed?;
        let begin = Record {
            priority: FORMAT,
            seq: disk.files.next_generation(),
            time: log::now(),
            ..Record::new(RecordKind::Begin)
        };
        let mut snapshot = Snapshot {
            worker: self,
            disk,
            file,
            bytes: KVVec::new(),
            unsynced: 0,
        };
        snapshot.put(&begin)?;
        for channel in &durable {
            channel.write(&mut |record| snapshot.put(record))?;
        }
        snapshot.write()
    }

    /// Writes anew if that is due.
    fn rotate(&self, disk: &mut Disk) {
        let long = disk.files.size() >= disk.limit;
        let stale = self.log.lock().stale && disk.retry.at.passed();
        if (long || stale) && self.rewrite(disk).is_err() {
            disk.retry.later();
        }
    }

    /// Whether somebody waits for another round.
    fn is_wanted(&self) -> bool {
        let writer = self.log.lock();
        writer.asked > 0 || !self.log.is_synced(writer.sync_to)
    }

    fn show(&self, disk: &Disk) {
        let mut numbers = self.log.numbers();
        numbers.file = disk.files.active();
        numbers.bytes = disk.files.size();
        numbers.generation = disk.files.generation();
    }
}

impl Run for LogWorker {
    fn run(task: &Task<Self>) {
        let mut slot = task.disk.lock();
        let mut is_new = slot.is_none() && matches!(task.log.lock().state, LogState::Opening);
        if is_new {
            *slot = task.open();
        }
        let Some(disk) = &mut *slot else {
            task.log.end_round();
            return;
        };
        loop {
            if task.has_failed() {
                // Who loads the module waits for the first round: a log that is to be begun, or anew, is
                // by then.
                let is_due = mem::take(&mut is_new) || disk.retry.at.passed();
                if is_due && task.rewrite(disk).is_err() {
                    disk.retry.later();
                }
            } else if task.flush(disk).is_ok() {
                task.make_room(disk);
                task.rotate(disk);
            }
            task.show(disk);
            task.log.end_round();
            if task.has_failed() || !task.is_wanted() {
                break;
            }
        }
        if task.has_failed() || task.log.lock().stale {
            task.schedule_after_ms(disk.retry.at.left_ms().max(1));
        }
    }
}
