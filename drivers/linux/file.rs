// SPDX-License-Identifier: GPL-2.0

//! Small files of the initial name space, read whole.

use crate::helpers;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// An open file. Closed on drop.
struct File(NonNull<bindings::file>);

impl File {
    fn open(path: &CStr) -> Result<Self> {
        let flags = (bindings::O_RDONLY | bindings::O_LARGEFILE | bindings::O_NONBLOCK) as c_int;
        // SAFETY: The path ends with NUL.
        let file = from_err_ptr(unsafe { bindings::filp_open(path.as_char_ptr(), flags, 0) })?;
        Ok(File(NonNull::new(file).ok_or(ENOENT)?))
    }

    fn read(&self, buffer: &mut [u8], at: &mut bindings::loff_t) -> Result<usize> {
        // SAFETY: The file is open, and `buffer` valid for its length.
        let n = unsafe {
            bindings::kernel_read(
                self.0.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                at,
            )
        };
        usize::try_from(n).map_err(|_| Error::from_errno(n as c_int))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: The file is open and this is its only owner. There is nothing to flush.
        unsafe { bindings::fput(self.0.as_ptr()) };
    }
}

/// The contents of a file, and who may see them.
pub struct Contents {
    /// The bytes.
    pub bytes: KVVec<u8>,
    /// Owner, in the initial user name space.
    pub uid: u32,
    /// Permission bits.
    pub mode: u16,
}

/// Reads the regular file at `path`, which may have up to `max` bytes. May sleep.
///
/// # Errors
///
/// [`ENOENT`] and other errors of opening and reading; [`EINVAL`] for anything but a regular
/// file, [`EFBIG`] for a longer one.
pub fn read(path: &CStr, max: usize) -> Result<Contents> {
    let file = File::open(path)?;
    let (mut uid, mut mode, mut size) = (0, 0, 0);
    // SAFETY: The file is open; the others are valid for writes.
    kernel::error::to_result(unsafe {
        helpers::virgo_file_owner(file.0.as_ptr(), &mut uid, &mut mode, &mut size)
    })?;
    if usize::try_from(size).map_or(true, |size| size > max) {
        return Err(EFBIG);
    }
    let mut bytes = KVVec::new();
    bytes.resize(size as usize, 0, GFP_KERNEL)?;
    let (mut filled, mut at) = (0, 0);
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest, &mut at)? {
            0 => break,
            n => filled += n.min(rest.len()),
        }
    }
    // Shorter if somebody has truncated it meanwhile.
    bytes.truncate(filled);
    Ok(Contents { bytes, uid, mode })
}
