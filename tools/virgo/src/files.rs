// SPDX-License-Identifier: GPL-2.0
//! Files of all nodes.
//!
//! A name says where a file is: `/path` on this node, `2:/path` or `node2:/path` on node 2,
//! `1,3:/path` a copy on either (to be read), `least-used:/path` where the fewest files are open,
//! likewise `random:` and `two-choices:`. A node has only what its configuration exports.
//!
//! Names are bytes, as everywhere in Linux: `&str`, `String`, `OsString` and `Path` all serve.

use crate::{
    Error, Result,
    abi::{self, DIRENT_SIZE, DIRENT_STAT_SIZE},
    call,
    error::Tried,
    memory::milliseconds,
};
use libc::{EIO, EPROTO, c_int};
use std::{
    ffi::{CString, OsStr, OsString},
    mem::offset_of,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    time::{Duration, SystemTime},
};

/// Bytes of entries that [`read_dir`] asks for at a time.
const ENTRIES: usize = 64 * 1024;

/// How to open a file.
///
/// ```no_run
/// use virgo::Open;
///
/// let file = Open::new().write().create().open("2:/srv/data/notes")?;
/// file.write_at(0, b"on node 2")?;
/// file.sync()?;
/// # Ok::<(), virgo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Open {
    read: bool,
    write: bool,
    flags: c_int,
    mode: u32,
    timeout_ms: u32,
}

impl Default for Open {
    fn default() -> Self {
        Self::new()
    }
}

impl Open {
    /// For reading, unless [`Self::write`] is asked for.
    pub fn new() -> Self {
        Self {
            read: false,
            write: false,
            flags: 0,
            mode: 0o666,
            timeout_ms: 0,
        }
    }

    /// For reading, also if it is for writing.
    pub fn read(mut self) -> Self {
        self.read = true;
        self
    }

    /// For writing.
    pub fn write(mut self) -> Self {
        self.write = true;
        self
    }

    fn with(mut self, flag: c_int) -> Self {
        self.flags |= flag;
        self
    }

    /// Create it if it is not there.
    pub fn create(self) -> Self {
        self.with(libc::O_CREAT)
    }

    /// Create it; it must not be there (`EEXIST`).
    pub fn create_new(self) -> Self {
        self.with(libc::O_CREAT | libc::O_EXCL)
    }

    /// Cut it to nothing.
    pub fn truncate(self) -> Self {
        self.with(libc::O_TRUNC)
    }

    /// Each write goes to the end, whatever its offset.
    pub fn append(self) -> Self {
        self.with(libc::O_APPEND)
    }

    /// Each write is on the disk when it returns.
    pub fn sync(self) -> Self {
        self.with(libc::O_SYNC)
    }

    /// Permissions of a new file, of which the umask takes away.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// How long opening, and each read and write, may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = milliseconds(timeout);
        self
    }

    /// Opens the file of this name.
    ///
    /// # Errors
    ///
    /// As open(2): `ENOENT`, `EEXIST`, `EISDIR` and the like; `EACCES` if it is not exported;
    /// `EROFS` if it is exported to be read; `EXDEV` if the path leads out of what is exported;
    /// `EMFILE` if too many are open, here or there; `EHOSTDOWN`, `ETIMEDOUT` or `ECONNRESET` if
    /// the node does not answer; `ENOSYS` if virgo_cloudfs is not loaded.
    pub fn open(&self, name: impl AsRef<OsStr>) -> Result<File> {
        let name = name.as_ref();
        let access = match (self.read, self.write) {
            (_, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
        };
        let flags = access | self.flags | libc::O_CLOEXEC;
        let path = path("open", name)?;
        // Permissions without a new file are refused.
        let mode = if flags & libc::O_CREAT != 0 {
            self.mode
        } else {
            0
        };
        match call::open2(&path, flags, mode, self.timeout_ms) {
            Ok(fd) => Ok(File {
                fd,
                name: name.to_owned(),
            }),
            Err(errno) => Err(error("open", name, errno)),
        }
    }
}

