// SPDX-License-Identifier: GPL-2.0

//! What memory pools of two nodes say to each other.
//!
//! | op                                   | request body                          | reply body                    | repeated |
//! |--------------------------------------|---------------------------------------|-------------------------------|----------|
//! | Alloc                                | [`AllocArgs`]                         | [`AllocReply`]                | stored reply |
//! | Set                                  | [`GetSetArgs`], the bytes             | empty                         | stored reply |
//! | Get                                  | [`GetSetArgs`]                        | the bytes, shorter at the end | done again |
//! | Free                                 | [`FreeObjectArgs`]                    | empty                         | stored reply |
//! | Lookup                               | [`LookupArgs`]                        | [`LookupReply`], chunk ids    | done again |
//! | AllocMany                            | [`AllocManyArgs`]                     | [`AllocManyReply`], ids       | stored reply |
//! | FreeMany                             | [`ManyArgs`], ids                     | empty                         | stored reply |
//! | GetMany                              | [`ManyArgs`], [`Part`]s               | the bytes of all parts        | done again |
//! | List                                 | [`ListArgs`]                          | [`ListReply`], [`Listed`]s    | done again |
//! | SetMany                              | [`SetManyArgs`], [`Part`]s, the bytes | empty                         | stored reply |
//! | FencedSet, FencedSetMany, FencedFree | a [`FenceToken`](crate::fence::FenceToken), the body of the other | empty                         | stored reply |
//!
//! Set, Get and Free of an allocation that is split answer `EXDEV`: the client looks its pieces
//! up and goes to them.
//!
//! AllocMany makes as many objects as there is room for, and fails only if not even one fits.
//! FreeMany frees all that can be freed; objects that are gone already are no error, and of several
//! other errors it answers the first. GetMany answers all bytes that are asked for, or an error.
//! SetMany writes one part after the other, up to the first that fails.
//!
//! The fenced ones are for a client that has a lock: each object compares its token ([`crate::fence`]). A
//! map compares it, too, before it answers `EXDEV`.

use zerocopy::{
    little_endian::{U32, U64},
    FromBytes, Immutable, KnownLayout, Unaligned,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Operation numbers in [`crate::frame::FrameHeader::op`].
pub mod op {
    /// Allocate a chunk.
    pub const ALLOC: u16 = 1;
    /// Copy bytes into an object.
    pub const SET: u16 = 2;
    /// Copy bytes out of an object.
    pub const GET: u16 = 3;
    /// Free an object.
    pub const FREE: u16 = 4;
    /// Ask how an allocation is split.
    pub const LOOKUP: u16 = 5;
    /// Allocate several pieces of one size.
    pub const ALLOC_MANY: u16 = 6;
    /// Free several objects.
    pub const FREE_MANY: u16 = 7;
    /// Copy bytes out of several objects.
    pub const GET_MANY: u16 = 8;
    /// List the objects of a node.
    pub const LIST: u16 = 9;
    /// Copy bytes into several objects.
    pub const SET_MANY: u16 = 10;
    /// Copy bytes into an object, with a lock.
    pub const FENCED_SET: u16 = 11;
    /// Copy bytes into several objects, with a lock.
    pub const FENCED_SET_MANY: u16 = 12;
    /// Free an object, with a lock.
    pub const FENCED_FREE: u16 = 13;
}

/// Flag of [`AllocArgs`] and [`Listed`]: every uid may use the object.
pub const SHARED: u32 = 1 << 0;

/// Flag of [`AllocArgs`] and [`Listed`]: the object is a piece of an allocation that the client's memory
/// holds together; it dies with the client's incarnation.
pub const PIECE: u32 = 1 << 1;

/// Flag of [`Listed`]: the object is the map of a split allocation.
pub const SPLIT: u32 = 1 << 2;

/// Flag of [`FreeObjectArgs`]: free the map of a split allocation, whose pieces are gone.
pub const MAP: u32 = 1 << 0;

/// Most bytes of data in one Set or Get.
pub const MAX_DATA: usize = 64 * 1024;

/// Most chunk ids in one [`LookupReply`].
pub const MAX_LOOKUP: usize = 1024;

/// Most objects of one AllocMany, FreeMany, GetMany or SetMany.
pub const MAX_MANY: usize = 256;

/// Most bytes of one AllocMany, unless a single object has more.
pub const MAX_MANY_BYTES: u64 = 1 << 20;

/// Most pieces of an allocation.
pub const MAX_PIECES: u64 = 1 << 16;

/// Arguments of Alloc.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct AllocArgs {
    /// Bytes.
    pub size: U64,
    /// Owner.
    pub uid: U32,
    /// [`SHARED`], [`PIECE`].
    pub flags: U32,
}

