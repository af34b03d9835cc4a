// SPDX-License-Identifier: GPL-2.0

//! Captures of USB traffic: what is captured, and how the kernel hands it to a program.
//!
//! A program opens `/dev/umbmon`, writes a [`CaptureFilter`] as text, and reads records. A record is a word of 8 bytes
//! in the byte order of the machine (its low half the size of the whole record, its high half how many
//! records were lost before it), then a packet of `LINKTYPE_USB_LINUX_MMAPPED`, then zeros up to a
//! multiple of 8. A word alone, of size 8, tells of records that were lost behind the last one.

/// Bytes of the word that a record begins with.
pub const RECORD_WORD: usize = 8;

/// Bytes of the header of a packet.
pub const PACKET_HEADER: usize = 64;

/// Bytes of a descriptor of an isochronous packet, between header and data.
pub const ISO_DESCRIPTOR: u32 = 16;

/// Bytes of descriptors that are captured of an URB at most.
pub const MAX_DESCRIPTORS: u32 = 128 * ISO_DESCRIPTOR;

/// The largest packet: programs that read captures refuse files with larger ones.
pub const MAX_PACKET: usize = 262_144;

/// The largest record.
pub const MAX_RECORD: usize = RECORD_WORD + MAX_PACKET;

/// The largest size of a ring.
pub const MAX_RING: usize = 32 << 20;

/// The smallest size of a ring.
pub const MIN_RING: usize = 64 << 10;

/// Bytes of a record for `len` bytes of content.
const fn record_size(len: usize) -> Option<usize> {
    match len.checked_add(RECORD_WORD + 7) {
        Some(size) => Some(size & !7),
        None => None,
    }
}

/// The first word of a record with `len` bytes of content.
pub fn record_word(len: usize, lost: u32) -> u64 {
    let size = record_size(len).and_then(|size| u32::try_from(size).ok());
    u64::from(size.unwrap_or(0)) | (u64::from(lost) << 32)
}

/// Size of the record that begins with `word`; 0 for one that is not there yet.
pub fn word_size(word: u64) -> usize {
    (word & u64::from(u32::MAX)) as usize
}

/// Records that were lost before the one that begins with `word`.
pub fn word_lost(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Which part of a ring is in use. Positions count up for ever; their low bits are the place in the
/// buffer.
#[derive(Debug)]
pub struct Span {
    size: usize,
    head: u64,
    tail: u64,
}

impl Span {
    /// An empty ring of at least `size` bytes, a power of two; `None` if that is too large or too small.
    pub fn new(size: usize) -> Option<Self> {
        if !(MIN_RING..=MAX_RING).contains(&size) {
            return None;
        }
        Some(Span {
            size: size.checked_next_power_of_two()?,
            head: 0,
            tail: 0,
        })
    }

    /// Bytes of the buffer.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Makes room for a record with `len` bytes of content, and returns its position.
    pub fn reserve(&mut self, len: usize) -> Option<u64> {
        let size = record_size(len)?;
        let used = self.head.wrapping_sub(self.tail) as usize;
        if size > self.size.checked_sub(used)? {
            return None;
        }
        let start = self.head;
        self.head = start.wrapping_add(size as u64);
        Some(start)
    }

    /// Position of the oldest record.
    pub fn next(&self) -> Option<u64> {
        (self.tail != self.head).then_some(self.tail)
    }

    /// The oldest record, of `size` bytes, is not needed any more.
    pub fn release(&mut self, size: usize) {
        let used = self.head.wrapping_sub(self.tail);
        self.tail = self.tail.wrapping_add((size as u64).min(used));
    }
}

/// Types of transfers, as bits of [`CaptureFilter::transfers`]: the bit is 1 << the number in packets.
const TRANSFERS: [(&[u8], u8); 4] = [
    (b"isochronous", 1 << 0),
    (b"interrupt", 1 << 1),
    (b"control", 1 << 2),
    (b"bulk", 1 << 3),
];

/// Types of events, as bits of [`CaptureFilter::events`].
const EVENTS: [(&[u8], u8); 3] = [
    (b"submit", 1 << 0),
    (b"complete", 1 << 1),
    (b"error", 1 << 2),
];

/// What is captured: words `KEY=VALUE`, in any order, each at most once.
///
/// | word | meaning | default |
/// |------|---------|---------|
/// | `bus=1` | of this bus | all |
/// | `device=3` | of the device with this address | all |
/// | `endpoint=2` | of this endpoint, without its direction | all |
/// | `dir=in`, `dir=out` | to the host, to the device | both |
/// | `type=bulk,control` | of `isochronous`, `interrupt`, `control`, `bulk` | all |
/// | `event=submit,complete` | of `submit`, `complete`, `error` | all |
/// | `snap=64` | at most so many bytes of data, at most 262144; nor is a packet larger | 262144 |
/// | `ring=4194304` | bytes that are kept until they are read | 4 MiB |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFilter {
    /// Number of the bus.
    pub bus: Option<u16>,
    /// Address on it.
    pub device: Option<u8>,
    /// Number of the endpoint.
    pub endpoint: Option<u8>,
    /// To the host, or to the device.
    pub input: Option<bool>,
    /// Bits: 1 << type of transfer in packets.
    pub transfers: u8,
    /// Bits: submission, completion, error.
    pub events: u8,
    /// Bytes of data that are captured of a packet.
    pub snap: u32,
    /// Bytes of the ring.
    pub ring: usize,
}

