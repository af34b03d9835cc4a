// SPDX-License-Identifier: GPL-2.0

//! Names, options and records of queues, and KingCobra's records.

use virgo_proto::{
    kingcobra,
    queue::{
        options::Options,
        record::{Choice, Cookie, FORMAT, Record, RecordKind, Scan, Scanned, Survey},
        subject,
    },
};

/// Bit by bit, as the polynomial says.
fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    })
}

/// The bytes are all of them in turn.
pub(crate) fn check(bytes: &[u8]) {
    if subject::is_name(bytes) {
        assert!(subject::is_pattern(bytes) && subject::matches(bytes, bytes));
        assert!(subject::matches(b">", bytes));
    }
    if let Ok(options) = Options::DEFAULT.parse(bytes) {
        assert!(options.limits.messages > 0 && options.limits.leased > 0);
    }
    check_file(bytes);
    check_line(bytes);
}

/// Every byte of a file is passed once, and a record that is read is written as it was.
fn check_file(bytes: &[u8]) {
    let mut scan = Scan::new(bytes, crc32c);
    let (mut survey, mut before) = (Survey::default(), 0);
    while let Ok(Some(found)) = scan.find_next() {
        survey.count(&found);
        let passed = survey.bytes - before;
        match found {
            Scanned::Record { record, bytes } => {
                assert_eq!(passed, bytes);
                check_record(&record);
            }
            Scanned::Damaged { bytes, .. } | Scanned::Unknown { bytes, .. } => {
                assert_eq!(passed, bytes);
            }
            Scanned::Torn(torn) => assert_eq!(passed, torn),
        }
        assert_eq!(scan.at(), survey.bytes);
        before = survey.bytes;
    }
    assert_eq!(before, bytes.len() as u64);
    // It is emptied only if another one has all that it has.
    let choice = Choice::of(&[survey, Survey::default()]);
    assert!(choice.is_none_or(|choice| choice.keep[0] == survey.is_suspect()));
}

fn check_record(record: &Record<'_>) {
    // A file begins with it; others stand behind.
    let (begin, cookie) = (Record::new(RecordKind::Begin), Cookie((1 << 63) | 77));
    let begin = Record {
        priority: FORMAT,
        ..begin
    };
    if record.kind == RecordKind::Begin {
        return;
    }
    let mut written = Vec::new();
    let put = |part: &[u8]| {
        written.extend_from_slice(part);
        Ok::<_, ()>(())
    };
    let mut put = put;
    assert_eq!(begin.write(cookie, crc32c, &mut put), Some(Ok(())));
    assert_eq!(record.write(cookie, crc32c, put), Some(Ok(())));
    let mut scan = Scan::new(&written[..], crc32c);
    assert!(matches!(scan.find_next(), Ok(Some(Scanned::Record { .. }))));
    let found = Scanned::Record {
        record: *record,
        bytes: record.size() as u64,
    };
    assert_eq!(scan.find_next(), Ok(Some(found)));
    assert_eq!(scan.find_next(), Ok(None));
}

fn check_line(line: &[u8]) {
    if let Some(record) = kingcobra::RequestRecord::parse(line) {
        let shown = [record.to_string().as_bytes(), record.payload].concat();
        assert_eq!(kingcobra::RequestRecord::parse(&shown), Some(record));
    }
    let (mut escaped, mut back) = (Vec::new(), Vec::new());
    let Ok(()) = kingcobra::escape(line, |part| {
        escaped.extend_from_slice(part);
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(()) = kingcobra::unescape(&escaped, |byte| {
        back.push(byte);
        Ok::<_, std::convert::Infallible>(())
    });
    assert_eq!(back, line);
}
