// SPDX-License-Identifier: GPL-2.0
//! Why a call took its time, or failed: the chain of events that led to its end, over all nodes, with
//! the time between them.
//!
//! On one node the time is exact, by its monotonic clock. Between two nodes it is the difference of
//! their wall clocks; where a request and its reply are both in the chain, their sum is exact: what
//! the round trip took at one end, less what the other end did meanwhile. It is divided evenly then.

use crate::{
    event::{Event, EventId},
    graph::Graph,
};
use std::collections::HashMap;
use thiserror::Error;

/// A hop of the chain: the time from one event to the next.
#[derive(Clone, Debug)]
pub struct Hop<'a> {
    /// The event that led to the other.
    pub from: &'a Event,
    /// The other.
    pub to: &'a Event,
    /// The time between them, in nanoseconds; negative if the wall clocks say so.
    pub nanos: i64,
    /// What `nanos` is.
    pub measure: Measure,
    /// If both are on one node: what else ended there meanwhile, and the longest of it.
    pub meanwhile: Option<Meanwhile<'a>>,
}

/// How a time was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// By the clock of one node.
    Exact,
    /// Half of what is left of a round trip without the work at the other end.
    HalfOfRoundTrip,
    /// By the wall clocks of two nodes, which may differ.
    WallClocks,
}

/// Other work of a node during a hop.
#[derive(Clone, Copy, Debug)]
pub struct Meanwhile<'a> {
    /// Spans that ended in this time.
    pub count: usize,
    /// The end of the longest of them, and its time within the hop.
    pub longest: &'a Event,
    /// See `longest`.
    pub nanos: u64,
}

/// The chain that led to an event.
#[derive(Clone, Debug)]
pub struct Why<'a> {
    /// From the first event to the one that was asked for.
    pub hops: Vec<Hop<'a>>,
    /// The first event.
    pub first: &'a Event,
    /// An event that led to the first, but is not there: it was lost, or not recorded.
    pub missing: Option<EventId>,
    /// The time of the whole chain, in nanoseconds, as far as it can be known.
    pub nanos: i64,
}

/// Why there is no answer.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unknown {
    /// There is no such event.
    #[error("no event {0} was recorded, or it was lost")]
    NoEvent(EventId),
    /// Causes make a cycle.
    #[error("event {0} is among its own causes: the records are faulty")]
    Cycle(EventId),
}

/// The chain that led to `id`. Of a call or request that has ended the chain leads to its end.
///
/// # Errors
///
/// See [`Unknown`].
pub fn why(graph: &Graph, id: EventId) -> Result<Why<'_>, Unknown> {
    let asked = graph.get(id).ok_or(Unknown::NoEvent(id))?;
    let end = graph.events().iter().find(|event| event.begin == Some(id));
    let end = end.unwrap_or(asked);
    let mut chain = vec![end];
    let mut missing = None;
    let mut at = end;
    while let Some(cause) = at.cause {
        match graph.get(cause) {
            None => {
                missing = Some(cause);
                break;
            }
            Some(_) if chain.len() > graph.events().len() => return Err(Unknown::Cycle(id)),
            Some(event) => at = event,
        }
        chain.push(at);
    }
    chain.reverse();
    let halves = half_round_trips(&chain);
    let hops: Vec<_> = chain
        .windows(2)
        .map(|pair| hop(graph, pair[0], pair[1], &halves))
        .collect();
    Ok(Why {
        nanos: hops.iter().map(|hop| hop.nanos).sum(),
        first: chain[0],
        hops,
        missing,
    })
}

/// By the ids of request's and reply's arrival: half of the time that both took on their way.
fn half_round_trips(chain: &[&Event]) -> HashMap<EventId, i64> {
    let mut halves = HashMap::new();
    let there: HashMap<EventId, &Event> = chain.iter().map(|&event| (event.id, event)).collect();
    for done in chain.iter().filter(|event| event.point == "done") {
        let halves_of = || {
            let send = there.get(&done.begin?)?;
            let reply = there.get(&done.cause?)?;
            let receive = there.get(&reply.begin?)?;
            (receive.cause? == send.id).then_some(())?;
            let away = between(send, done) - between(receive, reply);
            Some((receive.id, away / 2))
        };
        if let Some((receive, half)) = halves_of() {
            halves.insert(receive, half);
            halves.insert(done.id, half);
        }
    }
    halves
}

/// The time between two events of one node.
fn between(from: &Event, to: &Event) -> i64 {
    to.mono_ns.wrapping_sub(from.mono_ns) as i64
}

