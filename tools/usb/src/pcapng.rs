// SPDX-License-Identifier: GPL-2.0
//! Files that Wireshark opens.
//!
//! Each machine is an interface of the file. Losses stand in the packets before which they happened,
//! and in the statistics at the end.

use crate::{packet::Packet, record::Record};
use anyhow::{Context, Result};
use pcap_file::{
    DataLink,
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

/// `LINKTYPE_USB_LINUX_MMAPPED`.
const LINK_TYPE: u32 = 220;

/// Writes a file.
pub struct Writer<W: Write> {
    out: PcapNgWriter<W>,
    interfaces: Vec<Counts>,
}

#[derive(Default)]
struct Counts {
    received: u64,
    lost: u64,
    last: Duration,
}

impl<W: Write> Writer<W> {
    /// Begins a file of what the machines called `names` capture, cut to `snap` bytes of data.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn new(out: W, names: &[String], snap: u32) -> Result<Self> {
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(
                "virgo usb",
            ))],
            ..SectionHeaderBlock::default()
        };
        let mut out = PcapNgWriter::with_section_header(out, section)?;
        for name in names {
            out.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::from(LINK_TYPE),
                snaplen: snap.saturating_add(4096),
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Owned(name.clone())),
                    InterfaceDescriptionOption::IfTsResol(9),
                ],
            })?;
        }
        Ok(Writer {
            out,
            interfaces: names.iter().map(|_| Counts::default()).collect(),
        })
    }

    /// Writes a record of machine number `interface`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&mut self, interface: usize, record: &Record<'_>) -> Result<()> {
        let counts = self.interfaces.get_mut(interface).context("no interface")?;
        let packet = &record.packet;
        counts.received += 1;
        counts.lost += u64::from(record.lost);
        counts.last = counts.last.max(packet.time());
        let mut options = Vec::new();
        if record.lost > 0 {
            options.push(EnhancedPacketOption::DropCount(record.lost.into()));
        }
        self.out.write_pcapng_block(EnhancedPacketBlock {
            interface_id: u32::try_from(interface)?,
            timestamp: packet.time(),
            original_len: packet.original_len(),
            data: Cow::Borrowed(packet.bytes()),
            options,
        })?;
        Ok(())
    }

    /// Ends the file with the statistics.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        for (interface, counts) in self.interfaces.iter().enumerate() {
            // Nanoseconds, as the interface says.
            let time = u64::try_from(counts.last.as_nanos()).unwrap_or(u64::MAX);
            self.out.write_pcapng_block(InterfaceStatisticsBlock {
                interface_id: u32::try_from(interface)?,
                timestamp: time,
                options: vec![
                    InterfaceStatisticsOption::IsbIfRecv(counts.received + counts.lost),
                    InterfaceStatisticsOption::IsbIfDrop(counts.lost),
                ],
            })?;
        }
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
pub fn read(input: impl Read, mut see: impl FnMut(Record<'_>)) -> Result<()> {
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
            see(Record { lost, packet });
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
        let mut writer = Writer::new(Vec::new(), &["node1".to_owned()], 65536).unwrap();
        let records = [
            Record {
                lost: 0,
                packet: bulk('C', 0x82, 5, b"first"),
            },
            Record {
                lost: 7,
                packet: bulk('S', 0x02, 9, b"second one"),
            },
        ];
        for record in &records {
            writer.write(0, record).unwrap();
        }
        let file = writer.finish().unwrap();
        let mut seen = Vec::new();
        read(&file[..], |record| {
            seen.push((record.lost, record.packet.data().to_vec()));
        })
        .unwrap();
        assert_eq!(seen, [(0, b"first".to_vec()), (7, b"second one".to_vec())]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(read(&b"no capture"[..], |_| ()).is_err());
    }
}
