// SPDX-License-Identifier: GPL-2.0

//! Bytes that have arrived and are not used up.

use crate::request_body::RequestBody;
use kernel::prelude::*;
use linux::{
    net::Stream,
    secret::wipe, //
};

/// Kept between uses, so that a session in use does not allocate for each request: room for a page
/// and its header.
const KEEP: usize = 8192;

/// A buffer that is filled at its end and used up at its start.
///
/// # Invariants
///
/// `start <= bytes.len()`; they are equal while `unwanted > 0`.
pub(crate) struct Input {
    bytes: KVVec<u8>,
    start: usize,
    /// Bytes that nobody wants, of those that will arrive next.
    unwanted: usize,
    /// There may be a key in it, so that used bytes are overwritten. Memory is not exchanged for more
    /// then, which would leave them where they were: see `UNAUTHENTICATED_INPUT`.
    secret: bool,
}

impl Input {
    pub(crate) const fn new() -> Self {
        Input {
            bytes: KVVec::new(),
            start: 0,
            unwanted: 0,
            secret: true,
        }
    }

    /// From now on no key arrives. What is used up by now was overwritten.
    pub(crate) fn is_public(&mut self) {
        self.secret = false;
    }

    /// What has arrived.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Takes what has arrived: as many bytes as make `size` with those that are here, more if there is
    /// room for them, and at least one. Memory is taken for no more than `size`. Returns as
    /// [`Stream::receive`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn receive(&mut self, stream: &Stream, size: usize) -> Result<Option<usize>> {
        if self.start > 0 {
            let left = self.bytes().len();
            // By the invariant the range is within the buffer.
            self.bytes.copy_within(self.start.., 0);
            if let (true, Some(moved)) = (self.secret, self.bytes.get_mut(left..)) {
                wipe(moved);
            }
            self.bytes.truncate(left);
            self.start = 0;
        }
        let here = self.bytes.len();
        let max = size.max(self.bytes.capacity()).saturating_sub(here).max(1);
        let received = stream.receive(&mut self.bytes, max)?;
        let unwanted = self.unwanted;
        self.skip(unwanted);
        Ok(received)
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

    /// The first `n` bytes are used up, and somebody else goes on using them, but for the first `skip`
    /// of them. Gives the buffer away if it is large and has nothing else. Not while it may have a key.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; they are used up then, too.
    pub(crate) fn take(&mut self, n: usize, skip: usize) -> Result<RequestBody> {
        let end = self.start.saturating_add(n).min(self.bytes.len());
        let start = self.start.saturating_add(skip).min(end);
        if end == self.bytes.len() && self.bytes.capacity() > KEEP {
            self.start = 0;
            let bytes = core::mem::take(&mut self.bytes);
            return Ok(RequestBody { bytes, start });
        }
        let mut bytes = KVVec::new();
        let copied = self.bytes.get(start..end).unwrap_or_default();
        let copied = bytes.extend_from_slice(copied, GFP_KERNEL);
        self.consume(n);
        copied?;
        Ok(RequestBody { bytes, start: 0 })
    }

    /// The first `n` bytes are used up.
    pub(crate) fn consume(&mut self, n: usize) {
        let end = self.start.saturating_add(n).min(self.bytes.len());
        if let (true, Some(used)) = (self.secret, self.bytes.get_mut(self.start..end)) {
            wipe(used);
        }
        self.start = end;
        if self.start < self.bytes.len() {
            return;
        }
        self.start = 0;
        match self.bytes.capacity() > KEEP {
            true => self.bytes = KVVec::new(),
            false => self.bytes.clear(),
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.secret {
            wipe(&mut self.bytes);
        }
    }
}
