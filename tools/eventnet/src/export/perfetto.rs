// SPDX-License-Identifier: GPL-2.0
//! The Trace Event Format of Chrome, which Perfetto reads: JSON, times in microseconds.

use crate::{event::Event, graph::Graph, span::spans};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

/// All spans as complete events, everything else as instants, messages as flows. A node is a process;
/// spans that overlap lie in threads of their own.
pub fn perfetto(graph: &Graph) -> Value {
    let mut out = Vec::new();
    let nodes: BTreeSet<u8> = graph.events().iter().map(|event| event.id.node).collect();
    for node in &nodes {
        out.push(json!({
            "name": "process_name", "ph": "M", "pid": node, "tid": 0,
            "args": { "name": format!("node{node}") },
        }));
    }
    let spans = spans(graph);
    let mut lanes: BTreeMap<u8, Lanes> = BTreeMap::new();
    let mut lane_of = HashMap::new();
    for span in &spans {
        let begin = span.begin;
        let until = begin.wall_ns + span.nanos();
        let lane = lanes
            .entry(begin.id.node)
            .or_default()
            .take(begin.wall_ns, until);
        lane_of.insert(begin.id, lane);
        lane_of.insert(span.end.id, lane);
        out.push(json!({
            "name": name(begin), "cat": begin.kind, "ph": "X",
            "ts": micros(begin.wall_ns), "dur": micros(span.nanos()),
            "pid": begin.id.node, "tid": lane,
            "args": args(span.end),
        }));
    }
    for event in graph.events() {
        if !lane_of.contains_key(&event.id) {
            out.push(json!({
                "name": name(event), "cat": event.kind, "ph": "i", "s": "p",
                "ts": micros(event.wall_ns), "pid": event.id.node, "tid": 0,
                "args": args(event),
            }));
        }
    }
    for (number, event) in (1..).zip(graph.events()) {
        let Some(cause) = event.cause.and_then(|cause| graph.get(cause)) else {
            continue;
        };
        if cause.id.node == event.id.node {
            continue;
        }
        for (ph, end) in [("s", cause), ("f", event)] {
            let mut flow = json!({
                "name": "message", "cat": event.kind, "ph": ph, "id": number,
                "ts": micros(end.wall_ns), "pid": end.id.node,
                "tid": lane_of.get(&end.id).copied().unwrap_or(0),
            });
            if ph == "f" {
                // To the span that encloses it, not to the next.
                flow["bp"] = "e".into();
            }
            out.push(flow);
        }
    }
    json!({ "traceEvents": out, "displayTimeUnit": "ns" })
}

/// Threads of a node: those that are free, and when the others will be.
#[derive(Default)]
struct Lanes {
    free: BinaryHeap<Reverse<u32>>,
    busy: BinaryHeap<Reverse<(u64, u32)>>,
    last: u32,
}

impl Lanes {
    /// A thread that is free from `from` on, until `until`. Calls come by growing `from`.
    fn take(&mut self, from: u64, until: u64) -> u32 {
        while let Some(&Reverse((end, lane))) = self.busy.peek() {
            if end > from {
                break;
            }
            self.busy.pop();
            self.free.push(Reverse(lane));
        }
        let lane = match self.free.pop() {
            Some(Reverse(lane)) => lane,
            None => {
                self.last += 1;
                self.last
            }
        };
        self.busy.push(Reverse((until, lane)));
        lane
    }
}

fn name(event: &Event) -> String {
    match event.peer {
        0 => format!("{} {}", event.kind, event.point),
        peer => format!("{} {} node{peer}", event.kind, event.point),
    }
}

fn args(event: &Event) -> Value {
    let mut args = json!({
        "event": event.id.to_string(), "op": event.op, "bytes": event.bytes,
        "about": format!("{:016x}", event.about), "clock": event.clock,
    });
    if event.status != 0 {
        args["error"] = virgo_proto::errno::Errno::from_wire(event.status)
            .name()
            .into();
    }
    if !event.text.is_empty() {
        args["text"] = event.text.as_str().into();
    }
    args
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}
