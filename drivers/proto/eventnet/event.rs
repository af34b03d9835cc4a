// SPDX-License-Identifier: GPL-2.0

//! A recorded event, as it lies in a node's ring and as nodes and programs read it.
//!
//! | bytes | | |
//! |---|---|---|
//! | 0–1 | bytes of the whole record, a multiple of 8 | |
//! | 2 | version of the layout, 1 | |
//! | 3 | [`EventKind`] | |
//! | 4 | [`Point`] | |
//! | 5 | node on which it happened | |
//! | 6–7 | operation of the service | |
//! | 8–11 | error number, 0 for success | |
//! | 12–15 | bytes of data that were moved | |
//! | 16–23 | number of the event on its node | |
//! | 24–31 | number of the event that caused it | |
//! | 32 | node of that one, 0 if nothing is known to have caused it | |
//! | 33 | nodes in the vector clock | |
//! | 34–35 | bytes of text | |
//! | 36–39 | the other node, 0 if there is none; then zeros | |
//! | 40–47 | hybrid stamp | |
//! | 48–55 | nanoseconds of the node's monotonic clock | |
//! | 56–63 | what it is about: an id of the service's own | |
//! | 64–71 | number of the event on this node whose end this is, 0 if it is no end | |
//!
//! then the vector clock (8 bytes a node, from node 1 on), the text, and zeros up to the next multiple
//! of 8. All numbers are little-endian.

use crate::{
    clock::{Hybrid, Vector},
    config::MAX_NODES,
    vuid::NodeId,
};
use zerocopy::{
    little_endian::{U16, U32, U64},
    FromBytes as _,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a record before clock and text.
pub const HEAD: usize = 72;

/// Most bytes of text.
pub const MAX_TEXT: usize = 256;

/// Most bytes of a record.
pub const MAX_RECORD: usize = HEAD + Vector::MAX_BYTES + MAX_TEXT;

const VERSION: u8 = 1;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident: $($(#[$variant_doc:meta])* $variant:ident = $number:literal, $text:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Its word in commands and files.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }

            /// The one of this word.
            pub fn parse(word: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name().as_bytes() == word)
            }

            fn from_wire(number: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| *one as u8 == number)
            }
        }
    };
}

numbered! {
    /// What kind of thing an event belongs to. Each can be recorded by itself.
    EventKind:
    /// The memory pool.
    Memory = 0, "memory";
    /// Calls of functions and programs.
    Clone = 1, "clone";
    /// Files.
    File = 2, "file";
    /// Messages of queues and topics.
    Queue = 3, "queue";
    /// Requests in KingCobra's queue, and their replies.
    Request = 4, "request";
    /// What programs, people and modules say by themselves.
    Log = 6, "log";
}

impl EventKind {
    /// What the requests and calls of the service on this TCP port are.
    pub const fn of_port(port: u16) -> Self {
        match port {
            10_000 => EventKind::Clone,
            30_000 => EventKind::Memory,
            50_000 => EventKind::File,
            60_000 => EventKind::Queue,
            _ => EventKind::Log,
        }
    }
}

numbered! {
    /// Where in the life of a message an event lies.
    Point:
    /// Something happened here, without a message.
    Local = 0, "local";
    /// A program or module has called.
    Call = 1, "call";
    /// A request was sent to another node.
    Send = 2, "send";
    /// A request of another node has arrived.
    Receive = 3, "receive";
    /// The reply to another node was sent.
    Reply = 4, "reply";
    /// The reply of another node has arrived.
    Done = 5, "done";
    /// What was called has returned.
    Return = 6, "return";
}

