// SPDX-License-Identifier: GPL-2.0
//! What is known of a file, of this machine or of a node.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
};

/// Permission bits.
const PERMISSIONS: u32 = 0o777;

/// What is known of one.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) kind: Kind,
    pub(crate) len: u64,
    pub(crate) mode: u32,
    /// Names.
    pub(crate) links: u64,
    pub(crate) uid: u32,
    pub(crate) inode: Inode,
    /// Last change of its content: seconds and nanoseconds.
    pub(crate) modified: (i64, u32),
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Dir,
    /// Neither: a device, a pipe, a socket.
    Special(&'static str),
}

/// Tells files of one machine, or of one export of a node, apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    /// The node; 0 for this machine.
    pub(crate) node: u32,
    /// The file system, of this machine.
    dev: u64,
    number: u64,
}

impl Known {
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    pub(crate) fn of_cluster(found: &virgo::Metadata) -> Self {
        let stat = found.stat();
        Self {
            kind: match stat.mode & libc::S_IFMT {
                libc::S_IFREG => Kind::File,
                libc::S_IFDIR => Kind::Dir,
                libc::S_IFIFO => Kind::Special("a pipe"),
                libc::S_IFSOCK => Kind::Special("a socket"),
                _ => Kind::Special("a device"),
            },
            len: stat.size,
            mode: stat.mode & PERMISSIONS,
            links: stat.nlink.into(),
            uid: stat.uid,
            inode: Inode {
                node: stat.node,
                dev: 0,
                number: stat.ino,
            },
            modified: (stat.mtime_s, stat.mtime_ns),
        }
    }

    pub(crate) fn of_local(found: &fs::Metadata) -> Self {
        let kind = found.file_type();
        Self {
            kind: match () {
                () if kind.is_file() => Kind::File,
                () if kind.is_dir() => Kind::Dir,
                () if kind.is_fifo() => Kind::Special("a pipe"),
                () if kind.is_socket() => Kind::Special("a socket"),
                () => Kind::Special("a device"),
            },
            len: found.len(),
            mode: found.mode() & PERMISSIONS,
            links: found.nlink(),
            uid: found.uid(),
            inode: Inode {
                node: 0,
                dev: found.dev(),
                number: found.ino(),
            },
            modified: (
                found.mtime(),
                u32::try_from(found.mtime_nsec()).unwrap_or(0),
            ),
        }
    }
}
