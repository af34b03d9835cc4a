// SPDX-License-Identifier: GPL-2.0
//! Copying the content of one file, and going on with what an earlier copy has left.

use crate::{
    ends::End,
    known::{Kind, Known},
    opened::Opened,
    options::Copy,
    part::Part,
};
use anyhow::{Error, Result, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest, Sha256};

/// Bytes copied at a time.
pub(crate) const BLOCK: usize = 1 << 20;

/// Bytes after which what was written is brought to the disk: what a machine that stops had not brought
/// there may be missing, though the file has its length.
pub(crate) const SYNCED: u64 = 16 << 20;

/// Bytes before the end of a part that are compared before it is gone on with: those that may not be on
/// the disk, and of the last block that was written a part may be missing.
pub(crate) const COMPARED: u64 = SYNCED + 2 * BLOCK as u64;

/// Files from this size on have a progress bar.
const LARGE: u64 = 16 << 20;

/// Copies one file. Returns its size.
pub(crate) fn file(options: &Copy, source: &End, target: &End) -> Result<u64> {
    let from = source.open()?;
    // Of the file that is open, whatever has its name by now.
    let known = from.known()?;
    ensure!(known.kind == Kind::File, "{source} is not a file any more");
    let left = match options.resume {
        true => Part::resume(&known, target)?,
        false => None,
    };
    let part = left.map_or_else(|| Part::create(&known, target), Ok)?;
    let copied = fill(options, source, &from, &known, &part);
    let done = copied.and_then(|bytes| {
        part.finish()?;
        Ok(bytes)
    });
    let bytes = done.map_err(|error| give_up(&part, error))?;
    target.sync_parent()?;
    Ok(bytes)
}

/// What becomes of a copy that has failed: what can be gone on with stays, and its name is told; the
/// rest goes.
fn give_up(part: &Part, error: Error) -> Error {
    const AGAIN: &[i32] = &[
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ETIMEDOUT,
        libc::ECONNRESET,
        libc::ESTALE,
        libc::EINTR,
    ];
    let errno = error.downcast_ref().map(virgo::Error::errno);
    if !errno.is_some_and(|errno| AGAIN.contains(&errno)) && part.name.remove().is_ok() {
        return error;
    }
    error.context(format!(
        "what was copied is left in {}; --resume goes on with it",
        part.name
    ))
}

/// Writes the content of `from` to `part`, and brings it to the disk. Returns its size.
fn fill(options: &Copy, source: &End, from: &Opened, known: &Known, part: &Part) -> Result<u64> {
    let to = &part.file;
    let mut at = match options.resume {
        true => common(from, to, to.known()?.len)?,
        false => 0,
    };
    to.set_len(at)?;
    let resumed = at > 0;
    if resumed {
        to.sync()?;
    }
    let mut synced = at;
    let bar = progress(source, known.len, at);
    let mut block = vec![0; BLOCK];
    loop {
        let n = from.read_at(at, &mut block)?;
        to.write_at(at, &block[..n])?;
        at += n as u64;
        bar.set_position(at);
        if n < BLOCK {
            break;
        }
        if at - synced >= SYNCED {
            to.sync()?;
            synced = at;
        }
    }
    to.sync()?;
    bar.finish_and_clear();
    if resumed {
        let now = from.known()?;
        ensure!(
            (now.len, now.modified) == (known.len, known.modified),
            "{source} has changed while it was copied: copy it again"
        );
    }
    if options.verify {
        let (was, is) = (digest(from)?, digest(to)?);
        ensure!(
            was == is,
            "{source} has SHA-256 {was}, its copy {} has {is}: copy it again",
            part.name
        );
    }
    Ok(at)
}

/// How much of `to`, which has `len` bytes, is the beginning of `from`, as far as its end says.
fn common(from: &Opened, to: &Opened, len: u64) -> Result<u64> {
    let start = len.saturating_sub(COMPARED);
    let mut ends = [vec![0; COMPARED as usize], vec![0; COMPARED as usize]];
    let [ours, theirs] = &mut ends;
    let wanted = usize::try_from(len - start)?;
    let n = to.read_at(start, &mut ours[..wanted])?;
    let m = from.read_at(start, &mut theirs[..wanted])?;
    Ok(if n == wanted && m == wanted && ours == theirs {
        len
    } else {
        0
    })
}

fn digest(file: &Opened) -> Result<String> {
    let mut digest = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        let n = file.read_at(at, &mut block)?;
        digest.update(&block[..n]);
        at += n as u64;
        if n < BLOCK {
            return Ok(format!("{:x}", digest.finalize()));
        }
    }
}

/// A bar on standard error, if that is a terminal and the file is large.
fn progress(source: &End, len: u64, at: u64) -> ProgressBar {
    if len < LARGE {
        return ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(len);
    let style = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(source.to_string());
    // Speed is that of this run.
    bar.reset();
    bar.set_position(at);
    bar.reset_eta();
    bar
}
