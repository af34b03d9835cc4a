// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's files. See [`virgo_proto::cloudfs`].

use crate::{
    changes::{
        FileChange,
        What, //
    },
    cluster::Cloudfs,
    fenced_file::{
        self,
        may_claim, //
    },
    local,
    opened::{
        owner,
        uid_of,
        Opened, //
    },
    workers::{
        FileLines,
        ReplyInterest, //
    }, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    vfs, //
};
use virgo_config::Config;
use virgo_proto::{
    cloudfs::{
        flag,
        op,
        open as flags,
        FileHandle,
        HandleArgs,
        OpenFileArgs,
        OpenReply,
        PathArgs,
        ReadArgs,
        ReadDirArgs,
        ReadDirReply,
        StatReply,
        TruncateFileArgs,
        WriteArgs,
        WriteReply,
        MAX_CLOSE,
        MAX_DATA,
        MAX_PATH,
        MIN_ENTRIES, //
    },
    fence::FenceClaim,
    worker_shares::WorkOwner, //
};
use virgo_utils::{
    Body,
    Deferred,
    Operation,
    Peer,
    Repeat,
    RequestBody, //
};

// What the wire calls an entry is what the kernel side writes, on a little-endian machine.
const _: () = assert!(MIN_ENTRIES >= vfs::MIN_ENTRIES && cfg!(target_endian = "little"));

macro_rules! operation {
    ($op:ident, $name:literal, $repeat:expr, $run:expr) => {
        Operation {
            number: op::$op,
            name: $name,
            repeat: $repeat,
            run: $run,
        }
    };
}

/// Bytes from which a read is sent from where the kernel has them: to find these costs as much as to
/// copy some thousand bytes.
const WORTH_SHARING: usize = 4096;

const EMPTY: Repeat = Repeat::Stored(|_| 0);

pub(crate) const OPERATIONS: &[Operation<Cloudfs>] = &[
    operation!(
        OPEN,
        "open",
        Repeat::Stored(|_| size_of::<OpenReply>()),
        open
    ),
    operation!(
        FENCED_OPEN,
        "fenced_open",
        Repeat::Stored(|_| size_of::<OpenReply>()),
        fenced_open
    ),
    operation!(CLOSE, "close", Repeat::Again, close),
    operation!(READ, "read", Repeat::Again, read),
    operation!(
        WRITE,
        "write",
        Repeat::Stored(|_| size_of::<WriteReply>()),
        write
    ),
    operation!(SYNC, "sync", Repeat::Again, sync),
    operation!(STAT, "stat", Repeat::Again, stat),
    operation!(TRUNCATE, "truncate", EMPTY, truncate),
    operation!(UNLINK, "unlink", EMPTY, unlink),
    operation!(RENAME, "rename", EMPTY, rename),
    operation!(MKDIR, "mkdir", EMPTY, mkdir),
    operation!(READ_DIR, "readdir", Repeat::Again, read_dir),
];

/// A path that another node has sent.
fn path(bytes: &[u8]) -> Result<&[u8]> {
    if bytes.len() > MAX_PATH {
        return Err(ENAMETOOLONG);
    }
    match bytes.starts_with(b"/") && !bytes.contains(&0) {
        true => Ok(bytes),
        false => Err(EINVAL),
    }
}

fn permissions(mode: u32) -> Result<u16> {
    u16::try_from(mode)
        .ok()
        .filter(|mode| mode & !0o7777 == 0)
        .ok_or(EINVAL)
}

/// Has `defer` defer a reply to `peer`. If that, or its user, waits for too many, those that it has given
/// up are dropped first: nobody else does that while a disk hangs.
fn defer_with<'a, T>(
    this: &Cloudfs,
    peer: Peer,
    reply: &mut Body<'a>,
    mut defer: impl FnMut(&mut Body<'a>) -> Result<T>,
) -> Result<T> {
    match defer(reply) {
        Err(EUSERS | EDQUOT) => {
            this.drop_given_up(peer.node);
            defer(reply)
        }
        deferred => deferred,
    }
}

