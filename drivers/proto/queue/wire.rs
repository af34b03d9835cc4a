// SPDX-License-Identifier: GPL-2.0

//! What queues of two nodes say to each other.
//!
//! | op      | request body                    | reply body              | repeated |
//! |---------|---------------------------------|-------------------------|----------|
//! | Create  | [`Named`], name, options as text | empty                  | stored reply |
//! | Delete  | [`Named`], name                 | empty                   | stored reply |
//! | Publish | [`PublishArgs`], name, data     | [`PublishReply`]        | stored reply |
//! | Pull    | [`PullArgs`], name              | [`Entry`], name, data, … | stored reply |
//! | Ack     | [`AckArgs`], name               | empty                   | stored reply |
//! | Ask     | [`AskArgs`], name, data         | data                    | stored reply |
//!
//! What is pulled is the puller's node's until it is acknowledged, or until its time is over. The
//! reply of a Pull is deferred while there is no message and it may wait. Ask publishes a request; its reply is deferred until somebody there has replied.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Operation numbers in [`crate::frame::Header::op`].
pub mod op {
    /// Make a queue or topic.
    pub const CREATE: u16 = 1;
    /// Delete it.
    pub const DELETE: u16 = 2;
    /// Publish a message.
    pub const PUBLISH: u16 = 3;
    /// Take messages.
    pub const PULL: u16 = 4;
    /// A message is done, or given back.
    pub const ACK: u16 = 5;
    /// Publish a request, and wait for its reply.
    pub const ASK: u16 = 6;
}

/// Most bytes of messages in the reply of one Pull, with their heads: room for any message.
pub const MAX_PULL: u32 = 64 * 1024 + 200;

/// Longest time that a Pull waits, in milliseconds: whoever wants to wait longer pulls again, and others
/// have their turn.
pub const MAX_WAIT_MS: u32 = 1000;

/// Flag of [`AckArgs`]: the message is given back.
pub const GIVE_BACK: u16 = 1 << 0;

/// Flag of [`Entry`]: somebody waits for a reply.
pub const REQUEST: u16 = 1 << 0;

/// A name, and what follows it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Named {
    /// Bytes of the name.
    pub name_len: U16,
    /// 0.
    pub reserved: U16,
}

/// Arguments of Publish.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PublishArgs {
    /// Until it can be taken, in milliseconds.
    pub delay_ms: U32,
    /// Bytes of the name.
    pub name_len: U16,
    /// Larger is sooner.
    pub priority: u8,
    /// 0.
    pub reserved: u8,
}

/// Reply of Publish.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PublishReply {
    /// Number in the queue or topic of that name; 0 if there is none.
    pub position: U64,
    /// Channels that it went to.
    pub channels: U32,
    /// Subscriptions that had no room.
    pub lost: U32,
}

/// Arguments of Ask.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct AskArgs {
    /// How long the reply is waited for, in milliseconds.
    pub timeout_ms: U32,
    /// Bytes of the name.
    pub name_len: U16,
    /// 0.
    pub reserved: U16,
}

/// Arguments of Pull.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PullArgs {
    /// Messages at most.
    pub count: U32,
    /// Bytes of reply at most.
    pub bytes: U32,
    /// How long to wait if there is none, in milliseconds, at most [`MAX_WAIT_MS`].
    pub wait_ms: U32,
}

/// A message in the reply of Pull.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// By what it is acknowledged.
    pub seq: U64,
    /// Number in the queue or topic that it was published to.
    pub position: U64,
    /// How often it was taken.
    pub deliveries: U32,
    /// Bytes of data.
    pub data_len: U32,
    /// Bytes of the name.
    pub name_len: U16,
    /// [`REQUEST`].
    pub flags: U16,
}

/// Arguments of Ack.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct AckArgs {
    /// Which message.
    pub seq: U64,
    /// When it is given back: until it can be taken again, in milliseconds.
    pub delay_ms: U32,
    /// [`GIVE_BACK`].
    pub flags: U16,
    /// 0.
    pub reserved: U16,
}
