// SPDX-License-Identifier: GPL-2.0

//! What durable queues write to disk, and how it is read again.
//!
//! A file is records, one after the other, each at a multiple of [`ALIGN`]:
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0–3 | magic | `f6 56 51 4c` |
//! | 4 | kind | [`Kind`] |
//! | 5 | priority | |
//! | 6 | bytes of the queue's name | |
//! | 7 | bytes of the subject | |
//! | 8–11 | bytes of data | |
//! | 12–15 | CRC-32C of name, subject and data | |
//! | 16–23 | number of the message; of a snapshot its generation | |
//! | 24–31 | when it was written, in milliseconds since 1970 | |
//! | 32–35 | delay, in milliseconds | |
//! | 36–39 | address that the message comes from | |
//! | 40–43 | CRC-32C of the bytes before | |
//! | 44–47 | zeros | |
//!
//! then name, subject and data, and zeros up to the next multiple. A file begins with a record
//! [`Kind::Begin`]; what all queues had then follows, up to [`Kind::Whole`], and what has happened
//! since. The head has a sum of its own, so that a flipped bit in the data does not hide what comes
//! after. Where no record begins, the next one is looked for. If there is none, the rest is a torn
//! tail: it was being written when the machine stopped, and nobody has been told that it is there.

use zerocopy::{
    little_endian::{U32, U64},
    FromBytes, IntoBytes,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{MAX_MESSAGE, MAX_NAME};

/// Records begin at multiples of this.
pub const ALIGN: usize = 8;

/// Bytes of a record's head.
pub const HEAD: usize = 48;

/// Bytes of the head under its own sum.
const SUMMED: usize = 40;

const MAGIC: [u8; 4] = [0xf6, 0x56, 0x51, 0x4c];

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A file begins. The number is its generation.
    Begin = 1,
    /// What the queues had when the file was begun stands before this.
    Whole = 2,
    /// A queue was made; the data are its options.
    Create = 3,
    /// A queue was deleted.
    Delete = 4,
    /// A message was taken in.
    Publish = 5,
    /// A message is done.
    Done = 6,
    /// The next message has this number.
    Next = 7,
}

impl Kind {
    fn parse(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Begin,
            2 => Kind::Whole,
            3 => Kind::Create,
            4 => Kind::Delete,
            5 => Kind::Publish,
            6 => Kind::Done,
            7 => Kind::Next,
            _ => return None,
        })
    }
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub kind: Kind,
    /// Of a message.
    pub priority: u8,
    /// Number of the message, or generation.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970.
    pub time: u64,
    /// Of a message, from when it was published on, in milliseconds.
    pub delay_ms: u32,
    /// Where the message comes from.
    pub from: [u8; 4],
    /// The queue.
    pub queue: &'a [u8],
    /// What the message was published as.
    pub subject: &'a [u8],
    /// The message, or options.
    pub data: &'a [u8],
}

impl Record<'_> {
    /// A record of this kind that says nothing else.
    pub const fn new(kind: Kind) -> Self {
        Record {
            kind,
            priority: 0,
            seq: 0,
            time: 0,
            delay_ms: 0,
            from: [0; 4],
            queue: b"",
            subject: b"",
            data: b"",
        }
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Head {
    magic: [u8; 4],
    kind: u8,
    priority: u8,
    queue_len: u8,
    subject_len: u8,
    data_len: U32,
    body_sum: U32,
    seq: U64,
    time: U64,
    delay_ms: U32,
    from: [u8; 4],
    head_sum: U32,
    reserved: U32,
}

/// CRC-32C: `crc(seed, bytes)`, such as the kernel's. The seed is what bytes before have given.
pub trait Crc: Fn(u32, &[u8]) -> u32 {}

impl<F: Fn(u32, &[u8]) -> u32> Crc for F {}

fn body_sum(crc: &impl Crc, parts: [&[u8]; 3]) -> u32 {
    !parts.into_iter().fold(!0, crc)
}

/// Bytes that fill `len` up to a multiple of [`ALIGN`].
const fn padding(len: usize) -> usize {
    len.wrapping_neg() % ALIGN
}

impl Record<'_> {
    /// Bytes that it has in the file.
    pub fn size(&self) -> usize {
        let body = self
            .queue
            .len()
            .saturating_add(self.subject.len())
            .saturating_add(self.data.len());
        HEAD.saturating_add(body).saturating_add(padding(body))
    }

    /// Writes it, piece by piece, to `out`.
    ///
    /// # Errors
    ///
    /// Those of `out`. Nothing is written of a record that is too long; `None` then.
    pub fn write<E>(
        &self,
        crc: impl Crc,
        out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        if self.queue.len() > MAX_NAME || self.subject.len() > MAX_NAME {
            return None;
        }
        if self.data.len() > MAX_MESSAGE {
            return None;
        }
        let mut head = Head {
            magic: MAGIC,
            kind: self.kind as u8,
            priority: self.priority,
            queue_len: self.queue.len() as u8,
            subject_len: self.subject.len() as u8,
            data_len: (self.data.len() as u32).into(),
            body_sum: body_sum(&crc, [self.queue, self.subject, self.data]).into(),
            seq: self.seq.into(),
            time: self.time.into(),
            delay_ms: self.delay_ms.into(),
            from: self.from,
            head_sum: 0.into(),
            reserved: 0.into(),
        };
        let summed = head.as_bytes().get(..SUMMED).unwrap_or_default();
        head.head_sum = (!crc(!0, summed)).into();
        let body = self
            .queue
            .len()
            .saturating_add(self.subject.len())
            .saturating_add(self.data.len());
        let zeros = [0; ALIGN];
        let zeros = zeros.get(..padding(body)).unwrap_or_default();
        let mut parts = [head.as_bytes(), self.queue, self.subject, self.data, zeros].into_iter();
        Some(parts.try_for_each(out))
    }
}

