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
//! [`Kind::Begin`], whose priority is the [`FORMAT`] of the file; what all queues had then follows,
//! up to [`Kind::Whole`], and what has happened since; see [`super::rewrite`]. Begin and Whole both
//! have the generation, so that it is known if one of them is damaged.
//!
//! The head has a sum of its own, so that a flipped bit in the data does not hide what comes after.
//! Where no record begins, the next one is looked for, and what lies between is damaged. A record
//! whose head is whole but which goes on behind the end of the file is a torn tail, and so are fewer
//! bytes than a head has, or zeros: it was being written when the machine stopped, and nobody has
//! been told that it is there.
//!
//! A reader keeps what it does not understand: records of a kind that it does not know are shown as
//! [`Found::Unknown`], and a file of a later format is shown as such by [`Survey::is_newer`].

use zerocopy::{
    little_endian::{U32, U64},
    FromBytes, IntoBytes,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{MAX_MESSAGE, MAX_NAME};

/// The format that is written, as the record [`Kind::Begin`] says. 0 is the first one, in which
/// [`Kind::Whole`] had no generation. A later one is not read.
pub const FORMAT: u8 = 1;

/// Records begin at multiples of this.
pub const ALIGN: usize = 8;

/// Bytes of a record's head.
pub const HEAD: usize = 48;

/// Most bytes of a record.
pub const MAX_RECORD: usize = HEAD + 2 * MAX_NAME + MAX_MESSAGE + ALIGN;

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
    /// A whole record of a kind that is not known.
    Unknown {
        /// Its kind.
        kind: u8,
        /// Its bytes.
        bytes: u64,
    },
    /// Bytes that are damaged.
    Damaged {
        /// How many.
        bytes: u64,
        /// What was there, if the head is whole.
        head: Option<(Kind, u64)>,
    },
    /// So many bytes that were being written when the machine stopped; they go to the end.
    Torn(u64),
}

/// Bytes of a file, read in pieces.
pub trait Source {
    /// Why bytes could not be read.
    type Error;

    /// Bytes of the file.
    fn len(&self) -> u64;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `len` bytes from `at` on, at most [`MAX_RECORD`]; fewer at the end of the file only.
    ///
    /// # Errors
    ///
    /// Those of reading.
    fn read(&mut self, at: u64, len: usize) -> Result<&[u8], Self::Error>;
}

