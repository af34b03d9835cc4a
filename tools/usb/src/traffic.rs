// SPDX-License-Identifier: GPL-2.0
//! What a capture tells of each device and endpoint.

use crate::{
    counters::{EndpointCounters, Endpoints},
    descriptors::{self, DeviceDescriptor, InterfaceDescriptor, STORAGE},
    distinct::Distinct,
    packet::{Packet, Transfer},
    record::CaptureRecord,
    sequences::TopSequences,
    typing::Typing,
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

/// Sequences that are remembered of each length and endpoint.
const SEQUENCES: usize = 256;

/// Lengths of sequences.
const LENGTHS: [usize; 4] = [2, 3, 4, 8];

/// Times that are remembered of an endpoint.
const TIMES: usize = 1 << 16;

/// Devices at most: a capture of many addresses must not take all memory.
const MOST: usize = 4096;

/// Control requests whose answer is awaited.
const PENDING: usize = 256;

/// What was seen on an endpoint.
pub struct EndpointTraffic {
    /// What is counted.
    pub counters: EndpointCounters,
    /// Different bytes.
    pub distinct_bytes: Distinct<u8>,
    /// Different pairs of bytes.
    pub distinct_pairs: Distinct<[u8; 2]>,
    /// Frequent sequences of each length.
    pub sequences: Vec<TopSequences>,
    /// When data has come.
    pub times: Vec<Duration>,
}

impl EndpointTraffic {
    fn new(transfer: Transfer) -> Self {
        EndpointTraffic {
            counters: EndpointCounters::new(transfer),
            distinct_bytes: Distinct::default(),
            distinct_pairs: Distinct::default(),
            sequences: LENGTHS.map(|n| TopSequences::new(n, SEQUENCES)).into(),
            times: Vec::new(),
        }
    }

    fn add(&mut self, packet: &Packet<'_>) {
        self.counters.add(packet);
        let data = packet.data();
        if data.is_empty() {
            return;
        }
        for byte in data {
            self.distinct_bytes.add(byte);
        }
        for pair in data.windows(2) {
            if let &[a, b] = pair {
                self.distinct_pairs.add(&[a, b]);
            }
        }
        for sequences in &mut self.sequences {
            sequences.add(data);
        }
        if self.times.len() < TIMES {
            self.times.push(packet.time());
        }
    }
}

/// What was seen of a device.
#[derive(Default)]
pub struct DeviceTraffic {
    /// What it says that it is.
    pub descriptor: Option<DeviceDescriptor>,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceDescriptor>,
    /// Keystrokes.
    pub typing: Typing,
}

/// Something that a device should not do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// Storage that is a keyboard, too.
    StorageTypes,
    /// A keyboard with endpoints for bulk data.
    KeyboardHasBulk,
    /// It was something else before it was plugged in again.
    Changed,
    /// A program types.
    Injected,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StorageTypes => "is storage and a keyboard",
            Self::KeyboardHasBulk => "is a keyboard with bulk endpoints",
            Self::Changed => "has changed its descriptors since it was plugged in before",
            Self::Injected => "sends keystrokes like a program, not like a person",
        })
    }
}

/// Whether a packet has all of a configuration descriptor that the device would send, of which the host has asked
/// for `asked` bytes. A device that says it has more than it sends has sent all of it.
fn is_whole(packet: &Packet<'_>, asked: u16) -> bool {
    let data = packet.data();
    let total = match *data {
        [_, _, low, high, ..] => u16::from_le_bytes([low, high]),
        _ => return false,
    };
    data.len() > 9 && asked >= total && data.len() == packet.urb_len() as usize
}

/// What a capture tells.
#[derive(Default)]
pub struct CaptureSummary {
    /// Packets.
    pub packets: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Time of the first and the last packet.
    pub span: Option<(Duration, Duration)>,
    /// By endpoint.
    pub endpoints: Endpoints<EndpointTraffic>,
    /// By bus and address.
    pub devices: BTreeMap<(u16, u8), DeviceTraffic>,
    /// Setup packets of transfers under way, by the id of their URB.
    pending: VecDeque<(u64, [u8; 8])>,
    /// What devices with a vendor and product were, and whether that has changed.
    known: BTreeMap<(u16, u16), Vec<InterfaceDescriptor>>,
    changed: Vec<(u16, u8)>,
}

