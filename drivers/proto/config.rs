// SPDX-License-Identifier: GPL-2.0

//! The grammar of `/etc/virgo_cloud.conf` and `/etc/virgo_client.conf`.
//!
//! Either the original's single line of comma-separated IPv4 addresses, or lines of
//! `key = value` with `#` comments:
//!
//! | key          | value                                        | default |
//! |--------------|----------------------------------------------|---------|
//! | `nodes`      | addresses, comma-separated; the place in the list, from 1, is the node's number | none |
//! | `self`       | which of them is this machine                | found by its interfaces |
//! | `auth`       | `key`, or `none` for a laboratory            | `key` |
//! | `key_file`   | path of the shared key                       | `/etc/virgo.key` |
//! | `remote_text`| `yes`: text commands from other machines too | `no` |
//! | `datagrams`  | `no`: nodes use connections only             | `yes` |
//! | `text_uid`   | uid that text sessions act as which know the shared key | 65534 |
//! | `text_key`   | uid, then path of a key that opens text sessions as that uid (repeatable) | none |
//! | `deadline_ms`| longest wait for another node                | 5000 |
//! | `place`      | where memory goes: `random`, `least-used`, `two-choices` | `random` |
//! | `balance`    | where calls run, likewise                    | `least-used` |
//! | `quorum`     | nodes that must agree to grant cluster locks: for a node alone or a laboratory of two | more than half |
//! | `registry`   | number of the node that chooses where calls run; each for itself without | none |
//! | `run_as`     | uid that programs and libraries run as, not 0 | 65534 |
//! | `executable` | program that may be run; then, if its arguments are limited, a pattern for each, in which `*` is any text (repeatable) | none |
//! | `library`    | library whose functions may be called (repeatable) | none |
//! | `callers`    | function, program or library, then the uids that may call it, comma-separated, beside root (repeatable) | all |
//! | `use_as_kingcobra_service` | `yes`: text that arrives for the processor pool goes to the queue, and for the memory pool what is no command | `no` |
//! | `export`     | directory, then `ro` or `rw`, then perhaps whom other nodes' users act as there: `UID` or `UID:GID`, not 0, 65534 if there is none (repeatable) | none |

mod settings;

pub use settings::{check_text_key, key, ConfigFile, Settings, SettingsDraft};

use crate::{balance::Policy, vuid::NodeId};
use core::net::Ipv4Addr;

/// Most nodes of a cluster.
pub const MAX_NODES: usize = 64;

/// How long a file may be.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// In bytes.
    pub bytes: usize,
    /// What is wrong with a longer one.
    pub exceeded: &'static str,
}

/// Of a configuration file.
pub const FILE_LIMIT: Limit = Limit {
    bytes: 64 * 1024,
    exceeded: "longer than 64 KiB",
};

/// Of a key file.
pub const KEY_LIMIT: Limit = Limit {
    bytes: 4096,
    exceeded: "longer than 4096 bytes",
};

/// Most keys of text sessions.
pub const MAX_TEXT_KEYS: usize = 256;

/// What is wrong with a directory, a device or a pipe in a file's place.
pub const NOT_REGULAR: &str = "not a regular file";

/// What is wrong with a key file that is not there. Configuration files need not be.
pub const KEY_MISSING: &str =
    "does not exist; put the cluster's key there, or say 'auth = none' for a laboratory";

/// What is wrong with the file of a text session's key that is not there.
pub const TEXT_KEY_MISSING: &str = "does not exist; a text_key line names it";

/// Longest deadline that can be configured or asked for, in milliseconds.
pub const MAX_DEADLINE_MS: u32 = 300_000;

