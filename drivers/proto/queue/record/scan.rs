// SPDX-License-Identifier: GPL-2.0

//! Reading a file of the log: its records, and what is damaged between them.

use super::layout::{
    body_sum, padding, Cookie, Crc, Fields, NewHead, OldHead, Record, RecordKind, ALIGN, HEAD,
    MAGIC, MAX_RECORD, NOBODY, OLD_HEAD, OLD_MAGIC, OLD_SUMMED, SUMMED,
};
use crate::queue::{MAX_MESSAGE, MAX_NAME};
use zerocopy::FromBytes;

/// What stands at some place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned<'a> {
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
        head: Option<(RecordKind, u64)>,
    },
    /// So many bytes that were being written when the machine stopped; they go to the end.
    Torn(u64),
}

/// Bytes of a file, read in pieces.
pub trait RecordSource {
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

impl RecordSource for &[u8] {
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
    /// Reads a head of format 0 or 1, or of [`RecordKind::Begin`].
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

/// Where the first record behind [`RecordKind::Begin`] stands.
const BEHIND_BEGIN: u64 = HEAD as u64;

/// The same in a file of format 0 or 1.
const BEHIND_OLD_BEGIN: u64 = OLD_HEAD as u64;

/// Reads a file.
pub struct Scan<S, C> {
    source: S,
    at: u64,
    crc: C,
    /// That of the file, once it is known.
    cookie: Option<Cookie>,
}

impl<S: RecordSource, C: Crc> Scan<S, C> {
    /// From the start of a file.
    pub fn new(source: S, crc: C) -> Self {
        Scan {
            source,
            at: 0,
            crc,
            cookie: None,
        }
    }

    /// The cookie of the file: [`Cookie::NONE`] for one of format 0 or 1, `None` if it
    /// is not known.
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
        let head = match (self.cookie, at) {
            (_, 0) => {
                let is_begin =
                    |head: &Head| RecordKind::parse(head.fields.kind) == Some(RecordKind::Begin);
                return Ok(Head::parse_old(bytes, &self.crc).filter(is_begin));
            }
            (Some(Cookie::NONE), _) => Head::parse_old(bytes, &self.crc),
            (Some(cookie), _) => {
                Head::parse_new(bytes, &self.crc).filter(|head| head.cookie == cookie)
            }
            // Begin is damaged, and this is right behind it: in a file of format 0 or 1, or of the
            // present one.
            (None, BEHIND_OLD_BEGIN) => Head::parse_old(bytes, &self.crc),
            (None, BEHIND_BEGIN) => {
                Head::parse_new(bytes, &self.crc).filter(|head| head.cookie != Cookie::NONE)
            }
            // What stands here may be the content of a message.
            (None, _) => None,
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
    fn search<'a>(&mut self, may_be_torn: bool) -> Result<Scanned<'a>, S::Error> {
        let left = self.left();
        let mut bytes = ALIGN as u64;
        while bytes < left {
            if self.head_at(self.at.saturating_add(bytes))?.is_some() {
                self.at = self.at.saturating_add(bytes);
                return Ok(Scanned::Damaged { bytes, head: None });
            }
            bytes = bytes.saturating_add(ALIGN as u64);
        }
        let torn = may_be_torn || left < HEAD as u64 || self.only_zeros()?;
        self.at = self.source.len();
        Ok(match torn {
            true => Scanned::Torn(left),
            false => Scanned::Damaged {
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
    pub fn find_next(&mut self) -> Result<Option<Scanned<'_>>, S::Error> {
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
        let kind = RecordKind::parse(fields.kind);
        if let (Some([_, _, data]), 0, Some(RecordKind::Begin)) = (parts, at, kind) {
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
            (Some([queue, subject, data]), Some(kind)) => Scanned::Record {
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
                    data: if kind == RecordKind::Begin { b"" } else { data },
                },
                bytes,
            },
            (Some(_), None) => Scanned::Unknown {
                kind: fields.kind,
                bytes,
            },
            (None, kind) => Scanned::Damaged {
                bytes,
                head: kind.map(|kind| (kind, fields.seq.get())),
            },
        }))
    }
}
