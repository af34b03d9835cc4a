// SPDX-License-Identifier: GPL-2.0

//! Room of a queue that blocks, promised to publishers that have waited for it: see
//! [`crate::queue::room`].

use super::{Queue, QueueLimits};
use crate::queue::slab::Places;

/// What is promised.
#[derive(Clone, Copy, Default)]
pub(super) struct Promised {
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

/// The message of a publisher that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedRoom {
    /// Bytes that it counts for.
    pub bytes: u32,
    /// Who publishes it.
    pub uid: u32,
}

/// What has become of a message for which room was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// There is room, which nobody else gets before [`Queue::withdraw`].
    Given,
    /// There is none for this one: it is too large, or its publisher has the share that one may have.
    NotThis,
    /// There is none for any.
    None,
}

impl<P: Places> Queue<P> {
    /// Promises room to a message, if there is some; no message for which room may be asked is smaller
    /// than `smallest`.
    pub fn promise(&mut self, wanted: WantedRoom, smallest: u32) -> Promise {
        let WantedRoom { bytes, uid } = wanted;
        let QueueLimits {
            messages,
            bytes: max_bytes,
            ..
        } = self.limits;
        let fits = |bytes: u32| self.taken_bytes().saturating_add(bytes.into()) <= max_bytes;
        if self.taken_places() >= messages || !fits(smallest) {
            return Promise::None;
        }
        if !fits(bytes) || !self.shares.has_room(uid, bytes, messages, max_bytes) {
            return Promise::NotThis;
        }
        self.promised.messages = self.promised.messages.saturating_add(1);
        self.promised.bytes = self.promised.bytes.saturating_add(bytes.into());
        self.shares.add(uid, bytes);
        Promise::Given
    }

    /// Takes a promise back: its message comes now, or not at all.
    pub fn withdraw(&mut self, wanted: WantedRoom) {
        let WantedRoom { bytes, uid } = wanted;
        self.promised.messages = self.promised.messages.saturating_sub(1);
        self.promised.bytes = self.promised.bytes.saturating_sub(bytes.into());
        self.shares.remove(uid, bytes);
    }
}
