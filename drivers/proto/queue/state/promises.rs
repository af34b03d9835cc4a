// SPDX-License-Identifier: GPL-2.0

//! Promising room to publishers that have waited for it: see [`crate::queue::room`].

use super::{Promise, Queue, QueueLimits, WantedRoom};
use crate::queue::slab::Places;

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
        self.promised.add(bytes);
        self.shares.add(uid, bytes);
        Promise::Given
    }

    /// Takes a promise back: its message comes now, or not at all.
    pub fn withdraw(&mut self, wanted: WantedRoom) {
        let WantedRoom { bytes, uid } = wanted;
        self.promised.remove(bytes);
        self.shares.remove(uid, bytes);
    }
}
