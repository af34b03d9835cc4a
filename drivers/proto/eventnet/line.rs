// SPDX-License-Identifier: GPL-2.0

//! Lines of the files that the original writes.
//!
//! ```text
//! EventNetEdges.txt      FROM,TO
//! EventNetVertices.txt   ID - PARTAKER,PARTAKER - (A,B)#(C,D)
//! ```
//!
//! Unlike the original's, they hold no NUL, and a partaker or conversation stands in a line once.
//! Lines of the original are read, with their blanks and NULs.

use super::message::{split_at_byte, Conversations, Ids};
use crate::command::parse_u64;

/// Where the parts of a line go.
pub trait LineSink: FnMut(&[u8]) {}

impl<F: FnMut(&[u8])> LineSink for F {}

/// A line of `EventNetVertices.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vertex<'a> {
    /// The event.
    pub id: u64,
    /// Who took part.
    pub partakers: Ids<'a>,
    /// Who talked with whom.
    pub conversations: Conversations<'a>,
}

/// Reads a line of `EventNetEdges.txt`, without its line end.
pub fn edge(line: &[u8]) -> Option<(u64, u64)> {
    let (from, to) = split_at_byte(trim(line), b',')?;
    parse_u64(from).zip(parse_u64(to))
}

/// Bytes of the longest line of `EventNetEdges.txt` that is written: two numbers of 20 digits.
pub const MAX_EDGE: usize = 42;

/// Writes a line of `EventNetEdges.txt`, of at most [`MAX_EDGE`] bytes.
pub fn write_edge(from: u64, to: u64, mut out: impl LineSink) {
    number(from, &mut out);
    out(b",");
    number(to, &mut out);
    out(b"\n");
}

impl<'a> Vertex<'a> {
    /// Reads a line, without its line end.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (id, rest) = split_at_byte(trim(line), b'-')?;
        let (partakers, conversations) = split_at_byte(rest, b'-')?;
        Some(Vertex {
            id: parse_u64(id)?,
            partakers: Ids::parse(partakers).ok()?,
            conversations: Conversations::parse(conversations).ok()?,
        })
    }
}

/// Writes the line of event `id` with these partakers and conversations. The caller sees to it that
/// each stands there once.
pub fn write_vertex_of(
    id: u64,
    partakers: impl Iterator<Item = u64>,
    conversations: impl Iterator<Item = (u64, u64)>,
    mut out: impl LineSink,
) {
    number(id, &mut out);
    out(b" - ");
    let mut separator: &[u8] = b"";
    for partaker in partakers {
        out(separator);
        number(partaker, &mut out);
        separator = b",";
    }
    out(b" - ");
    separator = b"";
    for (a, b) in conversations {
        out(separator);
        out(b"(");
        number(a, &mut out);
        out(b",");
        number(b, &mut out);
        out(b")");
        separator = b"#";
    }
    out(b"\n");
}

/// Without the blanks and NULs round it.
fn trim(line: &[u8]) -> &[u8] {
    let is_filler = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let start = line.iter().take_while(|byte| is_filler(byte)).count();
    let rest = line.get(start..).unwrap_or_default();
    let end = rest.iter().rev().take_while(|byte| is_filler(byte)).count();
    rest.get(..rest.len().saturating_sub(end))
        .unwrap_or_default()
}

fn number(number: u64, out: &mut impl LineSink) {
    // 2⁶⁴ has 20 digits.
    let mut digits = [0; 20];
    let mut left = number;
    let mut used = 0usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add((left % 10) as u8);
        left /= 10;
        used = used.saturating_add(1);
        if left == 0 {
            break;
        }
    }
    out(digits
        .get(digits.len().saturating_sub(used)..)
        .unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::String, vec::Vec};

    fn written(write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> String {
        let mut bytes = Vec::new();
        write(&mut |part| bytes.extend_from_slice(part));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_look_like_the_originals() {
        assert_eq!(written(|out| write_edge(1, 2, out)), "1,2\n");
        let longest = written(|out| write_edge(u64::MAX, u64::MAX, out));
        assert_eq!(longest.len(), MAX_EDGE);
        let line = written(|out| {
            write_vertex_of(
                1,
                [11, 12, 15, 16].into_iter(),
                [(11, 12), (15, 16)].into_iter(),
                out,
            )
        });
        assert_eq!(line, "1 - 11,12,15,16 - (11,12)#(15,16)\n");
    }

    #[test]
    fn lines_of_the_original_are_read() {
        assert_eq!(edge(b"\x001,2"), Some((1, 2)));
        let vertex = Vertex::parse(b"\x001  -  11,12 ,15,16 -  (11,12) ").unwrap();
        assert_eq!(vertex.id, 1);
        assert_eq!(
            vertex.partakers.iter().collect::<Vec<_>>(),
            [11, 12, 15, 16]
        );
        assert_eq!(vertex.conversations.iter().collect::<Vec<_>>(), [(11, 12)]);
        assert_eq!(Vertex::parse(b"garbage"), None);
        assert_eq!(edge(b"1;2"), None);
    }

    proptest! {
        #[test]
        fn lines_come_back(
            id: u64,
            partakers in prop::collection::vec(any::<u64>(), 0..5),
            pairs in prop::collection::vec(any::<(u64, u64)>(), 0..5),
        ) {
            let line = written(|out| write_vertex_of(id, partakers.iter().copied(), pairs.iter().copied(), out));
            let vertex = Vertex::parse(line.trim_end_matches('\n').as_bytes()).unwrap();
            prop_assert_eq!(vertex.id, id);
            prop_assert_eq!(vertex.partakers.iter().collect::<Vec<_>>(), partakers);
            prop_assert_eq!(vertex.conversations.iter().collect::<Vec<_>>(), pairs);
        }

        #[test]
        fn any_line_is_judged(line in prop_oneof!["[0-9,()# -]{0,40}", ".{0,40}"]) {
            let _ = (edge(line.as_bytes()), Vertex::parse(line.as_bytes()));
        }
    }
}