/// One statement of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement<'a> {
    /// The next node's address.
    Node(Ipv4Addr),
    /// This machine's address.
    SelfAddress(Ipv4Addr),
    /// Whether peers must prove that they know the key.
    Auth(bool),
    /// Where the key is.
    KeyFile(&'a str),
    /// Whether text sessions may come from other machines.
    RemoteText(bool),
    /// Whether nodes use datagrams, too.
    Datagrams(bool),
    /// The uid that text sessions act as which know the shared key.
    TextUid(u32),
    /// A key that opens text sessions.
    TextKey {
        /// The uid that they act as.
        uid: u32,
        /// Where the key is: absolute path.
        path: &'a str,
    },
    /// Longest wait for another node, in milliseconds.
    DeadlineMs(u32),
    /// Where allocations go.
    Place(Policy),
    /// A directory for other nodes.
    Export {
        /// Absolute path.
        path: &'a str,
        /// Whether they may write.
        writable: bool,
        /// Who reads and writes there.
        owner: ExportUser,
    },
    /// Where calls run.
    Balance(Policy),
    /// The node that chooses where calls run.
    Registry(NodeId),
    /// How many nodes must agree to grant cluster locks.
    Quorum(u32),
    /// The uid that programs run as.
    RunAs(u32),
    /// Whether text for the processor pool goes to the queue.
    UseAsKingcobraService(bool),
    /// A program that other nodes may run.
    Executable {
        /// Absolute path.
        path: &'a str,
        /// Patterns of its arguments; empty if they are free.
        patterns: &'a str,
    },
    /// A library that other nodes may call: absolute path.
    Library(&'a str),
    /// Who may call something that may be called.
    Callers {
        /// Name of a function, or path of a program or library.
        target: &'a str,
        /// Their uids, with commas between them; root may call everything.
        uids: &'a str,
    },
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportUser {
    /// Not 0.
    pub uid: u32,
    /// Not 0, either.
    pub gid: u32,
}

impl ExportUser {
    /// Nobody in particular.
    pub const NOBODY: ExportUser = ExportUser {
        uid: 65534,
        gid: 65534,
    };

    /// Reads `UID` or `UID:GID`; the group has the user's number if it is not named.
    fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let number = |text: &str| text.parse().ok().filter(|&n| n != 0 && n != u32::MAX);
        Some(ExportUser {
            uid: number(uid)?,
            gid: number(gid)?,
        })
    }
}

/// What is wrong with a configuration file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// What is wrong and what is expected.
    pub reason: &'static str,
}

impl Fault {
    /// Of the file as a whole.
    pub const fn of_file(reason: &'static str) -> Self {
        Fault { line: 0, reason }
    }
}

const UNKNOWN_KEY: &str = "unknown key; there are nodes, self, auth, key_file, remote_text, \
    datagrams, text_uid, text_key, deadline_ms, place, balance, registry, quorum, run_as, executable, library, \
    callers, use_as_kingcobra_service, export";

/// Reads `file` and hands the line and each of its statements to `visit`, in order.
///
/// # Errors
///
/// The first fault, of the grammar or returned by `visit`. Statements before it have been visited.
pub fn parse<'a>(
    file: &'a [u8],
    mut visit: impl FnMut(u32, Statement<'a>) -> Result<(), &'static str>,
) -> Result<(), Fault> {
    if file.len() > FILE_LIMIT.bytes {
        return Err(Fault::of_file(FILE_LIMIT.exceeded));
    }
    let file = core::str::from_utf8(file).map_err(|e| {
        let good = file.iter().take(e.valid_up_to());
        Fault {
            line: good.fold(1, |line: u32, &b| line.saturating_add((b == b'\n').into())),
            reason: "not UTF-8 text",
        }
    })?;
    for (line, text) in (1u32..).zip(file.lines()) {
        let text = text.split('#').next().unwrap_or_default().trim();
        if !text.is_empty() {
            statement(text, &mut |item| visit(line, item))
                .map_err(|reason| Fault { line, reason })?;
        }
    }
    Ok(())
}

