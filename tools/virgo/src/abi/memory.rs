// SPDX-License-Identifier: GPL-2.0
//! The memory pool: structures of its calls.

/// Flag of [`MallocArgs`]: every uid of the cluster may set, get and free the allocation.
pub const MALLOC_SHARED: u32 = 1 << 0;

/// Place of [`MallocArgs`]: as `/etc/virgo_client.conf` says.
pub const PLACE_DEFAULT: u32 = 0;

/// Place of [`MallocArgs`]: each chunk on a random node.
pub const PLACE_RANDOM: u32 = 1;

/// Place of [`MallocArgs`]: each chunk where the most pool memory is free.
pub const PLACE_LEAST_USED: u32 = 2;

/// Place of [`MallocArgs`]: all chunks on [`MallocArgs::node`].
pub const PLACE_NODE: u32 = 3;

/// Arguments of `virgo_malloc2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MallocArgs {
    /// Bytes to allocate, at least 1.
    pub size: u64,
    /// Set on success: names the allocation on every node.
    pub id: u64,
    /// [`MALLOC_SHARED`].
    pub flags: u32,
    /// One of the `PLACE_` constants.
    pub place: u32,
    /// Number of the node for [`PLACE_NODE`], otherwise 0.
    pub node: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// A lock that guards an object, and the token with which it was granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FenceArgs {
    /// Address of the lock's name.
    pub name: u64,
    /// Its token, not 0.
    pub token: u64,
    /// Bytes of the name.
    pub name_len: u32,
    /// Must be 0.
    pub flags: u32,
}

/// Arguments of `virgo_set2` and `virgo_get2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DataArgs {
    /// The allocation.
    pub id: u64,
    /// First byte of the allocation to touch.
    pub offset: u64,
    /// Bytes at `data`.
    pub len: u64,
    /// Address of the bytes.
    pub data: u64,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Of `virgo_set2`: address of a [`FenceArgs`], or 0.
    pub fence: u64,
}

/// Arguments of `virgo_free2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FreeArgs {
    /// The allocation.
    pub id: u64,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Address of a [`FenceArgs`], or 0.
    pub fence: u64,
}

const _: () = assert!(size_of::<MallocArgs>() == 32 && align_of::<MallocArgs>() == 8);
const _: () = assert!(size_of::<FenceArgs>() == 24 && align_of::<FenceArgs>() == 8);
const _: () = assert!(size_of::<DataArgs>() == 48 && align_of::<DataArgs>() == 8);
const _: () = assert!(size_of::<FreeArgs>() == 24 && align_of::<FreeArgs>() == 8);
