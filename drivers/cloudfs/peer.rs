// SPDX-License-Identifier: GPL-2.0

//! What other nodes may ask of this node's files. See [`virgo_proto::cloudfs`].

use crate::{
    cluster::Cloudfs,
    here, //
};
use core::mem::size_of;
use kernel::prelude::*;
use linux::vfs;
use virgo_proto::cloudfs::{
    flag,
    op,
    open as flags,
    Handle,
    HandleArgs,
    OpenArgs,
    OpenReply,
    PathArgs,
    ReadArgs,
    ReadDirArgs,
    ReadDirReply,
    TruncateArgs,
    WriteArgs,
    WriteReply,
    MAX_CLOSE,
    MAX_DATA,
    MAX_PATH,
    MIN_ENTRIES, //
};
use virgo_utils::{
    Body,
    Operation,
    Peer,
    Repeat, //
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

fn open(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name) = OpenArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let (name, mode) = (path(name)?, permissions(args.mode.get())?);
    let how = args.flags.get();
    if !flags::are_valid(how) || (how & flags::CREATE == 0 && mode != 0) {
        return Err(EINVAL);
    }
    let charge = this.opened.charge(peer, args.uid.get())?;
    let file = here::open(&this.node.config(), name, how, mode)?;
    let synchronous = how & flags::SYNC != 0;
    let answer = OpenReply {
        handle: this.opened.insert(peer, file, synchronous, charge)?.into(),
        load: (this.opened.len() as u64).into(),
    };
    reply
        .put(answer.as_bytes())
        .inspect_err(|_| this.opened.remove(answer.handle.get()))
}

/// Closes what a peer has opened without ever learning the handle.
pub(crate) fn undo(this: &Cloudfs, op: u16, reply: &[u8]) {
    if let (op::OPEN, Ok(reply)) = (op, OpenReply::read_from_bytes(reply)) {
        this.opened.remove(reply.handle.get());
    }
}

fn close(this: &Cloudfs, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let handles = <[Handle]>::ref_from_bytes(request).map_err(|_| EINVAL)?;
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
    if len >= WORTH_SHARING {
        match opened.file.pages(offset, len) {
            Ok(pages) => return reply.end_with(pages),
            // Not a regular file: reading says what is wrong.
            Err(EINVAL) => (),
            Err(e) => return Err(e),
        }
    }
    reply.fill(len, |to| opened.file.read(offset, to))?;
    Ok(())
}

fn write(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, data) = WriteArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    if data.len() > MAX_DATA {
        return Err(EMSGSIZE);
    }
    let opened = this.opened.get(peer, args.handle.get())?;
    let written = opened
        .file
        .write(args.offset.get(), data)
        .inspect_err(|&e| {
            // The kernel has forgotten it now, and whether the reply arrives is not known: rather
            // reported twice than never.
            if opened.synchronous && matches!(e, EIO | ENOSPC | EDQUOT) {
                opened.syncing.add_failure(e);
            }
        })?;
    let answer = WriteReply {
        // At most MAX_DATA.
        written: (written as u32).into(),
    };
    reply.put(answer.as_bytes())
}

fn sync(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let args = HandleArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let data_only = match args.flags.get() {
        0 => false,
        flag::DATA_ONLY => true,
        _ => return Err(EINVAL),
    };
    let opened = this.opened.get(peer, args.handle.get())?;
    opened.syncing.add(reply.defer()?, data_only);
    // Other requests do not wait for the disk.
    let worker = opened.clone();
    let spawned = this
        .syncing
        .spawn(move || worker.syncing.work(&worker.file));
    if spawned.is_err() {
        opened.syncing.give_up(ENOMEM);
    }
    Ok(())
}

fn stat(this: &Cloudfs, peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name) = HandleArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let follow = match args.flags.get() {
        0 => true,
        flag::NO_FOLLOW => false,
        _ => return Err(EINVAL),
    };
    let stat = match (args.handle.get(), name) {
        (handle, []) if follow => here::to_wire(&this.opened.get(peer, handle)?.file.stat()?),
        (0, [_, ..]) => here::stat(&this.node.config(), path(name)?, follow)?,
        _ => return Err(EINVAL),
    };
    reply.put(stat.as_bytes())
}

fn truncate(this: &Cloudfs, peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let args = TruncateArgs::read_from_bytes(request).map_err(|_| EINVAL)?;
    let opened = this.opened.get(peer, args.handle.get())?;
    opened.file.truncate(args.size.get())
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

fn unlink(this: &Cloudfs, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, name, []) = change(request, flag::DIRECTORY, false)? else {
        return Err(EINVAL);
    };
    let is_dir = args.flags.get() & flag::DIRECTORY != 0;
    here::unlink(&this.node.config(), name, is_dir)
}

fn rename(this: &Cloudfs, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, from, to) = change(request, flag::NO_REPLACE, false)?;
    let replace = args.flags.get() & flag::NO_REPLACE == 0;
    here::rename(&this.node.config(), from, path(to)?, replace)
}

fn mkdir(this: &Cloudfs, _peer: Peer, request: &[u8], _reply: &mut Body<'_>) -> Result {
    let (args, name, []) = change(request, 0, true)? else {
        return Err(EINVAL);
    };
    let mode = permissions(args.mode.get())?;
    here::mkdir(&this.node.config(), name, mode)
}

fn read_dir(this: &Cloudfs, _peer: Peer, request: &[u8], reply: &mut Body<'_>) -> Result {
    let (args, name) = ReadDirArgs::read_from_prefix(request).map_err(|_| EINVAL)?;
    let len = args.len.get() as usize;
    let with_stat = match args.flags.get() {
        0 => false,
        flag::STAT => true,
        _ => return Err(EINVAL),
    };
    if !(MIN_ENTRIES..=MAX_DATA).contains(&len) {
        return Err(EINVAL);
    }
    let name = path(name)?;
    const HEAD: usize = size_of::<ReadDirReply>();
    reply.fill(HEAD + len, |to| {
        let (head, entries) = to.split_first_chunk_mut::<HEAD>().ok_or(EINVAL)?;
        let config = this.node.config();
        let (n, next) = here::read_dir(&config, name, args.from.get(), with_stat, entries)?;
        *head = next.to_le_bytes();
        Ok(HEAD + n)
    })?;
    Ok(())
}