/// Reply of Alloc.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct AllocReply {
    /// Sealed id of the object.
    pub id: U64,
    /// Bytes that the node's pool has left.
    pub free: U64,
}

/// Arguments of Set and Get.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct GetSetArgs {
    /// Sealed id of the object.
    pub id: U64,
    /// First byte.
    pub offset: U64,
    /// Bytes. In a Set one more than there are means: put a zero behind them, if there is room.
    pub len: U32,
    /// Who asks.
    pub uid: U32,
}

/// Arguments of AllocMany.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct AllocManyArgs {
    /// Bytes of each.
    pub size: U64,
    /// Owner.
    pub uid: U32,
    /// [`SHARED`], [`PIECE`].
    pub flags: U32,
    /// How many: 1 to [`most_at_once`].
    pub count: U32,
}

/// Reply of AllocMany; the sealed ids follow, at least one.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct AllocManyReply {
    /// Bytes that the node's pool has left.
    pub free: U64,
    /// Bytes of them that this uid may take.
    pub own: U64,
}

/// How many objects of `size` bytes one AllocMany may make.
pub fn most_at_once(size: u64) -> usize {
    let count = MAX_MANY_BYTES.checked_div(size).unwrap_or(0).max(1);
    usize::try_from(count).map_or(MAX_MANY, |count| count.min(MAX_MANY))
}

/// Arguments of FreeMany and GetMany; the ids or [`Part`]s follow: 1 to [`MAX_MANY`].
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ManyArgs {
    /// Who asks.
    pub uid: U32,
}

/// A part of what GetMany reads or SetMany writes: all parts have at most [`MAX_DATA`] bytes together.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Part {
    /// Sealed id of the object.
    pub id: U64,
    /// First byte.
    pub offset: U64,
    /// Bytes.
    pub len: U32,
}

/// Arguments of SetMany; [`Part`]s follow, 1 to [`MAX_MANY`], and behind them the bytes of all, in their
/// order. A request with more than one part has at most [`MAX_DATA`] bytes of both, so that it fits a frame.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SetManyArgs {
    /// Who asks.
    pub uid: U32,
    /// Parts that follow.
    pub count: U32,
}

/// What SetMany asks for: parts, each with its bytes.
#[derive(Clone, Debug)]
pub struct SetMany<'a> {
    parts: &'a [Part],
    bytes: &'a [u8],
}

impl<'a> SetMany<'a> {
    /// Who asks, and for what. `None` if the body is torn, or there are no parts, more than
    /// [`MAX_MANY`], or more than [`MAX_DATA`] bytes.
    pub fn parse(body: &'a [u8]) -> Option<(u32, Self)> {
        let (args, rest) = SetManyArgs::ref_from_prefix(body).ok()?;
        let count = usize::try_from(args.count.get()).ok()?;
        if !matches!(count, 1..=MAX_MANY) {
            return None;
        }
        let (parts, bytes) = <[Part]>::ref_from_prefix_with_elems(rest, count).ok()?;
        let mut len = 0u64;
        for part in parts {
            len = len.checked_add(part.len.get().into())?;
        }
        let whole = bytes.len() <= MAX_DATA && u64::try_from(bytes.len()) == Ok(len);
        whole.then_some((args.uid.get(), SetMany { parts, bytes }))
    }
}

impl<'a> Iterator for SetMany<'a> {
    type Item = (Part, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (part, parts) = self.parts.split_first()?;
        let len = usize::try_from(part.len.get()).ok()?;
        let (bytes, rest) = self.bytes.split_at_checked(len)?;
        self.parts = parts;
        self.bytes = rest;
        Some((*part, bytes))
    }
}

/// What FreeMany or GetMany asks for: who asks, and the ids or parts.
///
/// `None` if the body is torn, or there are none or more than [`MAX_MANY`].
pub fn many<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    body: &[u8],
) -> Option<(u32, &[T])> {
    let (args, rest) = ManyArgs::ref_from_prefix(body).ok()?;
    let items = <[T]>::ref_from_bytes(rest).ok()?;
    matches!(items.len(), 1..=MAX_MANY).then_some((args.uid.get(), items))
}

