// SPDX-License-Identifier: GPL-2.0
//! Files of nodes: cat, ls.

use crate::{
    failure,
    options::List,
    output::{self, Output},
};
use anyhow::{Result, bail};
use serde::Serialize;
use std::process::ExitCode;
use virgo::Metadata;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

pub(crate) fn cat(output: Output, files: &[String]) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for name in files {
        if let Err(error) = print(name) {
            failure::report(output, &error);
            status = ExitCode::FAILURE;
        }
    }
    Ok(status)
}

fn print(name: &str) -> Result<()> {
    let file = virgo::File::open(name)?;
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        let n = file.read_at(at, &mut block)?;
        output::bytes(&block[..n])?;
        at += n as u64;
        if n < BLOCK {
            return Ok(());
        }
    }
}

/// A file, as it is listed.
#[derive(Serialize)]
struct Listed {
    name: String,
    #[serde(flatten)]
    long: Option<Long>,
}

/// What --long adds.
#[derive(Serialize)]
struct Long {
    mode: String,
    links: u32,
    uid: u32,
    gid: u32,
    size: u64,
    modified: String,
}

pub(crate) fn ls(output: Output, options: &List) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    let mut listed = Vec::new();
    for name in &options.files {
        match list(name, options.long) {
            Ok(found) => listed.extend(found),
            Err(error) => {
                failure::report(output, &error);
                status = ExitCode::FAILURE;
            }
        }
    }
    output.print(&listed, || text(&listed))?;
    Ok(status)
}

/// What is in a directory, by name; or the file itself.
fn list(name: &str, long: bool) -> Result<Vec<Listed>> {
    if !virgo::metadata(name)?.is_dir() {
        return Ok(vec![look(name.to_owned(), name, long)?]);
    }
    let mut listed = Vec::new();
    for entry in virgo::read_dir(name)? {
        let Ok(entry) = entry.name.into_string() else {
            bail!("{name} has a name that is not UTF-8");
        };
        let path = format!("{}/{entry}", name.trim_end_matches('/'));
        match look(entry, &path, long) {
            Ok(found) => listed.push(found),
            // Somebody has removed it meanwhile.
            Err(error) if error.errno() == libc::ENOENT => (),
            Err(error) => return Err(error.into()),
        }
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}

fn look(name: String, path: &str, long: bool) -> virgo::Result<Listed> {
    let long = match long {
        true => Some(Long::new(&virgo::symlink_metadata(path)?)),
        false => None,
    };
    Ok(Listed { name, long })
}

impl Long {
    fn new(found: &Metadata) -> Self {
        let stat = found.stat();
        let modified = humantime::format_rfc3339_seconds(found.modified());
        Self {
            mode: mode(stat.mode),
            links: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            modified: modified.to_string(),
        }
    }
}

/// Kind and permissions as ls(1) shows them.
fn mode(mode: u32) -> String {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFDIR => 'd',
        libc::S_IFLNK => 'l',
        libc::S_IFREG => '-',
        _ => '?',
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    let shown = bits.map(|(bit, letter)| if (mode >> bit) & 1 == 1 { letter } else { '-' });
    std::iter::once(kind).chain(shown).collect()
}

fn text(listed: &[Listed]) -> String {
    if listed.iter().all(|file| file.long.is_none()) {
        let names: Vec<_> = listed.iter().map(|file| file.name.as_str()).collect();
        return names.join("\n");
    }
    let header = ["MODIFIED", "MODE", "NAME", "LINKS", "UID", "GID", "SIZE"];
    let rows = listed.iter().filter_map(|file| {
        let long = file.long.as_ref()?;
        Some(vec![
            long.modified.clone(),
            long.mode.clone(),
            file.name.clone(),
            long.links.to_string(),
            long.uid.to_string(),
            long.gid.to_string(),
            long.size.to_string(),
        ])
    });
    output::table(header.map(str::to_owned).to_vec(), 3, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_by_ls() {
        assert_eq!(mode(libc::S_IFREG | 0o644), "-rw-r--r--");
        assert_eq!(mode(libc::S_IFDIR | 0o751), "drwxr-x--x");
        assert_eq!(mode(libc::S_IFLNK | 0o777), "lrwxrwxrwx");
    }
}
