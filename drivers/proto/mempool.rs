// SPDX-License-Identifier: GPL-2.0

//! What memory pools of two nodes say to each other.
//!
//! | op     | request body            | reply body                  | repeated |
//! |--------|-------------------------|-----------------------------|----------|
//! | Alloc  | [`AllocArgs`]           | [`AllocReply`]              | stored reply |
//! | Set    | [`DataArgs`], the bytes | empty                       | stored reply |
//! | Get    | [`DataArgs`]            | the bytes, shorter at the end | done again |
//! | Free   | [`FreeArgs`]            | empty                       | stored reply |
//! | Lookup | [`LookupArgs`]          | [`LookupReply`], chunk ids  | done again |
//!
//! Set, Get and Free of an allocation that is split answer `EXDEV`: the client looks its chunks
//! up and goes to them.

use zerocopy::little_endian::{U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Operation numbers in [`crate::frame::Header::op`].
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
}

/// Flag of [`AllocArgs`]: every uid may use the object.
pub const SHARED: u32 = 1 << 0;

/// Flag of [`AllocArgs`]: the object is a piece of an allocation that the client's memory holds
/// together; it dies with the client's life.
pub const PIECE: u32 = 1 << 1;

/// Flag of [`FreeArgs`]: free the map of a split allocation, whose chunks are gone.
pub const MAP: u32 = 1 << 0;

/// Most bytes of data in one Set or Get.
pub const MAX_DATA: usize = 64 * 1024;

/// Most chunk ids in one [`LookupReply`].
pub const MAX_LOOKUP: usize = 1024;

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
pub struct DataArgs {
    /// Sealed id of the object.
    pub id: U64,
    /// First byte.
    pub offset: U64,
    /// Bytes. In a Set one more than there are means: put a zero behind them, if there is room.
    pub len: U32,
    /// Who asks.
    pub uid: U32,
}

/// Arguments of Free.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct FreeArgs {
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

/// Reply of Lookup; the ids of up to [`MAX_LOOKUP`] chunks follow, none beyond the last.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct LookupReply {
    /// Bytes of the whole allocation.
    pub size: U64,
    /// Bytes of each chunk but the last.
    pub chunk: U64,
}