/// What stands at some place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record.
    Record(Record<'a>),
    /// So many bytes that are damaged.
    Damaged(usize),
    /// What was being written when the machine stopped; it goes to the end.
    Torn,
}

fn head(bytes: &[u8], crc: &impl Crc) -> Option<Head> {
    let (head, _) = Head::read_from_prefix(bytes).ok()?;
    let summed = bytes.get(..SUMMED)?;
    let sane = head.magic == MAGIC
        && usize::from(head.queue_len) <= MAX_NAME
        && usize::from(head.subject_len) <= MAX_NAME
        && head.data_len.get() as usize <= MAX_MESSAGE
        && Kind::parse(head.kind).is_some()
        && head.reserved.get() == 0;
    (sane && !crc(!0, summed) == head.head_sum.get()).then_some(head)
}

/// Reads a file.
pub struct Scan<'a, C> {
    bytes: &'a [u8],
    at: usize,
    crc: C,
}

impl<'a, C: Crc> Scan<'a, C> {
    /// From the start of the file with these bytes.
    pub fn new(bytes: &'a [u8], crc: C) -> Self {
        Scan { bytes, at: 0, crc }
    }

    /// How far it has come.
    pub fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over bytes in which no record begins.
    fn search(&mut self) -> Found<'a> {
        let rest = self.rest();
        let mut ahead = ALIGN;
        while let Some(bytes) = rest.get(ahead..).filter(|bytes| !bytes.is_empty()) {
            if head(bytes, &self.crc).is_some() {
                self.at = self.at.saturating_add(ahead);
                return Found::Damaged(ahead);
            }
            ahead = ahead.saturating_add(ALIGN);
        }
        self.at = self.bytes.len();
        Found::Torn
    }
}

impl<'a, C: Crc> Iterator for Scan<'a, C> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        let Some(head) = head(rest, &self.crc) else {
            return Some(self.search());
        };
        let (queue, subject) = (head.queue_len.into(), head.subject_len.into());
        let body = rest.get(HEAD..).unwrap_or_default();
        let parts = body.split_at_checked(queue).and_then(|(queue, rest)| {
            let (subject, rest) = rest.split_at_checked(subject)?;
            let (data, rest) = rest.split_at_checked(head.data_len.get() as usize)?;
            let len = body.len().saturating_sub(rest.len());
            rest.get(..padding(len))?;
            Some((queue, subject, data, len))
        });
        let Some((queue, subject, data, len)) = parts else {
            // Its end is missing, or its length says so by chance: there may be others behind.
            return Some(self.search());
        };
        let whole = HEAD.saturating_add(len).saturating_add(padding(len));
        if body_sum(&self.crc, [queue, subject, data]) != head.body_sum.get() {
            self.at = self.at.saturating_add(whole);
            return Some(Found::Damaged(whole));
        }
        let kind = Kind::parse(head.kind)?;
        self.at = self.at.saturating_add(whole);
        Some(Found::Record(Record {
            kind,
            priority: head.priority,
            seq: head.seq.get(),
            time: head.time.get(),
            delay_ms: head.delay_ms.get(),
            from: head.from,
            queue,
            subject,
            data,
        }))
    }
}