fn statement<'a>(
    text: &'a str,
    visit: &mut impl FnMut(Statement<'a>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let Some((key, value)) = text.split_once('=') else {
        let expected = "expected 'key = value', or IPv4 addresses with commas between them";
        return nodes(text, expected, visit);
    };
    let value = value.trim();
    let item = match key.trim() {
        "nodes" => return nodes(value, "nodes: expected IPv4 addresses like 10.9.0.1", visit),
        "self" => Statement::SelfAddress(
            address(value).ok_or("self: expected an IPv4 address like 10.9.0.1")?,
        ),
        "auth" => Statement::Auth(match value {
            "key" => true,
            "none" => false,
            _ => return Err("auth: expected 'key' or 'none'"),
        }),
        "key_file" => Statement::KeyFile(path(value)?),
        "remote_text" => {
            Statement::RemoteText(yes(value).ok_or("remote_text: expected 'yes' or 'no'")?)
        }
        "datagrams" => Statement::Datagrams(yes(value).ok_or("datagrams: expected 'yes' or 'no'")?),
        "use_as_kingcobra_service" => Statement::UseAsKingcobraService(
            yes(value).ok_or("use_as_kingcobra_service: expected 'yes' or 'no'")?,
        ),
        "text_uid" => Statement::TextUid(uid(value).ok_or("text_uid: expected 0 to 4294967294")?),
        "text_key" => text_key(value)?,
        "deadline_ms" => match value.parse() {
            Ok(ms @ 1..=MAX_DEADLINE_MS) => Statement::DeadlineMs(ms),
            _ => return Err("deadline_ms: expected 1 to 300000"),
        },
        "place" => Statement::Place(
            Policy::parse(value)
                .ok_or("place: expected 'random', 'least-used' or 'two-choices'")?,
        ),
        "balance" => Statement::Balance(
            Policy::parse(value)
                .ok_or("balance: expected 'random', 'least-used' or 'two-choices'")?,
        ),
        "quorum" => match value.parse() {
            Ok(count @ 1..=64) => Statement::Quorum(count),
            _ => return Err("quorum: expected 1 to 64"),
        },
        "registry" => {
            Statement::Registry(value.parse().map_err(|_| "registry: expected a number")?)
        }
        "run_as" => match value.parse() {
            Ok(uid) if uid != 0 && uid != u32::MAX => Statement::RunAs(uid),
            _ => return Err("run_as: expected a uid from 1 to 4294967294"),
        },
        "export" => export(value)?,
        "executable" => {
            let (name, patterns) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
            Statement::Executable {
                path: direct(path(name)?)?,
                patterns: patterns.trim(),
            }
        }
        "library" => Statement::Library(direct(path(value)?)?),
        "callers" => callers(value)?,
        _ => return Err(UNKNOWN_KEY),
    };
    visit(item)
}

fn nodes<'a>(
    list: &str,
    expected: &'static str,
    visit: &mut impl FnMut(Statement<'a>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    list.split(',')
        .try_for_each(|text| visit(Statement::Node(address(text).ok_or(expected)?)))
}

/// `DIRECTORY ro|rw [UID[:GID]]`. The directory may have blanks, so it is read from the end.
fn export(value: &str) -> Result<Statement<'_>, &'static str> {
    const EXPECTED: &str =
        "export: expected a directory, then 'ro' or 'rw', then perhaps a UID or UID:GID, not 0";
    let (rest, last) = value.rsplit_once(char::is_whitespace).ok_or(EXPECTED)?;
    let (dir, mode, owner) = match last {
        "ro" | "rw" => (rest, last, ExportUser::NOBODY),
        owner => {
            let (dir, mode) = rest
                .trim_end()
                .rsplit_once(char::is_whitespace)
                .ok_or(EXPECTED)?;
            (dir, mode, ExportUser::parse(owner).ok_or(EXPECTED)?)
        }
    };
    let writable = match mode {
        "ro" => false,
        "rw" => true,
        _ => return Err(EXPECTED),
    };
    Ok(Statement::Export {
        path: path(dir.trim_end())?,
        writable,
        owner,
    })
}

/// `TARGET UID[,UID]...`.
fn callers(value: &str) -> Result<Statement<'_>, &'static str> {
    const EXPECTED: &str =
        "callers: expected a function, program or library, then uids with commas between them";
    let (target, uids) = value.split_once(char::is_whitespace).ok_or(EXPECTED)?;
    let uids = uids.trim_start();
    match uid_list(uids).all(|uid| uid.is_some()) {
        true => Ok(Statement::Callers { target, uids }),
        false => Err(EXPECTED),
    }
}

