// SPDX-License-Identifier: GPL-2.0

//! What durable queues write to disk, and how it is read again.
//!
//! A file is records, one after the other, each at a multiple of [`ALIGN`]:
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0–3 | magic | `f6 56 51 32` |
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
//! | 40–43 | uid that the message is of | |
//! | 44–51 | the log's cookie | |
//! | 52–55 | CRC-32C of the bytes before | |
//!
//! then name, subject and data, and zeros up to the next multiple. A file begins with a record
//! [`Kind::Begin`], whose priority is the [`FORMAT`] of the file and whose data are the cookie; what
//! all queues had then follows, up to [`Kind::Whole`], and what has happened since; see
//! [`super::rewrite`]. Begin and Whole both have the generation, so that it is known if one of them is
//! damaged.
//!
//! The head has a sum of its own, so that a flipped bit in the data does not hide what comes after.
//! Where no record begins, the next one is looked for, and what lies between is damaged. A record
//! whose head is whole but which goes on behind the end of the file is a torn tail, and so are fewer
//! bytes than a head has, or zeros: it was being written when the machine stopped, and nobody has
//! been told that it is there.
//!
//! The search for the next record may come into the data of a message, which may look like a record.
//! The cookie tells them apart: a random number of the log that no user knows (the files are
//! readable by root only), and what does not have it is no record. If Begin is damaged, the cookie
//! is that of the first record: no message stands before that.
//!
//! Records of formats 0 and 1 have the magic `f6 56 51 4c`, and behind byte 39 their sum and four
//! zeros. Begin has that form in all formats, so that earlier versions see that the file is of a
//! later format. Files of these formats are read, never written: see [`Cookie::NONE`].
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
/// [`Kind::Whole`] had no generation; from 2 on records have a cookie and a uid. A later one is not
/// read.
pub const FORMAT: u8 = 2;

/// Records begin at multiples of this.
pub const ALIGN: usize = 8;

/// Bytes of a record's head.
pub const HEAD: usize = 56;

/// The same of [`Kind::Begin`], and of all records of formats 0 and 1.
const OLD_HEAD: usize = 48;

/// Most bytes of a record.
pub const MAX_RECORD: usize = HEAD + 2 * MAX_NAME + MAX_MESSAGE + ALIGN;

/// Bytes of the head under its own sum.
const SUMMED: usize = 52;

/// The same of a head of [`OLD_HEAD`] bytes.
const OLD_SUMMED: usize = 40;

const MAGIC: [u8; 4] = [0xf6, 0x56, 0x51, 0x32];

/// Of heads of [`OLD_HEAD`] bytes.
const OLD_MAGIC: [u8; 4] = [0xf6, 0x56, 0x51, 0x4c];

/// The uid of a message of which that is not known: nobody.
pub const NOBODY: u32 = 65534;

/// By what the records of a log are told from what is in messages. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie(pub u64);

impl Cookie {
    /// That of a file of format 0 or 1, whose records have none. Nothing is appended to it.
    pub const NONE: Cookie = Cookie(0);
}

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
    /// Whose the message is there: the uid that requests are carried out as.
    pub uid: u32,
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
            uid: NOBODY,
            queue: b"",
            subject: b"",
            data: b"",
        }
    }
}

