// SPDX-License-Identifier: GPL-2.0
//! Copying files: cp, put.

use crate::{
    ends::{End, Inode, Kind, Known, Opened},
    failure,
    options::Copy,
    output::Output,
    part::Part,
};
use anyhow::{Context, Error, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::process::ExitCode;

/// Bytes copied at a time.
const BLOCK: usize = 1 << 20;

/// Bytes before the end of a part that are compared before it is gone on with: of the last block that
/// was written a part may be missing.
const COMPARED: u64 = BLOCK as u64 + 64 * 1024;

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
    let target = End::parse(target)?;
    let into = match target.look()?.map(|known| known.kind) {
        Some(Kind::Special(what)) => bail!("{target} is {what}"),
        kind => kind == Some(Kind::Dir),
    };
    ensure!(
        into || sources.len() == 1,
        "{target} is not a directory: several files need one"
    );
    let mut total = Total::default();
    for source in sources {
        let copied = End::parse(source).and_then(|source| {
            check(&source, &target)?;
            let target = destination(&source, &target, into)?;
            begin(output, options, &source, &target, &mut total)
        });
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

/// Copies what one argument names.
fn begin(
    output: Output,
    options: &Copy,
    source: &End,
    target: &End,
    total: &mut Total,
) -> Result<()> {
    let known = source
        .look()?
        .with_context(|| format!("{source} does not exist"))?;
    if known.is_dir() {
        ensure!(
            options.recursive,
            "{source} is a directory: use --recursive"
        );
        ensure!(
            !is_inside(source, &known, target)?,
            "{target} is inside {source}: it cannot be copied into itself"
        );
    }
    let mut tree = Tree {
        output,
        options,
        total,
        above: Vec::new(),
        root: None,
    };
    tree.copy(source, known, target)
}

/// Whether `target`, which may not be there yet, is in directory `source`, or is it.
fn is_inside(source: &End, known: &Known, target: &End) -> Result<bool> {
    let mut next = Some(target.clone());
    let mut first = true;
    while let Some(end) = next {
        let found = match end.look() {
            Ok(found) => found,
            // Beyond what is exported there is nothing to compare.
            Err(_) if !first => return Ok(false),
            Err(error) => return Err(error),
        };
        if let Some(found) = found {
            if found.is_dir() && found.inode == known.inode && found.modified == known.modified {
                return Ok(true);
            }
            if first {
                first = false;
                // Names of this machine, by way of links and of a node that is this one.
                if let (Some(inner), Some(outer)) = (end.here(&found), source.here(known)) {
                    let [inner, outer] = [inner, outer].map(std::fs::canonicalize);
                    if let (Ok(inner), Ok(outer)) = (inner, outer) {
                        return Ok(inner.starts_with(outer));
                    }
                }
            }
        }
        next = end.parent();
    }
    Ok(false)
}

/// A file, or a directory and what is in it, on its way.
struct Tree<'a> {
    output: Output,
    options: &'a Copy,
    total: &'a mut Total,
    /// The directories that lead to what is being copied: a link to one of them has no end.
    above: Vec<Inode>,
    /// The directory that everything is copied to.
    root: Option<Inode>,
}

impl Tree<'_> {
    /// An error of one file does not keep the others from being copied.
    fn copy(&mut self, source: &End, known: Known, target: &End) -> Result<()> {
        match known.kind {
            Kind::Special(what) => bail!("{source} is {what}: it is not copied"),
            Kind::File => {
                self.total.bytes += file(self.options, source, target)?;
                self.total.files += 1;
                return Ok(());
            }
            Kind::Dir => (),
        }
        ensure!(
            !self.above.contains(&known.inode),
            "{source} is a directory that leads to itself: it is not copied again"
        );
        ensure!(
            self.root != Some(known.inode),
            "{source} is the copy itself: it is not copied"
        );
        target.make_dir()?;
        if self.root.is_none() {
            self.root = target.look()?.map(|made| made.inode);
        }
        self.above.push(known.inode);
        let names = source.list();
        for name in names.iter().flatten() {
            let (from, to) = (source.join(name), target.join(name));
            let copied = from
                .look()
                .and_then(|known| known.with_context(|| format!("{from} does not exist")))
                .and_then(|known| self.copy(&from, known, &to));
            if let Err(error) = copied {
                failure::report(self.output, &error);
                self.total.failed = true;
            }
        }
        self.above.pop();
        names.map(drop)
    }
}

