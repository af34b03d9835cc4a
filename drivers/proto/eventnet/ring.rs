// SPDX-License-Identifier: GPL-2.0

//! A ring of records: the latest events that fit into so many bytes.
//!
//! A new record replaces the oldest ones. What a reader has not read by then it has lost; it learns
//! how many records that were.

use super::event::{EventRecord, HEAD};
use core::ops::DerefMut;

/// Bytes of a word.
const WORD: usize = 8;

/// See the module's documentation. `B` has the words in which records lie: eight bytes each, in
/// little-endian order.
///
/// Positions count bytes since the ring was made; all are multiples of 8, as is the size of a record.
///
/// # Invariants
///
/// `size` is a power of two of at least 8, and `words` has so many bytes. `tail - head <= size`, and
/// whole records lie between them.
pub struct EventRing<B> {
    words: B,
    size: usize,
    head: u64,
    tail: u64,
    /// Records that were replaced.
    replaced: u64,
}

/// Where a reader of a ring is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Position of the next record.
    pub at: u64,
    /// Records that came before it.
    pub count: u64,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where to go on.
    pub next: Cursor,
    /// Bytes that were read: whole records.
    pub bytes: usize,
    /// Records that were replaced before the reader came to them.
    pub lost: u64,
}

impl<B: DerefMut<Target = [u64]>> EventRing<B> {
    /// An empty ring that uses as many of these words as are a power of two. `None` if there are none.
    pub fn new(words: B) -> Option<Self> {
        let used = 1usize.checked_shl(words.len().checked_ilog2()?)?;
        Some(EventRing {
            words,
            size: used.checked_mul(WORD)?,
            head: 0,
            tail: 0,
            replaced: 0,
        })
    }

    /// Records that were replaced by later ones, read or not.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Adds an event. False if it has no record, or that does not fit.
    ///
    /// Takes time for the record, and for those that it replaces: no more than a record has multiples
    /// of [`HEAD`].
    #[inline]
    pub fn push(&mut self, event: &EventRecord<'_>) -> bool {
        let size = event.size();
        if size > self.size || !event.is_writable() {
            return false;
        }
        self.make_room(size);
        let start = self.index(self.tail);
        let end = start.saturating_add(size / WORD);
        match self.words.get_mut(start..end) {
            Some(record) if end <= self.size / WORD => {
                let mut record = record.iter_mut();
                event.write(|word| {
                    if let Some(to) = record.next() {
                        *to = word;
                    }
                });
            }
            _ => self.push_split(event),
        }
        self.tail = self.tail.wrapping_add(size as u64);
        true
    }

    /// Writes a record of which a part lies at the end of the ring, and the rest at its start.
    fn push_split(&mut self, event: &EventRecord<'_>) {
        let mut at = self.tail;
        event.write(|word| {
            let index = self.index(at);
            if let Some(to) = self.words.get_mut(index) {
                *to = word;
            }
            at = at.wrapping_add(WORD as u64);
        });
    }

    fn make_room(&mut self, size: usize) {
        let free = |ring: &Self| ring.size.saturating_sub(ring.used());
        while free(self) < size {
            match self.record_size(self.head) {
                Some(old) => {
                    self.head = self.head.wrapping_add(old as u64);
                    self.replaced = self.replaced.saturating_add(1);
                }
                // By the invariant this cannot be.
                None => self.head = self.tail,
            }
        }
    }

    fn used(&self) -> usize {
        self.tail.wrapping_sub(self.head) as usize
    }

    /// Where the word at this position lies.
    fn index(&self, at: u64) -> usize {
        ((at as usize) & self.size.saturating_sub(1)) / WORD
    }

    fn word(&self, at: u64) -> u64 {
        self.words.get(self.index(at)).copied().unwrap_or(0)
    }

    fn get(&self, mut at: u64, out: &mut [u8]) {
        for bytes in out.chunks_exact_mut(WORD) {
            bytes.copy_from_slice(&self.word(at).to_le_bytes());
            at = at.wrapping_add(WORD as u64);
        }
    }

    /// Bytes of the record at a position between head and tail.
    fn record_size(&self, at: u64) -> Option<usize> {
        // They are its first two bytes.
        let size = usize::from(self.word(at) as u16);
        let left = self.tail.wrapping_sub(at) as usize;
        let good = size >= HEAD && size % WORD == 0 && size <= left;
        good.then_some(size)
    }

