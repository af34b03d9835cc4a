// SPDX-License-Identifier: GPL-2.0

//! The files of the log, as its worker has them.

use kernel::{
    prelude::*,
    str::CString, //
};
use linux::{
    append::{
        exists,
        rename,
        AppendFile, //
    },
    bytes::Fill,
    crypto::{
        crc32c,
        random_u64, //
    },
    deadline::Deadline, //
};
use virgo_proto::queue::{
    record::{
        Cookie,
        Record, //
    },
    rewrite::{
        FileIndex,
        Files, //
    }, //
};

const FOLDER: &CStr = c"/var/log/virgo_queue";
pub(crate) const FOLDER_NAME: &str = "/var/log/virgo_queue";

const NAMES: [&CStr; 2] = [c"messages.0", c"messages.1"];

pub(crate) const PATHS: [&CStr; 2] = [
    c"/var/log/virgo_queue/messages.0",
    c"/var/log/virgo_queue/messages.1",
];

/// Files that were moved aside, at most; with more the log is not opened.
const MAX_KEPT: u32 = 64;

/// What the disk has refused is tried again after so long, in milliseconds; each time after twice as
/// long, up to the second.
pub(crate) const RETRY_MS: (u32, u32) = (250, 16_000);

/// When to try again.
pub(crate) struct Retry {
    pub(crate) at: Deadline,
    pub(crate) ms: u32,
}

impl Retry {
    pub(crate) fn new() -> Self {
        Retry {
            at: Deadline::after_ms(0),
            ms: RETRY_MS.0,
        }
    }

    /// It was refused again.
    pub(crate) fn later(&mut self) {
        self.at = Deadline::after_ms(self.ms);
        self.ms = (self.ms * 2).min(RETRY_MS.1);
    }
}

/// The files, as this task has them.
pub(crate) struct Disk {
    pub(crate) handles: [AppendFile; 2],
    pub(crate) files: Files,
    /// Files that are to be moved aside, never emptied.
    pub(crate) keep: [bool; 2],
    /// What the records of the files have, the present one's if it is of this format.
    pub(crate) cookie: Cookie,
    /// Bytes of the active file that there is room for.
    pub(crate) reserved: u64,
    /// The same of the other file, when it is about to follow.
    pub(crate) next_reserved: u64,
    /// All up to this LSN is in the active file.
    pub(crate) written: u64,
    /// The active file is followed by the next one when it has so many bytes.
    pub(crate) limit: u64,
    /// Bytes that the active file had when it was begun.
    pub(crate) base: u64,
    /// The most bytes that a file may have.
    pub(crate) max_bytes: u64,
    /// Memory that is swapped for what is pending.
    pub(crate) spare: KVVec<u8>,
    pub(crate) retry: Retry,
}

impl Disk {
    pub(crate) fn new(
        handles: [AppendFile; 2],
        files: Files,
        keep: [bool; 2],
        found: Option<Cookie>,
        max_bytes: u64,
    ) -> Self {
        let known = found.filter(|cookie| *cookie != Cookie::NONE);
        Disk {
            handles,
            keep,
            cookie: known.unwrap_or_else(|| Cookie(random_u64().max(1))),
            reserved: files.size(),
            next_reserved: 0,
            written: 0,
            // As soon as it is opened it is written anew.
            limit: 0,
            base: 0,
            max_bytes,
            files,
            spare: KVVec::new(),
            retry: Retry::new(),
        }
    }

    pub(crate) fn handle(&self, file: FileIndex) -> Result<&AppendFile> {
        self.handles.get(file).ok_or(EIO)
    }

    /// Empties a file, or moves it aside and begins another one of its name. Returns the number of
    /// the file that was moved aside.
    pub(crate) fn empty(&mut self, file: FileIndex) -> Result<Option<u32>> {
        let keep = self.keep.get(file).copied().unwrap_or_default();
        if !keep {
            self.handle(file)?.truncate(0)?;
            return Ok(None);
        }
        let number = match move_aside(file) {
            Ok(number) => Some(number),
            // It is, and the next one could not be opened then.
            Err(ENOENT) => None,
            Err(e) => return Err(e),
        };
        let opened = AppendFile::open(PATHS.get(file).ok_or(EIO)?)?;
        *self.handles.get_mut(file).ok_or(EIO)? = opened;
        *self.keep.get_mut(file).ok_or(EIO)? = false;
        Ok(number)
    }
}

/// Name of a file that was moved aside.
pub(crate) fn kept_name(number: u32) -> Result<CString> {
    CString::try_from_fmt(fmt!("kept.{number}"))
}

/// Moves a file aside. Returns its number then.
fn move_aside(file: FileIndex) -> Result<u32> {
    let name = NAMES.get(file).ok_or(EIO)?;
    for number in 1..=MAX_KEPT {
        match rename(FOLDER, name, &kept_name(number)?) {
            Err(EEXIST) => (),
            Err(e) => return Err(e),
            Ok(()) => {
                let name = name.to_str().unwrap_or_default();
                pr_warn!("durable queues: {FOLDER_NAME}/{name}, not understood whole, is kept.{number} there\n");
                return Ok(number);
            }
        }
    }
    pr_err!(
        "durable queues: there are {MAX_KEPT} files kept.N already: look at them and remove them\n"
    );
    Err(EMFILE)
}

/// Which files were moved aside, as [`log::Numbers::kept`].
pub(crate) fn kept() -> u64 {
    let there = |number: &u32| kept_name(*number).is_ok_and(|name| exists(FOLDER, &name));
    let numbers = (1..=MAX_KEPT).filter(there);
    numbers.fold(0, |bits, number| bits | 1u64.wrapping_shl(number - 1))
}

/// Writes a record to a place of a file.
pub(crate) fn put(file: &AppendFile, at: u64, record: &Record<'_>, cookie: Cookie) -> Result {
    let mut bytes = KVVec::with_capacity(record.size(), GFP_KERNEL)?;
    record
        .write(cookie, crc32c, |part| bytes.put_bytes(part, GFP_KERNEL))
        .ok_or(EMSGSIZE)??;
    file.write_at(&bytes, at)
}
