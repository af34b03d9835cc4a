// SPDX-License-Identifier: GPL-2.0

//! Who closes files.
//!
//! Closing may wait for the file system: for a server that has to be told, or for the disk from which a
//! file goes that has no name any more. So it is done by whoever may wait.

use crate::{
    helpers,
    vfs::File, //
};
use core::{
    mem::ManuallyDrop,
    ops::Deref, //
};

/// Whether the present task is none of a program.
pub fn in_kernel_thread() -> bool {
    // SAFETY: Has no preconditions: it looks at the present task.
    unsafe { helpers::virgo_in_kernel_thread() }
}

/// Closes files.
pub trait Close {
    /// Closes `file`, or has somebody else do that.
    fn close(&mut self, file: File);
}

/// Whoever has a file closes it.
pub struct AtOnce;

impl Close for AtOnce {
    fn close(&mut self, file: File) {
        file.close();
    }
}

/// An open file that `C` closes when it is dropped.
///
/// # Invariants
///
/// There is a file until this is dropped.
pub struct ClosedBy<C: Close> {
    file: ManuallyDrop<File>,
    closer: C,
}

impl<C: Close> ClosedBy<C> {
    /// `closer` closes `file`.
    pub fn new(file: File, closer: C) -> Self {
        // INVARIANT: There it is.
        ClosedBy {
            file: ManuallyDrop::new(file),
            closer,
        }
    }

    /// Who closes it.
    pub fn closer(&self) -> &C {
        &self.closer
    }
}

impl<C: Close> Deref for ClosedBy<C> {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl<C: Close> Drop for ClosedBy<C> {
    fn drop(&mut self) {
        // SAFETY: By the invariant there is one, and nobody looks at it after this.
        let file = unsafe { ManuallyDrop::take(&mut self.file) };
        self.closer.close(file);
    }
}