    /// Copies records to `out`, as many as fit, from the cursor on, or from the oldest one if that was
    /// replaced. Any cursor is taken: one that the ring has not given reads something else, or nothing.
    pub fn read(&self, from: Cursor, out: &mut [u8]) -> Read {
        let ahead = from.at.wrapping_sub(self.head);
        let is_here = ahead <= self.used() as u64 && (from.at as usize) % WORD == 0;
        let mut next = match is_here {
            true => from,
            false => Cursor {
                at: self.head,
                count: self.replaced,
            },
        };
        let lost = match is_here {
            true => 0,
            false => self.replaced.saturating_sub(from.count),
        };
        let mut bytes = 0usize;
        while next.at != self.tail {
            let Some(size) = self.record_size(next.at) else {
                next.at = self.tail;
                break;
            };
            let end = bytes.saturating_add(size);
            let Some(to) = out.get_mut(bytes..end) else {
                break;
            };
            self.get(next.at, to);
            bytes = end;
            next.at = next.at.wrapping_add(size as u64);
            next.count = next.count.saturating_add(1);
        }
        Read { next, bytes, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Hybrid,
        eventnet::event::{EventId, EventKind, Point},
    };
    use proptest::prelude::*;
    use std::{boxed::Box, vec, vec::Vec};

    fn event(seq: u64, text: &[u8]) -> EventRecord<'_> {
        EventRecord {
            id: EventId { node: 1, seq },
            cause: None,
            kind: EventKind::Log,
            point: Point::Local,
            op: 0,
            status: 0,
            bytes: 0,
            peer: 0,
            stamp: Hybrid::from_wire(seq),
            nanos: seq,
            about: 0,
            begin: 0,
            clock: &[],
            text,
        }
    }

    /// A ring that has so many bytes, or a few less.
    fn ring(size: usize) -> EventRing<Box<[u64]>> {
        EventRing::new(vec![0; size / WORD].into_boxed_slice()).unwrap()
    }

    fn numbers(bytes: &[u8]) -> Vec<u64> {
        let (mut left, mut numbers) = (bytes, Vec::new());
        while let Some((size, event)) = EventRecord::parse(left) {
            numbers.push(event.unwrap().id.seq);
            left = &left[size..];
        }
        assert!(left.is_empty());
        numbers
    }

    proptest! {
        /// Whatever was pushed is read once and in order, or counted as lost.
        #[test]
        fn everything_is_read_or_counted(
            size in 256..5000usize,
            steps in prop::collection::vec((0..256usize, 0..700usize), 1..200),
        ) {
            let mut ring = ring(size);
            let (mut cursor, mut pushed, mut expected) = (Cursor::default(), 0, 0);
            let text = [b'x'; 256];
            for (len, room) in steps {
                if ring.push(&event(pushed, &text[..len])) {
                    pushed += 1;
                }
                let mut out = vec![0; room];
                let read = ring.read(cursor, &mut out);
                expected += read.lost;
                for seq in numbers(&out[..read.bytes]) {
                    prop_assert_eq!(seq, expected);
                    expected += 1;
                }
                cursor = read.next;
                prop_assert_eq!(cursor.count, expected);
            }
            let mut out = vec![0; 8192];
            let read = ring.read(cursor, &mut out);
            prop_assert_eq!(expected + read.lost + numbers(&out[..read.bytes]).len() as u64, pushed);
        }

        #[test]
        fn any_cursor_is_taken(at: u64, count: u64, pushed in 0..50u64) {
            let mut ring = ring(1024);
            for seq in 0..pushed {
                ring.push(&event(seq, b"text"));
            }
            let mut out = [0; 512];
            for at in [at, at % 2048, (at % 2048) & !7] {
                let read = ring.read(Cursor { at, count }, &mut out);
                prop_assert!(read.bytes <= out.len());
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut ring = ring(127);
        assert!(ring.push(&event(1, b"")) == (ring.size >= HEAD));
        assert!(!ring.push(&event(2, &[0; 100])));
        assert_eq!(ring.replaced(), 0);
        assert!(EventRing::new(Vec::new().into_boxed_slice()).is_none());
    }
}
