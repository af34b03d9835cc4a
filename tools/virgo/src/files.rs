// SPDX-License-Identifier: GPL-2.0
//! Files of all nodes.
//!
//! A name says where a file is: `/path` on this node, `2:/path` or `node2:/path` on node 2,
//! `1,3:/path` a copy on either (to be read), `least-used:/path` where the fewest files are open,
//! likewise `random:` and `two-choices:`. A node has only what its configuration exports.
//!
//! Names are bytes, as everywhere in Linux: `&str`, `String`, `OsString` and `Path` all serve.

mod dir;
mod metadata;
mod name;
mod names;

pub use dir::{DirEntry, read_dir, read_dir_metadata};
pub use metadata::{Metadata, metadata, symlink_metadata};
pub use name::shown;
pub use names::{create_dir, create_dir_with_mode, remove_dir, remove_file, rename, rename_new};

use crate::{Error, Result, abi, call, lock::Fence, memory::milliseconds};
use libc::{EIO, c_int};
use name::{error, path};
use std::{
    ffi::{OsStr, OsString},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

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
    fence: Option<Fence>,
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
            fence: None,
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

    /// It must not be a symbolic link (`ELOOP`).
    pub fn no_follow(self) -> Self {
        self.with(libc::O_NOFOLLOW)
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

    /// Says which lock guards the file, which is opened for writing: what is done with it has the token, and is
    /// refused with `ESTALE` once somebody has come with a later one. From the first token on others can neither
    /// write to the file nor cut it without the lock (`ENOLCK`). `EOPNOTSUPP` if its file system cannot keep that.
    ///
    /// ```no_run
    /// use virgo::{Open, lock::{Fence, Mode, Session}};
    ///
    /// let session = Session::open()?;
    /// let held = session.lock("ledger", Mode::Ex)?;
    /// let fence = Fence::new("ledger", held.token);
    /// let file = Open::new().write().fenced(fence).open("2:/srv/data/ledger")?;
    /// // ESTALE if somebody else has had the lock since.
    /// file.write_at(0, b"total 17")?;
    /// # Ok::<(), virgo::Error>(())
    /// ```
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
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
        let is_fenced = self.fence.is_some();
        match call::open2(&path, flags, mode, self.timeout_ms, self.fence.as_ref()) {
            Ok(fd) => Ok(File {
                fd,
                name: name.to_owned(),
                is_fenced,
            }),
            Err(errno) => Err(refused("open", name, errno, is_fenced, is_fenced)),
        }
    }
}

/// An open file of some node. It is closed when it is dropped.
#[derive(Debug)]
pub struct File {
    fd: OwnedFd,
    name: OsString,
    /// It was opened with a lock.
    is_fenced: bool,
}

/// Why a change has failed. `ESTALE` has two reasons; it is the fence if the file `is_there`.
fn refused(
    what: &'static str,
    name: &OsStr,
    errno: c_int,
    is_fenced: bool,
    is_there: bool,
) -> Error {
    let reason = match errno {
        libc::ESTALE if is_fenced && is_there => {
            Some("somebody else has had the lock since this token was granted")
        }
        libc::ENOLCK if is_fenced => Some("another lock guards it"),
        libc::ENOLCK => Some("a lock guards it"),
        _ => None,
    };
    let error = error(what, name, errno);
    error.because(reason).by_fence(reason.is_some())
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

    /// Why a change has failed.
    fn refused(&self, what: &'static str, errno: c_int) -> Error {
        let is_there = errno == libc::ESTALE && call::stat_of(self.fd.as_fd(), 0).is_ok();
        refused(what, &self.name, errno, self.is_fenced, is_there)
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
                Err(errno) => return Err(self.refused("write", errno)),
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
            Err(errno) => Err(self.refused("truncate", errno)),
        }
    }

    /// What is known of it.
    ///
    /// # Errors
    ///
    /// As for [`Self::read_at`].
    pub fn metadata(&self) -> Result<Metadata> {
        let stat = call::stat_of(self.fd.as_fd(), 0);
        stat.map(Metadata::from)
            .map_err(|errno| self.error("look at", errno))
    }
}