/// Has `work` done by a worker, for `owner`, and its reply given then. A reply has up to `len` bytes; one
/// that is not `kept` is made again when the request is repeated.
fn defer(
    this: &Cloudfs,
    (peer, owner): (Peer, WorkOwner),
    reply: &mut Body<'_>,
    (len, kept): (usize, bool),
    work: impl FnOnce(&Deferred, &mut KVVec<u8>) -> Result + Send + 'static,
) -> Result {
    let until = Deadline::after_ms(reply.patience_ms());
    let uid = uid_of(&owner);
    let mut deferred = defer_with(this, peer, reply, |body| body.defer(uid))?;
    if kept {
        // What is done must not fail for want of memory for saying so.
        deferred.prepare(len)?;
    }
    let wanted = ReplyInterest {
        until,
        by: Some(deferred.watch()),
    };
    this.lines.submit(owner, wanted, move || {
        let mut body = KVVec::new();
        // Without memory for it, the reply is an error.
        let _ = match work(&deferred, &mut body) {
            Ok(()) if kept => deferred.answer(&body),
            Ok(()) => deferred.answer_unkept(&body),
            Err(e) => {
                deferred.fail(e);
                Ok(())
            }
        };
    })
}

/// As [`defer`], for what changes names in the export that `path` is in, and has an empty reply.
fn defer_change(
    this: &Cloudfs,
    (peer, uid): (Peer, u32),
    reply: &mut Body<'_>,
    path: &[u8],
    work: impl FnOnce(&Config) -> Result + Send + 'static,
) -> Result {
    let config = this.node.config();
    let owner = (peer, owner(local::device(&config, path)?, peer, uid));
    defer(this, owner, reply, (0, true), move |_, _| work(&config))
}

/// A copy for a worker.
fn copy(bytes: &[u8]) -> Result<KVec<u8>> {
    let mut copied = KVec::new();
    copied.extend_from_slice(bytes, GFP_KERNEL)?;
    Ok(copied)
}

fn open(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    open_with(this, peer, None, request, reply)
}

fn fenced_open(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (claim, request) = FenceClaim::split(request).ok_or(EINVAL)?;
    open_with(this, peer, Some(claim), request, reply)
}

fn open_with(
    this: &Cloudfs,
    peer: Peer,
    claim: Option<FenceClaim>,
    request: &[u8],
    reply: &mut Body<'_>,
) -> Result {
    let (args, name) = OpenFileArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let (name, mode) = (path(name)?, permissions(args.mode.get())?);
    let (how, uid) = (args.flags.get(), args.uid.get());
    if !flags::are_valid(how) || (how & flags::CREATE == 0 && mode != 0) {
        return Err(EINVAL);
    }
    if !may_claim(how, claim) {
        return Err(EINVAL);
    }
    let charge = this.opened.charge(peer, uid)?;
    let config = this.node.config();
    let owner = (peer, owner(local::device(&config, name)?, peer, uid));
    let (name, opened, fences) = (copy(name)?, this.opened.clone(), this.fences.clone());
    let address = opened.address(peer.node);
    let size = (size_of::<OpenReply>(), true);
    let until = Deadline::after_ms(reply.patience_ms());
    defer(this, owner, reply, size, move |deferred, body| {
        body.reserve(size_of::<OpenReply>(), GFP_KERNEL)?;
        let file = fenced_file::open(&fences, &config, &name, (how, mode), claim)?;
        // The peer has given up, but says so only with a later request: it would stay open until then.
        if until.passed() {
            file.close();
            return Err(ETIMEDOUT);
        }
        let answer = OpenReply {
            handle: opened.insert(peer, file, charge)?.into(),
            load: (opened.len() as u64).into(),
        };
        if !deferred.is_wanted() || opened.address(peer.node) != address {
            // What the peer had open when it restarted, or was removed, may have been closed before this
            // was inserted.
            opened.remove(answer.handle.get());
        }
        Ok(body.extend_from_slice(answer.as_bytes(), GFP_KERNEL)?)
    })
}

/// Closes what a peer has opened without ever learning the handle.
pub(crate) fn undo(this: &Cloudfs, op: u16, reply: &[u8]) {
    if let (op::OPEN | op::FENCED_OPEN, Ok(reply)) = (op, OpenReply::read_from_bytes(reply)) {
        this.opened.remove(reply.handle.get());
    }
}

