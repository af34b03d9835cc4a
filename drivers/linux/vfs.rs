// SPDX-License-Identifier: GPL-2.0

//! Files beneath a directory, used with the credentials of an ordinary user.
//!
//! C side: `vfs.c`, which says how a path is kept inside. Everything here sleeps for the disk.

pub use crate::helpers::{
    virgo_dir_entry as DirEntry,
    virgo_file_stat as FileStat, //
};
use crate::{
    helpers,
    pages::Pages, //
};
use core::{
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::file::flags,
    prelude::*,
    uaccess::UserPtr, //
};

/// Fewest bytes that [`File::read_dir`] takes: the longest entry.
pub const MIN_ENTRIES: usize = size_of::<DirEntry>() + bindings::NAME_MAX as usize;

/// Who does something with files: a user, a group, and no privileges.
///
/// # Invariants
///
/// The pointer is a `struct cred` of which this holds a reference.
pub struct Credentials(NonNull<bindings::cred>);

// SAFETY: Credentials do not change, and are counted atomically.
unsafe impl Send for Credentials {}
// SAFETY: As above.
unsafe impl Sync for Credentials {}

impl Credentials {
    /// Those of user `uid` and group `gid` of the initial user name space, and nothing beyond.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(uid: u32, gid: u32) -> Result<Self> {
        // SAFETY: Has no preconditions.
        let cred = unsafe { helpers::virgo_cred_new(uid, gid) };
        // INVARIANT: The caller of `virgo_cred_new` gets the reference.
        Ok(Credentials(NonNull::new(cred.cast_mut()).ok_or(ENOMEM)?))
    }

    fn as_ptr(&self) -> *const bindings::cred {
        self.0.as_ptr()
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        // SAFETY: By the invariant the reference is ours.
        unsafe { helpers::virgo_cred_put(self.as_ptr()) };
    }
}

/// The calling program's umask.
pub fn umask() -> u32 {
    // SAFETY: Reads what belongs to the current task.
    unsafe { helpers::virgo_umask() }
}

/// How a file is opened.
#[derive(Clone, Copy, Default)]
pub struct Open {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Created if it is not there.
    pub create: bool,
    /// With `create`: it must not be there.
    pub exclusive: bool,
    /// Cut to nothing.
    pub truncate: bool,
    /// Each write goes to the end.
    pub append: bool,
    /// It must be a directory.
    pub directory: bool,
    /// It must not be a symbolic link.
    pub no_follow: bool,
    /// Each write is on the disk when it returns.
    pub sync: bool,
}

impl Open {
    fn flags(self) -> c_int {
        let access = match (self.read, self.write) {
            (true, true) => flags::O_RDWR,
            (false, true) => flags::O_WRONLY,
            _ => flags::O_RDONLY,
        };
        let others = [
            (self.create, flags::O_CREAT),
            (self.exclusive, flags::O_EXCL),
            (self.truncate, flags::O_TRUNC),
            (self.append, flags::O_APPEND),
            (self.directory, flags::O_DIRECTORY),
            (self.no_follow, flags::O_NOFOLLOW),
            (self.sync, flags::O_SYNC),
        ];
        let chosen = others.iter().filter(|(chosen, _)| *chosen);
        chosen.fold(access, |all, (_, flag)| all | flag) as c_int
    }
}

/// A directory of this machine, and who does something in it.
///
/// Names are relative to it and may come from anywhere: nothing outside is ever reached, which is
/// [`EXDEV`]. No name begins with a slash; the empty one is the directory itself.
pub struct Beneath<'a> {
    /// Absolute path, in the initial name space.
    pub dir: &'a CStr,
    /// Who does it.
    pub cred: &'a Credentials,
}

