// SPDX-License-Identifier: GPL-2.0

//! The record of requests and replies: a line each, readable by people.
//!
//! A file that is as long as it may be is renamed, which replaces the one before it. So there are two
//! at most.

use kernel::{
    prelude::*,
    str::CString,
    sync::Mutex, //
};
use linux::append::{
    replace,
    AppendFile, //
};
use virgo_proto::kingcobra::{
    escape,
    RequestRecord,
    LINE_END, //
};

const FOLDER: &CStr = c"/var/log/kingcobra";
const NAME: &CStr = c"REQUEST_REPLY.queue";
const FORMER_NAME: &CStr = c"REQUEST_REPLY.queue.1";
const PATH: &CStr = c"/var/log/kingcobra/REQUEST_REPLY.queue";

/// See the module.
#[pin_data]
pub(crate) struct RequestLog {
    /// The most bytes that a file has, but for its last line.
    max_bytes: u64,
    /// Held while a line is written, so that lines do not mix.
    #[pin]
    writing: Mutex<()>,
}

impl RequestLog {
    pub(crate) fn new(max_bytes: u64) -> impl PinInit<Self> {
        pin_init!(Self {
            max_bytes,
            writing <- kernel::new_mutex!((), "virgo_kingcobra_log"),
        })
    }

    /// Writes a record, which is on disk then if `sync`. May sleep.
    ///
    /// The file is opened each time, so that it may be moved away at any moment.
    ///
    /// # Errors
    ///
    /// Those of files; nothing of the record is written then, unless the disk has failed.
    pub(crate) fn write(&self, record: &RequestRecord<'_>, sync: bool) -> Result {
        let mut line = KVVec::new();
        let head = head(record)?;
        line.extend_from_slice(head.to_bytes(), GFP_KERNEL)?;
        escape(record.payload, |part| {
            line.extend_from_slice(part, GFP_KERNEL)
        })?;
        line.extend_from_slice(LINE_END, GFP_KERNEL)?;
        let writing = self.writing.lock();
        let mut file = AppendFile::open(PATH)?;
        if file.size()? >= self.max_bytes {
            // The request of this reply may be in it.
            file.sync()?;
            replace(FOLDER, NAME, FORMER_NAME)?;
            file = AppendFile::open(PATH)?;
        }
        file.append(&line)?;
        drop(writing);
        match sync {
            true => file.sync(),
            false => Ok(()),
        }
    }
}

/// All of a record but its payload.
pub(crate) fn head(record: &RequestRecord<'_>) -> Result<CString> {
    CString::try_from_fmt(core::format_args!("{record}"))
}
