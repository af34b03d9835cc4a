// SPDX-License-Identifier: GPL-2.0
//! Copying files: cp, put.

use crate::{
    ends::{End, Known, Opened},
    failure,
    options::Copy,
    output::Output,
};
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::process::ExitCode;

/// Bytes copied at a time.
const BLOCK: usize = 1 << 20;

/// Bytes before the end of a part that are compared before it is gone on with.
const COMPARED: u64 = 64 * 1024;

/// Files from this size on have a progress bar.
const LARGE: u64 = 16 << 20;

pub(crate) fn cp(output: Output, options: &Copy) -> Result<ExitCode> {
    run(output, options, |_, _| Ok(()))
}

pub(crate) fn put(output: Output, options: &Copy) -> Result<ExitCode> {
    run(output, options, |source, target| {
        ensure!(
            matches!(source, End::Local(_)),
            "{source} is not of this machine: use cp"
        );
        ensure!(
            matches!(target, End::Cluster(_)),
            "{target} says no node: NODE:/PATH"
        );
        Ok(())
    })
}

/// What was copied.
#[derive(Default)]
struct Total {
    files: u64,
    bytes: u64,
    failed: bool,
}

fn run(
    output: Output,
    options: &Copy,
    check: impl Fn(&End, &End) -> Result<()>,
) -> Result<ExitCode> {
    let Some((target, sources)) = options.files.split_last() else {
        bail!("nothing to copy");
    };
    let target = End::parse(target);
    let into = target.look()?.is_some_and(|known| known.is_dir);
    ensure!(
        into || sources.len() == 1,
        "{target} is not a directory: several files need one"
    );
    let mut total = Total::default();
    for source in sources {
        let source = End::parse(source);
        check(&source, &target)?;
        let copied = destination(&source, &target, into)
            .and_then(|target| tree(output, options, &source, &target, &mut total));
        if let Err(error) = copied {
            failure::report(output, &error);
            total.failed = true;
        }
    }
    let result = json!({ "files": total.files, "bytes": total.bytes });
    output.print(&result, String::new)?;
    Ok(if total.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn destination(source: &End, target: &End, into: bool) -> Result<End> {
    if !into {
        return Ok(target.clone());
    }
    let name = source.file_name();
    Ok(target.join(&name.with_context(|| format!("{source} has no name"))?))
}

/// Copies a file, or a directory and what is in it; an error of one file does not keep the others
/// from being copied.
fn tree(
    output: Output,
    options: &Copy,
    source: &End,
    target: &End,
    total: &mut Total,
) -> Result<()> {
    let known = source
        .look()?
        .with_context(|| format!("{source} does not exist"))?;
    if !known.is_dir {
        total.bytes += file(options, source, &known, target)?;
        total.files += 1;
        return Ok(());
    }
    ensure!(
        options.recursive,
        "{source} is a directory: use --recursive"
    );
    target.make_dir()?;
    for name in source.list()? {
        let copied = tree(
            output,
            options,
            &source.join(&name),
            &target.join(&name),
            total,
        );
        if let Err(error) = copied {
            failure::report(output, &error);
            total.failed = true;
        }
    }
    Ok(())
}

/// Copies one file. Returns its size.
fn file(options: &Copy, source: &End, known: &Known, target: &End) -> Result<u64> {
    let part = target.part();
    let from = source.open()?;
    let to = part.create(known.mode)?;
    let mut at = 0;
    if options.resume {
        at = match part.look()? {
            Some(part) => common(&from, &to, part.len)?,
            None => 0,
        };
    }
    to.set_len(at)?;
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
    }
    to.sync()?;
    bar.finish_and_clear();
    if options.verify {
        let (was, is) = (digest(&from)?, digest(&to)?);
        ensure!(
            was == is,
            "{source} has SHA-256 {was}, its copy {part} has {is}: copy it again"
        );
    }
    part.rename(target)?;
    target.sync_parent()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn options(resume: bool) -> Copy {
        Copy {
            files: Vec::new(),
            recursive: true,
            resume,
            verify: true,
        }
    }

    /// Between files of this machine: nodes are the cluster tests' affair.
    fn copy(from: &std::path::Path, to: &std::path::Path, resume: bool) -> Total {
        let mut total = Total::default();
        let ends = [from, to].map(|path| End::Local(path.to_owned()));
        let quiet = Output { json: true };
        tree(quiet, &options(resume), &ends[0], &ends[1], &mut total).unwrap();
        total
    }

    #[test]
    fn trees_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/c"), vec![7; BLOCK]).unwrap();
        fs::write(from.join("d"), b"").unwrap();
        let to = dir.path().join("to");
        let total = copy(&from, &to, false);
        assert_eq!(
            (total.files, total.bytes, total.failed),
            (2, BLOCK as u64, false)
        );
        assert_eq!(fs::read(to.join("a/b/c")).unwrap(), vec![7; BLOCK]);
        assert_eq!(fs::read(to.join("d")).unwrap(), b"");
    }

    #[test]
    fn a_part_is_gone_on_with_only_if_it_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let whole: Vec<u8> = (0..3 * BLOCK).map(|i| (i / 7) as u8).collect();
        fs::write(path("from"), &whole).unwrap();
        // The beginning is wrong and is kept: it shows that it was gone on with.
        let mut part = whole[..2 * BLOCK].to_vec();
        part[0] ^= 1;
        fs::write(path("to.virgo-part"), &part).unwrap();
        let mut total = Total::default();
        let ends = [path("from"), path("to")].map(End::Local);
        let quiet = Output { json: true };
        let copied = tree(quiet, &options(true), &ends[0], &ends[1], &mut total);
        let said = copied.unwrap_err().to_string();
        assert!(said.contains("SHA-256"), "{said}");
        // One with another end is begun anew, and so is one that is too long.
        for part in [&b"something else"[..], &vec![0; 4 * BLOCK]] {
            fs::write(path("to.virgo-part"), part).unwrap();
            copy(&path("from"), &path("to"), true);
            assert_eq!(fs::read(path("to")).unwrap(), whole);
        }
    }
}