impl Beneath<'_> {
    /// Opens a file or directory; `mode` are the permissions of a new one.
    ///
    /// # Errors
    ///
    /// As open(2); [`ENXIO`] for what is neither file nor directory.
    pub fn open(&self, name: &CStr, how: Open, mode: u16) -> Result<File> {
        // SAFETY: The strings end with NUL, the credentials are valid.
        let file = from_err_ptr(unsafe {
            helpers::virgo_beneath_open(
                self.dir.as_char_ptr(),
                name.as_char_ptr(),
                how.flags(),
                mode,
                self.cred.as_ptr(),
            )
        })?;
        // INVARIANT: The opener gets the only reference.
        Ok(File(NonNull::new(file).ok_or(ENOENT)?))
    }

    /// What is known of a file; of a symbolic link itself unless `follow`.
    ///
    /// # Errors
    ///
    /// As stat(2).
    pub fn stat(&self, name: &CStr, follow: bool) -> Result<FileStat> {
        let mut stat = FileStat::default();
        // SAFETY: The strings end with NUL, the credentials are valid, `stat` is valid for writes.
        to_result(unsafe {
            helpers::virgo_beneath_stat(
                self.dir.as_char_ptr(),
                name.as_char_ptr(),
                follow,
                self.cred.as_ptr(),
                &mut stat,
            )
        })?;
        Ok(stat)
    }

    /// Removes a name; with `is_dir` an empty directory.
    ///
    /// # Errors
    ///
    /// As unlink(2) and rmdir(2).
    pub fn unlink(&self, name: &CStr, is_dir: bool) -> Result {
        // SAFETY: The strings end with NUL, the credentials are valid.
        to_result(unsafe {
            helpers::virgo_beneath_unlink(
                self.dir.as_char_ptr(),
                name.as_char_ptr(),
                is_dir,
                self.cred.as_ptr(),
            )
        })
    }

    /// Changes a name; what has the new one goes, if `replace`.
    ///
    /// # Errors
    ///
    /// As rename(2).
    pub fn rename(&self, from: &CStr, to: &CStr, replace: bool) -> Result {
        // SAFETY: The strings end with NUL, the credentials are valid.
        to_result(unsafe {
            helpers::virgo_beneath_rename(
                self.dir.as_char_ptr(),
                from.as_char_ptr(),
                to.as_char_ptr(),
                replace,
                self.cred.as_ptr(),
            )
        })
    }

    /// Makes a directory with permissions `mode`.
    ///
    /// # Errors
    ///
    /// As mkdir(2).
    pub fn mkdir(&self, name: &CStr, mode: u16) -> Result {
        // SAFETY: The strings end with NUL, the credentials are valid.
        to_result(unsafe {
            helpers::virgo_beneath_mkdir(
                self.dir.as_char_ptr(),
                name.as_char_ptr(),
                mode,
                self.cred.as_ptr(),
            )
        })
    }
}

/// An open file or directory. What is done with it is done by who has opened it.
///
/// # Invariants
///
/// The pointer is an open file of which this holds a reference.
pub struct File(NonNull<bindings::file>);

// SAFETY: Open files may be used from any thread.
unsafe impl Send for File {}
// SAFETY: Files do their own locking.
unsafe impl Sync for File {}

impl File {
    fn as_ptr(&self) -> *mut bindings::file {
        self.0.as_ptr()
    }

