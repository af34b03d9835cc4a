// SPDX-License-Identifier: GPL-2.0
//! What a capture tells of each device and endpoint.

use crate::{
    counters::{EndpointCounters, Endpoints},
    descriptors::{self, DeviceDescriptor, InterfaceDescriptor, STORAGE},
    distinct::Distinct,
    packet::{Packet, Transfer},
    record::CaptureRecord,
    sequences::TopSequences,
    typing::{self, Typing},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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

/// Configurations of a device that are looked at: the kernel looks at no more.
const CONFIGURATIONS: u8 = 8;

/// A configuration of a device.
#[derive(Clone, Debug, Default)]
struct Configuration {
    /// Bytes that it has, as it said when the host asked for its head.
    said: Option<u16>,
    /// The number by which the host chooses it.
    value: u8,
    interfaces: Vec<InterfaceDescriptor>,
}

/// What an interface for people that does not say that it is a keyboard sends.
#[derive(Clone, Debug, Default)]
struct Reports {
    typing: Typing,
    /// Reports, and those among them that no keyboard would send.
    count: u64,
    odd: u64,
}

/// What was seen of a device.
#[derive(Default)]
pub struct DeviceTraffic {
    /// What it says that it is.
    pub descriptor: Option<DeviceDescriptor>,
    /// By the index with which the host asks for them.
    configurations: BTreeMap<u8, Configuration>,
    /// The configuration that the host has chosen.
    chosen: Option<u8>,
    /// Keystrokes on interfaces that say that they are keyboards.
    pub typing: Typing,
    /// Of others.
    other: Reports,
}

impl DeviceTraffic {
    /// Its interfaces, in the configuration that the host has chosen; in the first one if that is not known.
    pub fn interfaces(&self) -> &[InterfaceDescriptor] {
        let mut all = self.configurations.values();
        let chosen = all.clone().find(|c| Some(c.value) == self.chosen);
        let found = chosen.or_else(|| all.next());
        found.map_or(&[], |c| &c.interfaces)
    }

    /// A report has come from an interrupt endpoint.
    fn report(&mut self, time: Duration, endpoint: u8, data: &[u8]) {
        let sends = |i: &&InterfaceDescriptor| i.reports_on(endpoint);
        if self
            .interfaces()
            .iter()
            .filter(sends)
            .any(InterfaceDescriptor::is_keyboard)
        {
            self.typing.report(time, data);
        } else if data.len() == 8
            && self
                .interfaces()
                .iter()
                .filter(sends)
                .any(InterfaceDescriptor::is_human)
        {
            self.other.count += 1;
            match typing::is_boot_report(data) {
                true => self.other.typing.report(time, data),
                false => self.other.odd += 1,
            }
        }
    }

    /// Whether a program types on it.
    fn is_injected(&self) -> bool {
        // A mouse, too, sends something now and then that could be a keyboard's.
        let like_keyboard = self.other.odd.saturating_mul(10) <= self.other.count;
        self.typing.injected().is_some() || like_keyboard && self.other.typing.injected().is_some()
    }
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

/// What a capture has found of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFinding {
    /// Its bus, and its address there.
    pub address: (u16, u8),
    /// Vendor and product, if the capture has its descriptor.
    pub id: Option<(u16, u16)>,
    /// What it should not do.
    pub anomaly: Anomaly,
}

impl fmt::Display for DeviceFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bus, device) = self.address;
        write!(f, "device {bus}.{device}")?;
        if let Some((vendor, product)) = self.id {
            write!(f, " ({vendor:04x}:{product:04x})")?;
        }
        write!(f, " {}", self.anomaly)
    }
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

/// Bytes of the head of a configuration descriptor.
const HEAD: usize = 9;

/// Whether a packet has all of a configuration descriptor that the device would send, of which the host has asked
/// for `asked` bytes. A device that says it has more than it sends has sent all of it; so has one that says another
/// number now than when it was asked for the head, and the host has asked for as many as it `said` then.
fn is_whole(packet: &Packet<'_>, asked: u16, said: Option<u16>) -> bool {
    let data = packet.data();
    let Some(total) = total(data) else {
        return false;
    };
    let has_all = asked >= total || said.is_some_and(|said| asked >= said);
    data.len() > HEAD && has_all && data.len() == packet.urb_len() as usize
}

/// How many bytes a configuration says that it has.
fn total(configuration: &[u8]) -> Option<u16> {
    match *configuration {
        [_, _, low, high, ..] => Some(u16::from_le_bytes([low, high])),
        _ => None,
    }
}

