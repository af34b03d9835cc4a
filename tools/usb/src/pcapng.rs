// SPDX-License-Identifier: GPL-2.0
//! Files that Wireshark opens.
//!
//! The machine is the interface of the file. Losses stand in the packets before which they happened,
//! and in the statistics at the end.

use crate::{packet::Packet, record::CaptureRecord};
use anyhow::{Context, Result};
use pcap_file::{
    DataLink, Endianness,
    pcapng::{
        Block, PcapNgReader, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};
use std::{
    borrow::Cow,
    io::{Read, Write},
    time::Duration,
};
use virgo_proto::usb::CaptureFilter;

/// `LINKTYPE_USB_LINUX_MMAPPED`.
const LINK_TYPE: u32 = 220;

/// Writes a file.
pub struct Writer<W: Write> {
    out: PcapNgWriter<W>,
    received: u64,
    lost: u64,
    last: Duration,
}

impl<W: Write> Writer<W> {
    /// Begins a file of what the machine called `name` captures as `filter` says.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn new(out: W, name: &str, filter: &CaptureFilter) -> Result<Self> {
        let section = SectionHeaderBlock {
            // Readers take the headers of packets for numbers in the order of the section.
            endianness: Endianness::native(),
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(
                "virgo usb",
            ))],
            ..SectionHeaderBlock::default()
        };
        let mut out = PcapNgWriter::with_section_header(out, section)?;
        out.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::from(LINK_TYPE),
            snaplen: filter.largest_packet(),
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        })?;
        Ok(Writer {
            out,
            received: 0,
            lost: 0,
            last: Duration::ZERO,
        })
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&mut self, record: &CaptureRecord<'_>) -> Result<()> {
        let packet = &record.packet;
        self.received += 1;
        self.lost += u64::from(record.lost);
        self.last = self.last.max(packet.time());
        let mut options = Vec::new();
        if record.lost > 0 {
            options.push(EnhancedPacketOption::DropCount(record.lost.into()));
        }
        self.out.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: packet.time(),
            original_len: packet.original_len(),
            data: Cow::Borrowed(packet.bytes()),
            options,
        })?;
        Ok(())
    }

    /// Hands on what was written: who reads from a pipe wants to see it now.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.out.get_mut().flush()?)
    }

    /// Ends the file with the statistics.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        // Nanoseconds, as the interface says.
        let time = u64::try_from(self.last.as_nanos()).unwrap_or(u64::MAX);
        self.out.write_pcapng_block(InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: time,
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(self.received + self.lost),
                InterfaceStatisticsOption::IsbIfDrop(self.lost),
            ],
        })?;
        let mut out = self.out.into_inner();
        out.flush()?;
        Ok(out)
    }
}

/// Reads a file: shows `see` each record of USB traffic, in the order of the file.
///
/// # Errors
///
/// If it is no capture of USB traffic.
pub fn read(input: impl Read, mut see: impl FnMut(CaptureRecord<'_>)) -> Result<()> {
    let mut reader = PcapNgReader::new(input).context("this is no pcapng file")?;
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(block) = block? else {
            continue;
        };
        let lost = block.options.iter().find_map(|option| match option {
            EnhancedPacketOption::DropCount(lost) => Some(*lost),
            _ => None,
        });
        if let Some(packet) = Packet::new(&block.data) {
            let lost = u32::try_from(lost.unwrap_or(0)).unwrap_or(u32::MAX);
            see(CaptureRecord { lost, packet });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::bulk;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new(Vec::new(), "node1", &CaptureFilter::default()).unwrap();
        let records = [
            CaptureRecord {
                lost: 0,
                packet: bulk('C', 0x82, 5, b"first"),
            },
            CaptureRecord {
                lost: 7,
                packet: bulk('S', 0x02, 9, b"second one"),
            },
        ];
        for record in &records {
            writer.write(record).unwrap();
        }
        let file = writer.finish().unwrap();
        let mut seen = Vec::new();
        read(&file[..], |record| {
            seen.push((record.lost, record.packet.data().to_vec()));
        })
        .unwrap();
        assert_eq!(seen, [(0, b"first".to_vec()), (7, b"second one".to_vec())]);
    }

    /// Packets are as the kernel has made them, so the whole file is in that order.
    #[test]
    fn a_file_has_the_byte_order_of_its_packets() {
        let writer = Writer::new(Vec::new(), "node1", &CaptureFilter::default()).unwrap();
        let file = writer.finish().unwrap();
        assert_eq!(file[8..12], 0x1a2b_3c4d_u32.to_ne_bytes());
    }

    #[test]
    fn other_files_are_refused() {
        assert!(read(&b"no capture"[..], |_| ()).is_err());
    }
}
