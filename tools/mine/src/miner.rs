// SPDX-License-Identifier: GPL-2.0
//! All that is learnt from a log.

use crate::{
    line::{self, Line},
    runs::Runs,
    traffic::Traffic,
};
use memchr::memchr_iter;

/// Bytes of a line; of a longer one the rest is passed over.
pub const MAX_LINE: usize = 8192;

/// Takes bytes of logs, in pieces of any size, and learns.
#[derive(Default)]
pub struct Miner {
    /// The line whose end has not come yet.
    part: Vec<u8>,
    /// Of firewall lines.
    pub traffic: Traffic,
    /// Of exec and exit records.
    pub runs: Runs,
    lines: u64,
}

impl Miner {
    /// Takes the next bytes of a log.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let line = &bytes[start..end];
            start = end + 1;
            if self.part.is_empty() {
                self.line(line);
            } else {
                self.keep(line);
                let whole = std::mem::take(&mut self.part);
                self.line(&whole);
                self.part = whole;
                self.part.clear();
            }
        }
        self.keep(&bytes[start..]);
    }

    /// The log has ended, or another begins: what has no line end is a line as well.
    pub fn end(&mut self) {
        let whole = std::mem::take(&mut self.part);
        if !whole.is_empty() {
            self.line(&whole);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.part.len());
        self.part.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self, text: &[u8]) {
        self.lines += 1;
        match line::parse(&text[..text.len().min(MAX_LINE)]) {
            Some(Line::Packet(packet)) => self.traffic.add(&packet),
            Some(Line::Event(event)) => self.runs.add(&event),
            None => (),
        }
    }

    /// Lines that were seen.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// What was learnt, in the grammar of `/etc/virgo_kernel_analytics.conf`.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        self.traffic.write(&mut pairs);
        self.runs.write(&mut pairs);
        pairs
    }
}
