// SPDX-License-Identifier: GPL-2.0

//! Bounds of a queue, and what is counted of its messages.

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OverflowPolicy {
    /// Its sender waits, if it can.
    Block = 0,
    /// It is refused.
    Reject = 1,
    /// The oldest one that nobody has makes room.
    DropOldest = 2,
}

impl OverflowPolicy {
    /// Names of the policies.
    pub const NAMES: [(&'static str, OverflowPolicy); 3] = [
        ("block", OverflowPolicy::Block),
        ("reject", OverflowPolicy::Reject),
        ("drop-oldest", OverflowPolicy::DropOldest),
    ];

    /// The policy of this name.
    pub fn parse(name: &[u8]) -> Option<OverflowPolicy> {
        let mut names = Self::NAMES.iter();
        let found = names.find(|(known, _)| known.as_bytes() == name)?;
        Some(found.1)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names
            .find(|(_, policy)| *policy == self)
            .map_or("", |(name, _)| name)
    }
}

/// Bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages that wait, are delayed or are handed out.
    pub messages: u32,
    /// Their bytes, and those of the kept ones.
    pub bytes: u64,
    /// Messages that are handed out at a time.
    pub leased: u32,
    /// What happens at the bounds.
    pub policy: OverflowPolicy,
    /// How long a message may be handed out without being acknowledged, in milliseconds; 0 for
    /// ever.
    pub ack_ms: u32,
    /// How often a message is handed out before it is a dead letter; 0 for ever.
    pub deliveries: u32,
    /// Acknowledged messages that are kept for replay.
    pub keep: u32,
}

impl QueueLimits {
    /// What holds unless somebody wants it otherwise.
    pub const DEFAULT: QueueLimits = QueueLimits {
        messages: 10_000,
        bytes: 16 << 20,
        leased: 1024,
        policy: OverflowPolicy::Reject,
        ack_ms: 30_000,
        deliveries: 0,
        keep: 0,
    };
}

/// What has happened to the messages of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Taken in.
    pub pushed: u64,
    /// Handed out, each time.
    pub delivered: u64,
    /// Handed out before.
    pub redelivered: u64,
    /// Acknowledged.
    pub acked: u64,
    /// Made room for others.
    pub dropped: u64,
    /// Not taken in.
    pub refused: u64,
    /// Became dead letters.
    pub dead: u64,
}