impl Default for CaptureFilter {
    fn default() -> Self {
        CaptureFilter {
            bus: None,
            device: None,
            endpoint: None,
            input: None,
            transfers: 0b1111,
            events: 0b111,
            snap: MAX_PACKET as u32,
            ring: 4 << 20,
        }
    }
}

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct EventKey {
    /// Number of the bus.
    pub bus: u16,
    /// Address on it.
    pub device: u8,
    /// Number of the endpoint, with 0x80 for transfers to the host.
    pub endpoint: u8,
    /// 0 isochronous, 1 interrupt, 2 control, 3 bulk.
    pub transfer: u8,
    /// `S`, `C` or `E`.
    pub event: u8,
}

impl CaptureFilter {
    /// Parses the words of a filter; `None` if one is not understood.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut filter = CaptureFilter::default();
        let mut seen = 0u8;
        for word in text.split(u8::is_ascii_whitespace) {
            if word.is_empty() {
                continue;
            }
            let at = word.iter().position(|&b| b == b'=')?;
            let (key, value) = (word.get(..at)?, word.get(at..)?.get(1..)?);
            let bit = match key {
                b"bus" => {
                    filter.bus = Some(number(value)?);
                    1 << 0
                }
                b"device" => {
                    filter.device = Some(number(value).filter(|&n: &u8| n < 128)?);
                    1 << 1
                }
                b"endpoint" => {
                    filter.endpoint = Some(number(value).filter(|&n: &u8| n < 16)?);
                    1 << 2
                }
                b"dir" => {
                    filter.input = Some(match value {
                        b"in" => true,
                        b"out" => false,
                        _ => return None,
                    });
                    1 << 3
                }
                b"type" => {
                    filter.transfers = bits(value, &TRANSFERS)?;
                    1 << 4
                }
                b"event" => {
                    filter.events = bits(value, &EVENTS)?;
                    1 << 5
                }
                b"snap" => {
                    filter.snap = number(value).filter(|&n: &u32| n <= MAX_PACKET as u32)?;
                    1 << 6
                }
                b"ring" => {
                    let size = number::<u32>(value)? as usize;
                    filter.ring = Some(size).filter(|n| (MIN_RING..=MAX_RING).contains(n))?;
                    1 << 7
                }
                _ => return None,
            };
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
        }
        Some(filter)
    }

    /// Whether an event is captured.
    pub fn matches(&self, key: &EventKey) -> bool {
        let event = match key.event {
            b'S' => 1 << 0,
            b'C' => 1 << 1,
            _ => 1 << 2,
        };
        let transfer = 1u8.checked_shl(key.transfer.into()).unwrap_or(0);
        self.transfers & transfer != 0
            && self.events & event != 0
            && self.bus.is_none_or(|bus| bus == key.bus)
            && self.device.is_none_or(|device| device == key.device)
            && self.endpoint.is_none_or(|n| n == key.endpoint & 0x0f)
            && self
                .input
                .is_none_or(|input| input == (key.endpoint & 0x80 != 0))
    }

    /// How much of a packet with `data_len` bytes behind the header is captured, of which `descriptors`
    /// are never cut. Not more than a quarter of the ring: one packet must not fill it.
    pub fn snapped(&self, data_len: u32, descriptors: u32) -> u32 {
        let whole = (self.ring / 4).min(MAX_PACKET - PACKET_HEADER);
        data_len
            .min(self.snap.saturating_add(descriptors))
            .min(u32::try_from(whole).unwrap_or(u32::MAX))
    }

    /// Bytes of the largest packet that is captured.
    pub fn largest_packet(&self) -> u32 {
        self.snapped(u32::MAX, MAX_DESCRIPTORS)
            .saturating_add(PACKET_HEADER as u32)
    }
}

