// SPDX-License-Identifier: GPL-2.0

//! Bytes that nobody may find in memory once they are not used any more.

use crate::helpers;
use core::ops::Deref;
use kernel::prelude::*;

/// Secret bytes; wiped before their memory is given back.
pub struct Secret(KVVec<u8>);

impl Secret {
    /// Takes the bytes, whose vector has not been moved to other memory since they were put in.
    pub fn new(bytes: KVVec<u8>) -> Self {
        Secret(bytes)
    }

    /// A copy. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn copy_of(bytes: &[u8]) -> Result<Self> {
        let mut copy = KVVec::with_capacity(bytes.len(), GFP_KERNEL)?;
        copy.extend_from_slice(bytes, GFP_KERNEL)?;
        Ok(Secret(copy))
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // What is behind the elements was one, perhaps.
        // SAFETY: The vector's memory is valid for writes of its whole capacity.
        unsafe { helpers::virgo_wipe(self.0.as_mut_ptr().cast(), self.0.capacity()) };
    }
}

/// Overwrites bytes, also if the compiler sees nobody read them again. Any context.
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: The pointer is valid for writes of so many bytes.
    unsafe { helpers::virgo_wipe(bytes.as_mut_ptr().cast(), bytes.len()) };
}