fn hop<'a>(
    graph: &'a Graph,
    from: &'a Event,
    to: &'a Event,
    halves: &HashMap<EventId, i64>,
) -> Hop<'a> {
    let (nanos, measure) = match halves.get(&to.id) {
        _ if from.id.node == to.id.node => (between(from, to), Measure::Exact),
        Some(&half) => (half, Measure::HalfOfRoundTrip),
        None => (
            to.wall_ns.wrapping_sub(from.wall_ns) as i64,
            Measure::WallClocks,
        ),
    };
    Hop {
        from,
        to,
        nanos,
        measure,
        meanwhile: meanwhile(graph, from, to),
    }
}

fn meanwhile<'a>(graph: &'a Graph, from: &Event, to: &Event) -> Option<Meanwhile<'a>> {
    if from.id.node != to.id.node {
        return None;
    }
    let inside = |event: &&Event| from.id.seq < event.id.seq && event.id.seq < to.id.seq;
    let of_node = graph
        .events()
        .iter()
        .filter(|event| event.id.node == to.id.node);
    let ended = of_node.filter(inside).filter_map(|end| {
        let begin = graph.get(end.begin?)?;
        let since = begin.mono_ns.max(from.mono_ns);
        Some((end, end.mono_ns.saturating_sub(since)))
    });
    let ended: Vec<_> = ended.collect();
    let &(longest, nanos) = ended.iter().max_by_key(|(_, nanos)| *nanos)?;
    Some(Meanwhile {
        count: ended.len(),
        longest,
        nanos,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::RecordingNodes;

    fn micros(nanos: i64) -> i64 {
        (nanos + 500) / 1000
    }

    /// A call of node 1 to node 2, which does something else first.
    fn slow_call() -> (RecordingNodes, [usize; 8]) {
        let mut nodes = RecordingNodes::default();
        let other = nodes.record(2, "call", None, None, 1);
        let call = nodes.record(1, "call", None, None, 10);
        let send = nodes.record(1, "send", Some(call), None, 20);
        let receive = nodes.record(2, "receive", Some(send), None, 100);
        let ended = nodes.record(2, "return", Some(other), Some(other), 700);
        let reply = nodes.record(2, "reply", Some(receive), Some(receive), 200);
        let done = nodes.record(1, "done", Some(reply), Some(send), 120);
        let end = nodes.record(1, "return", Some(done), Some(call), 30);
        (nodes, [other, call, send, receive, ended, reply, done, end])
    }

    #[test]
    fn each_hop_has_its_time() {
        let (nodes, [_, call, _, _, ended, _, _, end]) = slow_call();
        let ids: Vec<_> = nodes.events.iter().map(|event| event.id).collect();
        let graph = Graph::new(nodes.events);
        let why = why(&graph, ids[end]).unwrap();
        assert_eq!((why.first.id, why.missing), (ids[call], None));
        let times: Vec<_> = why.hops.iter().map(|hop| micros(hop.nanos)).collect();
        assert_eq!(times, [20, 110, 900, 110, 30]);
        assert_eq!(micros(why.nanos), 1170);
        let measures: Vec<_> = why.hops.iter().map(|hop| hop.measure).collect();
        use Measure::{Exact, HalfOfRoundTrip};
        assert_eq!(
            measures,
            [Exact, HalfOfRoundTrip, Exact, HalfOfRoundTrip, Exact]
        );
        let meanwhile = why.hops[2].meanwhile.unwrap();
        assert_eq!((meanwhile.count, meanwhile.longest.id), (1, ids[ended]));
        assert_eq!(micros(meanwhile.nanos as i64), 700);
    }

    #[test]
    fn the_beginning_stands_for_its_end() {
        let (nodes, [_, call, .., end]) = slow_call();
        let (call, end) = (nodes.events[call].id, nodes.events[end].id);
        let graph = Graph::new(nodes.events);
        let why = why(&graph, call).unwrap();
        assert_eq!(why.hops.last().map(|hop| hop.to.id), Some(end));
    }

    #[test]
    fn what_was_lost_is_told() {
        let (mut nodes, [_, _, send, receive, .., end]) = slow_call();
        let (lost, end) = (nodes.events[send].id, nodes.events[end].id);
        let first = nodes.events[receive].id;
        nodes.events.remove(send);
        let graph = Graph::new(nodes.events);
        let why = super::why(&graph, end).unwrap();
        assert_eq!((why.missing, why.first.id), (Some(lost), first));
        // The round trip cannot be known any more.
        assert_eq!(why.hops[1].measure, Measure::WallClocks);
        assert_eq!(
            super::why(&graph, lost).unwrap_err(),
            Unknown::NoEvent(lost)
        );
    }

    #[test]
    fn a_cycle_is_an_error() {
        let mut nodes = RecordingNodes::default();
        let first = nodes.record(1, "local", None, None, 1);
        let second = nodes.record(2, "local", Some(first), None, 1);
        nodes.events[first].cause = Some(nodes.events[second].id);
        let id = nodes.events[second].id;
        let graph = Graph::new(nodes.events);
        assert_eq!(why(&graph, id).unwrap_err(), Unknown::Cycle(id));
    }
}
