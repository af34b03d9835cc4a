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
use linux::bytes::copy;
use virgo_utils::Deferred;

/// Replies that are taken out under one hold of the lock.
const AT_ONCE: usize = 8;

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
    /// [`ENOMEM`]; it is for the caller to tell the peer.
    pub(crate) fn add(&self, lsn: u64, reply: Deferred, body: &[u8]) -> Result {
        let body = copy(body, GFP_KERNEL)?;
        let waiting = Waiting { lsn, reply, body };
        let mut all = self.waiting.lock();
        all.reserve(1, GFP_KERNEL)?;
        // There is room.
        let full = all.push_within_capacity(waiting);
        drop(all);
        drop(full);
        Ok(())
    }

    /// Gives the replies of which `outcome` knows what to say. May sleep.
    pub(crate) fn settle(&self, outcome: impl Fn(u64) -> Option<Result>) {
        loop {
            let mut settled = [const { None }; AT_ONCE];
            let mut places = settled.iter_mut();
            let mut waiting = self.waiting.lock();
            // From the last to the first: what takes the place of one that goes was looked at already.
            for at in (0..waiting.len()).rev() {
                let Some(outcome) = waiting.get(at).and_then(|one| outcome(one.lsn)) else {
                    continue;
                };
                let Some(place) = places.next() else {
                    break;
                };
                let last = waiting.len() - 1;
                waiting.swap(at, last);
                *place = waiting.pop().map(|one| (one, outcome));
            }
            drop(waiting);
            let is_full = places.next().is_none();
            for (Waiting { reply, body, .. }, outcome) in settled.into_iter().flatten() {
                match outcome {
                    // The peer has the error if there is no memory for the reply.
                    Ok(()) => drop(reply.answer(&body)),
                    Err(e) => reply.fail(e),
                }
            }
            if !is_full {
                return;
            }
        }
    }
}