/// What the heads of all formats begin with.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Fields {
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
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct OldHead {
    fields: Fields,
    head_sum: U32,
    reserved: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct NewHead {
    fields: Fields,
    uid: U32,
    cookie: U64,
    head_sum: U32,
}

const _: () = assert!(size_of::<OldHead>() == OLD_HEAD && size_of::<NewHead>() == HEAD);

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
    fn body(&self) -> usize {
        self.queue
            .len()
            .saturating_add(self.subject.len())
            .saturating_add(self.data.len())
    }

    /// Bytes that it has in the file.
    pub fn size(&self) -> usize {
        let body = match self.kind {
            // It has a shorter head, and the cookie behind it.
            Kind::Begin => 0,
            _ => self.body(),
        };
        HEAD.saturating_add(body).saturating_add(padding(body))
    }

    /// Writes it to a log with this cookie, piece by piece, to `out`.
    ///
    /// # Errors
    ///
    /// Those of `out`. Nothing is written of a record that is too long; `None` then.
    pub fn write<E>(
        &self,
        cookie: Cookie,
        crc: impl Crc,
        out: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        if self.queue.len() > MAX_NAME || self.subject.len() > MAX_NAME {
            return None;
        }
        if self.data.len() > MAX_MESSAGE {
            return None;
        }
        let is_begin = self.kind == Kind::Begin;
        let cookie_bytes = cookie.0.to_le_bytes();
        let parts = match is_begin {
            true => [&b""[..], b"", &cookie_bytes],
            false => [self.queue, self.subject, self.data],
        };
        let [queue, subject, data] = parts;
        let fields = Fields {
            magic: if is_begin { OLD_MAGIC } else { MAGIC },
            kind: self.kind as u8,
            priority: self.priority,
            queue_len: queue.len() as u8,
            subject_len: subject.len() as u8,
            data_len: (data.len() as u32).into(),
            body_sum: body_sum(&crc, parts).into(),
            seq: self.seq.into(),
            time: self.time.into(),
            delay_ms: self.delay_ms.into(),
            from: self.from,
        };
        let old;
        let new;
        let head = match is_begin {
            true => {
                let head_sum = (!crc(!0, fields.as_bytes())).into();
                let reserved = 0.into();
                old = OldHead {
                    fields,
                    head_sum,
                    reserved,
                };
                old.as_bytes()
            }
            false => {
                let mut head = NewHead {
                    fields,
                    uid: self.uid.into(),
                    cookie: cookie.0.into(),
                    head_sum: 0.into(),
                };
                let summed = head.as_bytes().get(..SUMMED).unwrap_or_default();
                head.head_sum = (!crc(!0, summed)).into();
                new = head;
                new.as_bytes()
            }
        };
        let body = queue
            .len()
            .saturating_add(subject.len())
            .saturating_add(data.len());
        let zeros = [0; ALIGN];
        let zeros = zeros.get(..padding(body)).unwrap_or_default();
        let mut parts = [head, queue, subject, data, zeros].into_iter();
        Some(parts.try_for_each(out))
    }
}

/// What stands at some place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record.
    Record {
        /// What it says.
        record: Record<'a>,
        /// Its bytes.
        bytes: u64,
    },
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

/// The head of a record.
#[derive(Clone, Copy)]
struct Head {
    fields: Fields,
    uid: u32,
    cookie: Cookie,
    /// Its bytes.
    len: usize,
}

impl Head {
    /// Reads a head of format 0 or 1, or of [`Kind::Begin`].
    fn parse_old(bytes: &[u8], crc: &impl Crc) -> Option<Head> {
        let (head, _) = OldHead::read_from_prefix(bytes).ok()?;
        let is_whole = head.fields.magic == OLD_MAGIC
            && head.reserved.get() == 0
            && !crc(!0, bytes.get(..OLD_SUMMED)?) == head.head_sum.get();
        let head = Head {
            fields: head.fields,
            uid: NOBODY,
            cookie: Cookie::NONE,
            len: OLD_HEAD,
        };
        (is_whole && head.is_sane()).then_some(head)
    }

    /// Reads a head of the present format.
    fn parse_new(bytes: &[u8], crc: &impl Crc) -> Option<Head> {
        let (head, _) = NewHead::read_from_prefix(bytes).ok()?;
        let is_whole =
            head.fields.magic == MAGIC && !crc(!0, bytes.get(..SUMMED)?) == head.head_sum.get();
        let head = Head {
            fields: head.fields,
            uid: head.uid.get(),
            cookie: Cookie(head.cookie.get()),
            len: HEAD,
        };
        (is_whole && head.is_sane()).then_some(head)
    }

    fn is_sane(&self) -> bool {
        usize::from(self.fields.queue_len) <= MAX_NAME
            && usize::from(self.fields.subject_len) <= MAX_NAME
            && self.fields.data_len.get() as usize <= MAX_MESSAGE
    }

