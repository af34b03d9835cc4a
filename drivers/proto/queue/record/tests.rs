// SPDX-License-Identifier: GPL-2.0

use super::{layout::*, *};
use crate::{
    fence::FenceClaim,
    queue::{MAX_MESSAGE, MAX_NAME},
};
use proptest::prelude::*;
use std::{vec, vec::Vec};
use zerocopy::IntoBytes as _;

const COOKIE: Cookie = Cookie(0x0123_4567_89ab_cdef);

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
            priority: FORMAT,
            queue: &owned.queue,
            data: &owned.data,
            ..Record::new(RecordKind::parse(owned.kind).unwrap())
        };
        let before = bytes.len();
        let put = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok::<_, ()>(())
        };
        record.write(COOKIE, crc, put).unwrap().unwrap();
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
            Scanned::Record { record, .. } => found.push(record.seq),
            Scanned::Unknown { .. } => unreachable!("all kinds are known"),
            Scanned::Damaged { .. } => damaged += 1,
            Scanned::Torn(bytes) => torn = bytes,
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

/// What a file begins with.
fn begin() -> Vec<u8> {
    bytes_of(&Record {
        priority: FORMAT,
        ..Record::new(RecordKind::Begin)
    })
}

fn bytes_of(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = vec![];
    let put = |part: &[u8]| {
        bytes.extend_from_slice(part);
        Ok::<_, ()>(())
    };
    record.write(COOKIE, crc, put).unwrap().unwrap();
    bytes
}

