// SPDX-License-Identifier: GPL-2.0

//! Room of a queue that blocks: what a publisher wants that waits for it, and what is promised.

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
    /// There is room, which nobody else gets until it is withdrawn.
    Given,
    /// There is none for this one: it is too large, or its publisher has the share that one may have.
    NotThis,
    /// There is none for any.
    None,
}

/// All that is promised, and not withdrawn.
#[derive(Clone, Copy, Default)]
pub(super) struct Promised {
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

impl Promised {
    /// Room for a message of so many bytes is promised.
    pub(super) fn add(&mut self, bytes: u32) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes.into());
    }

    /// It is not any more.
    pub(super) fn remove(&mut self, bytes: u32) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes.into());
    }
}