fn close(this: &Cloudfs, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let handles = <[FileHandle]>::ref_from_bytes(request).map_err(|_| EINVAL)?;
    if handles.len() > MAX_CLOSE {
        return Err(EMSGSIZE);
    }
    for handle in handles {
        this.opened.close(peer, handle.get());
    }
    Ok(())
}

fn read(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = ReadArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let len = args.len.get() as usize;
    if len > MAX_DATA {
        return Err(EMSGSIZE);
    }
    let opened = this.opened.get(peer, args.handle.get())?;
    let offset = args.offset.get();
    let cached = match len >= WORTH_SHARING {
        true => opened
            .file
            .cached_pages(offset, len)
            .and_then(|pages| reply.end_with(pages)),
        false => reply
            .fill(len, |to| opened.file.read_cached(offset, to))
            .map(drop),
    };
    match cached {
        // Pages may take more memory than there is in one piece.
        Err(EAGAIN | ENOMEM) => (),
        result => return result,
    }
    let owner = (peer, opened.owner());
    defer(this, owner, reply, (len, false), move |_, body| {
        body.put_zeros(len, GFP_KERNEL)?;
        let n = opened.file.read(offset, body)?;
        body.truncate(n);
        Ok(())
    })
}

fn write(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, data) = WriteArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    if data.len() > MAX_DATA {
        return Err(EMSGSIZE);
    }
    let opened = this.opened.get(peer, args.handle.get())?;
    let until = Deadline::after_ms(reply.patience_ms());
    defer_with(this, peer, reply, |body| {
        let (lines, opened) = (this.lines.clone(), opened.clone());
        body.defer_with_request(opened.uid(), move |mut reply, request| {
            let prepared = reply.prepare(size_of::<WriteReply>());
            match prepared.and(request) {
                Ok(request) => {
                    let what = What::Write(request);
                    // Who waits for it is told that it has failed.
                    let _ = change_content(&lines, opened, FileChange { reply, until, what });
                }
                Err(e) => reply.fail(e),
            }
        })
    })
}

/// Has a worker make `change` to an open file.
fn change_content(lines: &FileLines, opened: Arc<Opened>, change: FileChange) -> Result {
    let worker = opened.clone();
    opened.changes.add(change, || {
        lines.submit_turns(opened.owner(), move || {
            worker
                .changes
                .make_next(|reply, what| change_now(&worker, reply, what))
        })
    })
}

/// Makes a change to an open file, and gives the reply.
fn change_now(opened: &Opened, reply: Deferred, what: What) {
    let changed = match &what {
        What::Write(request) => write_now(opened, request),
        What::Truncate(size) => opened.file.truncate(*size).map(|()| None),
    };
    // There is memory for it.
    let _ = match changed {
        Ok(None) => reply.answer(b""),
        Ok(Some(written)) => reply.answer(written.as_bytes()),
        Err(e) => {
            reply.fail(e);
            Ok(())
        }
    };
}

fn write_now(opened: &Opened, request: &RequestBody) -> Result<Option<WriteReply>> {
    let (args, data) = WriteArgs::read_from_prefix(request.bytes()).map_err(|_| EINVAL)?;
    let written = opened
        .file
        .write(args.offset.get(), data)
        .inspect_err(|&e| {
            // The kernel has forgotten it now, and whether the reply arrives is not known: rather
            // reported twice than never.
            if opened.file.is_synchronous() && matches!(e, EIO | ENOSPC | EDQUOT) {
                opened.syncing.add_failure(e);
            }
        })?;
    Ok(Some(WriteReply {
        // At most MAX_DATA.
        written: (written as u32).into(),
    }))
}

fn sync(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = HandleArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let data_only = match args.flags.get() {
        0 => false,
        flag::DATA_ONLY => true,
        _ => return Err(EINVAL),
    };
    let opened = this.opened.get(peer, args.handle.get())?;
    let until = Deadline::after_ms(reply.patience_ms());
    let deferred = defer_with(this, peer, reply, |body| body.defer(opened.uid()))?;
    opened.syncing.add(deferred, until, data_only, || {
        let worker = opened.clone();
        this.lines.submit_turns(opened.owner(), move || {
            worker.syncing.sync_once(&worker.file)
        })
    })
}