/// Records of a file, of which the first one is [`RecordKind::Begin`].
fn records() -> impl Strategy<Value = Vec<Owned>> {
    let data = prop::collection::vec(any::<u8>(), 0..60);
    let queue = prop::collection::vec(any::<u8>(), 0..10);
    let record = (2..9u8, queue, data);
    prop::collection::vec(record, 1..8).prop_map(|records| {
        let number = |(seq, (kind, queue, data))| Owned {
            kind,
            seq,
            queue,
            data,
        };
        let begin = (RecordKind::Begin as u8, vec![], vec![]);
        let all = [begin].into_iter().chain(records);
        (1..).zip(all).map(number).collect()
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
        kind: RecordKind::Publish,
        priority: 7,
        seq: 1 << 40,
        time: 1 << 41,
        delay_ms: 99,
        from: [10, 9, 0, 1],
        uid: 1000,
        queue: b"orders",
        subject: b"orders.eu",
        data: b"#data, with \n all",
    };
    let bytes = bytes_of(&record);
    let all = [begin(), bytes.clone()].concat();
    let mut scan = Scan::new(&all[..], crc);
    assert!(matches!(scan.find_next(), Ok(Some(Scanned::Record { .. }))));
    let found = Scanned::Record {
        record,
        bytes: bytes.len() as u64,
    };
    assert_eq!(scan.find_next(), Ok(Some(found)));
    assert_eq!(scan.find_next(), Ok(None));
    let long = vec![0; MAX_MESSAGE + 1];
    let long = Record {
        data: &long,
        ..record
    };
    assert!(long.write(COOKIE, crc, |_| Ok::<_, ()>(())).is_none());
}

#[test]
fn a_fence_is_what_was_claimed() {
    let claim = FenceClaim::new(b"ledger", 1 << 40);
    let token = claim.unwrap().to_wire();
    let record = Record {
        queue: &[b'q'; MAX_NAME],
        data: token.as_bytes(),
        ..Record::new(RecordKind::Fence)
    };
    assert!(record.size() <= MAX_FENCE);
    let all = [begin(), bytes_of(&record)].concat();
    let mut scan = Scan::new(&all[..], crc);
    assert!(matches!(scan.find_next(), Ok(Some(Scanned::Record { .. }))));
    let Ok(Some(Scanned::Record { record: read, .. })) = scan.find_next() else {
        panic!("a record");
    };
    assert_eq!((read, read.claim()), (record, claim));
    // What is none is left out, not taken for another.
    for data in [&b""[..], &token.as_bytes()[..15], &[1; 17], &[0; 16]] {
        assert_eq!(Record { data, ..record }.claim(), None);
    }
}

#[test]
fn unknown_kinds_are_shown_and_passed() {
    let known = bytes_of(&Record::new(RecordKind::Next));
    let mut unknown = known.clone();
    unknown[4] = 99;
    let sum = (!crc(!0, &unknown[..SUMMED])).to_le_bytes();
    unknown[SUMMED..SUMMED + 4].copy_from_slice(&sum);
    let all = [&begin()[..], &known, &unknown, &known].concat();
    let mut scan = Scan::new(&all[..], crc);
    assert!(matches!(scan.find_next(), Ok(Some(Scanned::Record { .. }))));
    assert!(matches!(scan.find_next(), Ok(Some(Scanned::Record { .. }))));
    let found = Scanned::Unknown {
        kind: 99,
        bytes: HEAD as u64,
    };
    assert_eq!(scan.find_next(), Ok(Some(found)));
    assert!(matches!(scan.find_next(), Ok(Some(Scanned::Record { .. }))));
    assert!(survey(&all).is_suspect());
}

fn generation(seq: u64, format: u8, whole: bool) -> Vec<u8> {
    let begin = Record {
        seq,
        priority: format,
        ..Record::new(RecordKind::Begin)
    };
    let end = Record {
        seq,
        ..Record::new(RecordKind::Whole)
    };
    let bytes_of = match format {
        0 | 1 => old,
        _ => bytes_of,
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

/// A file with a message whose data look like records, damaged so that they are searched.
fn with_forged_records(forged: &[u8], harm: impl FnOnce(&mut Vec<u8>, usize)) -> Vec<u8> {
    let begin = Record {
        priority: FORMAT,
        seq: 1,
        ..Record::new(RecordKind::Begin)
    };
    let message = Record {
        // So long that the data begin where a record may.
        queue: &[b'q'; ALIGN],
        data: forged,
        seq: 1,
        ..Record::new(RecordKind::Publish)
    };
    let mut bytes = bytes_of(&begin);
    let at = bytes.len();
    bytes.extend(bytes_of(&message));
    let last = Record { seq: 2, ..message };
    bytes.extend(bytes_of(&last));
    harm(&mut bytes, at);
    bytes
}

#[test]
fn what_a_message_says_is_no_record() {
    let forged = Record {
        queue: b"requests",
        data: b"as root",
        uid: 0,
        seq: 7,
        ..Record::new(RecordKind::Publish)
    };
    // Of another log, without a cookie, and of an earlier format.
    let mut bytes = vec![];
    for cookie in [Cookie(COOKIE.0 ^ 1), Cookie::NONE] {
        let put = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok::<_, ()>(())
        };
        forged.write(cookie, crc, put).unwrap().unwrap();
    }
    bytes.extend(old(&forged));
    type Harm = fn(&mut Vec<u8>, usize);
    let harms: [Harm; 4] = [
        // A flipped bit in its head; in the head of the file and its name; in both heads; a torn
        // tail.
        |bytes, at| bytes[at + 20] ^= 1,
        |bytes, at| {
            bytes[0] ^= 1;
            bytes[at + HEAD] ^= 1;
        },
        |bytes, at| {
            bytes[0] ^= 1;
            bytes[at + 20] ^= 1;
        },
        |bytes, at| {
            bytes.truncate(bytes.len() / 2);
            bytes[at + 20] ^= 1;
        },
    ];
    for harm in harms {
        let bytes = with_forged_records(&bytes, harm);
        assert!(!seqs(&bytes).0.contains(&7), "{:?}", seqs(&bytes));
        assert!(survey(&bytes).is_suspect(), "it is moved aside");
    }
}

/// The record as formats 0 and 1 had it.
fn old(record: &Record<'_>) -> Vec<u8> {
    let body = [record.queue, record.subject, record.data].concat();
    let mut bytes = OLD_MAGIC.to_vec();
    bytes.extend([record.kind as u8, record.priority]);
    bytes.extend([record.queue.len() as u8, record.subject.len() as u8]);
    bytes.extend((record.data.len() as u32).to_le_bytes());
    bytes.extend((!crc(!0, &body)).to_le_bytes());
    bytes.extend(record.seq.to_le_bytes());
    bytes.extend(record.time.to_le_bytes());
    bytes.extend(record.delay_ms.to_le_bytes());
    bytes.extend(record.from);
    bytes.extend((!crc(!0, &bytes)).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    bytes
}

#[test]
fn files_of_earlier_formats_are_read() {
    let begin = Record {
        priority: 1,
        seq: 3,
        ..Record::new(RecordKind::Begin)
    };
    let message = Record {
        queue: b"orders",
        data: b"apple",
        seq: 9,
        ..Record::new(RecordKind::Publish)
    };
    let bytes = [old(&begin), old(&message), old(&message)].concat();
    let mut scan = Scan::new(&bytes[..], crc);
    assert!(matches!(scan.find_next(), Ok(Some(Scanned::Record { .. }))));
    assert_eq!(scan.cookie(), Some(Cookie::NONE));
    let Ok(Some(Scanned::Record { record, .. })) = scan.find_next() else {
        panic!("a record");
    };
    assert_eq!(record, message);
    // Also if that it begins is damaged.
    for at in [0, 20] {
        let mut harmed = bytes.clone();
        harmed[at] ^= 1;
        assert_eq!(seqs(&harmed), (vec![9, 9], 1, 0));
    }
    assert_eq!(survey(&bytes).bytes, bytes.len() as u64);
}

#[test]
fn the_cookie_is_that_of_the_file() {
    let bytes = generation(3, FORMAT, true);
    for at in [None, Some(0), Some(20), Some(OLD_HEAD)] {
        let mut harmed = bytes.clone();
        if let Some(at) = at {
            harmed[at] ^= 1;
        }
        let mut scan = Scan::new(&harmed[..], crc);
        while let Ok(Some(_)) = scan.find_next() {}
        assert_eq!(scan.cookie(), Some(COOKIE), "{at:?}");
    }
    assert_eq!(Scan::new(&b""[..], crc).cookie(), None);
}
