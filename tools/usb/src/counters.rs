// SPDX-License-Identifier: GPL-2.0
//! What is counted of each endpoint, cheaply enough to do while a capture goes on.

use crate::packet::{EndpointId, Packet, Transfer};
use std::collections::BTreeMap;

/// Endpoints at most: a capture of many addresses must not take all memory.
const MOST: usize = 4096;

/// Status of an URB that its driver has cancelled, or whose device was unplugged: -ENOENT, -ECONNRESET,
/// -ESHUTDOWN.
const CANCELLED: [i32; 3] = [-2, -104, -108];

/// Counters of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointCounters {
    /// Type of its transfers.
    pub transfer: Transfer,
    /// Packets: submissions, completions and errors.
    pub packets: u64,
    /// Transfers that have failed, but not those that were cancelled.
    pub failed: u64,
    /// Bytes of data that were captured.
    pub bytes: u64,
    /// How often each byte was seen.
    pub histogram: [u64; 256],
}

impl EndpointCounters {
    pub(crate) fn new(transfer: Transfer) -> Self {
        EndpointCounters {
            transfer,
            packets: 0,
            failed: 0,
            bytes: 0,
            histogram: [0; 256],
        }
    }

    pub(crate) fn add(&mut self, packet: &Packet<'_>) {
        self.packets += 1;
        let failed = match packet.event() {
            'E' => true,
            'C' => packet.status() < 0 && !CANCELLED.contains(&packet.status()),
            _ => false,
        };
        self.failed += u64::from(failed);
        self.bytes += packet.data().len() as u64;
        for byte in packet.data() {
            if let Some(count) = self.histogram.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
    }

    /// Bits of information in a byte, 0 to 8, as if bytes were independent.
    pub fn entropy(&self) -> f64 {
        let total = self.bytes as f64;
        let bits = |&count: &u64| {
            let p = count as f64 / total;
            -p * p.log2()
        };
        self.histogram.iter().filter(|&&c| c > 0).map(bits).sum()
    }
}

/// What is kept of each endpoint, for a limited number of them.
pub struct Endpoints<T>(BTreeMap<EndpointId, T>);

impl<T> Default for Endpoints<T> {
    fn default() -> Self {
        Endpoints(BTreeMap::new())
    }
}

impl<T> Endpoints<T> {
    /// What is kept of the endpoint of `packet`, made by `new` with the first packet; `None` if there are too many.
    pub(crate) fn of(
        &mut self,
        packet: &Packet<'_>,
        new: impl FnOnce(Transfer) -> T,
    ) -> Option<&mut T> {
        let id = packet.endpoint();
        if self.0.len() >= MOST && !self.0.contains_key(&id) {
            return None;
        }
        Some(self.0.entry(id).or_insert_with(|| new(packet.transfer())))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, &T)> {
        self.0.iter().map(|(&id, kept)| (id, kept))
    }

    /// As [`Self::iter`], to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (EndpointId, &mut T)> {
        self.0.iter_mut().map(|(&id, kept)| (id, kept))
    }
}

impl Endpoints<EndpointCounters> {
    /// Counts a packet.
    pub fn count(&mut self, packet: &Packet<'_>) {
        if let Some(counters) = self.of(packet, EndpointCounters::new) {
            counters.add(packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::bulk;

    #[test]
    fn entropy_is_that_of_the_bytes() {
        let mut endpoints = Endpoints::default();
        let all: Vec<u8> = (0..=255).collect();
        endpoints.count(&bulk('C', 0x82, 0, &all));
        endpoints.count(&bulk('C', 0x81, 0, b"aaaaaaab"));
        let entropy: Vec<f64> = endpoints.iter().map(|(_, e)| e.entropy()).collect();
        assert!((entropy[0] - 0.5436).abs() < 0.001);
        assert!((entropy[1] - 8.0).abs() < 0.001);
    }

    #[test]
    fn what_was_cancelled_has_not_failed() {
        let completed = |status: i32| {
            let mut bytes = bulk('C', 0x82, 0, &[]).bytes().to_vec();
            bytes[28..32].copy_from_slice(&status.to_ne_bytes());
            Packet::new(&bytes).unwrap().into_owned()
        };
        let mut endpoints = Endpoints::default();
        // A stall and a babble have; an URB that its driver has taken back has not.
        for status in [0, -2, -104, -108, -32, -75] {
            endpoints.count(&completed(status));
        }
        endpoints.count(&bulk('E', 0x82, 0, &[]));
        let (_, counters) = endpoints.iter().next().unwrap();
        assert_eq!((counters.packets, counters.failed), (7, 3));
    }

    #[test]
    fn many_addresses_do_not_take_all_memory() {
        let mut endpoints = Endpoints::default();
        for device in 0..2 * MOST {
            let mut bytes = bulk('S', 0x02, 0, b"x").bytes().to_vec();
            bytes[12..14].copy_from_slice(&(device as u16).to_ne_bytes());
            endpoints.count(&Packet::new(&bytes).unwrap());
        }
        assert_eq!(endpoints.iter().count(), MOST);
    }
}