/// Arguments of Free.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct FreeObjectArgs {
    /// Sealed id of the object.
    pub id: U64,
    /// Who asks.
    pub uid: U32,
    /// [`MAP`].
    pub flags: U32,
}

/// Arguments of Lookup.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct LookupArgs {
    /// Sealed id of the allocation.
    pub id: U64,
    /// Index of the first chunk wanted.
    pub first: U32,
    /// Who asks.
    pub uid: U32,
}

/// Reply of Lookup; the ids of up to [`MAX_LOOKUP`] pieces follow, none beyond the last.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct LookupReply {
    /// Bytes of the whole allocation.
    pub size: U64,
    /// Bytes of each chunk but the last.
    pub chunk: U64,
}

/// Whose objects [`ListArgs::of`] asks for: everybody's.
pub const EVERYBODY: u32 = u32::MAX;

/// Most objects in one reply to List.
pub const MAX_LISTED: usize = 1024;

/// Arguments of List.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ListArgs {
    /// Who asks. Others than root are shown their own objects only.
    pub uid: U32,
    /// Whose objects, or [`EVERYBODY`].
    pub of: U32,
    /// Where to begin: 0, or [`ListReply::next`].
    pub from: U32,
}

/// Reply of List.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ListReply {
    /// Where to go on; 0 if there are no more.
    pub next: U32,
}

/// An object in the reply of List.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Listed {
    /// Its sealed id.
    pub id: U64,
    /// Bytes; of a map, those of the whole allocation.
    pub size: U64,
    /// Owner.
    pub uid: U32,
    /// [`SHARED`], [`PIECE`], [`SPLIT`].
    pub flags: U32,
}

impl Listed {
    /// What it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self.flags.get() {
            flags if flags & SPLIT != 0 => "split",
            flags if flags & PIECE != 0 => "piece",
            _ => "whole",
        }
    }

    /// Who may use it, in a word.
    pub fn access(&self) -> &'static str {
        match self.flags.get() & SHARED {
            0 => "private",
            _ => "shared",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use zerocopy::IntoBytes as _;

    #[test]
    fn a_batch_is_bounded_by_objects_and_bytes() {
        for (size, count) in [
            (0, 1),
            (1, MAX_MANY),
            (4096, 256),
            (65536, 16),
            (1 << 20, 1),
            (u64::MAX, 1),
        ] {
            assert_eq!(most_at_once(size), count, "{size}");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_together_is_taken_apart(
            uid in any::<u32>(),
            ids in prop::collection::vec(any::<u64>(), 0..300),
        ) {
            let ids: Vec<U64> = ids.into_iter().map(U64::from).collect();
            let args = ManyArgs { uid: uid.into() };
            let mut body = args.as_bytes().to_vec();
            body.extend_from_slice(ids.as_bytes());
            let expected = matches!(ids.len(), 1..=MAX_MANY).then_some((uid, &ids[..]));
            prop_assert_eq!(many::<U64>(&body), expected);
            body.push(0);
            prop_assert!(many::<U64>(&body).is_none());
        }

        #[test]
        fn parts_have_their_bytes(
            uid in any::<u32>(),
            datas in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..300),
        ) {
            let args = SetManyArgs { uid: uid.into(), count: (datas.len() as u32).into() };
            let mut body = args.as_bytes().to_vec();
            for (id, data) in (7u64..).zip(&datas) {
                let part = Part { id: id.into(), offset: 3.into(), len: (data.len() as u32).into() };
                body.extend_from_slice(part.as_bytes());
            }
            datas.iter().for_each(|data| body.extend_from_slice(data));
            let set = SetMany::parse(&body);
            prop_assert_eq!(set.is_some(), matches!(datas.len(), 1..=MAX_MANY));
            if let Some((of, set)) = set {
                prop_assert_eq!(of, uid);
                let taken: Vec<_> = set.map(|(part, data)| (part.id.get(), data.to_vec())).collect();
                let expected: Vec<_> = (7u64..).zip(datas).collect();
                prop_assert_eq!(taken, expected);
            }
            body.push(0);
            prop_assert!(SetMany::parse(&body).is_none());
            body.truncate(body.len() - 2);
            prop_assert!(SetMany::parse(&body).is_none());
        }

        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some((_, set)) = SetMany::parse(&body) {
                prop_assert!(set.count() * 20 <= body.len());
            }
            let parts = many::<Part>(&body).map_or(0, |(_, parts)| parts.len());
            prop_assert!(parts * 20 <= body.len());
        }
    }
}
