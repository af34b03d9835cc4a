// SPDX-License-Identifier: GPL-2.0

//! Vectors of bytes, filled as a whole.
//!
//! The methods that vectors have of their own write one element after the other. With KASAN each of
//! these is checked by itself, which costs 64 KiB some million instructions.

use kernel::{
    alloc::{
        AllocError,
        Allocator,
        Flags,
        Vec, //
    },
    prelude::*, //
};

/// What a vector of bytes can do at once.
pub trait Fill {
    /// Appends `n` zeros. May sleep as `flags` say.
    ///
    /// # Errors
    ///
    /// No memory; then nothing is changed.
    fn put_zeros(&mut self, n: usize, flags: Flags) -> Result<(), AllocError>;

    /// Appends `bytes`. May sleep as `flags` say.
    ///
    /// # Errors
    ///
    /// No memory; then nothing is changed.
    fn put_bytes(&mut self, bytes: &[u8], flags: Flags) -> Result<(), AllocError>;
}

impl<A: Allocator> Fill for Vec<u8, A> {
    fn put_zeros(&mut self, n: usize, flags: Flags) -> Result<(), AllocError> {
        self.reserve(n, flags)?;
        // SAFETY: `reserve` has made room for `n` elements behind the last one, which is what is
        // written to; they are initialised then.
        unsafe {
            self.spare_capacity_mut().as_mut_ptr().write_bytes(0, n);
            self.inc_len(n);
        }
        Ok(())
    }

    fn put_bytes(&mut self, bytes: &[u8], flags: Flags) -> Result<(), AllocError> {
        self.reserve(bytes.len(), flags)?;
        // SAFETY: As above; `bytes` is borrowed, so it lies elsewhere.
        unsafe {
            let spare = self.spare_capacity_mut().as_mut_ptr().cast::<u8>();
            spare.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.inc_len(bytes.len());
        }
        Ok(())
    }
}
