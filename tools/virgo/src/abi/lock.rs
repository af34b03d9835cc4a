// SPDX-License-Identifier: GPL-2.0
//! Cluster locks: structures of their call.

/// Operations of [`LockArgs`].
#[expect(missing_docs, reason = "docs/syscalls.md describes them")]
pub mod lock_op {
    pub const OPEN: u32 = 1;
    pub const LOCK: u32 = 2;
    pub const CONVERT: u32 = 3;
    pub const UNLOCK: u32 = 4;
}

/// Flag of [`LockArgs`]: `EAGAIN` instead of waiting.
pub const LOCK_TRY: u32 = 1 << 0;

/// Flag of [`LockArgs`]: `EINPROGRESS` instead of waiting; an event follows.
pub const LOCK_ASYNC: u32 = 1 << 1;

/// Flag of [`LockArgs`], set by the kernel: the value block is what was written last.
pub const LOCK_VALID: u32 = 1 << 16;

/// Timeout of [`LockArgs`]: until the task is killed.
pub const LOCK_FOREVER: u32 = u32::MAX;

/// Arguments of `virgo_lock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LockArgs {
    /// One of [`lock_op`].
    pub op: u32,
    /// [`LOCK_TRY`], [`LOCK_ASYNC`]; [`LOCK_VALID`] is set.
    pub flags: u32,
    /// The session's descriptor; -1 to open one.
    pub fd: i32,
    /// NL to EX: 1 to 6.
    pub mode: u32,
    /// Longest wait; 0 means the configured one.
    pub timeout_ms: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// Address of the name.
    pub name: u64,
    /// The fencing token: set when it is locked; to unlock, the one that it must have, or 0.
    pub token: u64,
    /// Address of a value block of 64 bytes, or 0.
    pub value: u64,
}

/// What has happened to a lock of a session, as read(2) gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LockEvent {
    /// Its token, if it was granted.
    pub token: u64,
    /// 1 granted, 2 keeps somebody out, 3 refused, 4 lost, 5 events were missed.
    pub kind: u32,
    /// What was granted or is waited for.
    pub mode: u32,
    /// Errno.
    pub error: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// The name, with zeros behind it.
    pub name: [u8; 256],
}

const _: () = assert!(size_of::<LockArgs>() == 48 && align_of::<LockArgs>() == 8);
const _: () = assert!(size_of::<LockEvent>() == 280 && align_of::<LockEvent>() == 8);
