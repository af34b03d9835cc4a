// SPDX-License-Identifier: GPL-2.0

//! Files of this node, for its own programs and for other nodes: only what is exported, and with
//! the credentials of the export. All functions sleep for the disk.

use core::mem::size_of;
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::{
    bytes::Fill,
    closing::{
        AtOnce,
        ClosedBy, //
    },
    vfs::{
        Beneath,
        File,
        FileStat,
        OpenOptions, //
    }, //
};
use virgo_config::{
    Config,
    Export, //
};
use virgo_proto::cloudfs::{
    open,
    NameEntry,
    StatEntry,
    StatReply, //
};

/// The export that `path` is in, and its name there.
///
/// # Errors
///
/// [`EACCES`] if it is in none, [`EROFS`] if it is to be changed and must not be.
fn find<'a>(config: &'a Config, path: &[u8], change: bool) -> Result<(&'a Export, CString)> {
    let (export, rest) = config.export(path).ok_or(EACCES)?;
    if change && !export.writable {
        return Err(EROFS);
    }
    let mut name = KVec::with_capacity(rest.len() + 1, GFP_KERNEL)?;
    name.extend_from_slice(rest, GFP_KERNEL)?;
    name.push(0, GFP_KERNEL)?;
    let name = CStr::from_bytes_with_nul(&name).map_err(|_| EINVAL)?;
    Ok((export, CString::try_from(name)?))
}

/// Like [`find`], for a name that is to be made, removed or changed: not the export's own.
fn find_name<'a>(config: &'a Config, path: &[u8]) -> Result<(Beneath<'a>, CString)> {
    let (export, name) = find(config, path, true)?;
    match name.is_empty() {
        true => Err(EBUSY),
        false => Ok((export.beneath()?, name)),
    }
}

/// Tells the file system of the export that `path` is in from others. Does not sleep for it.
///
/// # Errors
///
/// [`EACCES`] if it is in none.
pub(crate) fn device(config: &Config, path: &[u8]) -> Result<u32> {
    let (export, _) = config.export(path).ok_or(EACCES)?;
    Ok(export.beneath()?.device())
}

/// Opens `path`; `flags` are those of [`virgo_proto::cloudfs::open`]. Says whether it is to be
/// [emptied](File::empty).
pub(crate) fn open(config: &Config, path: &[u8], flags: u32, mode: u16) -> Result<(File, bool)> {
    let change = flags & (open::WRITE | open::CREATE | open::TRUNCATE | open::APPEND) != 0;
    let (export, name) = find(config, path, change)?;
    let is = |flag| flags & flag != 0;
    let how = OpenOptions {
        read: is(open::READ),
        write: is(open::WRITE),
        create: is(open::CREATE),
        exclusive: is(open::EXCLUSIVE),
        truncate: is(open::TRUNCATE),
        append: is(open::APPEND),
        directory: is(open::DIRECTORY),
        no_follow: is(open::NO_FOLLOW),
        sync: is(open::SYNC),
    };
    export.beneath()?.open(&name, how, mode)
}

/// What is known of the file at `path`.
pub(crate) fn stat(config: &Config, path: &[u8], follow: bool) -> Result<StatReply> {
    let (export, name) = find(config, path, false)?;
    Ok(to_wire(&export.beneath()?.stat(&name, follow)?))
}

/// Removes the name at `path`.
pub(crate) fn unlink(config: &Config, path: &[u8], is_dir: bool) -> Result {
    let (beneath, name) = find_name(config, path)?;
    beneath.unlink(&name, is_dir)
}

/// Changes the name at `from` to `to`.
///
/// # Errors
///
/// [`EXDEV`] if they are in different exports.
pub(crate) fn rename(config: &Config, from: &[u8], to: &[u8], replace: bool) -> Result {
    let (beneath, from) = find_name(config, from)?;
    let (other, to) = find_name(config, to)?;
    match beneath.is_same(&other) {
        true => beneath.rename(&from, &to, replace),
        false => Err(EXDEV),
    }
}

/// Makes a directory at `path`.
pub(crate) fn mkdir(config: &Config, path: &[u8], mode: u16) -> Result {
    let (beneath, name) = find_name(config, path)?;
    beneath.mkdir(&name, mode)
}

/// Most bytes of entries with what is known of them that are found out at a time: each may take a
/// turn of the disk, and other requests wait meanwhile.
const MAX_STAT: usize = 32 * 1024;

/// Entries of the directory at `path`, see [`File::read_dir`]; with `with_stat` they are
/// [`StatEntry`]s.
pub(crate) fn read_dir(
    config: &Config,
    path: &[u8],
    from: u64,
    with_stat: bool,
    to: &mut [u8],
) -> Result<(usize, u64)> {
    let (dir, _) = open(config, path, open::READ | open::DIRECTORY, 0)?;
    let dir = ClosedBy::new(dir, AtOnce);
    if !with_stat {
        return dir.read_dir(from, to, 0);
    }
    const MORE: usize = size_of::<StatEntry>() - size_of::<NameEntry>();
    let mut names = KVVec::new();
    names.put_zeros(to.len().min(MAX_STAT), GFP_KERNEL_ACCOUNT)?;
    let mut from = from;
    loop {
        let (n, next) = dir.read_dir(from, &mut names, MORE)?;
        let written = add_stats(&dir, names.get(..n).unwrap_or_default(), to)?;
        // If all of them were removed meanwhile, that is not the end yet.
        if n == 0 || written > 0 {
            return Ok((written, next));
        }
        from = next;
    }
}

/// Writes the entries of `dir` that `names` has, and what is known of each, to `to`: not those that
/// are no longer there. Returns how many bytes.
fn add_stats(dir: &File, names: &[u8], to: &mut [u8]) -> Result<usize> {
    let (mut names, mut written) = (names, 0);
    while !names.is_empty() {
        let (entry, rest) = NameEntry::read_from_prefix(names).map_err(|_| EIO)?;
        let (name, rest) = rest.split_at_checked(entry.len.into()).ok_or(EIO)?;
        names = rest;
        let stat = match dir.stat_entry(name) {
            Ok(stat) => to_wire(&stat),
            Err(ENOENT) => continue,
            Err(EINTR) => return Err(EINTR),
            Err(_) => StatReply {
                ino: entry.ino,
                ..Default::default()
            },
        };
        let head = StatEntry {
            stat,
            kind: entry.kind,
            len: entry.len,
        };
        for part in [head.as_bytes(), name] {
            let end = written + part.len();
            // The directory was read so that there is room.
            to.get_mut(written..end).ok_or(EIO)?.copy_from_slice(part);
            written = end;
        }
    }
    Ok(written)
}

/// What is known of a file, as it crosses the wire.
pub(crate) fn to_wire(stat: &FileStat) -> StatReply {
    StatReply {
        ino: stat.ino.into(),
        size: stat.size.into(),
        blocks: stat.blocks.into(),
        mtime_s: stat.mtime_s.into(),
        mtime_ns: stat.mtime_ns.into(),
        mode: stat.mode.into(),
        nlink: stat.nlink.into(),
        uid: stat.uid.into(),
        gid: stat.gid.into(),
        reserved: 0.into(),
    }
}