/// What is left of a delay of `delay_ms` that began at `then`, at `now`. A clock that was set back
/// does not make it longer than it was.
pub fn delay_left(then: u64, now: u64, delay_ms: u32) -> u32 {
    let passed = now.saturating_sub(then);
    delay_ms.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    /// Bit by bit, as the polynomial says.
    fn crc(seed: u32, bytes: &[u8]) -> u32 {
        bytes.iter().fold(seed, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte), |sum, _| {
                (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
            })
        })
    }

    #[derive(Clone, Debug)]
    struct Owned {
        kind: u8,
        seq: u64,
        queue: Vec<u8>,
        data: Vec<u8>,
    }

    fn file(records: &[Owned]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (vec![], vec![]);
        for owned in records {
            let record = Record {
                seq: owned.seq,
                queue: &owned.queue,
                data: &owned.data,
                ..Record::new(Kind::parse(owned.kind).unwrap())
            };
            let before = bytes.len();
            let put = |part: &[u8]| {
                bytes.extend_from_slice(part);
                Ok::<_, ()>(())
            };
            record.write(crc, put).unwrap().unwrap();
            assert_eq!(bytes.len() - before, record.size());
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn seqs(bytes: &[u8]) -> (Vec<u64>, usize, bool) {
        let (mut found, mut damaged, mut torn) = (vec![], 0, false);
        for step in Scan::new(bytes, crc) {
            match step {
                Found::Record(record) => found.push(record.seq),
                Found::Damaged(_) => damaged += 1,
                Found::Torn => torn = true,
            }
        }
        (found, damaged, torn)
    }

    fn records() -> impl Strategy<Value = Vec<Owned>> {
        let data = prop::collection::vec(any::<u8>(), 0..60);
        let queue = prop::collection::vec(any::<u8>(), 0..10);
        let record = (1..8u8, queue, data);
        prop::collection::vec(record, 1..8).prop_map(|records| {
            let number = |(seq, (kind, queue, data))| Owned {
                kind,
                seq,
                queue,
                data,
            };
            (1..).zip(records).map(number).collect()
        })
    }

    #[test]
    fn the_sum_is_crc_32c() {
        // The check value of the polynomial.
        assert_eq!(!crc(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn all_fields_come_back() {
        let record = Record {
            kind: Kind::Publish,
            priority: 7,
            seq: 1 << 40,
            time: 1 << 41,
            delay_ms: 99,
            from: [10, 9, 0, 1],
            queue: b"orders",
            subject: b"orders.eu",
            data: b"#data, with \n all",
        };
        let mut bytes = vec![];
        let put = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok::<_, ()>(())
        };
        record.write(crc, put).unwrap().unwrap();
        let found: Vec<_> = Scan::new(&bytes, crc).collect();
        assert_eq!(found, [Found::Record(record)]);
        let long = vec![0; MAX_MESSAGE + 1];
        let long = Record {
            data: &long,
            ..record
        };
        assert!(long.write(crc, |_| Ok::<_, ()>(())).is_none());
    }

    #[test]
    fn delays_go_on_and_never_grow() {
        assert_eq!(delay_left(1000, 1400, 500), 100);
        assert_eq!(delay_left(1000, 9000, 500), 0);
        assert_eq!(delay_left(9_000_000, 9_000_000 - 3_600_000, 500), 500);
    }

    proptest! {
        /// Wherever the end is torn off, what was whole is there, and nothing else.
        #[test]
        fn torn_tails_are_cut(records in records(), cut: usize) {
            let (bytes, ends) = file(&records);
            let cut = cut % (bytes.len() + 1);
            let whole = ends.iter().filter(|&&end| end <= cut).count() as u64;
            let (found, damaged, torn) = seqs(&bytes[..cut]);
            prop_assert_eq!(found, (1..=whole).collect::<Vec<_>>());
            prop_assert_eq!(damaged, 0);
            prop_assert_eq!(torn, cut != 0 && !ends.contains(&cut));
        }

        /// A flipped bit costs the record in which it is, and is noticed.
        #[test]
        fn flipped_bits_are_noticed(records in records(), at: usize, bit in 0..8u8) {
            let (mut bytes, ends) = file(&records);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let hit = ends.iter().filter(|&&end| end <= at).count() as u64 + 1;
            let (found, damaged, torn) = seqs(&bytes);
            let others: Vec<_> = (1..=records.len() as u64).filter(|&seq| seq != hit).collect();
            let all = others.len() + 1;
            if found.len() == all {
                // In what nobody reads: the padding.
                prop_assert!(!torn && damaged == 0);
            } else {
                prop_assert_eq!(&found, &others);
                prop_assert!(torn || damaged == 1);
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut scan = Scan::new(&bytes, crc);
            while scan.next().is_some() {
                prop_assert!(scan.at() <= bytes.len());
            }
            prop_assert_eq!(scan.at(), bytes.len());
        }
    }
}
