// SPDX-License-Identifier: GPL-2.0
//! Counting exactly, in as much memory as it takes: what the sketches are compared with.

use crate::line::ReportedPacket;
use std::{collections::HashMap, hash::Hash, net::Ipv4Addr};

/// Counts everything.
#[derive(Default)]
pub struct Exact {
    sources: HashMap<Ipv4Addr, u64>,
    ports: HashMap<u16, u64>,
}

impl Exact {
    /// Counts a packet.
    pub fn add(&mut self, packet: &ReportedPacket) {
        *self.sources.entry(packet.source).or_default() += 1;
        *self.ports.entry(packet.port).or_default() += 1;
    }

    /// The most frequent sources, the first ones first.
    #[must_use]
    pub fn top_sources(&self, n: usize) -> Vec<(Ipv4Addr, u64)> {
        top(&self.sources, n)
    }

    /// The most frequent ports.
    #[must_use]
    pub fn top_ports(&self, n: usize) -> Vec<(u16, u64)> {
        top(&self.ports, n)
    }

    /// How often a source came.
    #[must_use]
    pub fn source(&self, source: Ipv4Addr) -> u64 {
        self.sources.get(&source).copied().unwrap_or(0)
    }

    /// How many sources there were.
    #[must_use]
    pub fn distinct_sources(&self) -> usize {
        self.sources.len()
    }
}

fn top<K: Copy + Eq + Hash + Ord>(counts: &HashMap<K, u64>, n: usize) -> Vec<(K, u64)> {
    let mut all: Vec<_> = counts.iter().map(|(&key, &count)| (key, count)).collect();
    all.sort_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
    all.truncate(n);
    all
}