impl Source for &[u8] {
    type Error = core::convert::Infallible;

    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read(&mut self, at: u64, len: usize) -> Result<&[u8], Self::Error> {
        let rest = self.get(at as usize..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

fn head(bytes: &[u8], crc: &impl Crc) -> Option<Head> {
    let (head, _) = Head::read_from_prefix(bytes).ok()?;
    let summed = bytes.get(..SUMMED)?;
    let sane = head.magic == MAGIC
        && usize::from(head.queue_len) <= MAX_NAME
        && usize::from(head.subject_len) <= MAX_NAME
        && head.data_len.get() as usize <= MAX_MESSAGE
        && head.reserved.get() == 0;
    (sane && !crc(!0, summed) == head.head_sum.get()).then_some(head)
}

impl Head {
    fn body(&self) -> usize {
        usize::from(self.queue_len)
            .saturating_add(self.subject_len.into())
            .saturating_add(self.data_len.get() as usize)
    }

    /// Bytes of the record.
    fn size(&self) -> usize {
        let body = self.body();
        HEAD.saturating_add(body).saturating_add(padding(body))
    }
}

/// Reads a file.
pub struct Scan<S, C> {
    source: S,
    at: u64,
    crc: C,
}

impl<S: Source, C: Crc> Scan<S, C> {
    /// From the start of a file.
    pub fn new(source: S, crc: C) -> Self {
        Scan { source, at: 0, crc }
    }

    /// How far it has come.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn left(&self) -> u64 {
        self.source.len().saturating_sub(self.at)
    }

    /// Whether a record begins at `at`, all of it in the file.
    fn head_at(&mut self, at: u64) -> Result<Option<Head>, S::Error> {
        Ok(head(self.source.read(at, HEAD)?, &self.crc))
    }

    /// Whether all bytes from here on are zeros.
    fn only_zeros(&mut self) -> Result<bool, S::Error> {
        let mut at = self.at;
        loop {
            let bytes = self.source.read(at, MAX_RECORD)?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at = at.saturating_add(bytes.len() as u64);
        }
    }

    /// Passes over bytes in which no record begins. `may_be_torn`: if none begins behind them, they
    /// are what was being written.
    fn search<'a>(&mut self, may_be_torn: bool) -> Result<Found<'a>, S::Error> {
        let left = self.left();
        let mut bytes = ALIGN as u64;
        while bytes < left {
            if self.head_at(self.at.saturating_add(bytes))?.is_some() {
                self.at = self.at.saturating_add(bytes);
                return Ok(Found::Damaged { bytes, head: None });
            }
            bytes = bytes.saturating_add(ALIGN as u64);
        }
        let torn = may_be_torn || left < HEAD as u64 || self.only_zeros()?;
        self.at = self.source.len();
        Ok(match torn {
            true => Found::Torn(left),
            false => Found::Damaged {
                bytes: left,
                head: None,
            },
        })
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn find_next(&mut self) -> Result<Option<Found<'_>>, S::Error> {
        if self.left() == 0 {
            return Ok(None);
        }
        let Some(head) = self.head_at(self.at)? else {
            return self.search(false).map(Some);
        };
        let size = head.size();
        if size as u64 > self.left() {
            // Its end is missing, or its length says so by chance: there may be others behind.
            return self.search(true).map(Some);
        }
        let at = self.at;
        self.at = at.saturating_add(size as u64);
        let record = self.source.read(at, size)?;
        let body = record.get(HEAD..).unwrap_or_default();
        let parts = body
            .split_at_checked(head.queue_len.into())
            .and_then(|(queue, rest)| {
                let (subject, rest) = rest.split_at_checked(head.subject_len.into())?;
                let data = rest.get(..head.data_len.get() as usize)?;
                Some((queue, subject, data))
            });
        let kind = Kind::parse(head.kind);
        let intact = parts.filter(|&(queue, subject, data)| {
            body_sum(&self.crc, [queue, subject, data]) == head.body_sum.get()
        });
        Ok(Some(match (intact, kind) {
            (Some((queue, subject, data)), Some(kind)) => Found::Record(Record {
                kind,
                priority: head.priority,
                seq: head.seq.get(),
                time: head.time.get(),
                delay_ms: head.delay_ms.get(),
                from: head.from,
                queue,
                subject,
                data,
            }),
            (Some(_), None) => Found::Unknown {
                kind: head.kind,
                bytes: size as u64,
            },
            (None, kind) => Found::Damaged {
                bytes: size as u64,
                head: kind.map(|kind| (kind, head.seq.get())),
            },
        }))
    }
}

/// What a file has, as far as it can be said without its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// All bytes.
    pub bytes: u64,
    /// Of these, at the end, such as were being written when the machine stopped.
    pub torn: u64,
    /// Bytes that are damaged.
    pub damaged: u64,
    /// Records of unknown kinds.
    pub unknown: u64,
    /// Records that are understood.
    pub records: u64,
    /// The largest generation that it says; 0 if it says none.
    pub generation: u64,
    /// It has a record [`Kind::Whole`].
    pub whole: bool,
    /// The latest format that it says.
    pub format: u8,
}

impl Survey {
    /// Counts what was found.
    pub fn count(&mut self, found: &Found<'_>) {
        match found {
            Found::Record(record) => {
                self.bytes = self.bytes.saturating_add(record.size() as u64);
                self.records = self.records.saturating_add(1);
                match record.kind {
                    Kind::Begin => self.format = self.format.max(record.priority),
                    Kind::Whole => self.whole = true,
                    _ => return,
                }
                self.generation = self.generation.max(record.seq);
            }
            Found::Unknown { bytes, .. } => {
                self.bytes = self.bytes.saturating_add(*bytes);
                self.unknown = self.unknown.saturating_add(1);
            }
            Found::Damaged { bytes, .. } => {
                self.bytes = self.bytes.saturating_add(*bytes);
                self.damaged = self.damaged.saturating_add(*bytes);
            }
            Found::Torn(bytes) => {
                self.bytes = self.bytes.saturating_add(*bytes);
                self.torn = self.torn.saturating_add(*bytes);
            }
        }
    }

    /// Whether it is of a format that is later than [`FORMAT`].
    pub fn is_newer(&self) -> bool {
        self.format > FORMAT
    }

    /// Whether it has what is not understood: then it is kept.
    pub fn is_suspect(&self) -> bool {
        self.damaged > 0 || self.unknown > 0
    }

    /// Which of two files counts: one that is not whole only if the other says less.
    fn rank(&self) -> (bool, u64, u64) {
        (self.whole, self.generation, self.records)
    }
}

/// What is done with the two files of a log; see [`super::rewrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The file that counts.
    pub active: usize,
    /// For each file: it is moved aside, never emptied.
    pub keep: [bool; 2],
}