fn number<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    T::try_from(crate::command::parse_u64(text)?).ok()
}

fn bits(text: &[u8], names: &[(&[u8], u8)]) -> Option<u8> {
    let mut bits = 0;
    for word in text.split(|&b| b == b',') {
        bits |= names.iter().find(|(name, _)| *name == word)?.1;
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, vec::Vec};

    #[test]
    fn a_filter_is_parsed() {
        let filter =
            CaptureFilter::parse(b" bus=1 device=3\tendpoint=2 dir=in type=bulk,control snap=64\n");
        let filter = filter.unwrap();
        assert_eq!(
            (filter.bus, filter.device, filter.endpoint),
            (Some(1), Some(3), Some(2))
        );
        assert_eq!(filter.transfers, 0b1100);
        let key = EventKey {
            bus: 1,
            device: 3,
            endpoint: 0x82,
            transfer: 3,
            event: b'C',
        };
        assert!(filter.matches(&key));
        for other in [
            EventKey { bus: 2, ..key },
            EventKey { device: 2, ..key },
            EventKey {
                endpoint: 0x81,
                ..key
            },
            EventKey {
                endpoint: 0x02,
                ..key
            },
            EventKey { transfer: 1, ..key },
            EventKey {
                transfer: 200,
                ..key
            },
        ] {
            assert!(!filter.matches(&other), "{other:?}");
        }
        assert_eq!(filter.snapped(1000, 0), 64);
        assert_eq!(filter.snapped(1000, 160), 224);
        assert_eq!(CaptureFilter::parse(b""), Some(CaptureFilter::default()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "bus",
            "bus=",
            "bus=-1",
            "bus=65536",
            "device=128",
            "endpoint=16",
            "dir=up",
            "type=",
            "type=bulk,",
            "event=x",
            "snap=262145",
            "ring=1",
            "ring=4294967295",
            "bus=1 bus=2",
            "color=red",
        ] {
            assert_eq!(CaptureFilter::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn one_packet_does_not_fill_the_ring() {
        let filter = CaptureFilter::parse(b"snap=262144 ring=65536").unwrap();
        assert_eq!(filter.snapped(u32::MAX, 2048), 16384);
    }

    #[test]
    fn no_packet_is_larger_than_readers_take() {
        for text in ["", "snap=262144 ring=33554432", "snap=262080"] {
            let filter = CaptureFilter::parse(text.as_bytes()).unwrap();
            assert_eq!(filter.largest_packet() as usize, MAX_PACKET, "{text}");
            let len = PACKET_HEADER + filter.snapped(u32::MAX, MAX_DESCRIPTORS) as usize;
            assert!(word_size(record_word(len, 0)) <= MAX_RECORD);
        }
        let filter = CaptureFilter::parse(b"snap=100").unwrap();
        assert_eq!(filter.largest_packet(), 64 + 100 + 2048);
    }

    proptest! {
        #[test]
        fn text_does_no_harm(text: Vec<u8>) {
            let _ = CaptureFilter::parse(&text);
        }

        /// Against a model: a queue of records.
        #[test]
        fn records_lie_behind_each_other(steps: Vec<Option<u16>>, offset: u64) {
            let mut span = Span::new(MIN_RING).unwrap();
            span.head = offset & !7;
            span.tail = span.head;
            let (mut model, mut used) = (VecDeque::new(), 0);
            for step in steps {
                match step {
                    Some(len) => {
                        let size = record_size(len.into()).unwrap();
                        let room = span.reserve(len.into());
                        prop_assert_eq!(room.is_some(), used + size <= MIN_RING);
                        if let Some(at) = room {
                            prop_assert_eq!(at % 8, 0);
                            prop_assert_eq!(word_size(record_word(len.into(), 7)), size);
                            model.push_back((at, size));
                            used += size;
                        }
                    }
                    None => {
                        prop_assert_eq!(span.next(), model.front().map(|&(at, _)| at));
                        if let Some((_, size)) = model.pop_front() {
                            span.release(size);
                            used -= size;
                        }
                    }
                }
            }
        }
    }
}
