// SPDX-License-Identifier: GPL-2.0

//! Small files of the initial name space, read whole.

use crate::{
    bytes::Fill,
    helpers, //
};
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
}

/// Reads from the start of `file`, as many bytes as `buffer` takes or there are. Returns how many.
///
/// # Safety
///
/// The file is open for reading until the call returns.
pub(crate) unsafe fn read_start(file: *mut bindings::file, buffer: &mut [u8]) -> Result<usize> {
    let (mut filled, mut at) = (0, 0);
    while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
        // SAFETY: The file is open by the caller's promise, `rest` is valid for its length.
        let n =
            unsafe { bindings::kernel_read(file, rest.as_mut_ptr().cast(), rest.len(), &mut at) };
        match usize::try_from(n) {
            Ok(0) => break,
            Ok(n) => filled += n.min(rest.len()),
            Err(_) => return Err(Error::from_errno(n as c_int)),
        }
    }
    Ok(filled)
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
    bytes.put_zeros(size as usize, GFP_KERNEL)?;
    // SAFETY: `file` is open.
    let filled = unsafe { read_start(file.0.as_ptr(), &mut bytes) }?;
    // Shorter if somebody has truncated it meanwhile.
    bytes.truncate(filled);
    Ok(Contents { bytes, uid, mode })
}
