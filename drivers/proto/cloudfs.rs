// SPDX-License-Identifier: GPL-2.0

//! What the file services of two nodes say to each other, and how files are named.
//!
//! | op       | request body                      | reply body                        | repeated |
//! |----------|-----------------------------------|-----------------------------------|----------|
//! | Open     | [`OpenArgs`], the path            | [`OpenReply`]                     | stored reply |
//! | Close    | [`Handle`]s                       | empty                             | done again |
//! | Read     | [`ReadArgs`]                      | the bytes, shorter at the end     | done again |
//! | Write    | [`WriteArgs`], the bytes          | [`WriteReply`]                    | stored reply |
//! | Sync     | [`HandleArgs`]                    | empty                             | done again |
//! | Stat     | [`HandleArgs`], or with the path  | [`Stat`]                          | done again |
//! | Truncate | [`TruncateArgs`]                  | empty                             | stored reply |
//! | Unlink   | [`PathArgs`], the path            | empty                             | stored reply |
//! | Rename   | [`PathArgs`], both paths          | empty                             | stored reply |
//! | Mkdir    | [`PathArgs`], the path            | empty                             | stored reply |
//! | ReadDir  | [`ReadDirArgs`], the path         | [`ReadDirReply`], [`Entry`]s with their names | done again |
//!
//! Paths are absolute, as the serving node knows them, and without a NUL.

use crate::{balance::Policy, config::MAX_NODES, vuid::NodeId};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Operation numbers in [`crate::frame::Header::op`].
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
}

/// Flags of [`OpenArgs`]. Those of open(2) differ between architectures.
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
    pub const ALL: u32 = (1 << 9) - 1;
}

/// Flags of [`HandleArgs`] and [`PathArgs`].
pub mod flag {
    /// Sync: the data and what is needed to find it, not the times.
    pub const DATA_ONLY: u32 = 1 << 0;
    /// Stat: of a symbolic link itself.
    pub const NO_FOLLOW: u32 = 1 << 1;
    /// Unlink: an empty directory.
    pub const DIRECTORY: u32 = 1 << 2;
    /// Rename: the new name must not be there.
    pub const NO_REPLACE: u32 = 1 << 3;
}

/// Most bytes of data in one Read or Write.
pub const MAX_DATA: usize = 64 * 1024;

/// What Open calls a file.
pub type Handle = U64;

/// Most files in one Close.
pub const MAX_CLOSE: usize = 64;

/// Most bytes of a path, without an end mark: PATH_MAX has room for its NUL.
pub const MAX_PATH: usize = 4095;

/// Arguments of Open.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct OpenArgs {
    /// [`open`].
    pub flags: U32,
    /// Permissions of a new file.
    pub mode: U32,
}

/// Reply of Open.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct OpenReply {
    /// Names the open file to the node that has opened it.
    pub handle: Handle,
    /// Files that other nodes have open there.
    pub load: U64,
}

/// Arguments of Close, Sync and, without a path behind it, of Stat. With a path the handle is 0.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct HandleArgs {
    /// From Open.
    pub handle: Handle,
    /// [`flag`].
    pub flags: U32,
}

/// Arguments of Read.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReadArgs {
    /// From Open.
    pub handle: Handle,
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
    pub handle: Handle,
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
pub struct TruncateArgs {
    /// From Open.
    pub handle: Handle,
    /// Bytes that the file has afterwards.
    pub size: U64,
}

/// Arguments of Unlink, Rename and Mkdir.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct PathArgs {
    /// [`flag`].
    pub flags: U32,
    /// Permissions of a new directory.
    pub mode: U32,
    /// Bytes of the first path: all but in a Rename.
    pub first: U16,
    /// 0.
    pub reserved: U16,
}

/// Reply of Stat.
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq,
)]
#[repr(C)]
pub struct Stat {
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
}

/// Fewest bytes of entries that can be asked for: the longest entry fits.
pub const MIN_ENTRIES: usize = 512;

/// Start of the reply of ReadDir.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct ReadDirReply {
    /// Where to go on. If no entry follows there is none.
    pub next: U64,
}

/// An entry of a directory; the name follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// Number of the inode.
    pub ino: U64,
    /// DT_* of readdir(3).
    pub kind: u8,
    /// Bytes of the name.
    pub len: u8,
}

/// A file as its users name it: where, and its path there.
///
/// | written          | means |
/// |------------------|-------|
/// | `/path`          | on this node |
/// | `2:/path`        | on node 2 |
/// | `node2:/path`    | the same |
/// | `1,3:/path`      | a copy on either: the first that can be opened, the less used one first |
/// | `least-used:/path`, `random:/path`, `two-choices:/path` | on a node that the policy chooses |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Where it is.
    pub at: At,
    /// Absolute.
    pub path: &'a [u8],
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// On this node.
    Here,
    /// On the node with this number.
    Node(NodeId),
    /// Copies on each of them: a bit for each, from bit 0 for node 1.
    Copies(u64),
    /// Where the policy says.
    Policy(Policy),
}

/// Why a name is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// It is empty.
    Empty,
    /// The path is longer than [`MAX_PATH`].
    TooLong,
    /// It has a NUL, or the path is not absolute.
    Path,
    /// What stands before the colon is no node, list of nodes, or policy.
    Node,
}

