// SPDX-License-Identifier: GPL-2.0
//! Spans: pairs of a beginning and its end on one node.

use crate::{event::Event, event::EventId, graph::Graph};
use std::collections::HashMap;

/// Something that took time on one node: a call, a request to another node, a request of another node.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The first event.
    pub begin: &'a Event,
    /// The last.
    pub end: &'a Event,
    /// The span in which this one was begun, if that is known: by its first event.
    pub parent: Option<EventId>,
}

impl Span<'_> {
    /// How long it took, by the node's monotonic clock.
    pub fn nanos(&self) -> u64 {
        self.end.mono_ns.saturating_sub(self.begin.mono_ns)
    }
}

/// All spans whose beginning and end are known, by the time of their beginning.
pub fn spans(graph: &Graph) -> Vec<Span<'_>> {
    let ends: HashMap<EventId, &Event> = graph
        .events()
        .iter()
        .filter_map(|event| Some((event.begin?, event)))
        .collect();
    let mut spans: Vec<_> = graph
        .events()
        .iter()
        .filter_map(|begin| {
            Some(Span {
                begin,
                end: ends.get(&begin.id)?,
                parent: parent(graph, &ends, begin),
            })
        })
        .collect();
    spans.sort_by_key(|span| (span.begin.stamp, span.begin.id));
    spans
}

/// The nearest cause that has an end, and had not ended before.
fn parent(graph: &Graph, ends: &HashMap<EventId, &Event>, begin: &Event) -> Option<EventId> {
    let mut cause = begin.cause;
    // A chain of causes is no longer than there are events, unless they make a cycle.
    for _ in 0..graph.events().len() {
        let event = graph.get(cause?)?;
        if let Some(end) = ends.get(&event.id) {
            if !end.is_before(begin) {
                return Some(event.id);
            }
        }
        cause = event.cause;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::RecordingNodes;

    #[test]
    fn a_request_lies_in_its_call_and_its_work_in_the_request() {
        let mut nodes = RecordingNodes::default();
        let call = nodes.record(1, "call", None, None, 10);
        let send = nodes.record(1, "send", Some(call), None, 10);
        let receive = nodes.record(2, "receive", Some(send), None, 100);
        let reply = nodes.record(2, "reply", Some(receive), Some(receive), 50);
        let done = nodes.record(1, "done", Some(reply), Some(send), 100);
        nodes.record(1, "return", Some(done), Some(call), 10);
        // Without an end: no span.
        nodes.record(3, "call", None, None, 10);
        let ids: Vec<_> = nodes.events.iter().map(|event| event.id).collect();
        let graph = Graph::new(nodes.events);
        let spans = spans(&graph);
        let found: Vec<_> = spans
            .iter()
            .map(|span| (span.begin.id, span.parent))
            .collect();
        assert_eq!(
            found,
            [
                (ids[call], None),
                (ids[send], Some(ids[call])),
                (ids[receive], Some(ids[send]))
            ]
        );
        let micros: Vec<_> = spans
            .iter()
            .map(|span| (span.nanos() + 500) / 1000)
            .collect();
        assert_eq!(micros, [270, 250, 50]);
    }
}