fn uid_list(uids: &str) -> impl Iterator<Item = Option<u32>> + '_ {
    uids.split(',').map(|text| uid(text.trim()))
}

/// Whether `uid` is among `uids`, as [`Statement::Callers`] has them.
pub fn lists_uid(uids: &str, uid: u32) -> bool {
    uid_list(uids).any(|listed| listed == Some(uid))
}

/// `UID FILE`.
fn text_key(value: &str) -> Result<Statement<'_>, &'static str> {
    const EXPECTED: &str =
        "text_key: expected a uid from 0 to 4294967294, then the absolute path of a key";
    let (number, file) = value.split_once(char::is_whitespace).ok_or(EXPECTED)?;
    Ok(Statement::TextKey {
        uid: uid(number).ok_or(EXPECTED)?,
        path: path(file.trim_start()).map_err(|_| EXPECTED)?,
    })
}

fn uid(text: &str) -> Option<u32> {
    // The last number is no user's: to the kernel it means "none".
    text.parse().ok().filter(|&uid| uid != u32::MAX)
}

fn address(text: &str) -> Option<Ipv4Addr> {
    text.trim().parse().ok()
}

fn path(text: &str) -> Result<&str, &'static str> {
    let absolute = text.starts_with('/') && !text.contains('\0');
    absolute
        .then_some(text)
        .ok_or("expected an absolute path, like /etc/virgo.key")
}

fn yes(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// A path that names each folder on its way: programs are compared by it.
fn direct(path: &str) -> Result<&str, &'static str> {
    let mut names = path.split('/').skip(1);
    match names.all(|name| !matches!(name, "" | "." | "..")) {
        true => Ok(path),
        false => Err("expected a path without '.', '..' and '//'"),
    }
}

/// Whether `args` are such as the patterns of an executable allow.
pub fn args_match<'a>(patterns: &str, args: impl Iterator<Item = &'a [u8]>) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let mut patterns = patterns.split_whitespace();
    args.into_iter()
        .all(|arg| patterns.next().is_some_and(|p| matches(p.as_bytes(), arg)))
        && patterns.next().is_none()
}