impl<'a> Name<'a> {
    /// Takes a name apart.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(name: &'a [u8]) -> Result<Self, BadName> {
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        let (at, path) = if name.starts_with(b"/") {
            (At::Here, name)
        } else {
            let colon = name.iter().position(|&byte| byte == b':');
            let Some((at, path)) = colon.and_then(|colon| name.split_at_checked(colon)) else {
                return Err(BadName::Path);
            };
            let at = core::str::from_utf8(at).ok().and_then(at_of);
            let path = path.strip_prefix(b":").unwrap_or(path);
            (at.ok_or(BadName::Node)?, path)
        };
        if !path.starts_with(b"/") || path.contains(&0) {
            return Err(BadName::Path);
        }
        match path.len() > MAX_PATH {
            true => Err(BadName::TooLong),
            false => Ok(Name { at, path }),
        }
    }
}

fn at_of(text: &str) -> Option<At> {
    if let Some(policy) = Policy::parse(text) {
        return Some(At::Policy(policy));
    }
    let mut nodes = text.split(',').map(node);
    if !text.contains(',') {
        return nodes.next().flatten().map(At::Node);
    }
    let copies = nodes.try_fold(0, |set: u64, node| {
        let shift = u32::from(node?).checked_sub(1)?;
        Some(set | 1u64.checked_shl(shift)?)
    });
    copies.map(At::Copies)
}

fn node(text: &str) -> Option<NodeId> {
    let digits = text.strip_prefix("node").unwrap_or(text);
    let number: NodeId = digits.parse().ok()?;
    // `parse` takes a plus sign, too.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (1..=MAX_NODES).contains(&usize::from(number))).then_some(number)
}

/// What is left of an absolute `path` below directory `dir`, without slashes at its start; `None`
/// if it does not begin with it. Of names only: what they lead to is the file system's affair.
pub fn below<'a>(path: &'a [u8], dir: &[u8]) -> Option<&'a [u8]> {
    let mut dir = dir;
    while let Some(shorter) = dir.strip_suffix(b"/") {
        dir = shorter;
    }
    let mut rest = path.strip_prefix(dir)?;
    if !rest.is_empty() && !rest.starts_with(b"/") {
        return None;
    }
    while let Some(shorter) = rest.strip_prefix(b"/") {
        rest = shorter;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String, vec};

    fn at(name: &str) -> Result<At, BadName> {
        Name::parse(name.as_bytes()).map(|name| name.at)
    }

    #[test]
    fn names_say_where() {
        assert_eq!(at("/a:b"), Ok(At::Here));
        assert_eq!(at("2:/a"), Ok(At::Node(2)));
        assert_eq!(at("node2:/a:b"), Ok(At::Node(2)));
        assert_eq!(at("1,node3:/a"), Ok(At::Copies(0b101)));
        assert_eq!(at("64,1:/a"), Ok(At::Copies((1 << 63) | 1)));
        assert_eq!(at("least-used:/a"), Ok(At::Policy(Policy::LeastUsed)));
        assert_eq!(Name::parse(b"7:/a:b").unwrap().path, b"/a:b");
    }

    #[test]
    fn bad_names_are_told_apart() {
        for (name, why) in [
            ("", BadName::Empty),
            ("a", BadName::Path),
            ("2:a", BadName::Path),
            ("2:", BadName::Path),
            ("/a\0b", BadName::Path),
            (":/a", BadName::Node),
            ("0:/a", BadName::Node),
            ("65:/a", BadName::Node),
            ("+2:/a", BadName::Node),
            ("1,:/a", BadName::Node),
            ("most-used:/a", BadName::Node),
            ("\u{e4}:/a", BadName::Node),
        ] {
            assert_eq!(at(name), Err(why), "{name}");
        }
        let longest = format!("2:/{}", "x".repeat(MAX_PATH - 1));
        assert_eq!(at(&longest), Ok(At::Node(2)));
        assert_eq!(at(&format!("{longest}x")), Err(BadName::TooLong));
    }

    #[test]
    fn only_whole_names_are_below() {
        for (path, dir, rest) in [
            ("/a/b", "/a", Some("b")),
            ("/a//b/", "/a/", Some("b/")),
            ("/a", "/a", Some("")),
            ("/ab", "/a", None),
            ("/b", "/a", None),
            ("/b", "/", Some("b")),
            // Not what it names, only what it says.
            ("/a/../b", "/a", Some("../b")),
        ] {
            let found = below(path.as_bytes(), dir.as_bytes());
            assert_eq!(found, rest.map(str::as_bytes), "{path} below {dir}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_name_or_none(name in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(name) = Name::parse(&name) {
                prop_assert!(name.path.starts_with(b"/") && !name.path.contains(&0));
            }
        }

        #[test]
        fn sets_have_exactly_the_nodes_named(nodes in prop::collection::vec(1..=64u8, 2..6)) {
            let list: vec::Vec<String> = nodes.iter().map(|node| format!("{node}")).collect();
            let set = nodes.iter().fold(0, |set, node| set | (1u64 << (node - 1)));
            prop_assert_eq!(at(&format!("{}:/", list.join(","))), Ok(At::Copies(set)));
        }
    }
}