impl Choice {
    /// Chooses between files. `None` if one of them is of a later format: then neither may be
    /// touched.
    pub fn of(files: &[Survey; 2]) -> Option<Choice> {
        let [first, second] = files;
        if first.is_newer() || second.is_newer() {
            return None;
        }
        let active = usize::from(second.rank() > first.rank());
        let (counts, other) = match active {
            0 => (first, second),
            _ => (second, first),
        };
        // A former file, of which the present one has all; or a next one, which was being written.
        let is_former = other.whole && other.generation < counts.generation;
        let is_next = !other.whole && other.generation > counts.generation;
        let needless =
            counts.whole && !counts.is_suspect() && !other.is_suspect() && (is_next || is_former);
        let keep_other = other.bytes > other.torn && !needless;
        let mut keep = [counts.is_suspect(); 2];
        if let Some(keep) = keep.get_mut(1usize.saturating_sub(active)) {
            *keep = keep_other;
        }
        Some(Choice { active, keep })
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

    /// Numbers of the records, damaged places, and bytes of a torn tail.
    fn seqs(bytes: &[u8]) -> (Vec<u64>, usize, u64) {
        let (mut found, mut damaged, mut torn) = (vec![], 0, 0);
        let mut scan = Scan::new(bytes, crc);
        while let Ok(Some(step)) = scan.find_next() {
            match step {
                Found::Record(record) => found.push(record.seq),
                Found::Unknown { .. } => unreachable!("all kinds are known"),
                Found::Damaged { .. } => damaged += 1,
                Found::Torn(bytes) => torn = bytes,
            }
        }
        (found, damaged, torn)
    }

    fn survey(bytes: &[u8]) -> Survey {
        let (mut survey, mut scan) = (Survey::default(), Scan::new(bytes, crc));
        while let Ok(Some(found)) = scan.find_next() {
            survey.count(&found);
        }
        survey
    }

    fn bytes_of(record: &Record<'_>) -> Vec<u8> {
        let mut bytes = vec![];
        let put = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok::<_, ()>(())
        };
        record.write(crc, put).unwrap().unwrap();
        bytes
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
        let bytes = bytes_of(&record);
        let mut scan = Scan::new(&bytes[..], crc);
        assert_eq!(scan.find_next(), Ok(Some(Found::Record(record))));
        assert_eq!(scan.find_next(), Ok(None));
        let long = vec![0; MAX_MESSAGE + 1];
        let long = Record {
            data: &long,
            ..record
        };
        assert!(long.write(crc, |_| Ok::<_, ()>(())).is_none());
    }

    #[test]
    fn unknown_kinds_are_shown_and_passed() {
        let known = bytes_of(&Record::new(Kind::Next));
        let mut unknown = known.clone();
        unknown[4] = 99;
        let sum = (!crc(!0, &unknown[..SUMMED])).to_le_bytes();
        unknown[SUMMED..SUMMED + 4].copy_from_slice(&sum);
        let all = [&known[..], &unknown, &known].concat();
        let mut scan = Scan::new(&all[..], crc);
        assert!(matches!(scan.find_next(), Ok(Some(Found::Record(_)))));
        let found = Found::Unknown {
            kind: 99,
            bytes: HEAD as u64,
        };
        assert_eq!(scan.find_next(), Ok(Some(found)));
        assert!(matches!(scan.find_next(), Ok(Some(Found::Record(_)))));
        assert!(survey(&all).is_suspect());
    }

    fn generation(seq: u64, format: u8, whole: bool) -> Vec<u8> {
        let begin = Record {
            seq,
            priority: format,
            ..Record::new(Kind::Begin)
        };
        let end = Record {
            seq,
            ..Record::new(Kind::Whole)
        };
        let end = match whole {
            true => bytes_of(&end),
            false => vec![],
        };
        [bytes_of(&begin), end].concat()
    }

    #[test]
    fn the_file_that_counts_is_chosen_and_nothing_unknown_is_emptied() {
        let of = |first: &[u8], second: &[u8]| Choice::of(&[survey(first), survey(second)]);
        let choice = |active, keep| Some(Choice { active, keep });
        let (old, new) = (generation(4, 0, true), generation(5, FORMAT, true));
        let begun = generation(6, FORMAT, false);
        assert_eq!(of(b"", b""), choice(0, [false, false]));
        assert_eq!(of(&old, &new), choice(1, [false, false]));
        assert_eq!(of(&new, &old), choice(0, [false, false]));
        assert_eq!(of(&new, &begun), choice(0, [false, false]));
        // A later format is not touched, wherever it is.
        let later = generation(5, FORMAT + 1, true);
        assert_eq!(of(&old, &later), None);
        assert_eq!(of(&later, b""), None);
        // With one of both ends damaged it is known what the file is; it is kept.
        for at in [20, HEAD + 20] {
            let mut harmed = new.clone();
            harmed[at] ^= 1;
            let active = usize::from(at < HEAD);
            let chosen = of(&old, &harmed).unwrap();
            assert_eq!(chosen.active, active, "{at}");
            assert!(chosen.keep[1], "{at}");
        }
        // Garbage is kept.
        let garbage = [0xaa; 200];
        assert_eq!(of(&garbage, &garbage), choice(0, [true, true]));
        assert_eq!(of(&new, &garbage), choice(0, [false, true]));
        assert_eq!(of(&new, &[0xaa; 20]), choice(0, [false, false]));
        assert_eq!(of(&new, &[0; 400]), choice(0, [false, false]));
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
            let end = ends.iter().copied().filter(|&end| end <= cut).max();
            prop_assert_eq!(torn, (cut - end.unwrap_or(0)) as u64);
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
                prop_assert!(damaged == 0);
            } else {
                prop_assert_eq!(&found, &others);
                prop_assert!(damaged == 1);
            }
            // Nothing that is whole is taken for what was being written.
            prop_assert_eq!(torn, 0);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let len = bytes.len() as u64;
            let mut scan = Scan::new(&bytes[..], crc);
            while let Ok(Some(_)) = scan.find_next() {}
            prop_assert_eq!(scan.at(), len);
            prop_assert_eq!(survey(&bytes).bytes, len);
        }
    }
}
