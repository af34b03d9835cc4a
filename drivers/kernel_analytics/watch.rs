// SPDX-License-Identifier: GPL-2.0

//! Text sessions that are told of changes.

use crate::history::{
    ChangeHistory,
    ChangeRecord,
    WatchEvent, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::work::WorkHandle;
use virgo_utils::{
    Attachment,
    Failure,
    Reply, //
};

/// When it is tried again to watch for the next change, without memory for that, in milliseconds.
const RETRY_MS: u32 = 1000;

/// What a session has of its own: what it watches, once it does.
#[pin_data(PinnedDrop)]
pub(crate) struct Watching {
    history: Arc<ChangeHistory>,
    waker: WorkHandle,
    #[pin]
    wanted: Mutex<Option<Wanted>>,
}

struct Wanted {
    /// What keys begin with.
    prefix: KVec<u8>,
    /// Number of the next change to look at.
    next: u64,
}

impl Watching {
    pub(crate) fn new(history: Arc<ChangeHistory>, waker: WorkHandle) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                history,
                waker,
                wanted <- kernel::new_mutex!(None, "virgo_analytics_watch"),
            }),
            GFP_KERNEL,
        )
    }

    /// From now on the session is told of changes of variables whose key begins with `prefix`. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn watch(&self, prefix: &[u8]) -> Result {
        let mut copy = KVec::with_capacity(prefix.len(), GFP_KERNEL)?;
        copy.extend_from_slice(prefix, GFP_KERNEL)?;
        let wanted = Wanted {
            prefix: copy,
            next: self.history.next_number(),
        };
        *self.wanted.lock() = Some(wanted);
        Ok(())
    }
}

#[pinned_drop]
impl PinnedDrop for Watching {
    fn drop(self: Pin<&mut Self>) {
        // The next change may be far away, and the history would keep the handle until then.
        self.history.forget(&self.waker);
    }
}

impl Attachment for Watching {
    fn next(&self, line: &mut Reply<'_>) -> Result<bool, Failure> {
        let mut wanted = self.wanted.lock();
        let Some(wanted) = &mut *wanted else {
            return Ok(false);
        };
        let prefix = core::str::from_utf8(&wanted.prefix).unwrap_or_default();
        let next = self
            .history
            .next_or_wake(&mut wanted.next, prefix, &self.waker);
        let Ok(next) = next else {
            // No memory, and nothing was taken: not to be said in one line after the other.
            self.waker.wake_after_ms(RETRY_MS);
            return Ok(false);
        };
        match next {
            WatchEvent::Change(record) => write_record(&record, line)?,
            // The session has not read for long.
            WatchEvent::Lost(lost) => line.field("lost", lost)?,
            WatchEvent::Nothing => return Ok(false),
        }
        Ok(true)
    }
}

/// Writes a change as named fields.
pub(crate) fn write_record(record: &ChangeRecord, line: &mut Reply<'_>) -> Result<(), Failure> {
    line.field("change", record.number)?;
    line.field("ms", record.ms)?;
    line.bytes("key", record.key().as_bytes())?;
    line.bytes("source", record.source().as_bytes())?;
    line.field("uid", record.uid().into())?;
    line.bytes("value", record.value().as_bytes())
}
