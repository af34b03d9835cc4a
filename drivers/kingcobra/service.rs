// SPDX-License-Identifier: GPL-2.0

//! The state of the module.

use crate::log::RequestLog;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::bytes::memory_of;
use virgo_proto::kingcobra::RequestRecord;
use virgo_utils::budget::{
    Budget,
    Charge, //
};

/// Requests that are being done or wait for that; others come again.
const MAX_JOBS: u64 = 1024;

/// Bytes of all of them.
const MAX_BYTES: u64 = 16 << 20;

/// Bytes that a request counts for beside its data.
const OVERHEAD: usize = 256;

/// See the module.
#[pin_data]
pub(crate) struct KingcobraService {
    #[pin]
    log: RequestLog,
    /// Whether there is a record of requests and replies.
    persist: bool,
    /// Requests under way, by the uid that has asked.
    jobs: Pin<KBox<Budget>>,
    bytes: Pin<KBox<Budget>>,
    /// The module is being unloaded: no request is begun any more.
    pub(crate) stopped: Atomic<bool>,
}

/// Has requests that were not begun go back to the queue when it is dropped.
pub(crate) struct ServiceStop(pub(crate) Arc<KingcobraService>);

impl Drop for ServiceStop {
    fn drop(&mut self) {
        self.0.stopped.store(true, Relaxed);
    }
}

impl KingcobraService {
    /// With a record of at most about twice `max_log_bytes`; with none for `None`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(max_log_bytes: Option<u64>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                log <- RequestLog::new(max_log_bytes.unwrap_or(0)),
                persist: max_log_bytes.is_some(),
                jobs: Budget::new(MAX_JOBS)?,
                bytes: Budget::new(MAX_BYTES)?,
                stopped: Atomic::new(false),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Writes a record, which is on disk then if `sync`. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`RequestLog::write`].
    pub(crate) fn write(&self, record: &RequestRecord<'_>, sync: bool) -> Result {
        match self.persist {
            true => self.log.write(record, sync),
            false => Ok(()),
        }
    }

    /// Charges `uid` for a request with `len` bytes of data. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if this user has too many under way, [`ENOMEM`] if all users have.
    pub(crate) fn charge(&self, uid: u32, len: usize) -> Result<(Charge, Charge)> {
        let bytes = (OVERHEAD + memory_of(len)) as u64;
        Ok((self.jobs.charge(uid, 1)?, self.bytes.charge(uid, bytes)?))
    }
}
