// SPDX-License-Identifier: GPL-2.0

//! A place for bytes on their way: on the stack if they are few.

use kernel::{
    prelude::*,
    uaccess::UserPtr, //
};
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
        bytes.put_zeros(len, GFP_KERNEL)?;
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

/// Copies `len` bytes between user memory at `data` and something that begins at `offset`, at most
/// `max` at a time: does `step` with the offset, the user address and a buffer until all is done or
/// a step does less than it should. Returns the bytes done; an error only if there were none.
///
/// The caller has checked that `offset + len` is a number.
///
/// # Errors
///
/// That of the first step, or [`ENOMEM`].
pub fn pieces(
    data: UserPtr,
    offset: u64,
    len: usize,
    max: usize,
    mut step: impl FnMut(u64, UserPtr, &mut [u8]) -> Result<usize>,
) -> Result<usize> {
    let mut buffer = Buffer::new(len.min(max))?;
    let mut done = 0;
    loop {
        let wanted = (len - done).min(max);
        let part = buffer.bytes().get_mut(..wanted).ok_or(EINVAL)?;
        let at = data.wrapping_byte_add(done);
        let n = match step(offset + done as u64, at, part) {
            Ok(n) => n.min(wanted),
            Err(e) if done == 0 => return Err(e),
            Err(_) => return Ok(done),
        };
        done += n;
        if n < wanted || done == len {
            return Ok(done);
        }
    }
}
