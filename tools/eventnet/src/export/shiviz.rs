// SPDX-License-Identifier: GPL-2.0
//! ShiViz's log format (bestchai.bitbucket.io/shiviz): an event in two lines, its description and
//! `HOST {"HOST":COUNT, …}`, as its default expression `(?<event>.*)\n(?<host>\S*) (?<clock>{.*})`
//! reads them. A host's own count has to grow by one from event to event, from 1 on.

use crate::{event::Event, graph::Graph};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// All events, in an order in which none stands before one of its causes.
pub fn shiviz(graph: &Graph) -> String {
    let mut out = String::new();
    let mut numbers: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for event in graph.events() {
        numbers.entry(event.id.node).or_default().push(event.id.seq);
    }
    for event in graph.order().events {
        let label = event.label().replace(|c: char| c.is_control(), "\u{fffd}");
        let clock = Value::Object(clock(event, &numbers));
        out += &format!("{label} [{}]\nnode{} {clock}\n", event.id, event.id.node);
    }
    out
}

/// The vector clock in numbers of the events that are there: how many of each node's are known.
fn clock(event: &Event, numbers: &BTreeMap<u8, Vec<u64>>) -> Map<String, Value> {
    let known = |(node, numbers): (&u8, &Vec<u64>)| {
        let known = event.knows(*node);
        let count = numbers.partition_point(|&number| number <= known);
        (count > 0).then(|| (format!("node{node}"), count.into()))
    };
    numbers.iter().filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::RecordingNodes;

    /// Reads the format as ShiViz does, and checks what it asks for.
    fn read(log: &str) -> Vec<(String, String, BTreeMap<String, u64>)> {
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len() % 2, 0);
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        lines
            .chunks(2)
            .map(|pair| {
                let (host, clock) = pair[1].split_once(' ').expect("a host and a clock");
                let clock: BTreeMap<String, u64> = serde_json::from_str(clock).expect("JSON");
                let own = clock[host];
                assert_eq!(own, last.insert(host.to_owned(), own).unwrap_or(0) + 1);
                (pair[0].to_owned(), host.to_owned(), clock)
            })
            .collect()
    }

    #[test]
    fn counts_begin_at_one_and_have_no_gaps() {
        let mut nodes = RecordingNodes::default();
        let mut last = None;
        for at in 0..10 {
            last = Some(nodes.record(at % 3 + 1, "local", last, None, 1));
        }
        // Numbers of a node that has run for long, some of its events lost.
        nodes.events.remove(4);
        for event in &mut nodes.events {
            event.id.seq += 1 << 40;
            event.clock.iter_mut().for_each(|count| *count += 1 << 40);
        }
        let read = read(&shiviz(&Graph::new(nodes.events)));
        assert_eq!(read.len(), 9);
        let (label, host, clock) = &read[8];
        assert!(label.starts_with("memory local [1:"), "{label}");
        assert_eq!(host, "node1");
        let expected = [("node1", 4), ("node2", 2), ("node3", 3)];
        let expected = expected.map(|(node, count)| (node.to_owned(), count));
        assert_eq!(clock, &BTreeMap::from(expected));
    }
}
