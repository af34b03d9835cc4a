// SPDX-License-Identifier: GPL-2.0

//! What queues of two nodes say to each other.
//!
//! | op      | request body                                        | reply body                       | repeated |
//! |---------|-----------------------------------------------------|----------------------------------|----------|
//! | Create  | [`NameHeader`], name, options as text               | empty                            | stored reply |
//! | Delete  | [`NameHeader`], name                                | empty                            | stored reply |
//! | Publish | [`NameHeader`], name, ([`PublishedMessage`], data)… | [`PublishReply`]                 | stored reply |
//! | Pull    | [`PullArgs`], name                                  | ([`PulledMessage`], name, data)… | stored reply |
//! | Ack     | [`AckArgs`], name                                   | empty                            | stored reply |
//! | Ask     | [`AskArgs`], name, data                             | data                             | stored reply |
//! | Forget  | [`ForgetArgs`], name                                | empty                            | stored reply |
//! | Purge   | [`NameHeader`], name                                | [`PurgeReply`]                   | stored reply |
//! | FencedPublish, FencedPurge, FencedDelete, FencedAsk | [`FenceToken`], the body of the other | as the other | stored reply |
//!
//! Each says for which uid of the asking node it is. What is pulled is that uid's until it is
//! acknowledged, or until its time is over. The reply of a Pull is deferred while there is no
//! message and it may wait. Ask publishes a request; its reply is deferred until somebody there has
//! replied. Forget says that nobody waits for a Pull any more: what was taken for it goes back, as
//! if it had not been taken.
//!
//! The fenced ones are for a client that has a lock: the queue or topic of the name compares its token
//! ([`crate::fence`]). A name that has none is refused with ENOLCK: nothing would remember the token.
//!
//! [`FenceToken`]: crate::fence::FenceToken

use crate::queue::MAX_MESSAGE;
use zerocopy::{
    little_endian::{U16, U32, U64},
    FromBytes as _,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Operation numbers in [`crate::frame::FrameHeader::op`].
pub mod op {
    /// Make a queue or topic.
    pub const CREATE: u16 = 1;
    /// Delete it.
    pub const DELETE: u16 = 2;
    /// Publish messages, in order, up to the first that is refused.
    pub const PUBLISH: u16 = 3;
    /// Take messages.
    pub const PULL: u16 = 4;
    /// A message is done, or given back.
    pub const ACK: u16 = 5;
    /// Publish a request, and wait for its reply.
    pub const ASK: u16 = 6;
    /// Nobody waits for a Pull any more.
    pub const FORGET: u16 = 7;
    /// Drop all messages of a queue or topic.
    pub const PURGE: u16 = 8;
    /// Publish messages, with a lock.
    pub const FENCED_PUBLISH: u16 = 9;
    /// Drop all messages, with a lock.
    pub const FENCED_PURGE: u16 = 10;
    /// Delete a queue or topic, with a lock.
    pub const FENCED_DELETE: u16 = 11;
    /// Publish a request, with a lock, and wait for its reply.
    pub const FENCED_ASK: u16 = 12;
}

/// Most bytes of messages in the reply of one Pull, with their heads: room for any message.
pub const MAX_PULL: u32 = 64 * 1024 + 200;

/// Longest time that a Pull waits, in milliseconds: whoever wants to wait longer pulls again, and others
/// have their turn.
pub const MAX_WAIT_MS: u32 = 1000;

/// Flag of [`AckArgs`]: the message is given back.
pub const GIVE_BACK: u16 = 1 << 0;

/// Flag of [`AckArgs`]: the message was not handed out; it goes back as if it had not been taken.
pub const UNTAKE: u16 = 1 << 1;

/// Flag of [`PulledMessage`]: somebody waits for a reply.
pub const REQUEST: u16 = 1 << 0;

/// A name, and what follows it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct NameHeader {
    /// Bytes of the name.
    pub name_len: U16,
    /// 0.
    pub reserved: U16,
    /// For whom.
    pub uid: U32,
}

