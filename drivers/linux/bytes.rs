// SPDX-License-Identifier: GPL-2.0

//! Vectors of bytes, filled as a whole, and the memory that they take.
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
    bindings,
    prelude::*, //
};

/// Most bytes of a vector. Its memory may grow to twice of what is needed, and the kernel warns of whoever
/// asks for more than `INT_MAX` bytes, as the size were a fault of the kernel's.
const MAX_LEN: usize = 1 << 30;

/// What a vector of bytes can do at once.
pub trait Fill {
    /// Appends `n` zeros. May sleep as `flags` say.
    ///
    /// # Errors
    ///
    /// No memory, or more than 1 GiB; then nothing is changed.
    fn put_zeros(&mut self, n: usize, flags: Flags) -> Result<(), AllocError>;

    /// Appends `bytes`. May sleep as `flags` say.
    ///
    /// # Errors
    ///
    /// No memory, or more than 1 GiB; then nothing is changed.
    fn put_bytes(&mut self, bytes: &[u8], flags: Flags) -> Result<(), AllocError>;
}

/// A copy of `bytes`. May sleep as `flags` say.
///
/// # Errors
///
/// No memory, or more than 1 GiB.
pub fn copy<A: Allocator>(bytes: &[u8], flags: Flags) -> Result<Vec<u8, A>, AllocError> {
    let mut copy = Vec::new();
    copy.put_bytes(bytes, flags)?;
    Ok(copy)
}

/// Bytes of memory that the kernel takes for a vector of `len` bytes that was made in one go: the size of the
/// smallest cache that has room for it, or the next power of two. This is what to charge to who makes the
/// kernel keep it. A large `KVVec` may take less. Any context.
pub fn memory_of(len: usize) -> usize {
    // SAFETY: It only computes, from any number.
    unsafe { bindings::kmalloc_size_roundup(len) }
}

/// Makes room for `n` more elements.
fn grow<A: Allocator>(bytes: &mut Vec<u8, A>, n: usize, flags: Flags) -> Result<(), AllocError> {
    match bytes.len().checked_add(n) {
        Some(0..=MAX_LEN) => bytes.reserve(n, flags),
        _ => Err(AllocError),
    }
}

impl<A: Allocator> Fill for Vec<u8, A> {
    fn put_zeros(&mut self, n: usize, flags: Flags) -> Result<(), AllocError> {
        grow(self, n, flags)?;
        // SAFETY: `grow` has made room for `n` elements behind the last one, which is what is
        // written to; they are initialised then.
        unsafe {
            self.spare_capacity_mut().as_mut_ptr().write_bytes(0, n);
            self.inc_len(n);
        }
        Ok(())
    }

    fn put_bytes(&mut self, bytes: &[u8], flags: Flags) -> Result<(), AllocError> {
        grow(self, bytes.len(), flags)?;
        // SAFETY: As above; `bytes` is borrowed, so it lies elsewhere.
        unsafe {
            let spare = self.spare_capacity_mut().as_mut_ptr().cast::<u8>();
            spare.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            self.inc_len(bytes.len());
        }
        Ok(())
    }
}
