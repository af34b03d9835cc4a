// SPDX-License-Identifier: GPL-2.0

//! Reads lines of configuration files. See [`super`].

use super::{
    limits::{FILE_LIMIT, MAX_DEADLINE_MS},
    statement::{ExportUser, Statement},
};
use crate::balance::Policy;
use core::net::Ipv4Addr;

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

pub(super) const UNKNOWN_KEY: &str = "unknown key; there are nodes, self, auth, key_file, remote_text, \
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
