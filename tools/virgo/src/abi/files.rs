// SPDX-License-Identifier: GPL-2.0
//! Files: structures of their calls.

/// Arguments of `virgo_open2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// Of open(2).
    pub flags: u32,
    /// Permissions of a new file.
    pub mode: u32,
    /// Deadline of this call, and of reads and writes; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Address of a [`FenceArgs`](super::FenceArgs), or 0: for writing.
    pub fence: u64,
}

/// Arguments of `virgo_read2` and `virgo_write2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FileArgs {
    /// First byte.
    pub offset: u64,
    /// Bytes at `data`.
    pub len: u64,
    /// Address of the bytes.
    pub data: u64,
    /// The descriptor.
    pub fd: i32,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of the whole call; 0 means that of the descriptor.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Flag of [`FsyncArgs`]: like fdatasync(2).
pub const FSYNC_DATA: u32 = 1 << 0;

/// Arguments of `virgo_fsync`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FsyncArgs {
    /// The descriptor.
    pub fd: i32,
    /// [`FSYNC_DATA`].
    pub flags: u32,
    /// Deadline of this call; 0 means that of the descriptor.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stat {
    /// Number of the inode.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes on the disk.
    pub blocks: u64,
    /// Last change of the content: seconds since 1970.
    pub mtime_s: i64,
    /// And nanoseconds.
    pub mtime_ns: u32,
    /// Kind and permissions, as in stat(2).
    pub mode: u32,
    /// Names.
    pub nlink: u32,
    /// Owner, as the node that has the file numbers them.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// That node's number.
    pub node: u32,
}

/// Flag of [`StatArgs`]: of a symbolic link itself.
pub const STAT_NO_FOLLOW: u32 = 1 << 0;

/// Arguments of `virgo_stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StatArgs {
    /// Address of the path, ended by NUL; 0 to use the descriptor.
    pub path: u64,
    /// Address of a [`Stat`].
    pub stat: u64,
    /// The descriptor; 0 with a path.
    pub fd: i32,
    /// [`STAT_NO_FOLLOW`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Arguments of `virgo_truncate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TruncateArgs {
    /// Bytes that the file has afterwards.
    pub size: u64,
    /// The descriptor.
    pub fd: i32,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of this call; 0 means that of the descriptor.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Flag of [`UnlinkArgs`]: an empty directory.
pub const UNLINK_DIRECTORY: u32 = 1 << 0;

/// Arguments of `virgo_unlink`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UnlinkArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// [`UNLINK_DIRECTORY`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// Flag of [`RenameArgs`]: the new name must not be there.
pub const RENAME_NO_REPLACE: u32 = 1 << 0;

/// Arguments of `virgo_rename`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RenameArgs {
    /// Address of the path, ended by NUL.
    pub from: u64,
    /// Address of the new path, ended by NUL.
    pub to: u64,
    /// [`RENAME_NO_REPLACE`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
}

/// Arguments of `virgo_mkdir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MkdirArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// Permissions.
    pub mode: u32,
    /// Must be 0.
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// Bytes of an entry of `virgo_readdir` before its name: inode (8), type (1), length (1).
pub const DIRENT_SIZE: usize = 10;

/// The same with [`READDIR_STAT`]: a [`Stat`], type (1), length (1).
pub const DIRENT_STAT_SIZE: usize = size_of::<Stat>() + 2;

/// Flag of [`ReaddirArgs`]: entries begin with what is known of them.
pub const READDIR_STAT: u32 = 1 << 0;

/// Arguments of `virgo_readdir`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ReaddirArgs {
    /// Address of the path, ended by NUL.
    pub path: u64,
    /// Address for the entries.
    pub data: u64,
    /// 0 at first; set to where the next call goes on.
    pub next: u64,
    /// Bytes at `data`: at least 512; at most 65536 are used.
    pub len: u32,
    /// [`READDIR_STAT`].
    pub flags: u32,
    /// Deadline of this call; 0 means the configured one.
    pub timeout_ms: u32,
    /// Must be 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<OpenArgs>() == 32 && align_of::<OpenArgs>() == 8);
const _: () = assert!(size_of::<FileArgs>() == 40 && align_of::<FileArgs>() == 8);
const _: () = assert!(size_of::<FsyncArgs>() == 16 && align_of::<FsyncArgs>() == 4);
const _: () = assert!(size_of::<Stat>() == 56 && align_of::<Stat>() == 8);
const _: () = assert!(size_of::<StatArgs>() == 32 && align_of::<StatArgs>() == 8);
const _: () = assert!(size_of::<TruncateArgs>() == 24 && align_of::<TruncateArgs>() == 8);
const _: () = assert!(size_of::<UnlinkArgs>() == 16 && align_of::<UnlinkArgs>() == 8);
const _: () = assert!(size_of::<RenameArgs>() == 24 && align_of::<RenameArgs>() == 8);
const _: () = assert!(size_of::<MkdirArgs>() == 24 && align_of::<MkdirArgs>() == 8);
const _: () = assert!(size_of::<ReaddirArgs>() == 40 && align_of::<ReaddirArgs>() == 8);
