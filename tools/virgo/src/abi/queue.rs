// SPDX-License-Identifier: GPL-2.0
//! Queues: structures of their call.

/// Operations of [`QueueArgs`].
#[expect(missing_docs, reason = "docs/syscalls.md describes them")]
pub mod queue_op {
    pub const CREATE: u32 = 1;
    pub const DELETE: u32 = 2;
    pub const PUBLISH: u32 = 3;
    pub const OPEN: u32 = 4;
    pub const TAKE: u32 = 5;
    pub const ACK: u32 = 6;
    pub const NACK: u32 = 7;
    pub const REQUEST: u32 = 8;
    pub const REPLY: u32 = 9;
    pub const PURGE: u32 = 10;
}

/// Flag of [`MessageArgs`], set by the kernel: somebody waits for a reply.
pub const MESSAGE_REQUEST: u32 = 1 << 0;

/// Most messages in one `virgo_queue`.
pub const MAX_MESSAGES: usize = 1024;

/// A message that is published or taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MessageArgs {
    /// Of which message; set by take.
    pub id: u64,
    /// Set by take: number in the queue or topic that it was published to.
    pub position: u64,
    /// Address of the bytes.
    pub data: u64,
    /// Take: address for the name that it was published to.
    pub subject: u64,
    /// Bytes at `data`; take: room there, set to the message's bytes.
    pub len: u32,
    /// Take: room at `subject`, set likewise.
    pub subject_len: u32,
    /// Until it can be taken, or taken again.
    pub delay_ms: u32,
    /// 0 to 9, larger is sooner.
    pub priority: u32,
    /// Set by take: how often it was taken.
    pub deliveries: u32,
    /// 0; set: [`MESSAGE_REQUEST`].
    pub flags: u32,
}

/// Arguments of `virgo_queue`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct QueueArgs {
    /// One of [`queue_op`].
    pub op: u32,
    /// Must be 0.
    pub flags: u32,
    /// Whose queue; 0 is this node.
    pub node: u32,
    /// Longest wait; 0 means the configured one.
    pub timeout_ms: u32,
    /// Address of the name or pattern.
    pub name: u64,
    /// Bytes there.
    pub name_len: u32,
    /// Descriptor, if there is no name.
    pub fd: i32,
    /// Address of an array of [`MessageArgs`].
    pub messages: u64,
    /// Address of options, or for a reply.
    pub data: u64,
    /// Messages.
    pub count: u32,
    /// Bytes at `data`.
    pub len: u32,
    /// Set by publish: copies of messages for which there was no room somewhere. Set by a take from
    /// a descriptor: messages that its subscription has lost.
    pub lost: u64,
    /// Address of a [`FenceArgs`](super::FenceArgs), or 0: of what changes a queue.
    pub fence: u64,
}

const _: () = assert!(size_of::<MessageArgs>() == 56 && align_of::<MessageArgs>() == 8);
const _: () = assert!(size_of::<QueueArgs>() == 72 && align_of::<QueueArgs>() == 8);
