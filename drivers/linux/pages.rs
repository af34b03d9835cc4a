// SPDX-License-Identifier: GPL-2.0

//! Bytes of a file on their way to a socket, without being copied where the kernel can do that.
//!
//! C side: `pages.c`.

use crate::helpers;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// Bytes of a file that are still to be sent.
///
/// They stay where the kernel has them, so that a change of the file before they are sent may
/// change them, too.
///
/// # Invariants
///
/// The pointer comes from `virgo_pages_read` and is freed by nobody else.
pub struct Pages(NonNull<helpers::virgo_pages>);

// SAFETY: References to pages may be used and given back by any thread.
unsafe impl Send for Pages {}
// SAFETY: With a shared reference only a number is read.
unsafe impl Sync for Pages {}

impl Pages {
    /// # Safety
    ///
    /// `file` is an open file.
    pub(crate) unsafe fn read(file: *mut bindings::file, len: usize, at: i64) -> Result<Self> {
        // SAFETY: By the caller's promise.
        let pages = from_err_ptr(unsafe { helpers::virgo_pages_read(file, len, at) })?;
        // INVARIANT: Just made.
        Ok(Pages(NonNull::new(pages).ok_or(ENOMEM)?))
    }

    /// Bytes that are not sent yet.
    pub fn left(&self) -> usize {
        // SAFETY: By the invariant the pointer is valid.
        unsafe { helpers::virgo_pages_left(self.0.as_ptr()) }
    }

    /// Hands bytes to the network, as many as it takes; not to be called without any.
    ///
    /// # Safety
    ///
    /// `socket` is a live socket.
    pub(crate) unsafe fn send(&mut self, socket: *mut bindings::socket) -> isize {
        // SAFETY: By the invariant and the caller's promise the pointers are valid.
        unsafe { helpers::virgo_pages_send(self.0.as_ptr(), socket) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is ours.
        unsafe { helpers::virgo_pages_free(self.0.as_ptr()) };
    }
}
