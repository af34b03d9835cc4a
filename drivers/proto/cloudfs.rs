// SPDX-License-Identifier: GPL-2.0

//! What the file services of two nodes say to each other, and how files are named.
//!
//! | op       | request body                      | reply body                        | repeated |
//! |----------|-----------------------------------|-----------------------------------|----------|
//! | Open     | [`OpenArgs`], the path            | [`OpenReply`]                     | stored reply |
//! | Close    | [`Handle`]s                       | empty                             | done again |
//! | Read     | [`ReadArgs`]                      | the bytes, shorter at the end     | done again |
//! | Write    | [`WriteArgs`], the bytes          | [`WriteReply`]                    | stored reply |
//! | Sync     | [`HandleArgs`]                    | [`SyncReply`]                     | done again |
//! | Stat     | [`HandleArgs`], or with the path  | [`Stat`]                          | done again |
//! | Truncate | [`TruncateArgs`]                  | empty                             | stored reply |
//! | Unlink   | [`PathArgs`], the path            | empty                             | stored reply |
//! | Rename   | [`PathArgs`], both paths          | empty                             | stored reply |
//! | Mkdir    | [`PathArgs`], the path            | empty                             | stored reply |
//! | ReadDir  | [`ReadDirArgs`], the path         | [`ReadDirReply`], [`Entry`]s or [`StatEntry`]s with their names | done again |
//!
//! Paths are absolute, as the serving node knows them, and without a NUL.

use crate::{balance::Policy, config::MAX_NODES, errno::Errno, vuid::NodeId};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::FromBytes as _;
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

/// Reply of Sync: what the open file has met with since it was opened.
///
/// The node that has it open remembers how many of these failures it has reported to its programs:
/// the serving node cannot know which replies were lost, or came too late.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SyncReply {
    /// Failures to bring to the disk what was written.
    pub failures: U64,
    /// Error number of the last one, 0 if there was none.
    pub errno: U32,
}

impl SyncReply {
    /// Adds a failure.
    pub fn add(&mut self, errno: Errno) {
        // Nobody waits until it overflows.
        self.failures = self.failures.get().wrapping_add(1).into();
        self.errno = errno.to_wire().into();
    }

    /// The failure that is to be reported to who was told of `told` failures before, if there is one.
    /// They have been told of all then.
    pub fn news(&self, told: u64) -> Option<Errno> {
        // Replies may overtake each other.
        match self.failures.get() > told {
            true => Some(Errno::from_wire(self.errno.get())),
            false => None,
        }
    }
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
    /// Permissions of a new directory; otherwise 0.
    pub mode: U32,
    /// Bytes of the first path: all but in a Rename.
    pub first: U16,
    /// 0.
    pub reserved: U16,
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
    /// [`flag`].
    pub flags: U32,
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

/// An entry with what is known of it; the name follows.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct StatEntry {
    /// Of a symbolic link itself. The mode is 0 if nothing is known.
    pub stat: Stat,
    /// DT_* of readdir(3).
    pub kind: u8,
    /// Bytes of the name.
    pub len: u8,
}

/// Whether all of `bytes` are [`Entry`]s, or [`StatEntry`]s if they are to be `with_stat`, with names of
/// files of one directory. Users put such a name behind that of the directory: one with a slash, or
/// `..`, would lead them elsewhere.
pub fn are_entries(mut bytes: &[u8], with_stat: bool) -> bool {
    while !bytes.is_empty() {
        let whole = match with_stat {
            false => Entry::read_from_prefix(bytes)
                .ok()
                .and_then(|(entry, rest)| rest.split_at_checked(entry.len.into())),
            true => StatEntry::read_from_prefix(bytes)
                .ok()
                .and_then(|(entry, rest)| rest.split_at_checked(entry.len.into())),
        };
        let Some((name, rest)) = whole else {
            return false;
        };
        if !is_entry_name(name) {
            return false;
        }
        bytes = rest;
    }
    true
}

/// Whether `name` can be that of an entry of a directory.
pub fn is_entry_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
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

/// What is left of an absolute `path` below directory `dir`, without slashes and `.` at its start;
/// `None` if it does not begin with it. Of names only: what they lead to is the file system's affair.
pub fn below<'a>(path: &'a [u8], dir: &[u8]) -> Option<&'a [u8]> {
    let (mut rest, mut dir) = (path.strip_prefix(b"/")?, dir);
    loop {
        let wanted;
        (wanted, dir) = next_name(dir);
        match wanted {
            b"" => return Some(skip_nothing(rest)),
            wanted => {
                let name;
                (name, rest) = next_name(rest);
                if name != wanted {
                    return None;
                }
            }
        }
    }
}