    fn body(&self) -> usize {
        usize::from(self.fields.queue_len)
            .saturating_add(self.fields.subject_len.into())
            .saturating_add(self.fields.data_len.get() as usize)
    }

    /// Bytes of the record.
    fn size(&self) -> usize {
        let body = self.body();
        self.len.saturating_add(body).saturating_add(padding(body))
    }

    /// Queue, subject and data of the record, if they are intact.
    fn parts<'a>(&self, record: &'a [u8], crc: &impl Crc) -> Option<[&'a [u8]; 3]> {
        let body = record.get(self.len..)?;
        let (queue, rest) = body.split_at_checked(self.fields.queue_len.into())?;
        let (subject, rest) = rest.split_at_checked(self.fields.subject_len.into())?;
        let data = rest.get(..self.fields.data_len.get() as usize)?;
        let parts = [queue, subject, data];
        (body_sum(crc, parts) == self.fields.body_sum.get()).then_some(parts)
    }
}

/// Reads a file.
pub struct Scan<S, C> {
    source: S,
    at: u64,
    crc: C,
    /// That of the file, once it is known.
    cookie: Option<Cookie>,
}

impl<S: Source, C: Crc> Scan<S, C> {
    /// From the start of a file.
    pub fn new(source: S, crc: C) -> Self {
        Scan {
            source,
            at: 0,
            crc,
            cookie: None,
        }
    }

    /// The cookie of the file: [`Cookie::NONE`] for one of format 0 or 1, `None` if no record was
    /// found.
    pub fn cookie(&self) -> Option<Cookie> {
        self.cookie
    }

    /// How far it has come.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn left(&self) -> u64 {
        self.source.len().saturating_sub(self.at)
    }

    /// Whether a record begins at `at`, as far as its head says.
    fn head_at(&mut self, at: u64) -> Result<Option<Head>, S::Error> {
        let bytes = self.source.read(at, HEAD)?;
        let begin = match at {
            0 => Head::parse_old(bytes, &self.crc),
            _ => None,
        };
        let head = match self.cookie {
            _ if begin.is_some_and(|head| Kind::parse(head.fields.kind) == Some(Kind::Begin)) => {
                return Ok(begin);
            }
            Some(Cookie::NONE) => Head::parse_old(bytes, &self.crc),
            Some(cookie) => Head::parse_new(bytes, &self.crc).filter(|head| head.cookie == cookie),
            // Begin is damaged.
            None => Head::parse_new(bytes, &self.crc)
                .filter(|head| head.cookie != Cookie::NONE)
                .or_else(|| Head::parse_old(bytes, &self.crc)),
        };
        self.cookie = self.cookie.or(head.map(|head| head.cookie));
        Ok(head)
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
        let parts = head.parts(record, &self.crc);
        let fields = head.fields;
        let kind = Kind::parse(fields.kind);
        if let (Some([_, _, data]), 0, Some(Kind::Begin)) = (parts, at, kind) {
            self.cookie = match fields.priority {
                0 | 1 => Some(Cookie::NONE),
                _ => data
                    .try_into()
                    .ok()
                    .map(|bytes| Cookie(u64::from_le_bytes(bytes))),
            };
        }
        let bytes = size as u64;
        Ok(Some(match (parts, kind) {
            (Some([queue, subject, data]), Some(kind)) => Found::Record {
                record: Record {
                    kind,
                    priority: fields.priority,
                    seq: fields.seq.get(),
                    time: fields.time.get(),
                    delay_ms: fields.delay_ms.get(),
                    from: fields.from,
                    uid: head.uid,
                    queue,
                    subject,
                    // Of Begin it is the cookie.
                    data: if kind == Kind::Begin { b"" } else { data },
                },
                bytes,
            },
            (Some(_), None) => Found::Unknown {
                kind: fields.kind,
                bytes,
            },
            (None, kind) => Found::Damaged {
                bytes,
                head: kind.map(|kind| (kind, fields.seq.get())),
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
            Found::Record { record, bytes } => {
                self.bytes = self.bytes.saturating_add(*bytes);
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
mod tests;