/// An event: its node, and its number there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Where it happened.
    pub node: NodeId,
    /// Events of a node have growing numbers.
    pub seq: u64,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRecord<'a> {
    /// Which one it is.
    pub id: EventId,
    /// The event that caused it, if that is known.
    pub cause: Option<EventId>,
    /// What it belongs to.
    pub kind: EventKind,
    /// Where in the life of a message it lies.
    pub point: Point,
    /// Operation of the service.
    pub op: u16,
    /// Error number, 0 for success.
    pub status: u32,
    /// Bytes of data that were moved.
    pub bytes: u32,
    /// The other node, if there is one.
    pub peer: NodeId,
    /// When it happened.
    pub stamp: Hybrid,
    /// Nanoseconds of the node's monotonic clock: good for differences on one node.
    pub nanos: u64,
    /// What it is about: an id of the service's own, such as that of an allocation or a job.
    pub about: u64,
    /// The number of the event on this node whose end this is: of a reply its request's arrival, of a
    /// return its call; 0 if it is no end. The cause of an end is what was waited for last.
    pub begin: u64,
    /// What happened before it: the counts of a vector clock, from node 1 on.
    pub clock: &'a [U64],
    /// What was said, at most [`MAX_TEXT`] bytes.
    pub text: &'a [u8],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head {
    size: U16,
    version: u8,
    kind: u8,
    point: u8,
    node: u8,
    op: U16,
    status: U32,
    bytes: U32,
    seq: U64,
    cause_seq: U64,
    cause_node: u8,
    nodes: u8,
    text_len: U16,
    peer: u8,
    reserved: [u8; 3],
    stamp: U64,
    nanos: U64,
    about: U64,
    begin: U64,
}

const _: () = assert!(core::mem::size_of::<Head>() == HEAD);

impl<'a> EventRecord<'a> {
    /// Bytes of its record.
    #[inline]
    pub fn size(&self) -> usize {
        HEAD.saturating_add(self.clock.len().saturating_mul(8))
            .saturating_add(self.text.len())
            .next_multiple_of(8)
    }