/// Copies one file. Returns its size.
fn file(options: &Copy, source: &End, target: &End) -> Result<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        ffi::OsStr,
        fs,
        os::unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, symlink},
        },
        path::Path,
    };

    fn options(resume: bool) -> Copy {
        Copy {
            files: Vec::new(),
            recursive: true,
            resume,
            verify: true,
        }
    }

    /// Between files of this machine: nodes are the cluster tests' affair.
    fn try_copy(from: &Path, to: &Path, resume: bool) -> (Result<()>, Total) {
        let mut total = Total::default();
        let [from, to] = [from, to].map(|path| End::Local(path.to_owned()));
        let quiet = Output { json: true };
        let copied = begin(quiet, &options(resume), &from, &to, &mut total);
        (copied, total)
    }

    fn copy(from: &Path, to: &Path, resume: bool) -> Total {
        let (copied, total) = try_copy(from, to, resume);
        copied.unwrap();
        total
    }

    /// Names in a directory, sorted.
    fn names(dir: &Path) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
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
        assert_eq!(names(&to), ["a", "d"]);
    }

    #[test]
    fn names_are_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        fs::create_dir(&from).unwrap();
        let long = "x".repeat(255);
        let odd = [
            &b"\xff\xfe"[..],
            b"a\nb",
            b"-r",
            b" ",
            b"\x1b[2J",
            long.as_bytes(),
        ];
        for name in odd {
            fs::write(from.join(OsStr::from_bytes(name)), name).unwrap();
        }
        let total = copy(&from, &to, false);
        assert_eq!((total.files, total.failed), (odd.len() as u64, false));
        assert_eq!(names(&to), names(&from));
    }

    #[test]
    fn a_directory_is_not_copied_into_itself() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("d");
        fs::create_dir_all(from.join("sub")).unwrap();
        symlink("d/sub", dir.path().join("link")).unwrap();
        for to in ["d/copy", "d/sub/copy", "d", "link/copy", "d/../d/copy"] {
            let (copied, _) = try_copy(&from, &dir.path().join(to), false);
            let said = copied.unwrap_err().to_string();
            assert!(said.contains("into itself"), "{to}: {said}");
        }
        assert_eq!(names(&from), ["sub"]);
        assert!(names(&from.join("sub")).is_empty());
        // Its name only begins alike.
        copy(&from, &dir.path().join("d2"), false);
    }

    #[test]
    fn what_cannot_be_copied_is_told_and_the_rest_copied() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/a"), "a").unwrap();
        symlink("..", from.join("sub/up")).unwrap();
        symlink("nowhere", from.join("dangling")).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(from.join("pipe"))
            .status();
        assert!(pipe.unwrap().success());
        let socket = std::os::unix::net::UnixListener::bind(from.join("socket"));
        let total = copy(&from, &to, false);
        drop(socket);
        assert_eq!((total.files, total.failed), (1, true));
        assert_eq!(names(&to), ["sub"]);
        assert_eq!(names(&to.join("sub")), ["a"]);
    }

    #[test]
    fn a_device_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let files = [file.as_os_str(), OsStr::new("/dev/null")].map(OsStr::to_owned);
        let options = Copy {
            files: files.into(),
            ..options(false)
        };
        let said = cp(Output { json: true }, &options).unwrap_err().to_string();
        assert!(said.contains("/dev/null is a device"), "{said}");
    }

    #[test]
    fn a_file_that_must_not_be_written_to_is_copied_twice() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        fs::write(&from, "of 0444").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o444)).unwrap();
        for resume in [false, false, true] {
            copy(&from, &to, resume);
        }
        assert_eq!(fs::read(&to).unwrap(), b"of 0444");
        assert_eq!(names(dir.path()), ["from", "to"]);
    }

    /// What a copy that was cut off has left.
    fn leave(from: &Path, to: &Path, content: &[u8]) {
        let [source, target] = [from, to].map(|path| End::Local(path.to_owned()));
        let known = source.look().unwrap().unwrap();
        let part = Part::create(&known, &target).unwrap();
        part.file.write_at(0, content).unwrap();
    }

    #[test]
    fn a_part_is_gone_on_with_only_if_it_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let whole: Vec<u8> = (0..3 * BLOCK).map(|i| (i / 7) as u8).collect();
        fs::write(&from, &whole).unwrap();
        // The beginning is wrong and is kept: it shows that it was gone on with.
        let mut part = whole[..2 * BLOCK].to_vec();
        part[0] ^= 1;
        leave(&from, &to, &part);
        let said = try_copy(&from, &to, true).0.unwrap_err().to_string();
        assert!(said.contains("SHA-256"), "{said}");
        assert_eq!(names(dir.path()), ["from"]);
        // One with another end is begun anew, and so are one that is too long and one with a hole.
        let mut hole = whole[..2 * BLOCK].to_vec();
        hole[BLOCK + 1000..BLOCK + 70_000].fill(0);
        for part in [&b"something else"[..], &vec![0; 4 * BLOCK], &hole] {
            leave(&from, &to, part);
            copy(&from, &to, true);
            assert_eq!(fs::read(&to).unwrap(), whole);
            assert_eq!(names(dir.path()), ["from", "to"]);
        }
    }

    #[test]
    fn a_part_of_another_source_is_not_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let [from, other, to] = ["from", "other", "to"].map(|name| dir.path().join(name));
        // They differ only where a part is not compared.
        let mut content = vec![1; 4 * BLOCK];
        fs::write(&from, &content).unwrap();
        leave(&from, &to, &content[..3 * BLOCK]);
        content[0] = 2;
        fs::write(&other, &content).unwrap();
        copy(&other, &to, true);
        assert_eq!(fs::read(&to).unwrap(), content);
        // Nor if it is the same file with other content.
        fs::write(&from, &content).unwrap();
        fs::remove_file(&to).unwrap();
        copy(&from, &to, true);
        assert_eq!(fs::read(&to).unwrap(), content);
    }
}
