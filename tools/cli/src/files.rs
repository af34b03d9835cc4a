// SPDX-License-Identifier: GPL-2.0
//! Files of nodes: write, cat, ls.

use crate::{
    blocks::{self, BLOCK},
    failure, fence,
    options::{List, Write},
    output::{self, Printer},
};
use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use std::{
    ffi::{OsStr, OsString},
    io::{IsTerminal, Read, stdin},
    os::unix::ffi::OsStrExt,
    process::ExitCode,
};
use virgo::Metadata;

/// Writes to a file, and brings that to the disk.
pub(crate) fn write(output: Printer, options: &Write) -> Result<()> {
    let mut open = virgo::Open::new().write();
    if options.append {
        open = open.append();
    }
    if options.create {
        open = open.create();
    }
    if options.truncate {
        open = open.truncate();
    }
    if let Some(lock) = &options.fence {
        open = open.fenced(fence::parse(lock)?);
    }
    let file = open.open(&options.file)?;
    let bytes = match &options.data {
        Some(data) => write_all(&file, options.offset, data.as_bytes())?,
        None => write_all(&file, options.offset, stdin().lock())?,
    };
    file.sync()?;
    output.print(&json!({ "bytes": bytes }), String::new)
}

/// Writes all that is in `from`. Returns how many bytes that is.
fn write_all(file: &virgo::File, offset: u64, from: impl Read) -> Result<u64> {
    blocks::each(from, |before, block| {
        Ok(file.write_at(offset.saturating_add(before), block)?)
    })
}

pub(crate) fn cat(output: Printer, files: &[OsString]) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for name in files {
        if let Err(error) = print(name) {
            failure::report(output, &error);
            status = ExitCode::FAILURE;
        }
    }
    Ok(status)
}

fn print(name: &OsStr) -> Result<()> {
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
struct Listed {
    name: OsString,
    long: Option<Long>,
}

/// The same as JSON, which has no names that are not text.
#[derive(Serialize)]
struct AsJson<'a> {
    /// Bytes that are no text as `\xNN`.
    name: String,
    /// The bytes of such a name, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
    #[serde(flatten)]
    long: Option<&'a Long>,
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

pub(crate) fn ls(output: Printer, options: &List) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    let mut listed = Vec::new();
    for name in &options.files {
        match list(name, options.long) {
            Ok(found) => listed.extend(found),
            Err(error) => {
                failure::report(output, &error.into());
                status = ExitCode::FAILURE;
            }
        }
    }
    if output.json {
        let listed: Vec<_> = listed.iter().map(AsJson::new).collect();
        output.print(&listed, String::new)?;
    } else {
        let escape = std::io::stdout().is_terminal();
        output::bytes(&text(&listed, options.long, escape))?;
    }
    Ok(status)
}

/// What is in a directory, by name; or the file itself.
fn list(name: &OsStr, long: bool) -> virgo::Result<Vec<Listed>> {
    let known = virgo::metadata(name)?;
    if !known.is_dir() {
        let long = match long {
            true => Some(Long::new(Some(&virgo::symlink_metadata(name)?))),
            false => None,
        };
        let name = name.to_owned();
        return Ok(vec![Listed { name, long }]);
    }
    let mut listed: Vec<_> = match long {
        true => virgo::read_dir_metadata(name)?
            .into_iter()
            .map(|(entry, known)| Listed {
                name: entry.name,
                long: Some(Long::new(known.as_ref())),
            })
            .collect(),
        false => virgo::read_dir(name)?
            .into_iter()
            .map(|entry| Listed {
                name: entry.name,
                long: None,
            })
            .collect(),
    };
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}

