// SPDX-License-Identifier: GPL-2.0
//! The stream that `/dev/umbmon` gives.

use crate::packet::Packet;
use anyhow::{Result, ensure};
use virgo_proto::usb::{RECORD_WORD, word_lost, word_size};

/// A packet, and how many were lost before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureRecord<'a> {
    /// Packets that were captured and not read in time.
    pub lost: u32,
    /// The packet.
    pub packet: Packet<'a>,
}

/// What the stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem<'a> {
    /// A record.
    Record(CaptureRecord<'a>),
    /// So many packets were lost behind the last record.
    Lost(u32),
}

/// Takes the first item off `bytes`; `None` if there is no whole one.
///
/// # Errors
///
/// If it is no record.
pub fn take<'a>(bytes: &mut &'a [u8]) -> Result<Option<StreamItem<'a>>> {
    let Some((word, _)) = bytes.split_first_chunk::<RECORD_WORD>() else {
        return Ok(None);
    };
    let word = u64::from_ne_bytes(*word);
    let size = word_size(word);
    ensure!(
        size >= RECORD_WORD && size % 8 == 0,
        "a record says that it has {size} bytes"
    );
    let Some((record, rest)) = bytes.split_at_checked(size) else {
        return Ok(None);
    };
    if size == RECORD_WORD {
        *bytes = rest;
        return Ok(Some(StreamItem::Lost(word_lost(word))));
    }
    let packet = record.get(RECORD_WORD..).and_then(Packet::new);
    let Some(packet) = packet else {
        anyhow::bail!("a record of {size} bytes has a packet that is longer");
    };
    *bytes = rest;
    Ok(Some(StreamItem::Record(CaptureRecord {
        lost: word_lost(word),
        packet,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::bulk;
    use proptest::prelude::*;
    use virgo_proto::usb::record_word;

    #[test]
    fn records_are_taken_one_by_one() {
        let mut stream = Vec::new();
        for (lost, data) in [(0, "one"), (5, "three")] {
            let packet = bulk('C', 0x81, 0, data.as_bytes());
            stream.extend(record_word(packet.bytes().len(), lost).to_ne_bytes());
            stream.extend(packet.bytes());
            stream.resize(stream.len().next_multiple_of(8), 0);
        }
        let record = |rest: &mut &[u8]| match take(rest).unwrap() {
            Some(StreamItem::Record(record)) => (record.lost, record.packet.data().to_vec()),
            other => panic!("{other:?}"),
        };
        let mut rest = &stream[..];
        assert_eq!(record(&mut rest), (0, b"one".to_vec()));
        let mut cut = &rest[..rest.len() - 1];
        assert_eq!(take(&mut cut).unwrap(), None);
        assert_eq!(record(&mut rest), (5, b"three".to_vec()));
        assert!(rest.is_empty());
    }

    #[test]
    fn losses_behind_the_last_record_are_told() {
        let stream = record_word(0, 7).to_ne_bytes();
        let mut rest = &stream[..];
        assert_eq!(take(&mut rest).unwrap(), Some(StreamItem::Lost(7)));
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while let Ok(Some(_)) = take(&mut rest) {}
        }
    }
}
