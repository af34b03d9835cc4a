// SPDX-License-Identifier: GPL-2.0

//! A place for bytes on their way: on the stack if they are few.

use kernel::prelude::*;

/// Bytes that need no allocation.
pub(crate) const SMALL: usize = 64;

/// A buffer of any size.
pub(crate) enum Buffer {
    Small([u8; SMALL], usize),
    Large(KVVec<u8>),
}

impl Buffer {
    /// `len` zeros.
    pub(crate) fn new(len: usize) -> Result<Self> {
        if len <= SMALL {
            return Ok(Buffer::Small([0; SMALL], len));
        }
        let mut bytes = KVVec::new();
        bytes.extend_with(len, 0, GFP_KERNEL)?;
        Ok(Buffer::Large(bytes))
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Buffer::Small(bytes, len) => bytes.get_mut(..*len).unwrap_or_default(),
            Buffer::Large(bytes) => bytes,
        }
    }
}
