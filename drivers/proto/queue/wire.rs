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
//! | Reply   | [`ReplyArgs`], data             | empty                   | stored reply |
//!
//! What is pulled is the puller's node's until it is acknowledged, or until its time is over. A
//! reply goes to the node that the request came from, which is a request in the other direction.

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
    /// Reply to a request.
    pub const REPLY: u16 = 6;
}

/// Most bytes of messages in the reply of one Pull, with their heads: room for any message.
pub const MAX_PULL: u32 = 64 * 1024 + 200;

/// Flag of [`AckArgs`]: the message is given back.
pub const GIVE_BACK: u16 = 1 << 0;

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
    /// Of the publisher's node: what it calls the request, 0 if no reply is wanted.
    pub reply: U64,
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

/// Arguments of Pull.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PullArgs {
    /// Messages at most.
    pub count: U32,
    /// Bytes of reply at most.
    pub bytes: U32,
}

/// A message in the reply of Pull.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// By what it is acknowledged.
    pub seq: U64,
    /// Number in the queue or topic that it was published to.
    pub position: U64,
    /// What the node in `reply_node` calls the request, 0 if no reply is wanted.
    pub reply: U64,
    /// How often it was taken.
    pub deliveries: U32,
    /// Bytes of data.
    pub data_len: U32,
    /// Bytes of the name.
    pub name_len: U16,
    /// Where the reply goes.
    pub reply_node: U16,
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

/// Arguments of Reply.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReplyArgs {
    /// What the requester's node calls the request.
    pub id: U64,
}
