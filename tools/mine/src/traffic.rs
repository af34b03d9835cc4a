// SPDX-License-Identifier: GPL-2.0
//! Who sends packets that the firewall reports, and to which ports.

use crate::{line::ReportedPacket, rate::Rate};
use std::{fmt::Write as _, net::Ipv4Addr};
use streaming_algorithms::{HyperLogLog, Top};

/// Keys of which the counts are kept beside the sketch.
const KEPT: usize = 128;

/// Keys that are reported.
pub const SHOWN: usize = 10;

/// The error of a count is at most this part of all, with [`PROBABILITY`].
pub const TOLERANCE: f64 = 1e-4;

/// How sure the error of a count is to be below.
pub const PROBABILITY: f64 = 0.99;

/// The standard error of the number of sources.
pub const DISTINCT_ERROR: f64 = 0.01;

/// What is known of the traffic, in bounded memory.
pub struct Traffic {
    packets: u64,
    sources: Top<u32, u64>,
    ports: Top<u16, u64>,
    distinct: HyperLogLog<u32>,
    rate: Rate,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            packets: 0,
            sources: Top::new(KEPT, PROBABILITY, TOLERANCE, ()),
            ports: Top::new(KEPT, PROBABILITY, TOLERANCE, ()),
            distinct: HyperLogLog::new(DISTINCT_ERROR),
            rate: Rate::default(),
        }
    }
}

impl Traffic {
    /// Counts a packet.
    pub fn add(&mut self, packet: &ReportedPacket) {
        let source = u32::from(packet.source);
        self.packets += 1;
        self.sources.push(source, &1);
        self.ports.push(packet.port, &1);
        self.distinct.push(&source);
        if let Some(at_us) = packet.at_us {
            self.rate.add(at_us);
        }
    }

    /// Packets.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// The most frequent sources and how often they came, the first ones first.
    #[must_use]
    pub fn top_sources(&self, n: usize) -> Vec<(Ipv4Addr, u64)> {
        let all = self.sources.iter().take(n);
        all.map(|(&source, &count)| (source.into(), count))
            .collect()
    }

    /// The most frequent ports and how often they were wanted.
    #[must_use]
    pub fn top_ports(&self, n: usize) -> Vec<(u16, u64)> {
        let all = self.ports.iter().take(n);
        all.map(|(&port, &count)| (port, count)).collect()
    }

    /// About how many sources there were.
    #[must_use]
    pub fn distinct_sources(&self) -> f64 {
        self.distinct.len()
    }

    /// Packets in a second.
    #[must_use]
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// Adds what is known as `key=value` pairs. `SRC` is the original's name for the first source.
    pub fn write(&self, pairs: &mut Vec<(String, String)>) {
        let mut put = |key: &str, value: String| pairs.push((key.to_owned(), value));
        let Some((first, _)) = self.top_sources(1).pop() else {
            return;
        };
        put("SRC", first.to_string());
        put("ufw.packets", self.packets.to_string());
        put("ufw.top_sources", list(&self.top_sources(SHOWN)));
        put("ufw.top_ports", list(&self.top_ports(SHOWN)));
        put("ufw.sources", format!("{:.0}", self.distinct_sources()));
        put("ufw.rate", format!("{:.3}", self.rate.mean()));
        put("ufw.burst", self.rate.burst().to_string());
    }
}

fn list<K: ToString>(counts: &[(K, u64)]) -> String {
    let mut text = String::from("{");
    for (i, (key, count)) in counts.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}'{}': {count}", key.to_string());
    }
    text + "}"
}
