// SPDX-License-Identifier: GPL-2.0

//! A place for bytes on their way: on the stack if they are few.

use kernel::prelude::*;
use linux::bytes::Fill;

/// Bytes that need no allocation.
pub const SMALL: usize = 64;

/// A buffer of any size.
pub enum Buffer {
    /// So many of these.
    Small([u8; SMALL], usize),
    /// More than [`SMALL`].
    Large(KVVec<u8>),
}

impl Buffer {
    /// `len` zeros. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(len: usize) -> Result<Self> {
        if len <= SMALL {
            return Ok(Buffer::Small([0; SMALL], len));
        }
        let mut bytes = KVVec::new();
        bytes.put_zeros(len, GFP_KERNEL_ACCOUNT)?;
        Ok(Buffer::Large(bytes))
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        match self {
            Buffer::Small(bytes, len) => bytes.get_mut(..*len).unwrap_or_default(),
            Buffer::Large(bytes) => bytes,
        }
    }
}