/// A message of Publish.
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq,
)]
#[repr(C)]
pub struct PublishedMessage {
    /// Bytes of data.
    pub data_len: U32,
    /// Until it can be taken, in milliseconds.
    pub delay_ms: U32,
    /// Larger is sooner.
    pub priority: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// Reply of Publish. If not even the first message went well it is an error, as of any request.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PublishReply {
    /// Messages that went well.
    pub published: U32,
    /// Why the next one did not, by [`crate::errno::Errno`]; 0 if there is none.
    pub errno: U32,
    /// Copies of those that went well for which there was no room somewhere.
    pub lost: U32,
}

/// Reply of Purge.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PurgeReply {
    /// Messages that were dropped.
    pub purged: U64,
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
    /// For whom.
    pub uid: U32,
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
    /// For whom.
    pub uid: U32,
    /// By what [`op::FORGET`] names it, less than [`PULLS`].
    pub number: U32,
}

/// A message in the reply of Pull.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PulledMessage {
    /// By what it is acknowledged.
    pub id: U64,
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
    /// Which delivery.
    pub id: U64,
    /// When it is given back: until it can be taken again, in milliseconds.
    pub delay_ms: U32,
    /// [`GIVE_BACK`] or [`UNTAKE`].
    pub flags: U16,
    /// 0.
    pub reserved: U16,
    /// For whom.
    pub uid: U32,
}

/// Arguments of Forget.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ForgetArgs {
    /// For whom the Pull was.
    pub uid: U32,
    /// Which one.
    pub number: U32,
}

/// Numbers of Pulls are less than this.
pub const PULLS: u32 = 1 << 23;

/// Takes the next message off `items`; `None` at the end and for what is none.
pub fn next_item<'a>(items: &mut &'a [u8]) -> Option<(PublishedMessage, &'a [u8])> {
    let (item, rest) = PublishedMessage::read_from_prefix(items).ok()?;
    let (data, rest) = rest.split_at_checked(usize::try_from(item.data_len.get()).ok()?)?;
    *items = rest;
    (data.len() <= MAX_MESSAGE && item.reserved == [0; 3]).then_some((item, data))
}

/// Takes the next message off the reply of a Pull, with its name and data; `None` at the end and for
/// what is none.
pub fn next_entry<'a>(entries: &mut &'a [u8]) -> Option<(PulledMessage, &'a [u8], &'a [u8])> {
    let (entry, rest) = PulledMessage::read_from_prefix(entries).ok()?;
    let (name, rest) = rest.split_at_checked(entry.name_len.get().into())?;
    let (data, rest) = rest.split_at_checked(usize::try_from(entry.data_len.get()).ok()?)?;
    *entries = rest;
    Some((entry, name, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use zerocopy::IntoBytes as _;

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(
            messages in prop::collection::vec((any::<u32>(), any::<u8>(), any::<Vec<u8>>()), 0..20),
        ) {
            let mut bytes = Vec::new();
            for (delay_ms, priority, data) in &messages {
                let item = PublishedMessage {
                    data_len: (data.len() as u32).into(),
                    delay_ms: (*delay_ms).into(),
                    priority: *priority,
                    reserved: [0; 3],
                };
                bytes.extend_from_slice(item.as_bytes());
                bytes.extend_from_slice(data);
            }
            let mut rest = &bytes[..];
            for (delay_ms, priority, data) in &messages {
                let (item, read) = next_item(&mut rest).expect("a message");
                prop_assert_eq!((item.delay_ms.get(), item.priority), (*delay_ms, *priority));
                prop_assert_eq!(read, &data[..]);
            }
            prop_assert_eq!((next_item(&mut rest), rest), (None, &b""[..]));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while next_item(&mut rest).is_some() {}
            let mut rest = &bytes[..];
            while next_entry(&mut rest).is_some() {}
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let item = |data_len: u32, reserved| PublishedMessage {
            data_len: data_len.into(),
            delay_ms: 0.into(),
            priority: 4,
            reserved,
        };
        for (item, data) in [
            (item(3, [0; 3]), &b"ab"[..]),
            (item(u32::MAX, [0; 3]), b"ab"),
            (item(2, [0, 0, 1]), b"ab"),
            (item(MAX_MESSAGE as u32 + 1, [0; 3]), &[0; MAX_MESSAGE + 1]),
        ] {
            let bytes = [item.as_bytes(), data].concat();
            refused(&bytes);
            refused(&bytes[..11]);
        }
    }

    fn refused(bytes: &[u8]) {
        assert_eq!(next_item(&mut &bytes[..]), None);
    }
}
