// SPDX-License-Identifier: GPL-2.0

//! How files are named.

use crate::{balance::Policy, config::MAX_NODES, vuid::NodeId};

/// Most bytes of a path, without an end mark: PATH_MAX has room for its NUL.
pub const MAX_PATH: usize = 4095;

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
pub struct FileName<'a> {
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

impl<'a> FileName<'a> {
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
            false => Ok(FileName { at, path }),
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

    fn at(name: &str) -> Result<At, BadName> {
        FileName::parse(name.as_bytes()).map(|name| name.at)
    }

    #[test]
    fn names_say_where() {
        assert_eq!(at("/a:b"), Ok(At::Here));
        assert_eq!(at("2:/a"), Ok(At::Node(2)));
        assert_eq!(at("node2:/a:b"), Ok(At::Node(2)));
        assert_eq!(at("1,node3:/a"), Ok(At::Copies(0b101)));
        assert_eq!(at("64,1:/a"), Ok(At::Copies((1 << 63) | 1)));
        assert_eq!(at("least-used:/a"), Ok(At::Policy(Policy::LeastUsed)));
        assert_eq!(FileName::parse(b"7:/a:b").unwrap().path, b"/a:b");
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

    proptest! {
        #[test]
        fn any_bytes_are_a_name_or_none(name in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(name) = FileName::parse(&name) {
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