fn stat(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name) = HandleArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let follow = match args.flags.get() {
        0 => true,
        flag::NO_FOLLOW => false,
        _ => return Err(EINVAL),
    };
    let size = (size_of::<StatReply>(), false);
    match (args.handle.get(), name) {
        (handle, []) if follow => {
            let opened = this.opened.get(peer, handle)?;
            defer(this, (peer, opened.owner()), reply, size, move |_, body| {
                let stat = local::to_wire(&opened.file.stat()?);
                Ok(body.put_bytes(stat.as_bytes(), GFP_KERNEL)?)
            })
        }
        (0, [_, ..]) => {
            let config = this.node.config();
            let name = copy(path(name)?)?;
            let device = local::device(&config, &name)?;
            let owner = (peer, owner(device, peer, args.uid.get()));
            defer(this, owner, reply, size, move |_, body| {
                let stat = local::stat(&config, &name, follow)?;
                Ok(body.put_bytes(stat.as_bytes(), GFP_KERNEL)?)
            })
        }
        _ => Err(EINVAL),
    }
}

fn truncate(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = TruncateFileArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let opened = this.opened.get(peer, args.handle.get())?;
    let until = Deadline::after_ms(reply.patience_ms());
    let what = What::Truncate(args.size.get());
    let reply = defer_with(this, peer, reply, |body| body.defer(opened.uid()))?;
    change_content(&this.lines, opened, FileChange { reply, until, what })
}

/// The arguments of a change of names, which has these flags and perhaps a mode, and the two paths;
/// the second is empty but in a Rename.
fn change(request: &[u8], flags: u32, has_mode: bool) -> Result<(PathArgs, &[u8], &[u8])> {
    let (args, paths) = PathArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let first = args.first.get().into();
    if args.flags.get() & !flags != 0 || args.reserved.get() != 0 {
        return Err(EINVAL);
    }
    if !has_mode && args.mode.get() != 0 {
        return Err(EINVAL);
    }
    let (first, second) = paths.split_at_checked(first).ok_or(EINVAL)?;
    Ok((args, path(first)?, second))
}

fn unlink(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name, []) = change(request, flag::DIRECTORY, false)? else {
        return Err(EINVAL);
    };
    let is_dir = args.flags.get() & flag::DIRECTORY != 0;
    let copied = copy(name)?;
    defer_change(this, (peer, args.uid.get()), reply, name, move |config| {
        local::unlink(config, &copied, is_dir)
    })
}

fn rename(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, from, to) = change(request, flag::NO_REPLACE, false)?;
    let replace = args.flags.get() & flag::NO_REPLACE == 0;
    let (old, new) = (copy(from)?, copy(path(to)?)?);
    defer_change(this, (peer, args.uid.get()), reply, from, move |config| {
        local::rename(config, &old, &new, replace)
    })
}

fn mkdir(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name, []) = change(request, 0, true)? else {
        return Err(EINVAL);
    };
    let mode = permissions(args.mode.get())?;
    let copied = copy(name)?;
    defer_change(this, (peer, args.uid.get()), reply, name, move |config| {
        local::mkdir(config, &copied, mode)
    })
}

fn read_dir(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name) = ReadDirArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let (from, len) = (args.from.get(), args.len.get() as usize);
    let with_stat = match args.flags.get() {
        0 => false,
        flag::STAT => true,
        _ => return Err(EINVAL),
    };
    if !(MIN_ENTRIES..=MAX_DATA).contains(&len) {
        return Err(EINVAL);
    }
    const HEAD: usize = size_of::<ReadDirReply>();
    let config = this.node.config();
    let name = copy(path(name)?)?;
    let device = local::device(&config, &name)?;
    let owner = (peer, owner(device, peer, args.uid.get()));
    defer(this, owner, reply, (HEAD + len, false), move |_, body| {
        body.put_zeros(HEAD + len, GFP_KERNEL)?;
        let (head, entries) = body.split_first_chunk_mut::<HEAD>().ok_or(EINVAL)?;
        let (n, next) = local::read_dir(&config, &name, from, with_stat, entries)?;
        *head = next.to_le_bytes();
        body.truncate(HEAD + n);
        Ok(())
    })
}
