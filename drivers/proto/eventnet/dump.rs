// SPDX-License-Identifier: GPL-2.0

//! What a node answers who reads its events: where to go on, then records.

use super::ring::{Cursor, Read};
use zerocopy::{
    little_endian::{U32, U64},
    FromBytes as _,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before the records.
pub const DUMP_HEAD: usize = 32;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Head {
    at: U64,
    count: U64,
    lost: U64,
    rings: U32,
    reserved: [u8; 4],
}

const _: () = assert!(core::mem::size_of::<Head>() == DUMP_HEAD);

/// Some events of one of a node's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dump<'a> {
    /// Where to go on.
    pub next: Cursor,
    /// Events that were replaced before they were read.
    pub lost: u64,
    /// Rings of the node.
    pub rings: u32,
    /// Records, see [`EventRecord`](super::event::EventRecord); none if there are no more now.
    pub records: &'a [u8],
}

impl<'a> Dump<'a> {
    /// The start of the answer; the records follow.
    pub fn head(rings: u32, read: &Read) -> [u8; DUMP_HEAD] {
        zerocopy::transmute!(Head {
            at: read.next.at.into(),
            count: read.next.count.into(),
            lost: read.lost.into(),
            rings: rings.into(),
            reserved: [0; 4],
        })
    }

    /// Reads an answer; `None` if it is none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, records) = Head::read_from_prefix(bytes).ok()?;
        Some(Dump {
            next: Cursor {
                at: head.at.get(),
                count: head.count.get(),
            },
            lost: head.lost.get(),
            rings: head.rings.get(),
            records,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn answers_come_back() {
        let read = Read {
            next: Cursor { at: 800, count: 9 },
            bytes: 3,
            lost: 2,
        };
        let mut bytes: Vec<u8> = Dump::head(4, &read).to_vec();
        bytes.extend(b"abc");
        let expected = Dump {
            next: read.next,
            lost: 2,
            rings: 4,
            records: b"abc",
        };
        assert_eq!(Dump::parse(&bytes), Some(expected));
        assert_eq!(Dump::parse(&bytes[..31]), None);
    }
}
