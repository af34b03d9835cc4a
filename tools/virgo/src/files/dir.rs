// SPDX-License-Identifier: GPL-2.0
//! Reading directories.

use super::{
    metadata::Metadata,
    name::{error, path},
};
use crate::{
    Result,
    abi::{self, DIRENT_SIZE, DIRENT_STAT_SIZE},
    call,
};
use libc::{EFBIG, EPROTO, c_int};
use std::{
    ffi::{OsStr, OsString},
    mem::offset_of,
    os::unix::ffi::OsStringExt,
};
use virgo_proto::cloudfs::is_entry_name;

/// Bytes of entries that [`read_dir`] asks for at a time.
const ENTRIES: usize = 64 * 1024;

/// Most bytes of entries of one directory: another node might never come to an end.
const MAX_LISTED: usize = 256 << 20;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name there.
    pub name: OsString,
    /// Number of its inode.
    pub ino: u64,
    /// What it is: `DT_DIR`, `DT_REG` and the like of readdir(3).
    pub kind: u8,
}

/// The entries of a directory, in no order, without `.` and `..`.
///
/// # Errors
///
/// As for [`Open::open`]; `EFBIG` for more than 256 MiB of entries, some million files.
pub fn read_dir(name: impl AsRef<OsStr>) -> Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    list(name.as_ref(), 0, |data| take_entries(data, &mut entries))?;
    Ok(entries)
}

/// Like [`read_dir`], with what is known of each entry, of a symbolic link itself; `None` where
/// nothing is, as below a directory that may be listed but not entered.
///
/// # Errors
///
/// As for [`Open::open`].
pub fn read_dir_metadata(name: impl AsRef<OsStr>) -> Result<Vec<(DirEntry, Option<Metadata>)>> {
    let mut entries = Vec::new();
    list(name.as_ref(), abi::READDIR_STAT, |data| {
        take_stats(data, &mut entries)
    })?;
    Ok(entries)
}

/// Reads a directory, and has its entries taken apart.
fn list(name: &OsStr, flags: u32, take: impl FnMut(&[u8]) -> Option<()>) -> Result<()> {
    let path = path("list", name)?;
    let read = |next: &mut u64, data: &mut [u8]| call::readdir(&path, next, data, flags, 0);
    read_all(read, take).map_err(|errno| error("list", name, errno))
}

/// Reads entries by `read` until there are no more, and has `take` take them apart.
fn read_all(
    mut read: impl FnMut(&mut u64, &mut [u8]) -> Result<usize, c_int>,
    mut take: impl FnMut(&[u8]) -> Option<()>,
) -> Result<(), c_int> {
    let (mut next, mut left) = (0, MAX_LISTED);
    let mut data = vec![0; ENTRIES];
    loop {
        let asked = next;
        let n = read(&mut next, &mut data)?.min(ENTRIES);
        if n == 0 {
            return Ok(());
        }
        if next == asked {
            return Err(EPROTO);
        }
        left = left.checked_sub(n).ok_or(EFBIG)?;
        take(&data[..n]).ok_or(EPROTO)?;
    }
}

/// Takes entries apart as the kernel has written them; `None` if they are not whole.
fn take_entries(mut data: &[u8], entries: &mut Vec<DirEntry>) -> Option<()> {
    while !data.is_empty() {
        let (head, rest) = data.split_first_chunk::<DIRENT_SIZE>()?;
        let [ino @ .., kind, len] = head;
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        entries.push(DirEntry {
            name: entry_name(name)?,
            ino: u64::from_ne_bytes(*ino),
            kind: *kind,
        });
        data = rest;
    }
    Some(())
}

/// Likewise with what is known of them.
fn take_stats(mut data: &[u8], entries: &mut Vec<(DirEntry, Option<Metadata>)>) -> Option<()> {
    while !data.is_empty() {
        let (head, rest) = data.split_first_chunk::<DIRENT_STAT_SIZE>()?;
        let [stat @ .., kind, len] = head;
        let stat = take_stat(stat);
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        let entry = DirEntry {
            name: entry_name(name)?,
            ino: stat.ino,
            kind: *kind,
        };
        entries.push((entry, (stat.mode != 0).then(|| stat.into())));
        data = rest;
    }
    Some(())
}

/// The name of an entry. It comes from another node, and is put behind that of a directory: `None` if
/// that would lead out of the directory.
fn entry_name(name: &[u8]) -> Option<OsString> {
    is_entry_name(name).then(|| OsString::from_vec(name.to_vec()))
}