impl CaptureSummary {
    /// Takes a record into account.
    pub fn add(&mut self, record: &CaptureRecord<'_>) {
        let packet = &record.packet;
        self.packets += 1;
        self.lost += u64::from(record.lost);
        let time = packet.time();
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        let id = packet.endpoint();
        if let Some(endpoint) = self.endpoints.of(packet, EndpointTraffic::new) {
            endpoint.add(packet);
        }
        let address = (id.bus, id.device);
        if self.devices.len() >= MOST && !self.devices.contains_key(&address) {
            return;
        }
        match packet.transfer() {
            Transfer::Control => self.control(address, packet),
            Transfer::Interrupt if packet.event() == 'C' && id.endpoint & 0x80 != 0 => {
                let device = self.devices.entry(address).or_default();
                if device
                    .interfaces
                    .iter()
                    .any(|i| i.is_keyboard() && i.endpoints.contains(&(id.endpoint, 3)))
                {
                    device.typing.report(time, packet.data());
                }
            }
            _ => (),
        }
    }

    /// Descriptors are learnt from what the host asks for when a device is plugged in.
    fn control(&mut self, address: (u16, u8), packet: &Packet<'_>) {
        if let Some(setup) = packet.setup() {
            if self.pending.len() >= PENDING {
                self.pending.pop_front();
            }
            self.pending.push_back((packet.id(), setup));
            return;
        }
        let at = self.pending.iter().position(|(id, _)| *id == packet.id());
        let Some((_, setup)) = at.and_then(|at| self.pending.remove(at)) else {
            return;
        };
        // GET_DESCRIPTOR of a device or its first configuration: others are no change of that.
        let [0x80, 6, 0, kind, _, _, low, high] = setup else {
            return;
        };
        let data = packet.data();
        let device = self.devices.entry(address).or_default();
        match kind {
            1 => {
                if let Some(descriptor) = descriptors::device(data) {
                    device.descriptor = Some(descriptor);
                }
            }
            2 if is_whole(packet, u16::from_le_bytes([low, high])) => {
                let interfaces = descriptors::interfaces(data);
                if let Some(descriptor) = device.descriptor {
                    let name = (descriptor.vendor, descriptor.product);
                    let known = self.known.entry(name).or_insert_with(|| interfaces.clone());
                    if *known != interfaces {
                        self.changed.push(address);
                    }
                }
                device.interfaces = interfaces;
            }
            _ => (),
        }
    }

