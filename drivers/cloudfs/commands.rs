// SPDX-License-Identifier: GPL-2.0

//! The file service's text commands.

use crate::{
    cluster::Cloudfs,
    file::CloudFile,
    paths,
    session_files::SessionFiles, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::bytes::Fill;
use virgo_proto::{
    cloudfs::{
        open as flags,
        FileName,
        NameEntry,
        MAX_DATA, //
    },
    command::{
        parse_u64,
        CommandLine, //
    },
    errno::Errno,
    fence::FenceClaim, //
};
use virgo_utils::{
    pieces::for_each,
    to_wire,
    Caller,
    Command,
    Failure,
    Reply,
    User, //
};

macro_rules! command {
    ($name:ident, $cloud:literal, $short:literal, $usage:literal) => {
        Command {
            names: &[$cloud, $short],
            usage: $usage,
            run: |this, caller, command, reply| {
                let usage = Failure::new(Errno::EINVAL, concat!("expected ", $cloud, $usage));
                let user = User::of_text(caller);
                let request = Request {
                    this,
                    caller,
                    user: &user,
                    body: command.body,
                };
                match $name(&request, command, reply) {
                    Err(Wrong::Usage) => Err(usage),
                    Err(Wrong::Failure(failure)) => Err(failure),
                    Ok(()) => Ok(()),
                }
            },
        }
    };
}

pub(crate) const COMMANDS: &[Command<Cloudfs>] = &[
    command!(open, "virgo_cloud_open", "virgo_open", "(path[,O_FLAG|…])"),
    command!(
        read,
        "virgo_cloud_read",
        "virgo_read",
        "(fd,-,count,position)"
    ),
    command!(
        write,
        "virgo_cloud_write",
        "virgo_write",
        "(fd,data,count,position)"
    ),
    command!(close, "virgo_cloud_close", "virgo_close", "(fd)"),
    command!(sync, "virgo_cloud_fsync", "virgo_fsync", "(fd)"),
    command!(
        truncate,
        "virgo_cloud_truncate",
        "virgo_truncate",
        "(fd,size)"
    ),
    command!(stat, "virgo_cloud_stat", "virgo_stat", "(path)"),
    command!(unlink, "virgo_cloud_unlink", "virgo_unlink", "(path)"),
    command!(rmdir, "virgo_cloud_rmdir", "virgo_rmdir", "(path)"),
    command!(rename, "virgo_cloud_rename", "virgo_rename", "(path,path)"),
    command!(mkdir, "virgo_cloud_mkdir", "virgo_mkdir", "(path)"),
    command!(read_dir, "virgo_cloud_readdir", "virgo_readdir", "(path)"),
    command!(
        open_fenced,
        "virgo_cloud_open_fenced",
        "virgo_open_fenced",
        "(lock,token,path,O_FLAG[|…])"
    ),
];

/// What can be wrong with a command.
enum Wrong {
    /// Its arguments: the usage says it all.
    Usage,
    Failure(Failure),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Wrong::Failure(failure)
    }
}

impl From<Error> for Wrong {
    fn from(e: Error) -> Self {
        let reason = match e {
            ENODEV => "no such node; a path is /PATH, NODE:/PATH, NODE,NODE:/PATH or POLICY:/PATH",
            EACCES => "not exported there, or not allowed for the user that the export names",
            EXDEV => "leads out of the exported directory",
            ESTALE => {
                "its node has restarted: open it again; or somebody else has had its lock since"
            }
            ENOLCK => "a lock guards it: virgo_cloud_open_fenced",
            EOPNOTSUPP => "its file system, or its node, keeps no locks of files",
            EBADF => "not open in this session",
            EDQUOT => "this user has too many files open, here or there",
            ENXIO => "neither a file nor a directory",
            EBUSY => "the exported directory itself",
            EPERM => "not permitted",
            EFBIG => "larger than a file can be",
            EINVAL => "not valid here; a path has to be absolute",
            e => return Wrong::Failure(e.into()),
        };
        Wrong::Failure(Failure::new(to_wire(e), reason))
    }
}

type Outcome = Result<(), Wrong>;

/// A command under way.
struct Request<'a> {
    this: &'a Cloudfs,
    caller: &'a Caller<'a>,
    user: &'a User<'a>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn file(&self, number: &[u8]) -> Result<Arc<CloudFile>, Wrong> {
        let number = parse_u64(number).ok_or(EBADF)?;
        let files: Option<&SessionFiles> = self.caller.attached.get();
        Ok(files.and_then(|files| files.get(number)).ok_or(EBADF)?)
    }

    /// The path that is the only argument.
    fn path(&self) -> Result<FileName<'a>, Wrong> {
        match self.body {
            b"" => Err(Wrong::Usage),
            path => Ok(paths::parse(path)?),
        }
    }
}

