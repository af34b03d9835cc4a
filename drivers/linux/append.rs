// SPDX-License-Identifier: GPL-2.0

//! Files that grow at their end and are brought to disk.

use crate::helpers;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};

/// An open file. Closed on drop. All methods may sleep for as long as the disk takes.
///
/// # Invariants
///
/// The pointer is a regular file, open for reading and writing, of which this holds a reference.
pub struct AppendFile(NonNull<bindings::file>);

// SAFETY: Files may be used from any thread.
unsafe impl Send for AppendFile {}
// SAFETY: Files do their own locking, and each write says where it goes.
unsafe impl Sync for AppendFile {}

impl AppendFile {
    /// Opens the file at `path`, as the first process sees it, and makes it, for root only, if it
    /// is not there.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for anything but a regular file; those of opening: [`ENOENT`] without its folder,
    /// [`EROFS`], [`ENOSPC`] and others.
    pub fn open(path: &CStr) -> Result<Self> {
        let flags = bindings::O_RDWR | bindings::O_CREAT | bindings::O_LARGEFILE;
        // SAFETY: The path ends with NUL.
        let file = from_err_ptr(unsafe {
            helpers::virgo_file_open(path.as_char_ptr(), flags as c_int, 0o600)
        })?;
        // INVARIANT: Just opened; checked below.
        let file = AppendFile(NonNull::new(file).ok_or(ENOENT)?);
        file.size()?;
        Ok(file)
    }

    /// Opens file `name` of directory `dir`, as the first process sees it, and makes it, with these
    /// permissions, if it is not there. Only for kernel threads. Neither may be a symbolic link: what
    /// it leads to would be written to with all privileges.
    ///
    /// # Errors
    ///
    /// [`ELOOP`] or [`ENOTDIR`] for a symbolic link; those of [`Self::open`].
    pub fn open_in(dir: &CStr, name: &CStr, mode: u16) -> Result<Self> {
        let flags = bindings::O_RDWR | bindings::O_CREAT;
        // SAFETY: The strings end with NUL.
        let file = from_err_ptr(unsafe {
            helpers::virgo_file_open_in(dir.as_char_ptr(), name.as_char_ptr(), flags as c_int, mode)
        })?;
        // INVARIANT: Just opened; checked below.
        let file = AppendFile(NonNull::new(file).ok_or(ENOENT)?);
        file.size()?;
        Ok(file)
    }

    /// Its bytes.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if it is no regular file.
    pub fn size(&self) -> Result<u64> {
        let (mut uid, mut mode, mut size) = (0, 0, 0);
        // SAFETY: The file is open; the others are valid for writes.
        to_result(unsafe {
            helpers::virgo_file_owner(self.0.as_ptr(), &mut uid, &mut mode, &mut size)
        })?;
        u64::try_from(size).map_err(|_| EINVAL)
    }