impl<'a> AsJson<'a> {
    fn new(listed: &'a Listed) -> Self {
        let hex = |name: &OsStr| {
            name.as_bytes()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        let long = listed.long.as_ref();
        match listed.name.to_str() {
            Some(name) => Self {
                name: name.to_owned(),
                name_hex: None,
                long,
            },
            None => Self {
                name: virgo::shown(&listed.name),
                name_hex: Some(hex(&listed.name)),
                long,
            },
        }
    }
}

impl Long {
    /// `None` of a file of which nothing could be found out.
    fn new(found: Option<&Metadata>) -> Self {
        let Some(found) = found else {
            let unknown = || "?".to_owned();
            return Self {
                mode: unknown(),
                links: 0,
                uid: 0,
                gid: 0,
                size: 0,
                modified: unknown(),
            };
        };
        let stat = found.stat();
        // Only times from 1970 to 9999 have this form.
        let modified = match stat.mtime_s {
            0..=253_402_300_799 => humantime::format_rfc3339_seconds(found.modified()).to_string(),
            seconds => format!("@{seconds}"),
        };
        Self {
            mode: mode(stat.mode),
            links: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            modified,
        }
    }
}

impl Long {
    /// As text, in the order of the columns.
    fn columns(&self) -> [String; 6] {
        [
            self.modified.clone(),
            self.mode.clone(),
            self.links.to_string(),
            self.uid.to_string(),
            self.gid.to_string(),
            self.size.to_string(),
        ]
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

/// A line for each. Names are bytes, unless they are for a terminal, which would obey some of them.
fn text(listed: &[Listed], long: bool, escape: bool) -> Vec<u8> {
    let header = ["MODIFIED", "MODE", "LINKS", "UID", "GID", "SIZE"];
    // As `output::table` does it, which takes far longer for thousands of lines than to list them.
    let columns: Vec<_> = listed
        .iter()
        .filter_map(|file| Some(file.long.as_ref()?.columns()))
        .collect();
    let width = |column: usize| {
        let widths = columns.iter().map(|columns| columns[column].len());
        widths.fold(header[column].len(), usize::max)
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |columns: [&str; 6]| {
        let [modified, mode, links, uid, gid, size] = columns;
        let [a, b, c, d, e, f] = widths;
        format!("{modified:a$}  {mode:b$}  {links:>c$}  {uid:>d$}  {gid:>e$}  {size:>f$}  ")
    };
    let mut text = Vec::new();
    if long && !listed.is_empty() {
        text.extend_from_slice(line(header).as_bytes());
        text.extend_from_slice(b"NAME\n");
    }
    let mut lines = columns
        .iter()
        .map(|columns| line(columns.each_ref().map(String::as_str)));
    for file in listed {
        if file.long.is_some() {
            text.extend_from_slice(lines.next().unwrap_or_default().as_bytes());
        }
        match escape {
            true => text.extend_from_slice(virgo::shown(&file.name).as_bytes()),
            false => text.extend_from_slice(file.name.as_bytes()),
        }
        text.push(b'\n');
    }
    text
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

    #[test]
    fn names_are_bytes_and_escaped_for_a_terminal() {
        let name = OsStr::from_bytes(b"a\n\xff\x1b[2J").to_owned();
        let listed = [Listed { name, long: None }];
        assert_eq!(text(&listed, false, false), b"a\n\xff\x1b[2J\n");
        assert_eq!(text(&listed, false, true), b"a\\n\\xff\\u{1b}[2J\n");
        let json = serde_json::to_string(&AsJson::new(&listed[0])).unwrap();
        assert!(json.contains("\"name_hex\":\"610aff1b5b324a\""), "{json}");
    }

    #[test]
    fn the_name_is_last_on_a_line() {
        let listed = [("a", 5), ("bb", 100)].map(|(name, size)| Listed {
            name: name.into(),
            long: Some(Long {
                size,
                ..Long::new(None)
            }),
        });
        let text = String::from_utf8(text(&listed, true, false)).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(" SIZE  NAME"), "{text}");
        assert!(lines[1].ends_with("    5  a"), "{text}");
        assert!(lines[2].ends_with("  100  bb"), "{text}");
    }
}