fn number(text: &[u8]) -> Result<u64, Wrong> {
    parse_u64(text).ok_or(Wrong::Usage)
}

/// The flags of an open: names of those of open(2), with `|` between them.
fn open_flags(text: &[u8]) -> Result<u32, Wrong> {
    let mut all = 0;
    for name in text.split(|&byte| byte == b'|') {
        all |= match name.trim_ascii() {
            b"O_RDONLY" => flags::READ,
            b"O_WRONLY" => flags::WRITE,
            b"O_RDWR" => flags::READ | flags::WRITE,
            b"O_CREAT" => flags::CREATE,
            b"O_EXCL" => flags::EXCLUSIVE,
            b"O_TRUNC" => flags::TRUNCATE,
            b"O_APPEND" => flags::APPEND,
            b"O_DIRECTORY" => flags::DIRECTORY,
            b"O_NOFOLLOW" => flags::NO_FOLLOW,
            b"O_SYNC" => flags::SYNC,
            _ => {
                return Err(Wrong::Failure(Failure::new(
                    Errno::EINVAL,
                    "flags are O_RDONLY O_WRONLY O_RDWR O_CREAT O_EXCL O_TRUNC O_APPEND \
                        O_DIRECTORY O_NOFOLLOW O_SYNC, with | between them",
                )));
            }
        };
    }
    if all & (flags::READ | flags::WRITE) == 0 {
        all |= flags::READ;
    }
    match flags::are_valid(all) {
        true => Ok(all),
        false => Err(Wrong::Failure(Failure::new(
            Errno::EINVAL,
            "O_CREAT makes files, virgo_cloud_mkdir directories",
        ))),
    }
}

/// A path, and the flags behind it if there are any. A path may have commas; only what looks like flags is
/// taken for them.
fn path_and_flags(text: &[u8]) -> Result<(&[u8], Option<u32>), Wrong> {
    let comma = text.iter().rposition(|&byte| byte == b',');
    let split = comma.and_then(|comma| text.split_at_checked(comma));
    Ok(match split {
        Some((path, rest)) if rest.starts_with(b",O_") => {
            (path, Some(open_flags(rest.get(1..).unwrap_or_default())?))
        }
        _ => (text, None),
    })
}

/// Keeps a file for the session, and says its number.
fn keep(request: &Request<'_>, file: CloudFile, reply: &mut Reply<'_>) -> Outcome {
    let files = request.caller.attached.get_or(|_| SessionFiles::new())?;
    let number = files.add(file)?;
    let digits = kernel::str::CString::try_from_fmt(fmt!("{number}"))?;
    Ok(reply.text(digits.to_bytes())?)
}

/// The permissions of a file that is opened so, if it is made.
fn mode(how: u32) -> u16 {
    if how & flags::CREATE != 0 {
        0o644
    } else {
        0
    }
}

fn open_fenced(request: &Request<'_>, command: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let [lock, token, rest] = command.args().ok_or(Wrong::Usage)?;
    let (path, how) = path_and_flags(rest)?;
    let how = how.ok_or(Wrong::Usage)?;
    let claim = FenceClaim::new(lock, number(token)?).ok_or(Wrong::Usage)?;
    let name = paths::parse(path)?;
    let user = User::of_text(request.caller).with_lock(Some(claim));
    let opened = request.this.open(&user, &name, how, mode(how), 0);
    let file = opened.map_err(|e| match e {
        ESTALE => Wrong::Failure(Failure::new(
            Errno::ESTALE,
            "somebody else has had the lock since this token was granted",
        )),
        EINVAL => Wrong::Failure(Failure::new(
            Errno::EINVAL,
            "a lock is for writing: O_WRONLY or O_RDWR, and no copies",
        )),
        e => e.into(),
    })?;
    keep(request, file, reply)
}

fn open(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (path, asked) = path_and_flags(request.body)?;
    let name = match path {
        b"" => return Err(Wrong::Usage),
        path => paths::parse(path)?,
    };
    let this = request.this;
    let file = match asked {
        Some(how) => this.open(request.user, &name, how, mode(how), 0),
        None => this.open_as_original(request.user, &name),
    }?;
    keep(request, file, reply)
}

fn read(request: &Request<'_>, command: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let [fd, _, count, position] = command.args().ok_or(Wrong::Usage)?;
    let (count, position) = (number(count)?, number(position)?);
    let file = request.file(fd)?;
    let mut bytes = KVVec::new();
    let len = usize::try_from(count).unwrap_or(MAX_DATA).min(MAX_DATA);
    bytes.put_zeros(len, GFP_KERNEL).map_err(Error::from)?;
    let n = file.read(request.user, position, &mut bytes)?;
    Ok(reply.text(bytes.get(..n).unwrap_or_default())?)
}