    /// Whether it has a record: its text is not too long, nor has it more nodes than there can be.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.text.len() <= MAX_TEXT && self.clock.len() <= MAX_NODES
    }

    /// Writes its record to `out`, word by word: each stands for the eight bytes that it has in
    /// little-endian order. `None` if it has none; nothing is written then.
    #[inline]
    pub fn write(&self, mut out: impl FnMut(u64)) -> Option<()> {
        if !self.is_writable() {
            return None;
        }
        let cause = self.cause.unwrap_or_default();
        let head = Head {
            size: u16::try_from(self.size()).ok()?.into(),
            version: VERSION,
            kind: self.kind as u8,
            point: self.point as u8,
            node: self.id.node,
            op: self.op.into(),
            status: self.status.into(),
            bytes: self.bytes.into(),
            seq: self.id.seq.into(),
            cause_seq: cause.seq.into(),
            cause_node: cause.node,
            nodes: u8::try_from(self.clock.len()).ok()?,
            text_len: u16::try_from(self.text.len()).ok()?.into(),
            peer: self.peer,
            reserved: [0; 3],
            stamp: self.stamp.to_wire().into(),
            nanos: self.nanos.into(),
            about: self.about.into(),
            begin: self.begin.into(),
        };
        let head: [U64; HEAD / 8] = zerocopy::transmute!(head);
        for word in head {
            out(word.get());
        }
        for count in self.clock {
            out(count.get());
        }
        let mut words = self.text.chunks_exact(8);
        for word in &mut words {
            out(word.try_into().map_or(0, u64::from_le_bytes));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let bytes = rest.iter().rev();
            out(bytes.fold(0, |word, byte| (word << 8) | u64::from(*byte)));
        }
        Some(())
    }

    /// Reads the record at the start of `bytes`: its size, and the event, unless it is of a later
    /// version. `None` if there is none, or not all of it.
    pub fn parse(bytes: &'a [u8]) -> Option<(usize, Option<Self>)> {
        let (head, _) = Head::read_from_prefix(bytes).ok()?;
        let size = usize::from(head.size.get());
        let record = bytes.get(..size)?;
        if size < HEAD || size % 8 != 0 {
            return None;
        }
        if head.version != VERSION {
            return Some((size, None));
        }
        let (Some(kind), Some(point)) = (
            EventKind::from_wire(head.kind),
            Point::from_wire(head.point),
        ) else {
            return Some((size, None));
        };
        let rest = record.get(HEAD..)?;
        let nodes = usize::from(head.nodes);
        if nodes > MAX_NODES {
            return None;
        }
        let (clock, rest) = <[U64]>::ref_from_prefix_with_elems(rest, nodes).ok()?;
        let text = rest.get(..usize::from(head.text_len.get()))?;
        let cause = EventId {
            node: head.cause_node,
            seq: head.cause_seq.get(),
        };
        let event = EventRecord {
            id: EventId {
                node: head.node,
                seq: head.seq.get(),
            },
            cause: (cause.node != 0).then_some(cause),
            kind,
            point,
            op: head.op.get(),
            status: head.status.get(),
            bytes: head.bytes.get(),
            peer: head.peer,
            stamp: Hybrid::from_wire(head.stamp.get()),
            nanos: head.nanos.get(),
            about: head.about.get(),
            begin: head.begin.get(),
            clock,
            text,
        };
        Some((size, Some(event)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn event<'a>(text: &'a [u8], clock: &'a [U64], number: u64) -> EventRecord<'a> {
        EventRecord {
            id: EventId {
                node: 3,
                seq: number,
            },
            cause: (number % 2 == 0).then_some(EventId { node: 2, seq: 9 }),
            kind: EventKind::Queue,
            point: Point::Reply,
            op: number as u16,
            status: 110,
            bytes: 1 << 20,
            peer: 1,
            stamp: Hybrid::from_wire(number),
            nanos: 77,
            about: number << 3,
            begin: number / 2,
            clock,
            text,
        }
    }

    fn written(event: &EventRecord<'_>) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        event.write(|word| bytes.extend(word.to_le_bytes()))?;
        Some(bytes)
    }

    proptest! {
        #[test]
        fn events_come_back(
            text in prop::collection::vec(any::<u8>(), 0..=MAX_TEXT),
            counts in prop::collection::vec(any::<u64>(), 0..=MAX_NODES),
            number: u64,
        ) {
            let clock: Vec<U64> = counts.into_iter().map(U64::new).collect();
            let event = event(&text, &clock, number);
            let mut bytes = written(&event).unwrap();
            prop_assert_eq!(bytes.len(), event.size());
            prop_assert!(bytes.len() <= MAX_RECORD);
            bytes.extend_from_slice(b"what follows");
            prop_assert_eq!(EventRecord::parse(&bytes), Some((event.size(), Some(event))));
            prop_assert_eq!(EventRecord::parse(&bytes[..event.size() - 1]), None);
        }

        #[test]
        fn any_bytes_are_judged(mut bytes in prop::collection::vec(any::<u8>(), 0..200), size: u8) {
            if let Some(first) = bytes.first_mut() {
                *first = size;
            }
            if let Some(second) = bytes.get_mut(1) {
                *second = 0;
            }
            if let Some((size, _)) = EventRecord::parse(&bytes) {
                prop_assert!(size >= HEAD && size <= bytes.len());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        assert_eq!(written(&event(&[0; MAX_TEXT + 1], &[], 1)), None);
        let clock = [U64::ZERO; MAX_NODES + 1];
        assert_eq!(written(&event(b"", &clock, 1)), None);
    }

    #[test]
    fn later_versions_are_passed_over() {
        let mut bytes = written(&event(b"text", &[U64::new(1), U64::new(2)], 1)).unwrap();
        bytes[2] = 2;
        assert_eq!(EventRecord::parse(&bytes), Some((bytes.len(), None)));
    }

    #[test]
    fn words_are_read_back() {
        for &kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.name().as_bytes()), Some(kind));
        }
        for &point in Point::ALL {
            assert_eq!(Point::parse(point.name().as_bytes()), Some(point));
        }
        assert_eq!(EventKind::parse(b"nothing"), None);
    }
}
