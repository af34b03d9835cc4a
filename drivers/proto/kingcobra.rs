// SPDX-License-Identifier: GPL-2.0

//! KingCobra's records: `REQUEST#<address>#<seconds>:<nanoseconds>#<payload>`, and the same with
//! `REPLY`. The address is that of who asks, as a hexadecimal number without leading zeros. The
//! payload is all behind the third `#`, so it may have any number of those.
//!
//! In the log a record is a line, `<record> $$`. What a line cannot hold stands there as `\xNN`, and
//! a backslash as `\\`.

use crate::{command::parse_u64, hex};
use core::fmt;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRecordKind {
    /// Somebody wants something.
    Request,
    /// What came of it.
    Reply,
}

impl RequestRecordKind {
    /// The word that a record begins with.
    pub const fn word(self) -> &'static str {
        match self {
            RequestRecordKind::Request => "REQUEST",
            RequestRecordKind::Reply => "REPLY",
        }
    }
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRecord<'a> {
    /// Request or reply.
    pub kind: RequestRecordKind,
    /// Who asks: 10.9.0.1 is 0x0a090001.
    pub address: u32,
    /// When it was asked, in seconds since 1970.
    pub seconds: u64,
    /// Nanoseconds of the next second.
    pub nanos: u32,
    /// What is wanted, or what came of it.
    pub payload: &'a [u8],
}

/// Most bytes of a record before its payload: `REQUEST#ffffffff#18446744073709551615:999999999#`.
pub const MAX_HEAD: usize = 48;

/// The kind of a record, by what it begins with, whether the rest is right or not.
pub fn kind(record: &[u8]) -> Option<RequestRecordKind> {
    [RequestRecordKind::Request, RequestRecordKind::Reply]
        .into_iter()
        .find(|kind| {
            record
                .strip_prefix(kind.word().as_bytes())
                .is_some_and(|rest| rest.starts_with(b"#"))
        })
}

fn parse_address(digits: &[u8]) -> Option<u32> {
    match digits.len() {
        1..=8 => u32::try_from(hex::number(digits)?).ok(),
        _ => None,
    }
}

impl<'a> RequestRecord<'a> {
    /// Reads a record; `None` if a field is missing, empty, or not what it should be. Only the
    /// payload may be empty.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let kind = kind(record)?;
        let mut fields = record.splitn(4, |&byte| byte == b'#').skip(1);
        let (address, time, payload) = (fields.next()?, fields.next()?, fields.next()?);
        let colon = time.iter().position(|&byte| byte == b':')?;
        let (seconds, nanos) = time.split_at_checked(colon)?;
        let nanos = parse_u64(nanos.get(1..)?)?;
        Some(RequestRecord {
            kind,
            address: parse_address(address)?,
            seconds: parse_u64(seconds)?,
            nanos: u32::try_from(nanos)
                .ok()
                .filter(|&nanos| nanos < 1_000_000_000)?,
            payload,
        })
    }

    /// Reads a line of the log, without its end. The payload is still as the line has it; see
    /// [`unescape`].
    pub fn parse_line(line: &'a [u8]) -> Option<Self> {
        Self::parse(line.strip_suffix(b" $$")?)
    }
}

/// Shows all but the payload, with the `#` before that.
impl fmt::Display for RequestRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestRecord {
            address,
            seconds,
            nanos,
            ..
        } = self;
        write!(f, "{}#{address:x}#{seconds}:{nanos}#", self.kind.word())
    }
}

/// What behind the payload ends a line of the log.
pub const LINE_END: &[u8] = b" $$\n";

/// Writes `payload` to `out` as a line can hold it.
///
/// # Errors
///
/// Those of `out`.
pub fn escape<E>(payload: &[u8], mut out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let plain =
        |byte: &u8| *byte != b'\\' && (byte.is_ascii_graphic() || *byte == b' ' || *byte >= 0x80);
    let mut rest = payload;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| !plain(byte));
        let (run, behind) = rest.split_at(end.unwrap_or(rest.len()));
        out(run)?;
        rest = behind;
        if let Some((&byte, behind)) = rest.split_first() {
            match byte {
                b'\\' => out(b"\\\\")?,
                byte => out(&[b'\\', b'x', hex::digit(byte >> 4), hex::digit(byte)])?,
            }
            rest = behind;
        }
    }
    Ok(())
}

/// Writes to `out` what [`escape`] was given.
///
/// # Errors
///
/// Those of `out`.
pub fn unescape<E>(text: &[u8], mut out: impl FnMut(u8) -> Result<(), E>) -> Result<(), E> {
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let digits = match (byte, behind) {
            (b'\\', [b'x', high, low, ..]) => hex::number(&[*high, *low]),
            _ => None,
        };
        match (
            digits.and_then(|value| u8::try_from(value).ok()),
            byte,
            behind.first(),
        ) {
            (Some(value), ..) => {
                out(value)?;
                rest = behind.get(3..).unwrap_or_default();
            }
            (None, b'\\', Some(b'\\')) => {
                out(b'\\')?;
                rest = behind.get(1..).unwrap_or_default();
            }
            _ => out(byte)?,
        }
    }
    Ok(())
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A service is wanted.
    Service,
    /// Something was not as it should be: `problem: …`.
    Problem,
    /// Something could be better: `suggestion: …`.
    Suggestion,
}

