// SPDX-License-Identifier: GPL-2.0

//! Bytes that have arrived and are not used up.

use kernel::{
    alloc::AllocError,
    prelude::*, //
};
use linux::bytes::Fill;

/// Kept between uses, so that a session in use does not allocate for each request: room for a page
/// and its header.
const KEEP: usize = 8192;

/// A buffer that is filled at its end and used up at its start.
///
/// # Invariants
///
/// `start <= end <= bytes.len()`; `start == end` while `unwanted > 0`.
pub(crate) struct Input {
    bytes: KVVec<u8>,
    start: usize,
    end: usize,
    /// Bytes that nobody wants, of those that will arrive next.
    unwanted: usize,
}

impl Input {
    pub(crate) const fn new() -> Self {
        Input {
            bytes: KVVec::new(),
            start: 0,
            end: 0,
            unwanted: 0,
        }
    }

    /// What has arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Room for more bytes: at least one, and as many as make `size` bytes with those that are
    /// here. Memory is taken for no more than `size` bytes.
    pub(crate) fn room(&mut self, size: usize) -> Result<&mut [u8], AllocError> {
        if self.start > 0 {
            // By the invariant the range is within the buffer.
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let size = size.max(self.end + 1);
        let missing = size.saturating_sub(self.bytes.len());
        self.bytes.put_zeros(missing, GFP_KERNEL)?;
        Ok(self.bytes.get_mut(self.end..).unwrap_or_default())
    }

    /// `n` bytes were written into the room.
    pub(crate) fn filled(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.bytes.len());
        let unwanted = self.unwanted;
        self.skip(unwanted);
    }

    /// Nobody wants the next `n` bytes, whether they have arrived or not.
    pub(crate) fn skip(&mut self, n: usize) {
        let here = self.bytes().len().min(n);
        self.consume(here);
        self.unwanted = n - here;
    }

    /// How many of the bytes that arrive next nobody wants.
    pub(crate) fn unwanted(&self) -> usize {
        self.unwanted
    }

    /// The first `n` bytes are used up.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.bytes.len() > KEEP {
                self.bytes = KVVec::new();
            }
        }
    }
}
