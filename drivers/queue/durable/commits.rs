// SPDX-License-Identifier: GPL-2.0

//! Replies to other nodes that wait for the disk.
//!
//! A peer's session must not wait, so what it says when all up to some log sequence number is on disk
//! is left here. The log's worker gives these replies. There are as many at most as slots of all
//! peers.

use kernel::{
    prelude::*,
    sync::Mutex, //
};
use virgo_utils::Deferred;

struct Waiting {
    lsn: u64,
    reply: Deferred,
    body: KVec<u8>,
}

/// See the module. The lock is not held while replies are given.
#[pin_data]
pub(crate) struct Commits {
    #[pin]
    waiting: Mutex<KVec<Waiting>>,
}

impl Commits {
    /// None waits.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            waiting <- kernel::new_mutex!(KVec::new(), "virgo_commits"),
        })
    }

    /// Has `reply` given when all up to `lsn` is on disk. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; the peer is told then that nobody knows what has become of its request.
    pub(crate) fn add(&self, lsn: u64, reply: Deferred, body: &[u8]) -> Result {
        let mut copy = KVec::with_capacity(body.len(), GFP_KERNEL)?;
        copy.extend_from_slice(body, GFP_KERNEL)?;
        let waiting = Waiting {
            lsn,
            reply,
            body: copy,
        };
        let mut all = self.waiting.lock();
        if let Err(e) = all.reserve(1, GFP_KERNEL) {
            drop(all);
            waiting.reply.fail(EIO);
            return Err(e.into());
        }
        let full = all.push_within_capacity(waiting);
        drop(all);
        drop(full);
        Ok(())
    }

    /// Gives the replies of which `outcome` knows what to say. May sleep.
    pub(crate) fn settle(&self, outcome: impl Fn(u64) -> Option<Result>) {
        loop {
            let mut waiting = self.waiting.lock();
            let known = |waiting: &Waiting| outcome(waiting.lsn).is_some();
            let Some(at) = waiting.iter().position(known) else {
                return;
            };
            let Ok(settled) = waiting.remove(at) else {
                return;
            };
            drop(waiting);
            match outcome(settled.lsn) {
                // The peer has the error if there is no memory for the reply.
                Some(Ok(())) => drop(settled.reply.answer(&settled.body)),
                Some(Err(e)) => settled.reply.fail(e),
                None => settled.reply.fail(EIO),
            }
        }
    }
}
