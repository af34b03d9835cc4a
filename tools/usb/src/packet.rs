// SPDX-License-Identifier: GPL-2.0
//! Packets of `LINKTYPE_USB_LINUX_MMAPPED`.

use std::{borrow::Cow, fmt, time::Duration};
use virgo_proto::usb::PACKET_HEADER;

/// A packet: a header, descriptors of isochronous packets, and data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: Cow<'a, [u8]>,
}

/// Types of transfers, by their numbers in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transfer {
    /// Isochronous.
    Isochronous,
    /// Interrupt.
    Interrupt,
    /// Control.
    Control,
    /// Bulk.
    Bulk,
}

/// Which endpoint a packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    /// Number of the bus.
    pub bus: u16,
    /// Address on it.
    pub device: u8,
    /// Number of the endpoint, with 0x80 for transfers to the host.
    pub endpoint: u8,
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.endpoint & 0x80 == 0 {
            "out"
        } else {
            "in"
        };
        let endpoint = self.endpoint & 0x0f;
        write!(f, "{}.{}.{endpoint} {direction}", self.bus, self.device)
    }
}

impl<'a> Packet<'a> {
    /// A packet that is at least a header; what is behind the data is left out.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..PACKET_HEADER)?;
        let data_len = u32::from_ne_bytes(header.get(36..40)?.try_into().ok()?);
        let end = PACKET_HEADER.checked_add(usize::try_from(data_len).ok()?)?;
        let bytes = Cow::Borrowed(bytes.get(..end)?);
        Some(Packet { bytes })
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let field = self.bytes.get(at..at + N).and_then(|b| b.try_into().ok());
        field.unwrap_or([0; N])
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same for the submission and the completion of an URB.
    pub fn id(&self) -> u64 {
        u64::from_ne_bytes(self.field(0))
    }

    /// `S`, `C` or `E`.
    pub fn event(&self) -> char {
        let [event] = self.field(8);
        char::from(event)
    }

    /// Type of the transfer.
    pub fn transfer(&self) -> Transfer {
        match self.field(9) {
            [0] => Transfer::Isochronous,
            [1] => Transfer::Interrupt,
            [2] => Transfer::Control,
            _ => Transfer::Bulk,
        }
    }

    /// Which endpoint it is about.
    pub fn endpoint(&self) -> EndpointId {
        let ([endpoint], [device]) = (self.field(10), self.field(11));
        EndpointId {
            bus: u16::from_ne_bytes(self.field(12)),
            device,
            endpoint,
        }
    }

    /// Time since 1970, by the clock of the machine that has captured it.
    pub fn time(&self) -> Duration {
        let seconds = i64::from_ne_bytes(self.field(16));
        let micros = i32::from_ne_bytes(self.field(24));
        Duration::from_secs(seconds.try_into().unwrap_or(0))
            + Duration::from_micros(micros.try_into().unwrap_or(0))
    }

    /// Status of the URB: 0 or a negative errno.
    pub fn status(&self) -> i32 {
        i32::from_ne_bytes(self.field(28))
    }

    /// Bytes asked for, or transferred.
    pub fn urb_len(&self) -> u32 {
        u32::from_ne_bytes(self.field(32))
    }

    /// The setup packet of a control transfer.
    pub fn setup(&self) -> Option<[u8; 8]> {
        let valid = self.transfer() == Transfer::Control && self.field(14) == [0];
        valid.then(|| self.field(40))
    }

    fn descriptors(&self) -> usize {
        u32::from_ne_bytes(self.field(60)) as usize * 16
    }

    /// What was transferred, as far as it was captured.
    pub fn data(&self) -> &[u8] {
        self.bytes
            .get(PACKET_HEADER + self.descriptors()..)
            .unwrap_or(&[])
    }

    /// Bytes up to the end of the last isochronous packet that has brought something: there are gaps between them.
    fn isochronous_end(&self) -> usize {
        let descriptors = self.bytes.get(PACKET_HEADER..).unwrap_or(&[]);
        let descriptors = descriptors.chunks_exact(16).take(self.descriptors() / 16);
        let word = |descriptor: &[u8], at: usize| {
            let word = descriptor.get(at..at + 4).and_then(|b| b.try_into().ok());
            u32::from_ne_bytes(word.unwrap_or([0; 4]))
        };
        let ends = descriptors.filter_map(|d| {
            let (offset, len) = (word(d, 4), word(d, 8));
            (len > 0).then_some(offset.saturating_add(len) as usize)
        });
        ends.max().unwrap_or(0)
    }