/// What a capture tells.
#[derive(Default)]
pub struct CaptureSummary {
    /// Packets.
    pub packets: u64,
    /// Packets that were lost.
    pub lost: u64,
    /// Packets of the file that could not be read.
    pub unreadable: u64,
    /// Time of the first and the last packet.
    pub span: Option<(Duration, Duration)>,
    /// By endpoint.
    pub endpoints: Endpoints<EndpointTraffic>,
    /// By bus and address.
    pub devices: BTreeMap<(u16, u8), DeviceTraffic>,
    /// Setup packets of transfers under way, by the id of their URB.
    pending: VecDeque<(u64, [u8; 8])>,
    /// What the configurations of devices with a vendor and product were, and whether that has changed.
    known: BTreeMap<(u16, u16, u8), Vec<InterfaceDescriptor>>,
    changed: BTreeSet<(u16, u8)>,
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
                device.report(time, id.endpoint, packet.data());
            }
            _ => (),
        }
    }

    /// Descriptors are learnt from what the host asks for when a device is plugged in, and the configuration from
    /// what it chooses.
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
        let device = self.devices.entry(address).or_default();
        match setup {
            // SET_CONFIGURATION
            [0, 9, value, ..] if packet.event() == 'C' && packet.status() == 0 => {
                device.chosen = Some(value).filter(|&value| value != 0);
            }
            // GET_DESCRIPTOR of the device, or of a configuration.
            [0x80, 6, 0, 1, ..] => {
                if let Some(descriptor) = descriptors::device(packet.data()) {
                    device.descriptor = Some(descriptor);
                }
            }
            [0x80, 6, index, 2, _, _, low, high] if index < CONFIGURATIONS => {
                let asked = u16::from_le_bytes([low, high]);
                self.configuration(address, index, asked, packet);
            }
            _ => (),
        }
    }

    /// A device has answered when it was asked for `asked` bytes of its configuration `index`.
    fn configuration(&mut self, address: (u16, u8), index: u8, asked: u16, packet: &Packet<'_>) {
        let data = packet.data();
        let device = self.devices.entry(address).or_default();
        let configuration = device.configurations.entry(index).or_default();
        if data.len() <= HEAD {
            configuration.said = total(data).or(configuration.said);
            return;
        }
        let is_whole = is_whole(packet, asked, configuration.said);
        // A part is better than nothing, but does not say what the device was or has become.
        if !is_whole && !configuration.interfaces.is_empty() {
            return;
        }
        configuration.value = data.get(5).copied().unwrap_or(0);
        configuration.interfaces = descriptors::interfaces(data);
        let Some(descriptor) = device.descriptor.filter(|_| is_whole) else {
            return;
        };
        let name = (descriptor.vendor, descriptor.product, index);
        let interfaces = &configuration.interfaces;
        let known = self.known.entry(name).or_insert_with(|| interfaces.clone());
        if *known != *interfaces {
            self.changed.insert(address);
        }
    }

    /// What devices should not do.
    pub fn findings(&self) -> Vec<DeviceFinding> {
        let mut findings = Vec::new();
        for (&address, device) in &self.devices {
            let interfaces = device.interfaces();
            let keyboard = interfaces.iter().any(InterfaceDescriptor::is_keyboard);
            let mut add = |anomaly| {
                findings.push(DeviceFinding {
                    address,
                    id: device.descriptor.map(|d| (d.vendor, d.product)),
                    anomaly,
                });
            };
            let storage = |i: &InterfaceDescriptor| i.class.0 == STORAGE;
            let bulk = |i: &InterfaceDescriptor| i.endpoints.iter().any(|&(_, kind)| kind == 2);
            if keyboard && interfaces.iter().any(storage) {
                add(Anomaly::StorageTypes);
            }
            if keyboard && interfaces.iter().any(bulk) {
                add(Anomaly::KeyboardHasBulk);
            }
            if self.changed.contains(&address) {
                add(Anomaly::Changed);
            }
            if device.is_injected() {
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

    /// What was found of the only device.
    fn found(traffic: &CaptureSummary) -> Vec<Anomaly> {
        let findings = traffic.findings().into_iter();
        findings
            .map(|finding| {
                assert_eq!(finding.address, (1, 3));
                finding.anomaly
            })
            .collect()
    }

    /// The host chooses a configuration.
    fn chosen(traffic: &mut CaptureSummary, value: u8) {
        let mut setup = packet('S', Transfer::Control, 0, 0, &[]).bytes().to_vec();
        setup[14] = 0;
        setup[40..48].copy_from_slice(&[0, 9, value, 0, 0, 0, 0, 0]);
        traffic.add(&record(Packet::new(&setup).unwrap()));
        traffic.add(&record(packet('C', Transfer::Control, 0, 1, &[])));
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
        assert_eq!(found(&traffic), [Anomaly::StorageTypes, Anomaly::Changed]);
        assert_eq!(
            traffic.findings()[0].to_string(),
            "device 1.3 (0781:5567) is storage and a keyboard"
        );
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

    /// The kernel takes one by its number.
    #[test]
    fn the_chosen_configuration_counts() {
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        asked(&mut traffic, 2, &STORAGE_INTERFACE);
        let mut both = [&STORAGE_INTERFACE[..], &KEYBOARD_INTERFACE].concat();
        both[5] = 2;
        asked_for(&mut traffic, 2, 1, 255, &both);
        chosen(&mut traffic, 2);
        assert_eq!(found(&traffic), [Anomaly::StorageTypes]);
        type_fast(&mut traffic, 0x83, |key| [0, 0, key, 0, 0, 0, 0, 0]);
        assert_eq!(found(&traffic), [Anomaly::StorageTypes, Anomaly::Injected]);
        chosen(&mut traffic, 1);
        assert_eq!(found(&traffic), [Anomaly::Injected]);
    }

    /// The device says one length when it is asked for the head, and one that nobody asks for in the whole.
    #[test]
    fn a_lie_about_the_length_hides_nothing() {
        let mut both = [&STORAGE_INTERFACE[..], &KEYBOARD_INTERFACE].concat();
        let len = both.len() as u8;
        both[2..4].copy_from_slice(&[0xff, 0xff]);
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        // Also without the head, which may be older than the capture.
        asked_for(&mut traffic, 2, 0, len, &both);
        assert_eq!(found(&traffic), [Anomaly::StorageTypes]);
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        asked(&mut traffic, 2, &STORAGE_INTERFACE);
        asked_for(&mut traffic, 2, 0, 9, &[9, 2, len, 0, 1, 1, 0, 0, 0]);
        asked_for(&mut traffic, 2, 0, len, &both);
        assert_eq!(found(&traffic), [Anomaly::StorageTypes, Anomaly::Changed]);
    }

    #[test]
    fn half_a_descriptor_is_no_change() {
        let mut both = [&STORAGE_INTERFACE[..], &KEYBOARD_INTERFACE].concat();
        both[2] = both.len() as u8;
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 1, &STICK);
        asked(&mut traffic, 2, &both);
        asked_for(&mut traffic, 2, 0, 18, &both[..18]);
        assert_eq!(found(&traffic), [Anomaly::StorageTypes]);
        // But one that lies about its length has sent all it has.
        both[2] = 200;
        let mut traffic = CaptureSummary::default();
        asked_for(&mut traffic, 2, 0, 200, &both);
        assert_eq!(found(&traffic), [Anomaly::StorageTypes]);
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
        assert_eq!(found(&traffic), [Anomaly::KeyboardHasBulk]);
    }

    /// A key is pressed or all are let go every 8 ms.
    fn type_fast(traffic: &mut CaptureSummary, endpoint: u8, report: impl Fn(u8) -> [u8; 8]) {
        for n in 0..100 {
            let key = if n % 2 == 0 { 4 + (n % 20) as u8 } else { 0 };
            traffic.add(&record(packet(
                'C',
                Transfer::Interrupt,
                endpoint,
                n * 8000,
                &report(key),
            )));
        }
    }

    #[test]
    fn injected_keystrokes_are_found() {
        let mut traffic = CaptureSummary::default();
        asked(&mut traffic, 2, &KEYBOARD_INTERFACE);
        type_fast(&mut traffic, 0x83, |key| [0, 0, key, 0, 0, 0, 0, 0]);
        assert_eq!(found(&traffic), [Anomaly::Injected]);
    }

    /// An interface for people need not say that it is a keyboard.
    #[test]
    fn keystrokes_of_what_says_that_it_is_no_keyboard_are_found() {
        // No protocol, or that of a mouse.
        for protocol in [0, 2] {
            let mut interface = KEYBOARD_INTERFACE;
            interface[7] = protocol;
            let mut traffic = CaptureSummary::default();
            asked(&mut traffic, 2, &interface);
            type_fast(&mut traffic, 0x83, |key| [0, 0, key, 0, 0, 0, 0, 0]);
            assert_eq!(found(&traffic), [Anomaly::Injected]);
            // A mouse that is moved says other things, too.
            let mut traffic = CaptureSummary::default();
            asked(&mut traffic, 2, &interface);
            type_fast(&mut traffic, 0x83, |key| [1, key, key, 0xff, key, 0, 0, 0]);
            assert_eq!(found(&traffic), []);
        }
    }
}