/// An open file of some node. It is closed when it is dropped.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    name: OsString,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As for [`Open::open`].
    pub fn open(name: impl AsRef<OsStr>) -> Result<Self> {
        Open::new().open(name)
    }

    fn error(&self, what: &'static str, errno: c_int) -> Error {
        error(what, &self.name, errno)
    }

    /// The name it was opened by.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Reads at byte `offset`. Returns how many bytes: fewer than there is room for only at the
    /// end.
    ///
    /// # Errors
    ///
    /// As pread(2); `ESTALE` if its node has restarted; and those of a node that does not answer.
    pub fn read_at(&self, offset: u64, data: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        loop {
            let rest = &mut data[done..];
            let wanted = rest.len();
            let at = offset.saturating_add(done as u64);
            match call::read2(self.fd.as_fd(), at, rest, 0) {
                // Less than was asked for is not the end yet: the rest may have failed.
                Ok(n @ 1..) if n < wanted => done += n,
                Ok(n) => return Ok(done + n),
                Err(errno) => return Err(self.error("read", errno)),
            }
        }
    }

    /// Writes all of `data` at byte `offset`, or at the end if it was opened so.
    ///
    /// # Errors
    ///
    /// As pwrite(2), `ENOSPC` and the like; otherwise as for [`Self::read_at`]. A part may have
    /// been written.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < data.len() {
            let at = offset.saturating_add(done as u64);
            match call::write2(self.fd.as_fd(), at, &data[done..], 0) {
                // Nothing done and no error: the call does not do that, but a loop must end.
                Ok(0) => return Err(self.error("write", EIO)),
                Ok(n) => done += n,
                Err(errno) => return Err(self.error("write", errno)),
            }
        }
        Ok(())
    }

    /// Returns when everything that was written is on the disk.
    ///
    /// # Errors
    ///
    /// As fsync(2), and as for [`Self::read_at`].
    pub fn sync(&self) -> Result<()> {
        self.fsync(0)
    }

    /// Like [`Self::sync`], but without the times of the file.
    ///
    /// # Errors
    ///
    /// As for [`Self::sync`].
    pub fn sync_data(&self) -> Result<()> {
        self.fsync(abi::FSYNC_DATA)
    }

    fn fsync(&self, flags: u32) -> Result<()> {
        match call::fsync(self.fd.as_fd(), flags, 0) {
            Ok(_) => Ok(()),
            Err(errno) => Err(self.error("sync", errno)),
        }
    }

    /// Cuts the file, or lengthens it by zeros.
    ///
    /// # Errors
    ///
    /// As ftruncate(2), and as for [`Self::read_at`].
    pub fn set_len(&self, size: u64) -> Result<()> {
        match call::truncate(self.fd.as_fd(), size, 0) {
            Ok(_) => Ok(()),
            Err(errno) => Err(self.error("truncate", errno)),
        }
    }

    /// What is known of it.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_at`].
    pub fn metadata(&self) -> Result<Metadata> {
        let stat = call::stat_of(self.fd.as_fd(), 0);
        stat.map(Metadata)
            .map_err(|errno| self.error("look at", errno))
    }
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct Metadata(abi::Stat);

impl Metadata {
    /// All of it.
    pub fn stat(&self) -> &abi::Stat {
        &self.0
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.0.size
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.size == 0
    }

    fn is(&self, kind: libc::mode_t) -> bool {
        self.0.mode & libc::S_IFMT == kind
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }

    /// When its content changed last.
    pub fn modified(&self) -> SystemTime {
        let seconds = Duration::from_secs(self.0.mtime_s.unsigned_abs());
        let since = match self.0.mtime_s {
            0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
            _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
        };
        let nanoseconds = Duration::from_nanos(self.0.mtime_ns.into());
        let exact = since.and_then(|since| since.checked_add(nanoseconds));
        // Another node may say what this machine's clock cannot show.
        exact.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// What is known of the file of this name.
///
/// # Errors
///
/// As for [`Open::open`].
pub fn metadata(name: impl AsRef<OsStr>) -> Result<Metadata> {
    stat(name.as_ref(), 0)
}

/// Like [`metadata`], of a symbolic link itself.
///
/// # Errors
///
/// As for [`Open::open`].
pub fn symlink_metadata(name: impl AsRef<OsStr>) -> Result<Metadata> {
    stat(name.as_ref(), abi::STAT_NO_FOLLOW)
}

fn stat(name: &OsStr, flags: u32) -> Result<Metadata> {
    let stat = call::stat_at(&path("look at", name)?, flags, 0);
    stat.map(Metadata)
        .map_err(|errno| error("look at", name, errno))
}

/// Removes a file.
///
/// # Errors
///
/// As unlink(2), and as for [`Open::open`].
pub fn remove_file(name: impl AsRef<OsStr>) -> Result<()> {
    remove(name.as_ref(), 0)
}

/// Removes an empty directory.
///
/// # Errors
///
/// As rmdir(2), and as for [`Open::open`].
pub fn remove_dir(name: impl AsRef<OsStr>) -> Result<()> {
    remove(name.as_ref(), abi::UNLINK_DIRECTORY)
}

fn remove(name: &OsStr, flags: u32) -> Result<()> {
    match call::unlink(&path("remove", name)?, flags, 0) {
        Ok(_) => Ok(()),
        Err(errno) => Err(error("remove", name, errno)),
    }
}

/// Gives a file another name, on the same node and in the same export; what has that name goes.
///
/// # Errors
///
/// As rename(2), `EXDEV` among them, and as for [`Open::open`].
pub fn rename(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<()> {
    change_name(from.as_ref(), to.as_ref(), 0)
}

/// Like [`rename`], unless something has that name already (`EEXIST`).
///
/// # Errors
///
/// As for [`rename`].
pub fn rename_new(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<()> {
    change_name(from.as_ref(), to.as_ref(), abi::RENAME_NO_REPLACE)
}

fn change_name(from: &OsStr, to: &OsStr, flags: u32) -> Result<()> {
    match call::rename(&path("rename", from)?, &path("rename to", to)?, flags, 0) {
        Ok(_) => Ok(()),
        Err(errno) => {
            let name = format!("{} to {}", shown(from), shown(to));
            Err(Error::new(
                Tried::File {
                    what: "rename",
                    name,
                },
                errno,
            ))
        }
    }
}

/// Makes a directory.
///
/// # Errors
///
/// As mkdir(2), and as for [`Open::open`].
pub fn create_dir(name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    match call::mkdir(&path("make", name)?, 0o777, 0) {
        Ok(_) => Ok(()),
        Err(errno) => Err(error("make", name, errno)),
    }
}

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
/// As for [`Open::open`].
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
fn list(name: &OsStr, flags: u32, mut take: impl FnMut(&[u8]) -> Option<()>) -> Result<()> {
    let path = path("list", name)?;
    let mut next = 0;
    let mut data = vec![0; ENTRIES];
    loop {
        let n = call::readdir(&path, &mut next, &mut data, flags, 0)
            .map_err(|errno| error("list", name, errno))?;
        if n == 0 {
            return Ok(());
        }
        take(&data[..n.min(ENTRIES)]).ok_or_else(|| error("list", name, EPROTO))?;
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
        entries.push((entry, (stat.mode != 0).then_some(Metadata(stat))));
        data = rest;
    }
    Some(())
}

/// The name of an entry. It comes from another node, and is put behind that of a directory: `None` if
/// that would lead out of the directory.
fn entry_name(name: &[u8]) -> Option<OsString> {
    let is_one = !matches!(name, b"" | b"." | b"..") && !name.iter().any(|b| matches!(b, b'/' | 0));
    is_one.then(|| OsString::from_vec(name.to_vec()))
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

fn path(what: &'static str, name: &OsStr) -> Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| error(what, name, libc::EINVAL))
}

fn error(what: &'static str, name: &OsStr, errno: c_int) -> Error {
    let name = shown(name);
    Error::new(Tried::File { what, name }, errno)
}

/// A name for people: bytes that are no text, and what a terminal would obey, as `\xNN`.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    let mut text = String::new();
    for chunk in name.as_ref().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character.is_control() {
                true => text.extend(character.escape_default()),
                false => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn names_that_lead_out_of_a_directory_are_refused() {
        for name in [&b""[..], b".", b"..", b"/etc/passwd", b"a/b", b"a\0b"] {
            let mut data = 7u64.to_ne_bytes().to_vec();
            data.extend([libc::DT_REG, name.len() as u8]);
            data.extend(name);
            assert_eq!(take_entries(&data, &mut Vec::new()), None, "{name:?}");
        }
    }

    #[test]
    fn times_that_cannot_be_are_no_panic() {
        for (mtime_s, mtime_ns) in [(i64::MAX, u32::MAX), (i64::MIN, 0), (-1, 5)] {
            let _ = Metadata(abi::Stat {
                mtime_s,
                mtime_ns,
                ..Default::default()
            })
            .modified();
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

    #[test]
    fn names_are_shown_without_harm() {
        let name = OsString::from_vec(b"a\n\x1b[2J\xff\xc3\xa4".to_vec());
        assert_eq!(shown(name), "a\\n\\u{1b}[2J\\xff\u{e4}");
    }

    #[test]
    fn times_before_1970_are_times() {
        let stat = abi::Stat {
            mtime_s: -1,
            mtime_ns: 500_000_000,
            ..Default::default()
        };
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(500);
        assert_eq!(Metadata(stat).modified(), before);
    }
}
