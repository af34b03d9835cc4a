// SPDX-License-Identifier: GPL-2.0

//! Records as they lie in the files.

use crate::{
    fence::{FenceClaim, FenceToken},
    queue::{MAX_MESSAGE, MAX_NAME},
};
use zerocopy::{
    little_endian::{U32, U64},
    FromBytes as _, IntoBytes,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The format that is written, as the record [`RecordKind::Begin`] says. 0 is the first one, in which
/// [`RecordKind::Whole`] had no generation; from 2 on records have a cookie and a uid. A later one is not
/// read.
pub const FORMAT: u8 = 2;

/// Records begin at multiples of this.
pub const ALIGN: usize = 8;

/// Bytes of a record's head.
pub const HEAD: usize = 56;

/// The same of [`RecordKind::Begin`], and of all records of formats 0 and 1.
pub(super) const OLD_HEAD: usize = 48;

/// Most bytes of a record.
pub const MAX_RECORD: usize = HEAD + 2 * MAX_NAME + MAX_MESSAGE + ALIGN;

/// Most bytes of a record [`RecordKind::Fence`].
pub const MAX_FENCE: usize = HEAD + MAX_NAME + size_of::<FenceToken>() + ALIGN;

/// Bytes of the head under its own sum.
pub(super) const SUMMED: usize = 52;

/// The same of a head of [`OLD_HEAD`] bytes.
pub(super) const OLD_SUMMED: usize = 40;

pub(super) const MAGIC: [u8; 4] = [0xf6, 0x56, 0x51, 0x32];

/// Of heads of [`OLD_HEAD`] bytes.
pub(super) const OLD_MAGIC: [u8; 4] = [0xf6, 0x56, 0x51, 0x4c];

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
pub enum RecordKind {
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
    /// A lock guards the queue; the data are a [`FenceToken`], the largest so far.
    Fence = 8,
}

impl RecordKind {
    pub(super) fn parse(byte: u8) -> Option<RecordKind> {
        Some(match byte {
            1 => RecordKind::Begin,
            2 => RecordKind::Whole,
            3 => RecordKind::Create,
            4 => RecordKind::Delete,
            5 => RecordKind::Publish,
            6 => RecordKind::Done,
            7 => RecordKind::Next,
            8 => RecordKind::Fence,
            _ => return None,
        })
    }
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub kind: RecordKind,
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
    pub const fn new(kind: RecordKind) -> Self {
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
pub(super) struct Fields {
    pub(super) magic: [u8; 4],
    pub(super) kind: u8,
    pub(super) priority: u8,
    pub(super) queue_len: u8,
    pub(super) subject_len: u8,
    pub(super) data_len: U32,
    pub(super) body_sum: U32,
    pub(super) seq: U64,
    pub(super) time: U64,
    pub(super) delay_ms: U32,
    pub(super) from: [u8; 4],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct OldHead {
    pub(super) fields: Fields,
    pub(super) head_sum: U32,
    pub(super) reserved: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct NewHead {
    pub(super) fields: Fields,
    pub(super) uid: U32,
    pub(super) cookie: U64,
    pub(super) head_sum: U32,
}

const _: () = assert!(size_of::<OldHead>() == OLD_HEAD && size_of::<NewHead>() == HEAD);

/// CRC-32C: `crc(seed, bytes)`, such as the kernel's. The seed is what bytes before have given.
pub trait Crc: Fn(u32, &[u8]) -> u32 {}

impl<F: Fn(u32, &[u8]) -> u32> Crc for F {}

pub(super) fn body_sum(crc: &impl Crc, parts: [&[u8]; 3]) -> u32 {
    !parts.into_iter().fold(!0, crc)
}

/// Bytes that fill `len` up to a multiple of [`ALIGN`].
pub(super) const fn padding(len: usize) -> usize {
    len.wrapping_neg() % ALIGN
}

impl Record<'_> {
    fn body(&self) -> usize {
        self.queue
            .len()
            .saturating_add(self.subject.len())
            .saturating_add(self.data.len())
    }

    /// What a record [`RecordKind::Fence`] says; `None` if that is no lock.
    pub fn claim(&self) -> Option<FenceClaim> {
        FenceClaim::from_wire(&FenceToken::read_from_bytes(self.data).ok()?)
    }

    /// Bytes that it has in the file.
    pub fn size(&self) -> usize {
        let body = match self.kind {
            // It has a shorter head, and the cookie behind it.
            RecordKind::Begin => 0,
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
        let is_begin = self.kind == RecordKind::Begin;
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

/// What is left of a delay of `delay_ms` that began at `then`, at `now`. A clock that was set back
/// does not make it longer than it was.
pub fn delay_left(then: u64, now: u64, delay_ms: u32) -> u32 {
    let passed = now.saturating_sub(then);
    delay_ms.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
}
