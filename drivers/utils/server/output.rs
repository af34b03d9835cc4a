// SPDX-License-Identifier: GPL-2.0

//! Replies that are not sent yet.

use kernel::prelude::*;
use linux::{
    net::Stream,
    pages::Pages, //
};

/// Buffers beyond this size are given back once sent.
const KEEP: usize = 16 * 1024;

/// Replies that wait for the network.
pub(crate) struct SessionOutput {
    /// All but the bytes of a file. Nothing is added while there are [`Self::pages`].
    pub(crate) bytes: KVVec<u8>,
    /// How many of the bytes are sent.
    sent: usize,
    /// Bytes of a file that follow.
    pub(crate) pages: Option<Pages>,
    /// How many of those are sent.
    pages_sent: usize,
}

impl SessionOutput {
    pub(crate) const fn new() -> Self {
        SessionOutput {
            bytes: KVVec::new(),
            sent: 0,
            pages: None,
            pages_sent: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.pages.is_none()
    }

    /// Nothing of it has been sent yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.sent == 0
    }

    /// Sends all. False if the network takes no more now.
    ///
    /// # Errors
    ///
    /// What broke the connection.
    pub(crate) fn send(&mut self, stream: &Stream) -> Result<bool> {
        while let Some(rest @ [_, ..]) = self.bytes.get(self.sent..) {
            match stream.send(rest, b"", self.pages.is_some())? {
                Some(n) => self.sent += n,
                None => return Ok(false),
            }
        }
        if let Some(pages) = &self.pages {
            while self.pages_sent < pages.size() {
                match stream.send_pages(pages, self.pages_sent)? {
                    Some(n) => self.pages_sent += n,
                    None => return Ok(false),
                }
            }
        }
        self.pages = None;
        self.pages_sent = 0;
        self.sent = 0;
        if self.bytes.capacity() > KEEP {
            self.bytes = KVVec::new();
        } else {
            self.bytes.clear();
        }
        Ok(true)
    }
}