/// A structure as the kernel has written it, anywhere in memory.
fn take_stat(bytes: &[u8; size_of::<abi::Stat>()]) -> abi::Stat {
    fn at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
        // Offsets are those of the structure whose size `bytes` has.
        std::array::from_fn(|index| bytes[offset + index])
    }
    let u32_at = |offset| u32::from_ne_bytes(at(bytes, offset));
    let u64_at = |offset| u64::from_ne_bytes(at(bytes, offset));
    abi::Stat {
        ino: u64_at(offset_of!(abi::Stat, ino)),
        size: u64_at(offset_of!(abi::Stat, size)),
        blocks: u64_at(offset_of!(abi::Stat, blocks)),
        mtime_s: i64::from_ne_bytes(at(bytes, offset_of!(abi::Stat, mtime_s))),
        mtime_ns: u32_at(offset_of!(abi::Stat, mtime_ns)),
        mode: u32_at(offset_of!(abi::Stat, mode)),
        nlink: u32_at(offset_of!(abi::Stat, nlink)),
        uid: u32_at(offset_of!(abi::Stat, uid)),
        gid: u32_at(offset_of!(abi::Stat, gid)),
        node: u32_at(offset_of!(abi::Stat, node)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn entries_are_taken_apart() {
        let mut data = 7u64.to_ne_bytes().to_vec();
        data.extend([libc::DT_REG, 2, b'a', b'b']);
        data.extend(8u64.to_ne_bytes());
        data.extend([libc::DT_DIR, 1, b'c']);
        let mut entries = Vec::new();
        assert_eq!(take_entries(&data, &mut entries), Some(()));
        let found: Vec<_> = entries.iter().map(|e| (e.ino, e.kind)).collect();
        assert_eq!(found, [(7, libc::DT_REG), (8, libc::DT_DIR)]);
        assert_eq!(entries[0].name, "ab");
        for cut in [data.len() - 1, 13, 9] {
            assert_eq!(take_entries(&data[..cut], &mut Vec::new()), None, "{cut}");
        }
    }

    #[test]
    fn a_directory_without_an_end_is_given_up() {
        let mut entry = [0; DIRENT_SIZE + 250];
        entry[DIRENT_SIZE - 1] = 250;
        let read = |next: &mut u64, data: &mut [u8]| {
            // To and fro.
            *next = 3 - (*next).max(1);
            let whole = data.len() / entry.len();
            for part in data.chunks_exact_mut(entry.len()) {
                part.copy_from_slice(&entry);
            }
            Ok(whole * entry.len())
        };
        let mut taken = 0;
        let ended = read_all(read, |data| {
            taken += data.len();
            // The test ends also if that does not.
            (taken < 2 * MAX_LISTED).then_some(())
        });
        assert_eq!(ended, Err(EFBIG));
        assert!(taken <= MAX_LISTED);
        let stuck = read_all(|_, _| Ok(1), |_| Some(()));
        assert_eq!(stuck, Err(EPROTO));
    }

    #[test]
    fn names_that_lead_out_of_a_directory_are_refused() {
        for name in [&b""[..], b".", b"..", b"/etc/passwd", b"a/b", b"a\0b"] {
            let mut data = 7u64.to_ne_bytes().to_vec();
            data.extend([libc::DT_REG, name.len() as u8]);
            data.extend(name);
            assert_eq!(take_entries(&data, &mut Vec::new()), None, "{name:?}");
        }
    }

    #[test]
    fn entries_have_what_is_known_of_them() {
        let mut data = vec![0; size_of::<abi::Stat>()];
        data[..8].copy_from_slice(&7u64.to_ne_bytes());
        let mode = offset_of!(abi::Stat, mode);
        data[mode..mode + 4].copy_from_slice(&0o100644u32.to_ne_bytes());
        data.extend([libc::DT_REG, 1, 0xff]);
        data.extend([0; size_of::<abi::Stat>()]);
        data.extend([libc::DT_DIR, 1, b'b']);
        let mut entries = Vec::new();
        assert_eq!(take_stats(&data, &mut entries), Some(()));
        let [(first, known), (second, unknown)] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((first.ino, first.name.as_bytes()), (7, &b"\xff"[..]));
        assert!(known.is_some_and(|known| known.is_file()));
        assert_eq!((second.kind, unknown.is_none()), (libc::DT_DIR, true));
        assert_eq!(take_stats(&data[..data.len() - 1], &mut Vec::new()), None);
    }
}
