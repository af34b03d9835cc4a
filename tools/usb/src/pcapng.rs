// SPDX-License-Identifier: GPL-2.0
//! Files that Wireshark opens.
//!
//! The machine is the interface of the file. Losses stand in the packets before which they happened,
//! and in the statistics at the end.

use crate::{packet::Packet, record::CaptureRecord};
use anyhow::{Context, Result, ensure};
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

    /// Ends the file with the statistics: `lost` packets were lost behind the last record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self, lost: u32) -> Result<W> {
        let lost = self.lost + u64::from(lost);
        // Nanoseconds, as the interface says.
        let time = u64::try_from(self.last.as_nanos()).unwrap_or(u64::MAX);
        self.out.write_pcapng_block(InterfaceStatisticsBlock {
            interface_id: 0,
            timestamp: high_word_first(time),
            options: vec![
                InterfaceStatisticsOption::IsbIfRecv(self.received + lost),
                InterfaceStatisticsOption::IsbIfDrop(lost),
            ],
        })?;
        let mut out = self.out.into_inner();
        out.flush()?;
        Ok(out)
    }
}

/// The time of a block of statistics as the writer wants it: the format has two words of the machine's order, the
/// high one first, where the writer puts one number.
fn high_word_first(time: u64) -> u64 {
    match cfg!(target_endian = "little") {
        true => time.rotate_left(32),
        false => time,
    }
}

/// Reads a file: shows `see` each record of USB traffic, in the order of the file. Returns how many packets could not
/// be read: those that are cut, or are not in the byte order of this machine.
///
/// # Errors
///
/// If it is no capture of USB traffic.
pub fn read(input: impl Read, mut see: impl FnMut(CaptureRecord<'_>)) -> Result<u64> {
    let mut reader = PcapNgReader::new(input).context("this is no pcapng file")?;
    let mut unreadable = 0;
    while let Some(block) = reader.next_block() {
        let block = match block? {
            Block::EnhancedPacket(block) => block,
            Block::InterfaceDescription(interface) => {
                let link_type = u32::from(interface.linktype);
                ensure!(
                    link_type == LINK_TYPE,
                    "it has packets of link type {link_type}; those of USB that can be read have {LINK_TYPE}"
                );
                continue;
            }
            Block::SimplePacket(_) | Block::Packet(_) => {
                unreadable += 1;
                continue;
            }
            _ => continue,
        };
        let lost = block.options.iter().find_map(|option| match option {
            EnhancedPacketOption::DropCount(lost) => Some(*lost),
            _ => None,
        });
        if let Some(packet) = Packet::new(&block.data) {
            let lost = u32::try_from(lost.unwrap_or(0)).unwrap_or(u32::MAX);
            see(CaptureRecord { lost, packet });
        } else {
            unreadable += 1;
        }
    }
    Ok(unreadable)
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
        let file = writer.finish(3).unwrap();
        let mut seen = Vec::new();
        let unreadable = read(&file[..], |record| {
            seen.push((record.lost, record.packet.data().to_vec()));
        });
        assert_eq!(unreadable.unwrap(), 0);
        assert_eq!(seen, [(0, b"first".to_vec()), (7, b"second one".to_vec())]);
    }

    /// Packets are as the kernel has made them, so the whole file is in that order.
    #[test]
    fn a_file_has_the_byte_order_of_its_packets() {
        let writer = Writer::new(Vec::new(), "node1", &CaptureFilter::default()).unwrap();
        let file = writer.finish(0).unwrap();
        assert_eq!(file[8..12], 0x1a2b_3c4d_u32.to_ne_bytes());
    }

    /// The first block of a kind, as words.
    fn block(file: &[u8], kind: u32) -> Vec<u32> {
        let word = |b: &[u8]| u32::from_ne_bytes(b.try_into().unwrap());
        let mut rest = file;
        loop {
            let (block, behind) = rest.split_at(word(&rest[4..8]) as usize);
            if word(&block[..4]) == kind {
                return block.chunks(4).map(word).collect();
            }
            rest = behind;
        }
    }

    #[test]
    fn statistics_have_the_time_of_the_last_packet_and_all_losses() {
        let mut writer = Writer::new(Vec::new(), "node1", &CaptureFilter::default()).unwrap();
        let packet = bulk('C', 0x82, 5, b"first");
        let time = packet.time().as_nanos() as u64;
        writer.write(&CaptureRecord { lost: 7, packet }).unwrap();
        let statistics = block(&writer.finish(3).unwrap(), 5);
        assert_eq!(
            statistics[3..5],
            [(time >> 32) as u32, time as u32],
            "the high word comes first"
        );
        // isb_ifdrop, in 8 bytes.
        let drop = statistics
            .iter()
            .position(|&w| w == (5 | (8 << 16)))
            .unwrap();
        assert_eq!(statistics[drop + 1], 10);
    }

    #[test]
    fn cut_packets_are_counted() {
        let mut writer = Writer::new(Vec::new(), "node1", &CaptureFilter::default()).unwrap();
        let packet = bulk('C', 0x82, 5, b"first");
        writer.write(&CaptureRecord { lost: 0, packet }).unwrap();
        let mut file = writer.finish(0).unwrap();
        // The packet says that it has more than there is: behind two blocks, and the head of the third.
        let at = file.windows(5).position(|w| w == b"first").unwrap() - 64;
        file[at + 36..at + 40].copy_from_slice(&100u32.to_ne_bytes());
        assert_eq!(read(&file[..], |_| panic!("a packet")).unwrap(), 1);
    }

    #[test]
    fn other_link_types_are_refused() {
        let writer = Writer::new(Vec::new(), "node1", &CaptureFilter::default()).unwrap();
        let mut file = writer.finish(0).unwrap();
        let section = u32::from_ne_bytes(file[4..8].try_into().unwrap()) as usize;
        // USB without padding.
        file[section + 8..section + 10].copy_from_slice(&189u16.to_ne_bytes());
        let error = read(&file[..], |_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("link type 189"), "{error:#}");
    }

    #[test]
    fn other_files_are_refused() {
        assert!(read(&b"no capture"[..], |_| ()).is_err());
    }
}
