// SPDX-License-Identifier: GPL-2.0
//! Copying files: cp, put.

use crate::{
    ends::End,
    failure,
    known::{Inode, Kind, Known},
    options::Copy,
    output::Printer,
    transfer,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::{collections::HashSet, process::ExitCode};

pub(crate) fn cp(output: Printer, options: &Copy) -> Result<ExitCode> {
    run(output, options, |_, _| Ok(()))
}

pub(crate) fn put(output: Printer, options: &Copy) -> Result<ExitCode> {
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
    output: Printer,
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
    let mut made = HashSet::new();
    for source in sources {
        let copied = End::parse(source).and_then(|source| {
            check(&source, &target)?;
            let target = destination(&source, &target, into)?;
            ensure!(
                made.insert(target.file_name()),
                "{source} is not copied: another of the sources has the same name"
            );
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
    output: Printer,
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
    output: Printer,
    options: &'a Copy,
    total: &'a mut Total,
    /// The directories that lead to what is being copied: a link to one of them has no end.
    above: Vec<Inode>,
    /// The directory that everything is copied to.
    root: Option<End>,
}

impl Tree<'_> {
    /// An error of one file does not keep the others from being copied.
    fn copy(&mut self, source: &End, known: Known, target: &End) -> Result<()> {
        match known.kind {
            Kind::Special(what) => bail!("{source} is {what}: it is not copied"),
            Kind::File => {
                self.total.bytes += transfer::file(self.options, source, target)?;
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
            !self.is_root(source)?,
            "{source} is the copy itself: it is not copied"
        );
        // What is in it is for nobody else, either; who copies must be able to write to it.
        if target.make_dir(known.mode | 0o700)? {
            target.sync_parent()?;
        }
        self.root.get_or_insert_with(|| target.clone());
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

    /// Whether `source` is the directory that everything is copied to. Inodes of two exports may have
    /// one number: they are told apart by the time of the last change.
    fn is_root(&self, source: &End) -> Result<bool> {
        let Some(root) = &self.root else {
            return Ok(false);
        };
        let [root, source] = [root.look()?, source.look()?];
        Ok(root.zip(source).is_some_and(|(root, source)| {
            (root.inode, root.modified) == (source.inode, source.modified)
        }))
    }
}

#[cfg(test)]
mod tests;