    /// Reads at byte `offset`. Returns how many bytes; fewer than there is room for at the end, or
    /// if an error came after a part was read.
    ///
    /// # Errors
    ///
    /// As pread(2).
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize> {
        let (data, len) = (to.as_mut_ptr().cast(), to.len());
        // SAFETY: The file is open, `to` is valid for writes of its length.
        let n = unsafe { helpers::virgo_file_read(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// Writes at byte `offset`, or at the end if the file was opened so. Returns how many bytes:
    /// fewer if an error, like a full disk, has kept the rest.
    ///
    /// # Errors
    ///
    /// As pwrite(2).
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<usize> {
        let (data, len) = (from.as_ptr().cast(), from.len());
        // SAFETY: The file is open, `from` is valid for reads of its length.
        let n = unsafe { helpers::virgo_file_write(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// As [`Self::read`], to `len` bytes of the current program's memory.
    ///
    /// # Errors
    ///
    /// As there, and [`EFAULT`].
    pub fn read_user(&self, offset: u64, to: UserPtr, len: usize) -> Result<usize> {
        let data = to.as_const_ptr().cast_mut();
        // SAFETY: The file is open; the memory is checked when it is written to.
        let n =
            unsafe { helpers::virgo_file_read_user(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// As [`Self::write`], from `len` bytes of the current program's memory.
    ///
    /// # Errors
    ///
    /// As there, and [`EFAULT`].
    pub fn write_user(&self, offset: u64, from: UserPtr, len: usize) -> Result<usize> {
        let data = from.as_const_ptr();
        // SAFETY: The file is open; the memory is checked when it is read.
        let n =
            unsafe { helpers::virgo_file_write_user(self.as_ptr(), data, len, position(offset)?) };
        moved(n, len)
    }

    /// Up to `len` bytes at byte `offset`, to be sent without being copied. They are fewer at the
    /// end, and may be fewer if they are more than 64 KiB.
    ///
    /// # Errors
    ///
    /// As pread(2); [`EINVAL`] if it is not a regular file.
    pub fn pages(&self, offset: u64, len: usize) -> Result<Pages> {
        let at = position(offset)?;
        // SAFETY: The file is open.
        unsafe { Pages::read(self.as_ptr(), len, at) }
    }

    /// Returns when everything that was written is on the disk; with `data_only` not the times.
    ///
    /// # Errors
    ///
    /// As fsync(2): also what an earlier write met with later.
    pub fn sync(&self, data_only: bool) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { helpers::virgo_file_sync(self.as_ptr(), data_only) })
    }

    /// Cuts the file, or lengthens it by zeros, to `size` bytes.
    ///
    /// # Errors
    ///
    /// As ftruncate(2).
    pub fn truncate(&self, size: u64) -> Result {
        let size = position(size)?;
        // SAFETY: The file is open.
        to_result(unsafe { helpers::virgo_file_truncate(self.as_ptr(), size) })
    }

    /// What is known of it.
    ///
    /// # Errors
    ///
    /// As fstat(2).
    pub fn stat(&self) -> Result<FileStat> {
        let mut stat = FileStat::default();
        // SAFETY: The file is open, `stat` is valid for writes.
        to_result(unsafe { helpers::virgo_file_stat(self.as_ptr(), &mut stat) })?;
        Ok(stat)
    }

    /// Writes entries of a directory to `to`: [`DirEntry`] and name, one behind the other, without
    /// `.` and `..`. Begins at `from`, which is 0 or what an earlier call returned. Returns the
    /// bytes written, 0 at the end, and where to go on.
    ///
    /// # Errors
    ///
    /// As getdents(2); [`EINVAL`] if `to` is shorter than [`MIN_ENTRIES`].
    pub fn read_dir(&self, from: u64, to: &mut [u8]) -> Result<(usize, u64)> {
        if to.len() < MIN_ENTRIES {
            return Err(EINVAL);
        }
        // Some file systems use all 64 bits.
        let mut at = from as i64;
        // SAFETY: The file is open; `to` is valid for writes of its length, `at` for writes.
        let n = unsafe {
            helpers::virgo_dir_read(self.as_ptr(), &mut at, to.as_mut_ptr().cast(), to.len())
        };
        Ok((moved(n, to.len())?, at as u64))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: By the invariant the reference is ours.
        unsafe { bindings::fput(self.as_ptr()) };
    }
}

/// The kernel's position of byte `offset`.
fn position(offset: u64) -> Result<i64> {
    i64::try_from(offset).map_err(|_| EINVAL)
}

fn moved(n: isize, room: usize) -> Result<usize> {
    match usize::try_from(n) {
        Ok(n) => Ok(n.min(room)),
        Err(_) => Err(Error::from_errno(n as c_int)),
    }
}
