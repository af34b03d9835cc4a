// SPDX-License-Identifier: GPL-2.0

//! Operations, and the structures of their requests and replies. See [`super`].

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Operation numbers in [`crate::frame::FrameHeader::op`].
pub mod op {
    /// Open or create a file.
    pub const OPEN: u16 = 1;
    /// Close some; those that are not open are passed over.
    pub const CLOSE: u16 = 2;
    /// Read bytes.
    pub const READ: u16 = 3;
    /// Write bytes.
    pub const WRITE: u16 = 4;
    /// Bring what was written to the disk.
    pub const SYNC: u16 = 5;
    /// What is known of a file.
    pub const STAT: u16 = 6;
    /// Cut or lengthen.
    pub const TRUNCATE: u16 = 7;
    /// Remove a name.
    pub const UNLINK: u16 = 8;
    /// Change a name.
    pub const RENAME: u16 = 9;
    /// Make a directory.
    pub const MKDIR: u16 = 10;
    /// Names in a directory.
    pub const READ_DIR: u16 = 11;
    /// Open or create a file for writing, with a lock.
    pub const FENCED_OPEN: u16 = 12;
}

/// Flags of [`OpenFileArgs`]. Those of open(2) differ between architectures.
pub mod open {
    /// For reading.
    pub const READ: u32 = 1 << 0;
    /// For writing.
    pub const WRITE: u32 = 1 << 1;
    /// Create it if it is not there.
    pub const CREATE: u32 = 1 << 2;
    /// With [`CREATE`]: it must not be there.
    pub const EXCLUSIVE: u32 = 1 << 3;
    /// Cut it to nothing.
    pub const TRUNCATE: u32 = 1 << 4;
    /// Each write goes to the end, whatever its offset.
    pub const APPEND: u32 = 1 << 5;
    /// It must be a directory.
    pub const DIRECTORY: u32 = 1 << 6;
    /// It must not be a symbolic link.
    pub const NO_FOLLOW: u32 = 1 << 7;
    /// Each write is on the disk when it returns.
    pub const SYNC: u32 = 1 << 8;
    /// All of them.
    const ALL: u32 = (1 << 9) - 1;

    /// Whether a file can be opened so: for reading or writing, by flags that are known; and a
    /// directory is not created by opening it.
    pub fn are_valid(flags: u32) -> bool {
        let both = CREATE | DIRECTORY;
        flags & !ALL == 0 && flags & (READ | WRITE) != 0 && flags & both != both
    }
}

/// Flags of [`HandleArgs`], [`PathArgs`] and [`ReadDirArgs`].
pub mod flag {
    /// Sync: the data and what is needed to find it, not the times.
    pub const DATA_ONLY: u32 = 1 << 0;
    /// Stat: of a symbolic link itself.
    pub const NO_FOLLOW: u32 = 1 << 1;
    /// Unlink: an empty directory.
    pub const DIRECTORY: u32 = 1 << 2;
    /// Rename: the new name must not be there.
    pub const NO_REPLACE: u32 = 1 << 3;
    /// ReadDir: with what is known of each entry.
    pub const STAT: u32 = 1 << 4;
}

/// Most bytes of data in one Read or Write.
pub const MAX_DATA: usize = 64 * 1024;

/// What Open calls a file.
pub type FileHandle = U64;

/// Most files in one Close.
pub const MAX_CLOSE: usize = 64;

/// Arguments of Open.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct OpenFileArgs {
    /// [`open`].
    pub flags: U32,
    /// Permissions of a new file; 0 if none is created.
    pub mode: U32,
    /// Who opens it, as the asking node numbers its users: whom it is charged to.
    pub uid: U32,
}

/// Reply of Open.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct OpenReply {
    /// Names the open file to the node that has opened it.
    pub handle: FileHandle,
    /// Files that other nodes have open there.
    pub load: U64,
}

/// Arguments of Close, Sync and, without a path behind it, of Stat. With a path the handle is 0.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct HandleArgs {
    /// From Open.
    pub handle: FileHandle,
    /// [`flag`].
    pub flags: U32,
    /// Who asks, as the asking node numbers its users.
    pub uid: U32,
}

/// Arguments of Read.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReadArgs {
    /// From Open.
    pub handle: FileHandle,
    /// First byte.
    pub offset: U64,
    /// Bytes, at most [`MAX_DATA`].
    pub len: U32,
}

/// Arguments of Write.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct WriteArgs {
    /// From Open.
    pub handle: FileHandle,
    /// Where the first byte goes.
    pub offset: U64,
}

/// Reply of Write.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct WriteReply {
    /// Bytes written: fewer only if the disk is full.
    pub written: U32,
}

/// Arguments of Truncate.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct TruncateFileArgs {
    /// From Open.
    pub handle: FileHandle,
    /// Bytes that the file has afterwards.
    pub size: U64,
}

/// Arguments of Unlink, Rename and Mkdir.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PathArgs {
    /// [`flag`].
    pub flags: U32,
    /// Permissions of a new directory; otherwise 0.
    pub mode: U32,
    /// Bytes of the first path: all but in a Rename.
    pub first: U16,
    /// 0.
    pub reserved: U16,
    /// Who asks, as the asking node numbers its users.
    pub uid: U32,
}

/// Reply of Stat.
#[derive(
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
)]
#[repr(C)]
pub struct StatReply {
    /// Number of the inode.
    pub ino: U64,
    /// Bytes.
    pub size: U64,
    /// Units of 512 bytes on the disk.
    pub blocks: U64,
    /// Last change of the content: seconds since 1970.
    pub mtime_s: I64,
    /// And nanoseconds.
    pub mtime_ns: U32,
    /// Kind and permissions, as in stat(2).
    pub mode: U32,
    /// Names.
    pub nlink: U32,
    /// Owner, there.
    pub uid: U32,
    /// Group, there.
    pub gid: U32,
    /// 0.
    pub reserved: U32,
}

/// Arguments of ReadDir.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReadDirArgs {
    /// Where to go on: 0, then as the last reply says.
    pub from: U64,
    /// Bytes of entries wanted at most: [`MIN_ENTRIES`] to [`MAX_DATA`].
    pub len: U32,
    /// [`flag`].
    pub flags: U32,
    /// Who asks, as the asking node numbers its users.
    pub uid: U32,
}

/// Start of the reply of ReadDir.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReadDirReply {
    /// Where to go on. If no entry follows there is none.
    pub next: U64,
}

#[cfg(test)]
mod tests {
    #[test]
    fn opening_creates_no_directory() {
        use super::open::{are_valid, CREATE, DIRECTORY, READ, SYNC, WRITE};
        for flags in [
            READ,
            WRITE,
            READ | WRITE | SYNC,
            READ | DIRECTORY,
            WRITE | CREATE,
        ] {
            assert!(are_valid(flags), "{flags:#x}");
        }
        for flags in [0, CREATE, READ | CREATE | DIRECTORY, READ | (1 << 9)] {
            assert!(!are_valid(flags), "{flags:#x}");
        }
    }
}