    /// Reads from byte `at` on. Returns how many: fewer than there is room for only at the end.
    ///
    /// # Errors
    ///
    /// [`EIO`] and the like.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize> {
        let mut filled = 0;
        let mut at = i64::try_from(at).map_err(|_| EFBIG)?;
        while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
            // SAFETY: The file is open, `rest` is valid for its length.
            let n = unsafe {
                bindings::kernel_read(
                    self.0.as_ptr(),
                    rest.as_mut_ptr().cast(),
                    rest.len(),
                    &mut at,
                )
            };
            match usize::try_from(n) {
                Ok(0) => break,
                Ok(n) => filled += n.min(rest.len()),
                Err(_) => return Err(Error::from_errno(n as c_int)),
            }
        }
        Ok(filled)
    }

    /// Writes all of `bytes` at the end; cuts off what is written of them if not all can be. One
    /// writer at a time.
    ///
    /// # Errors
    ///
    /// As for [`Self::write_at`].
    pub fn append(&self, bytes: &[u8]) -> Result {
        let size = self.size()?;
        self.write_at(bytes, size).inspect_err(|_| {
            // If that fails, too, a part of a line stays.
            let _ = self.truncate(size);
        })
    }

    /// Writes all of `bytes` from byte `at` on.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`], [`EIO`] and the like; some of the bytes may be written then.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> Result {
        let mut written = 0;
        let mut at = i64::try_from(at).map_err(|_| EFBIG)?;
        while let Some(rest @ [_, ..]) = bytes.get(written..) {
            // SAFETY: The file is open, `rest` is valid for its length and only read.
            let n = unsafe {
                bindings::kernel_write(self.0.as_ptr(), rest.as_ptr().cast(), rest.len(), &mut at)
            };
            match usize::try_from(n) {
                Ok(0) => return Err(ENOSPC),
                Ok(n) => written += n.min(rest.len()),
                Err(_) => return Err(Error::from_errno(n as c_int)),
            }
        }
        Ok(())
    }

    /// Takes room on the disk for `len` bytes from byte `at` on, which are written later: that does
    /// not fail for want of room then. The size of the file stays.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`]; [`EOPNOTSUPP`] if the file system cannot do that; [`EIO`] and the like.
    pub fn reserve(&self, at: u64, len: u64) -> Result {
        let at = i64::try_from(at).map_err(|_| EFBIG)?;
        let len = i64::try_from(len).map_err(|_| EFBIG)?;
        // SAFETY: The file is open for writing.
        to_result(unsafe { helpers::virgo_file_reserve(self.0.as_ptr(), at, len) })
    }

    /// Cuts the file after `len` bytes.
    ///
    /// # Errors
    ///
    /// [`EIO`] and the like.
    pub fn truncate(&self, len: u64) -> Result {
        let len = i64::try_from(len).map_err(|_| EFBIG)?;
        // SAFETY: The file is open for writing.
        to_result(unsafe { helpers::virgo_file_truncate(self.0.as_ptr(), len) })
    }

    /// Returns when all that was written is on disk.
    ///
    /// # Errors
    ///
    /// [`EIO`], [`ENOSPC`]: then nobody knows what is there.
    pub fn sync(&self) -> Result {
        // SAFETY: The file is open.
        to_result(unsafe { bindings::vfs_fsync(self.0.as_ptr(), 1) })
    }
}

impl Drop for AppendFile {
    fn drop(&mut self) {
        // SAFETY: By the invariant this holds a reference.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

/// Changes the name of a file of directory `dir`, as the first process sees it. May sleep.
///
/// # Errors
///
/// [`EEXIST`] if there is a file `to`; those of rename(2).
pub fn rename(dir: &CStr, from: &CStr, to: &CStr) -> Result {
    rename_as(dir, from, to, false)
}

/// The same; what is called `to` is gone then.
///
/// # Errors
///
/// Those of rename(2).
pub fn replace(dir: &CStr, from: &CStr, to: &CStr) -> Result {
    rename_as(dir, from, to, true)
}

/// Returns when the names of the files in directory `dir`, as the first process sees it, are on disk as they
/// are. May sleep.
///
/// # Errors
///
/// [`EIO`] and the like.
pub fn sync_dir(dir: &CStr) -> Result {
    // SAFETY: The string ends with NUL.
    to_result(unsafe { helpers::virgo_dir_sync(dir.as_char_ptr()) })
}

fn rename_as(dir: &CStr, from: &CStr, to: &CStr, replace: bool) -> Result {
    // SAFETY: The strings end with NUL.
    to_result(unsafe {
        helpers::virgo_file_rename(
            dir.as_char_ptr(),
            from.as_char_ptr(),
            to.as_char_ptr(),
            replace,
        )
    })
}

/// Whether directory `dir` has a file `name`, as the first process sees it. May sleep.
pub fn exists(dir: &CStr, name: &CStr) -> bool {
    // SAFETY: The strings end with NUL.
    unsafe { helpers::virgo_file_exists(dir.as_char_ptr(), name.as_char_ptr()) == 0 }
}