    /// What devices should not do.
    pub fn findings(&self) -> Vec<((u16, u8), Anomaly)> {
        let mut findings = Vec::new();
        for (&address, device) in &self.devices {
            let keyboard = device
                .interfaces
                .iter()
                .any(InterfaceDescriptor::is_keyboard);
            let mut add = |finding| findings.push((address, finding));
            let storage = |i: &InterfaceDescriptor| i.class.0 == STORAGE;
            let bulk = |i: &InterfaceDescriptor| i.endpoints.iter().any(|&(_, kind)| kind == 2);
            if keyboard && device.interfaces.iter().any(storage) {
                add(Anomaly::StorageTypes);
            }
            if keyboard && device.interfaces.iter().any(bulk) {
                add(Anomaly::KeyboardHasBulk);
            }
            if self.changed.contains(&address) {
                add(Anomaly::Changed);
            }
            if device.typing.injected().is_some() {
                add(Anomaly::Injected);
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;

    fn record(packet: Packet<'_>) -> CaptureRecord<'_> {
        CaptureRecord { lost: 0, packet }
    }

    /// The two packets of a control transfer that asks for a descriptor.
    fn asked(traffic: &mut CaptureSummary, kind: u8, answer: &[u8]) {
        asked_for(traffic, kind, 0, 255, answer);
    }

    /// Those for `len` bytes of the descriptor `index`.
    fn asked_for(traffic: &mut CaptureSummary, kind: u8, index: u8, len: u8, answer: &[u8]) {
        let mut setup = packet('S', Transfer::Control, 0x80, 0, &[])
            .bytes()
            .to_vec();
        setup[14] = 0;
        setup[40..48].copy_from_slice(&[0x80, 6, index, kind, 0, 0, len, 0]);
        traffic.add(&record(Packet::new(&setup).unwrap()));
        traffic.add(&record(packet('C', Transfer::Control, 0x80, 1, answer)));
    }

    const STICK: [u8; 18] = [
        18, 1, 0, 2, 0, 0, 0, 64, 0x81, 0x07, 0x67, 0x55, 0, 1, 0, 0, 0, 1,
    ];
    const STORAGE_INTERFACE: [u8; 18] = [9, 2, 0, 0, 1, 1, 0, 0, 0, 9, 4, 0, 0, 2, 8, 6, 80, 0];
    const KEYBOARD_INTERFACE: [u8; 16] = [9, 4, 1, 0, 1, 3, 1, 1, 0, 7, 5, 0x83, 3, 8, 0, 10];

    #[test]
    fn storage_that_becomes_a_keyboard_is_found() {
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        asked(&mut traffic, 2, &STORAGE_INTERFACE);
        assert_eq!(traffic.findings(), []);
        let both = [&STORAGE_INTERFACE[..], &KEYBOARD_INTERFACE].concat();
        asked(&mut traffic, 2, &both);
        let found: Vec<_> = traffic.findings().into_iter().map(|(_, f)| f).collect();
        assert_eq!(found, [Anomaly::StorageTypes, Anomaly::Changed]);
        assert_eq!(traffic.devices[&(1, 3)].descriptor.unwrap().vendor, 0x0781);
    }

    #[test]
    fn a_second_configuration_is_no_change() {
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        asked(&mut traffic, 2, &STORAGE_INTERFACE);
        let both = [&STORAGE_INTERFACE[..], &KEYBOARD_INTERFACE].concat();
        asked_for(&mut traffic, 2, 1, 255, &both);
        assert_eq!(traffic.findings(), []);
    }

    #[test]
    fn half_a_descriptor_is_no_change() {
        let mut both = [&STORAGE_INTERFACE[..], &KEYBOARD_INTERFACE].concat();
        both[2] = both.len() as u8;
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        asked(&mut traffic, 2, &both);
        asked_for(&mut traffic, 2, 0, 18, &both[..18]);
        assert_eq!(traffic.findings(), [((1, 3), Anomaly::StorageTypes)]);
        // But one that lies about its length has sent all it has.
        both[2] = 200;
        let mut traffic = CaptureSummary::default();
        asked_for(&mut traffic, 2, 0, 200, &both);
        assert_eq!(traffic.findings(), [((1, 3), Anomaly::StorageTypes)]);
    }

    #[test]
    fn a_keyboard_that_opens_bulk_endpoints_is_found() {
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        let vendor = [9, 4, 0, 0, 1, 255, 0, 0, 0, 7, 5, 2, 2, 64, 0, 0];
        asked(
            &mut traffic,
            2,
            &[&KEYBOARD_INTERFACE[..], &vendor].concat(),
        );
        assert_eq!(traffic.findings(), [((1, 3), Anomaly::KeyboardHasBulk)]);
    }

    #[test]
    fn injected_keystrokes_are_found() {
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 2, &KEYBOARD_INTERFACE);
        for n in 0..100 {
            let key = if n % 2 == 0 { 4 + (n % 20) as u8 } else { 0 };
            let report = [0, 0, key, 0, 0, 0, 0, 0];
            traffic.add(&record(packet(
                'C',
                Transfer::Interrupt,
                0x83,
                n * 8000,
                &report,
            )));
        }
        assert_eq!(traffic.findings(), [((1, 3), Anomaly::Injected)]);
    }
}