/// A path without the slashes and `.` at its start: they lead nowhere.
fn skip_nothing(mut path: &[u8]) -> &[u8] {
    loop {
        path = match path {
            [b'/', rest @ ..] | [b'.', b'/', rest @ ..] => rest,
            b"." => b"",
            _ => return path,
        };
    }
}

/// The first name of a path that is not `.`, empty if there is none, and what follows.
fn next_name(path: &[u8]) -> (&[u8], &[u8]) {
    let path = skip_nothing(path);
    let end = path.iter().position(|&byte| byte == b'/');
    path.split_at_checked(end.unwrap_or(path.len()))
        .unwrap_or((path, b""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::String, vec};
    use zerocopy::IntoBytes as _;

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
            // What leads nowhere is no part of a name.
            ("//a/./b", "/a", Some("b")),
            ("/./a//./b/./", "/a", Some("b/./")),
            ("/a/.", "/a", Some("")),
            ("/a/b//./c", "/a/./b/", Some("c")),
            ("/a/.b", "/a", Some(".b")),
            ("/a/...", "/a", Some("...")),
            ("/.a", "/a", None),
            ("/a", "/a/b", None),
            ("a", "/a", None),
        ] {
            let found = below(path.as_bytes(), dir.as_bytes());
            assert_eq!(found, rest.map(str::as_bytes), "{path} below {dir}");
        }
    }

    fn entry(name: &[u8], with_stat: bool) -> vec::Vec<u8> {
        let (kind, len) = (8, name.len() as u8);
        let mut bytes = vec::Vec::new();
        match with_stat {
            false => bytes.extend_from_slice(
                Entry {
                    ino: 7.into(),
                    kind,
                    len,
                }
                .as_bytes(),
            ),
            true => {
                let stat = Stat::default();
                bytes.extend_from_slice(StatEntry { stat, kind, len }.as_bytes());
            }
        }
        bytes.extend_from_slice(name);
        bytes
    }

    #[test]
    fn names_that_lead_out_of_a_directory_are_no_entries() {
        for with_stat in [false, true] {
            let good = entry(b"a", with_stat);
            assert!(are_entries(&good, with_stat));
            assert!(are_entries(b"", with_stat));
            assert!(!are_entries(&good[..good.len() - 1], with_stat));
            for bad in [&b""[..], b".", b"..", b"/", b"../x", b"a/b", b"a\0"] {
                let both = [&good[..], &entry(bad, with_stat)].concat();
                assert!(!are_entries(&both, with_stat), "{bad:?}");
            }
            for odd in [&b"..."[..], b".a", b"\xff\n", &[b'x'; 255]] {
                assert!(are_entries(&entry(odd, with_stat), with_stat), "{odd:?}");
            }
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
        fn any_bytes_are_entries_or_not(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            with_stat in any::<bool>(),
        ) {
            let _ = are_entries(&bytes, with_stat);
        }

        /// Syncs that fail or not, with replies that are lost, late, or arrive.
        #[test]
        fn each_failure_is_reported_once(
            syncs in prop::collection::vec((any::<bool>(), 0..3u8), 0..40),
        ) {
            let (mut file, mut told, mut unreported) = (SyncReply::default(), 0, false);
            let mut late: Option<SyncReply> = None;
            for (fails, fate) in syncs {
                if fails {
                    file.add(Errno::EIO);
                    unreported = true;
                }
                let arrives = match fate {
                    0 => None,
                    1 => late.replace(file),
                    _ => Some(file),
                };
                let Some(reply) = arrives else { continue };
                let news = reply.news(told);
                if news.is_some() {
                    told = reply.failures.get();
                    prop_assert!(unreported);
                }
                if told == file.failures.get() {
                    unreported = false;
                }
                prop_assert_eq!(unreported, told < file.failures.get());
            }
            // The next reply that arrives tells what is left, and the one after it nothing.
            prop_assert_eq!(file.news(told).is_some(), unreported);
            prop_assert_eq!(file.news(file.failures.get()), None);
        }

        #[test]
        fn sets_have_exactly_the_nodes_named(nodes in prop::collection::vec(1..=64u8, 2..6)) {
            let list: vec::Vec<String> = nodes.iter().map(|node| format!("{node}")).collect();
            let set = nodes.iter().fold(0, |set, node| set | (1u64 << (node - 1)));
            prop_assert_eq!(at(&format!("{}:/", list.join(","))), Ok(At::Copies(set)));
        }
    }
}
