// SPDX-License-Identifier: GPL-2.0

//! Lines out of a byte stream, however the network cuts it.

use crate::scan;

/// Finds lines in a buffer that grows at its end and is consumed at its start.
///
/// Remembers how far it has looked, so that a line arriving in one-byte segments costs no more
/// than one arriving whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Splitter {
    scanned: usize,
}

/// A line found at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bytes of text, without the line end.
    pub text: usize,
    /// Bytes to consume, with the line end.
    pub whole: usize,
}

impl Splitter {
    /// Nothing looked at yet.
    pub const fn new() -> Self {
        Splitter { scanned: 0 }
    }

    /// The first line of `buffer`, ended by LF or CRLF; `None` if its end has not arrived.
    ///
    /// `buffer` starts where the previous call's did, or after the line that it found.
    pub fn next(&mut self, buffer: &[u8]) -> Option<Line> {
        let fresh = buffer.get(self.scanned..).unwrap_or_default();
        let Some(at) = scan::find(fresh, [b'\n']) else {
            self.scanned = buffer.len();
            return None;
        };
        let end = self.scanned.saturating_add(at);
        self.scanned = 0;
        let text = buffer.get(..end).unwrap_or_default();
        Some(Line {
            text: text.strip_suffix(b"\r").unwrap_or(text).len(),
            whole: end.saturating_add(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    /// Feeds `stream` in pieces of the given sizes and collects the lines.
    fn lines(stream: &[u8], pieces: &[usize]) -> Vec<Vec<u8>> {
        let (mut splitter, mut buffer, mut found) = (Splitter::new(), vec![], vec![]);
        let mut sizes = pieces
            .iter()
            .copied()
            .chain(core::iter::repeat(stream.len().max(1)));
        let mut rest = stream;
        while !rest.is_empty() {
            let n = sizes.next().unwrap().clamp(1, rest.len());
            buffer.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            while let Some(line) = splitter.next(&buffer) {
                found.push(buffer[..line.text].to_vec());
                buffer.drain(..line.whole);
            }
        }
        found
    }

    #[test]
    fn both_line_ends_count_and_a_lone_cr_does_not() {
        assert_eq!(
            lines(b"a\nb\r\n\r\nc\rd\nrest", &[]),
            [&b"a"[..], b"b", b"", b"c\rd"]
        );
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            stream in prop::collection::vec(
                prop::sample::select(&b"ab\r\n"[..]), 0..60),
            pieces in prop::collection::vec(1..9usize, 0..60),
        ) {
            prop_assert_eq!(lines(&stream, &pieces), lines(&stream, &[]));
        }
    }
}