/// Whether `text` is `pattern`, in which `*` stands for any bytes.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        // The first place is as good as any: what follows it can only be more.
        let found = (0..=rest.len()).find_map(|at| rest.get(at..)?.strip_prefix(part));
        match found {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The nodes of a cluster: the node at index `i` has number `i + 1`.
///
/// # Invariants
///
/// No address is there twice.
#[derive(Clone, Copy, Debug)]
pub struct Nodes {
    addresses: [Ipv4Addr; MAX_NODES],
    count: usize,
}

impl Nodes {
    /// No node.
    pub const fn new() -> Self {
        Nodes {
            addresses: [Ipv4Addr::UNSPECIFIED; MAX_NODES],
            count: 0,
        }
    }

    /// Appends a node. An address that is there already is passed over, as the original's sample
    /// files name one machine twice.
    ///
    /// # Errors
    ///
    /// The reason, when the list is full or the address cannot be a node's.
    pub fn add(&mut self, address: Ipv4Addr) -> Result<(), &'static str> {
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            return Err("0.0.0.0, multicast and broadcast are not the address of a machine");
        }
        if self.iter().any(|(_, known)| known == address) {
            return Ok(());
        }
        // INVARIANT: `address` is not among the first `count`.
        let place = self
            .addresses
            .get_mut(self.count)
            .ok_or("more than 64 nodes")?;
        *place = address;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// The nodes with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Ipv4Addr)> + '_ {
        (1..).zip(self.addresses.iter().copied().take(self.count))
    }

    /// The address of node `id`.
    pub fn address(&self, id: NodeId) -> Option<Ipv4Addr> {
        let index = usize::from(id).checked_sub(1)?;
        self.addresses
            .get(index)
            .copied()
            .filter(|_| index < self.count)
    }

    /// The number of the node at `address`.
    pub fn number(&self, address: Ipv4Addr) -> Option<NodeId> {
        self.iter()
            .find(|&(_, known)| known == address)
            .map(|(id, _)| id)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    fn items(text: &str) -> Result<Vec<Statement<'_>>, Fault> {
        let mut items = vec![];
        parse(text.as_bytes(), |_, item| {
            items.push(item);
            Ok(())
        })?;
        Ok(items)
    }

    const A: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

    #[test]
    fn callers_are_uids() {
        let mut seen = None;
        let text = b"callers = /usr/bin/du  0, 1000,1001";
        let parsed = parse(text, |_, item| {
            seen = Some(item);
            Ok(())
        });
        assert_eq!(parsed, Ok(()));
        let Some(Statement::Callers { target, uids }) = seen else {
            panic!("{seen:?}");
        };
        assert_eq!(target, "/usr/bin/du");
        let listed = |uid| lists_uid(uids, uid);
        assert!(listed(0) && listed(1000) && listed(1001) && !listed(100) && !listed(10));
    }

    #[test]
    fn the_original_single_line_is_read() {
        assert_eq!(
            items("10.9.0.1,10.9.0.2\n"),
            Ok(vec![Statement::Node(A), Statement::Node(B)])
        );
    }

    #[test]
    fn every_key_is_read() {
        let text = "# a comment\n\nnodes = 10.9.0.1, 10.9.0.2 # two\nself=10.9.0.2\nauth = none\n\
            key_file = /etc/k\nremote_text = yes\ndatagrams = no\ntext_uid = 7\ndeadline_ms = 100\n\
            text_key = 0 /etc/a b\ntext_key=1000\t/c\n\
            place = least-used\nexport = /a b rw\nexport = /c ro 7:8\nexecutable = /x\nlibrary = /y\n";
        let expected = vec![
            Statement::Node(A),
            Statement::Node(B),
            Statement::SelfAddress(B),
            Statement::Auth(false),
            Statement::KeyFile("/etc/k"),
            Statement::RemoteText(true),
            Statement::Datagrams(false),
            Statement::TextUid(7),
            Statement::DeadlineMs(100),
            Statement::TextKey {
                uid: 0,
                path: "/etc/a b",
            },
            Statement::TextKey {
                uid: 1000,
                path: "/c",
            },
            Statement::Place(Policy::LeastUsed),
            Statement::Export {
                path: "/a b",
                writable: true,
                owner: ExportUser::NOBODY,
            },
            Statement::Export {
                path: "/c",
                writable: false,
                owner: ExportUser { uid: 7, gid: 8 },
            },
            Statement::Executable {
                path: "/x",
                patterns: "",
            },
            Statement::Library("/y"),
        ];
        assert_eq!(items(text), Ok(expected));
    }

    #[test]
    fn faults_say_where_and_what_is_expected() {
        let key = "expected 'key = value', or IPv4 addresses";
        for (text, line, reason) in [
            (
                "nodes = 10.9.0.1\nnodes = 10.9.0\n",
                2,
                "nodes: expected IPv4",
            ),
            ("nodes =", 1, "nodes: expected IPv4"),
            ("10.9.0.1,,10.9.0.2", 1, key),
            ("10.9.0.1 10.9.0.2", 1, key),
            ("\nauth none", 2, key),
            ("\n\nbogus = 1", 3, "unknown key; there are nodes,"),
            ("= 1", 1, "unknown key"),
            ("self = node1", 1, "self: expected an IPv4"),
            ("auth = maybe", 1, "auth: expected 'key' or 'none'"),
            ("key_file = virgo.key", 1, "expected an absolute path"),
            ("key_file = /a\0b", 1, "expected an absolute path"),
            ("remote_text = 1", 1, "remote_text: expected 'yes' or 'no'"),
            ("datagrams = 1", 1, "datagrams: expected 'yes' or 'no'"),
            ("text_uid = -1", 1, "text_uid: expected 0 to"),
            ("text_uid = 4294967295", 1, "text_uid: expected 0 to"),
            ("text_key = /k", 1, "text_key: expected a uid from 0"),
            ("text_key = 7 k", 1, "text_key: expected a uid from 0"),
            ("text_key = -1 /k", 1, "text_key: expected a uid from 0"),
            (
                "text_key = 4294967295 /k",
                1,
                "text_key: expected a uid from 0",
            ),
            ("deadline_ms = 0", 1, "deadline_ms: expected 1 to 300000"),
            (
                "deadline_ms = 300001",
                1,
                "deadline_ms: expected 1 to 300000",
            ),
            (
                "place = here",
                1,
                "place: expected 'random', 'least-used' or",
            ),
            ("export = /a", 1, "export: expected a directory, then"),
            ("export = /a ro 0", 1, "export: expected a directory, then"),
            ("export = /a rx 7", 1, "export: expected a directory, then"),
            ("export = /a ro 7:", 1, "export: expected a directory, then"),
            ("export = a ro", 1, "expected an absolute path"),
            ("callers = noop", 1, "callers: expected"),
            ("callers = noop 1,x", 1, "callers: expected"),
            ("callers = noop 4294967295", 1, "callers: expected"),
            ("callers = noop 1,", 1, "callers: expected"),
            ("executable = bin/sh", 1, "expected an absolute path"),
            ("library =", 1, "expected an absolute path"),
        ] {
            let fault = items(text).unwrap_err();
            assert_eq!(fault.line, line, "{text}");
            assert!(fault.reason.starts_with(reason), "{text}: {fault:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_where_it_stands() {
        let fault = parse(b"auth = key\n# \xff\n", |_, _| Ok(())).unwrap_err();
        assert_eq!((fault.line, fault.reason), (2, "not UTF-8 text"));
    }

    #[test]
    fn a_file_has_at_most_its_limit() {
        let mut file = vec![b'\n'; FILE_LIMIT.bytes];
        assert_eq!(parse(&file, |_, _| Ok(())), Ok(()));
        file.push(b'\n');
        let fault = Fault::of_file("longer than 64 KiB");
        assert_eq!(parse(&file, |_, _| Ok(())), Err(fault));
    }

    #[test]
    fn the_list_of_keys_has_only_keys() {
        let keys = UNKNOWN_KEY.split_once("are ").unwrap().1;
        for key in keys.split(", ") {
            let text = std::format!("{key} = ?");
            assert_ne!(items(&text).unwrap_err().reason, UNKNOWN_KEY, "{key}");
        }
    }

    #[test]
    fn nodes_are_numbered_from_one_without_repetition() {
        let mut nodes = Nodes::new();
        for a in [A, A, B] {
            nodes.add(a).unwrap();
        }
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes.number(B), Some(2));
        assert_eq!(nodes.address(2), Some(B));
        assert_eq!(nodes.address(0), None);
        assert_eq!(nodes.address(3), None);
        assert!(nodes.add(Ipv4Addr::UNSPECIFIED).is_err());
    }

    #[test]
    fn a_65th_node_is_refused() {
        let mut nodes = Nodes::new();
        for i in 1..=64 {
            nodes.add(Ipv4Addr::new(10, 0, 0, i)).unwrap();
        }
        assert_eq!(
            nodes.add(Ipv4Addr::new(10, 0, 0, 65)),
            Err("more than 64 nodes")
        );
    }

    #[test]
    fn patterns_limit_the_arguments() {
        let allowed =
            |patterns, args: &[&str]| args_match(patterns, args.iter().map(|arg| arg.as_bytes()));
        assert!(allowed("", &["any", "thing"]));
        assert!(allowed("-n * --to=*", &["-n", "", "--to=x y"]));
        assert!(allowed("a*b*c", &["aXbYbZc"]));
        for (patterns, args) in [
            ("-n", &["-n", "more"][..]),
            ("-n *", &["-n"]),
            ("-n", &["-m"]),
            ("a*a", &["a"]),
            ("a*b*c", &["aXcYb"]),
        ] {
            assert!(!allowed(patterns, args), "{patterns} {args:?}");
        }
    }

    #[test]
    fn programs_have_direct_paths() {
        for bad in ["/a/../b", "/a//b", "/./b", "/a/", "b", "/"] {
            let line = std::format!("executable = {bad}");
            assert!(parse(line.as_bytes(), |_, _| Ok(())).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(file in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&file, |_, _| Ok(()));
        }
    }
}
