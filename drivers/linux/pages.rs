// SPDX-License-Identifier: GPL-2.0

//! Bytes on their way to a socket that are not copied into it.
//!
//! C side: `pages.c`.

use crate::helpers;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*,
    uaccess::UserPtr, //
};

/// Bytes to be sent: at most some 64 KiB.
///
/// Those of a file stay where the kernel has them, so that a change of the file before they are sent
/// may change them, too. A copy is nobody else's.
///
/// # Invariants
///
/// The pointer comes from `virgo_pages_cached` or `virgo_pages_copy_user` and is freed by nobody else.
pub struct Pages(NonNull<helpers::virgo_pages>);

// SAFETY: References to pages may be used and given back by any thread.
unsafe impl Send for Pages {}
// SAFETY: With a shared reference nothing is changed.
unsafe impl Sync for Pages {}

impl Pages {
    /// # Safety
    ///
    /// `file` is an open file.
    pub(crate) unsafe fn cached(file: *mut bindings::file, len: usize, at: i64) -> Result<Self> {
        // SAFETY: By the caller's promise.
        Self::new(unsafe { helpers::virgo_pages_cached(file, len, at) })
    }

    /// A copy of `len` bytes of the current program's memory. May sleep, for the program.
    ///
    /// # Errors
    ///
    /// [`EFAULT`], [`ENOMEM`]; [`EMSGSIZE`] for more than some 64 KiB.
    pub fn copy_user(from: UserPtr, len: usize) -> Result<Self> {
        // SAFETY: Checks the address itself.
        Self::new(unsafe { helpers::virgo_pages_copy_user(from.as_const_ptr(), len) })
    }

    fn new(made: *mut helpers::virgo_pages) -> Result<Self> {
        let pages = from_err_ptr(made)?;
        // INVARIANT: Just made.
        Ok(Pages(NonNull::new(pages).ok_or(ENOMEM)?))
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        // SAFETY: By the invariant the pointer is valid.
        unsafe { helpers::virgo_pages_len(self.0.as_ptr()) }
    }

    /// Appends a copy of those from `from` on to `to`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn copy(&self, from: usize, to: &mut KVVec<u8>) -> Result {
        let len = self.size().saturating_sub(from);
        to.reserve(len, GFP_KERNEL)?;
        // SAFETY: By the invariant the pointer is valid; `reserve` has made room for `len` bytes behind
        // the elements of `to`. No more than that are written, and so many are initialised then.
        unsafe {
            let spare = to.spare_capacity_mut().as_mut_ptr().cast();
            let n = helpers::virgo_pages_copy(self.0.as_ptr(), from.min(self.size()), spare, len);
            to.inc_len(n.min(len));
        }
        Ok(())
    }

    /// Hands those from `sent` on to the network, as many as it takes.
    ///
    /// # Safety
    ///
    /// `socket` is a live socket.
    pub(crate) unsafe fn send(&self, socket: *mut bindings::socket, sent: usize) -> isize {
        if sent >= self.size() {
            return 0;
        }
        // SAFETY: By the invariant and the caller's promise the pointers are valid; there are bytes
        // from `sent` on.
        unsafe { helpers::virgo_pages_send(self.0.as_ptr(), socket, sent) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is ours.
        unsafe { helpers::virgo_pages_free(self.0.as_ptr()) };
    }
}