    /// Bytes that the packet would have had uncut.
    pub fn original_len(&self) -> u32 {
        let captured = self.bytes.len();
        let data = self.data().len();
        // Packets without data say with `flag_data` why.
        let whole = match (self.field(15), self.transfer(), self.event()) {
            ([0], Transfer::Isochronous, 'C') => self.isochronous_end(),
            ([0], ..) => self.urb_len() as usize,
            _ => data,
        };
        u32::try_from(captured - data + whole.max(data)).unwrap_or(u32::MAX)
    }

    /// A packet of its own.
    pub fn into_owned(self) -> Packet<'static> {
        Packet {
            bytes: Cow::Owned(self.bytes.into_owned()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A bulk packet.
    pub(crate) fn bulk(event: char, endpoint: u8, micros: u32, data: &[u8]) -> Packet<'static> {
        packet(event, Transfer::Bulk, endpoint, micros, data)
    }

    /// A packet of device 3 on bus 1.
    pub(crate) fn packet(
        event: char,
        transfer: Transfer,
        endpoint: u8,
        micros: u32,
        data: &[u8],
    ) -> Packet<'static> {
        let mut bytes = vec![0; PACKET_HEADER];
        bytes[8] = event as u8;
        bytes[9] = transfer as u8;
        bytes[10] = endpoint;
        bytes[11] = 3;
        bytes[12] = 1;
        bytes[14] = b'-';
        bytes[15] = if data.is_empty() { b'<' } else { 0 };
        let seconds = 1_700_000_000 + i64::from(micros / 1_000_000);
        bytes[16..24].copy_from_slice(&seconds.to_ne_bytes());
        bytes[24..28].copy_from_slice(&(micros % 1_000_000).to_ne_bytes());
        let len = u32::try_from(data.len()).unwrap();
        bytes[32..36].copy_from_slice(&len.to_ne_bytes());
        bytes[36..40].copy_from_slice(&len.to_ne_bytes());
        bytes.extend_from_slice(data);
        Packet::new(&bytes).unwrap().into_owned()
    }

    #[test]
    fn fields_are_found() {
        let packet = bulk('C', 0x82, 2_000_005, b"hello");
        assert_eq!(packet.event(), 'C');
        assert_eq!(packet.transfer(), Transfer::Bulk);
        assert_eq!(packet.endpoint().to_string(), "1.3.2 in");
        assert_eq!(packet.time(), Duration::from_micros(1_700_000_002_000_005));
        assert_eq!(packet.data(), b"hello");
        assert_eq!(packet.original_len(), 69);
        assert_eq!(packet.setup(), None);
    }

    #[test]
    fn a_cut_packet_knows_its_length() {
        let mut bytes = bulk('C', 0x82, 0, b"hello").bytes().to_vec();
        bytes[32..36].copy_from_slice(&1000u32.to_ne_bytes());
        assert_eq!(Packet::new(&bytes).unwrap().original_len(), 1064);
        assert!(Packet::new(&bytes[..66]).is_none());
        assert!(Packet::new(&bytes[..20]).is_none());
    }

    /// Of three packets, the second of which is empty, in a buffer of 600 bytes.
    #[test]
    fn a_cut_isochronous_packet_knows_its_length() {
        let mut content = Vec::new();
        for (offset, len) in [(0u32, 100u32), (200, 0), (400, 50)] {
            for word in [0, offset, len, 0] {
                content.extend(word.to_ne_bytes());
            }
        }
        // What is behind is cut.
        content.extend([1; 10]);
        for (event, endpoint, whole) in [('C', 0x81, 450), ('S', 0x01, 600)] {
            let packet = packet(event, Transfer::Isochronous, endpoint, 0, &content);
            let mut bytes = packet.bytes().to_vec();
            bytes[32..36].copy_from_slice(&600u32.to_ne_bytes());
            bytes[60..64].copy_from_slice(&3u32.to_ne_bytes());
            let packet = Packet::new(&bytes).unwrap();
            assert_eq!(packet.data(), [1; 10]);
            assert_eq!(packet.original_len(), 64 + 48 + whole, "{event}");
        }
    }
}