fn write(request: &Request<'_>, command: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let [fd, rest] = command.args().ok_or(Wrong::Usage)?;
    // The data may have commas, so the others are cut from the end.
    let mut parts = rest.rsplitn(3, |&byte| byte == b',');
    let (Some(position), Some(count), Some(data)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Wrong::Usage);
    };
    let (count, position) = (number(count)?, number(position)?);
    // More than there is means all there is.
    let len = usize::try_from(count).unwrap_or(usize::MAX).min(data.len());
    let file = request.file(fd)?;
    let done = for_each(position, len, MAX_DATA, |at, done, wanted| {
        let part = data.get(done..).and_then(|rest| rest.get(..wanted));
        file.write(request.user, at, part.unwrap_or_default())
    })?;
    let digits = kernel::str::CString::try_from_fmt(fmt!("{done}"))?;
    Ok(reply.text(digits.to_bytes())?)
}

fn close(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let number = match request.body {
        b"" => return Err(Wrong::Usage),
        fd => parse_u64(fd).ok_or(EBADF)?,
    };
    let files: Option<&SessionFiles> = request.caller.attached.get();
    drop(files.and_then(|files| files.remove(number)).ok_or(EBADF)?);
    Ok(reply.text(b"closed")?)
}

fn sync(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let file = match request.body {
        b"" => return Err(Wrong::Usage),
        fd => request.file(fd)?,
    };
    file.sync(request.user, false)?;
    Ok(reply.text(b"on disk")?)
}

fn truncate(request: &Request<'_>, command: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let [fd, size] = command.args().ok_or(Wrong::Usage)?;
    let size = number(size)?;
    request.file(fd)?.truncate(request.user, size)?;
    Ok(reply.text(b"truncated")?)
}

fn stat(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = request.path()?;
    let stat = request.this.stat(request.user, &name, false)?;
    let kind: &[u8] = match stat.mode.get() & 0o170000 {
        0o100000 => b"file",
        0o040000 => b"directory",
        0o120000 => b"link",
        _ => b"other",
    };
    let mode = stat.mode.get() & 0o7777;
    let mode = kernel::str::CString::try_from_fmt(fmt!("{mode:04o}"))?;
    reply.bytes("kind", kind)?;
    reply.bytes("mode", mode.to_bytes())?;
    reply.field("size", stat.size.get())?;
    reply.signed("mtime", stat.mtime_s.get())?;
    reply.field("uid", stat.uid.get().into())?;
    Ok(reply.field("gid", stat.gid.get().into())?)
}

fn unlink(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = request.path()?;
    request.this.unlink(request.user, &name, false)?;
    Ok(reply.text(b"removed")?)
}

fn rmdir(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = request.path()?;
    request.this.unlink(request.user, &name, true)?;
    Ok(reply.text(b"removed")?)
}

fn rename(request: &Request<'_>, command: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let [from, to] = command.args().ok_or(Wrong::Usage)?;
    let (from, to) = (paths::parse(from)?, paths::parse(to)?);
    request.this.rename(request.user, &from, &to, true)?;
    Ok(reply.text(b"renamed")?)
}

fn mkdir(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = request.path()?;
    request.this.mkdir(request.user, &name, 0o755)?;
    Ok(reply.text(b"made")?)
}

/// The names with slashes between them: the one byte that no name has.
fn read_dir(request: &Request<'_>, _: &CommandLine<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = request.path()?;
    let mut entries = KVVec::new();
    entries
        .put_zeros(MAX_DATA, GFP_KERNEL)
        .map_err(Error::from)?;
    let (mut names, mut from) = (KVVec::new(), 0);
    loop {
        let (n, next) = request
            .this
            .read_dir(request.user, &name, from, false, &mut entries)?;
        let mut rest = entries.get(..n).unwrap_or_default();
        if rest.is_empty() {
            return Ok(reply.text(&names)?);
        }
        while !rest.is_empty() {
            let (entry, behind) = NameEntry::read_from_prefix(rest).map_err(|_| EPROTO)?;
            let (name, behind) = behind.split_at_checked(entry.len.into()).ok_or(EPROTO)?;
            if names.len() + name.len() >= MAX_DATA {
                let long = "more names than a line can hold; use virgo ls";
                return Err(Wrong::Failure(Failure::new(Errno::EMSGSIZE, long)));
            }
            for part in [if names.is_empty() { b"" } else { &b"/"[..] }, name] {
                names
                    .extend_from_slice(part, GFP_KERNEL)
                    .map_err(Error::from)?;
            }
            rest = behind;
        }
        from = next;
    }
}