impl Type {
    /// All, with the words that their payloads begin with.
    const WORDS: [(&'static [u8], Type); 2] = [
        (b"problem:", Type::Problem),
        (b"suggestion:", Type::Suggestion),
    ];

    /// The type of a request with this payload, and what it is about.
    pub fn of(payload: &[u8]) -> (Type, &[u8]) {
        let mut words = Self::WORDS.iter();
        let known = words.find_map(|(word, kind)| Some((*kind, payload.strip_prefix(*word)?)));
        let (kind, rest) = known.unwrap_or((Type::Service, payload));
        (kind, rest.trim_ascii_start())
    }

    /// Name of the function that does such requests; modules register it.
    pub const fn function(self) -> &'static str {
        match self {
            Type::Service => "kingcobra_service",
            Type::Problem => "kingcobra_problem",
            Type::Suggestion => "kingcobra_suggestion",
        }
    }

    /// Name of the queue to which such requests go if there is no function; programs serve it.
    pub const fn queue(self) -> &'static str {
        match self {
            Type::Service => "kingcobra.service",
            Type::Problem => "kingcobra.problem",
            Type::Suggestion => "kingcobra.suggestion",
        }
    }
}

/// Which of the requests that wait is next, so that their users take turns: the first one of the user
/// who comes after `last`, the one whose turn was last, in the order of uids and round about. Takes the
/// uids of those that wait, in the order in which they came, and whether a user may have another one done.
pub fn next_turn(
    waiting: impl Iterator<Item = u32>,
    last: u32,
    may_begin: impl Fn(u32) -> bool,
) -> Option<usize> {
    let distance = |uid: u32| uid.wrapping_sub(last).wrapping_sub(1);
    let waiting = waiting.enumerate().filter(|&(_, uid)| may_begin(uid));
    let next = waiting.min_by_key(|&(_, uid)| distance(uid));
    next.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::ToString, vec, vec::Vec};

    #[test]
    fn records_are_read() {
        let record = RequestRecord::parse(b"REQUEST#a090001#1439827527:3717956#a#b##").unwrap();
        let expected = RequestRecord {
            kind: RequestRecordKind::Request,
            address: 0x0a09_0001,
            seconds: 1_439_827_527,
            nanos: 3_717_956,
            payload: b"a#b##",
        };
        assert_eq!(record, expected);
        assert_eq!(record.to_string(), "REQUEST#a090001#1439827527:3717956#");
        assert_eq!(RequestRecord::parse(b"REPLY#1#0:0#").unwrap().payload, b"");
    }

    #[test]
    fn others_are_none() {
        for text in [
            "",
            "REQUEST",
            "REQUEST#",
            "REQUEST###x",
            "REQUEST#1#1:1",
            "REQUEST##1:1#x",
            "REQUEST#1##x",
            "REQUEST#1#1#x",
            "REQUEST#1#:1#x",
            "REQUEST#1#1:#x",
            "REQUEST#1#1:1000000000#x",
            "REQUEST#g#1:1#x",
            "REQUEST#100000000#1:1#x",
            "request#1#1:1#x",
            "REQUESTS#1#1:1#x",
        ] {
            assert_eq!(RequestRecord::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(kind(b"REPLY#"), Some(RequestRecordKind::Reply));
        assert_eq!(kind(b"REPLY"), None);
    }

    #[test]
    fn users_take_turns() {
        let mut waiting = vec![1000, 1000, 1000, 0, 65534, 1000, 0];
        let mut order = vec![];
        let mut last = 0;
        while let Some(at) = next_turn(waiting.iter().copied(), last, |_| true) {
            last = waiting.remove(at);
            order.push(last);
        }
        assert_eq!(order, [1000, 65534, 0, 1000, 0, 1000, 1000]);
        let next = |waiting: &[u32], full| next_turn(waiting.iter().copied(), 5, |uid| uid != full);
        assert_eq!(next(&[5, 5], 0), Some(0), "in order");
        assert_eq!(next(&[6, 6, 5], 6), Some(2), "who may");
        assert_eq!(next(&[6, 6], 6), None);
    }

    #[test]
    fn types_by_the_first_word() {
        assert_eq!(
            Type::of(b"problem: it is slow"),
            (Type::Problem, &b"it is slow"[..])
        );
        assert_eq!(Type::of(b"suggestion:"), (Type::Suggestion, &b""[..]));
        assert_eq!(Type::of(b"problem"), (Type::Service, &b"problem"[..]));
    }

    proptest! {
        #[test]
        fn any_payload_survives_the_log(
            kind in prop::sample::select(&[RequestRecordKind::Request, RequestRecordKind::Reply][..]),
            address: u32, seconds: u64, nanos in 0..1_000_000_000u32,
            payload in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let record = RequestRecord { kind, address, seconds, nanos, payload: &payload };
            let mut line: Vec<u8> = record.to_string().into_bytes();
            prop_assert!(line.len() <= MAX_HEAD);
            let put = |part: &[u8]| {
                line.extend_from_slice(part);
                Ok::<_, ()>(())
            };
            escape(&payload, put).unwrap();
            line.extend_from_slice(LINE_END);
            let line = line.strip_suffix(b"\n").unwrap();
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            let read = RequestRecord::parse_line(line).unwrap();
            let mut back = vec![];
            unescape(read.payload, |byte| {
                back.push(byte);
                Ok::<_, ()>(())
            }).unwrap();
            prop_assert_eq!(&back, &payload);
            prop_assert_eq!(RequestRecord { payload: &payload, ..read }, record);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = RequestRecord::parse(&bytes);
            let _ = unescape(&bytes, |_| Ok::<_, ()>(()));
        }
    }
}
