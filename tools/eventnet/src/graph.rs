// SPDX-License-Identifier: GPL-2.0
//! Events and what led to what.

use crate::event::{Event, EventId};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    fmt,
};

/// Events, sorted by id, and the edges between them: from an event to the next of its node, and from a
/// cause to its effect.
pub struct Graph {
    events: Vec<Event>,
    /// Indices of those who come right before: the one before on the node, and the cause.
    before: Vec<[Option<u32>; 2]>,
}

/// An order in which no event stands before one of its causes.
pub struct Order<'a> {
    /// The events in this order. Those of a cycle are missing.
    pub events: Vec<&'a Event>,
    /// A cycle, if there is one: each caused the next, and the last the first.
    pub cycle: Vec<EventId>,
}

/// A step of a way from one event to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next event of the same node.
    Next(EventId),
    /// The event was caused by the one before.
    Caused(EventId),
}

/// Something that cannot be, if all clocks and counters work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Two events have one id and are not the same.
    Twice(EventId),
    /// Each of the events caused the next, and the last the first.
    Cycle(Vec<EventId>),
    /// The stamp of the second is not later than that of the first, which led to it.
    Stamp(EventId, EventId),
    /// The vector clock of the second does not know the first, which led to it.
    Clock(EventId, EventId),
    /// The vector clock does not count the event itself.
    Own(EventId),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Twice(id) => write!(f, "{id}: two different events have this id"),
            Fault::Cycle(ids) => {
                write!(f, "a cycle: ")?;
                ids.iter().try_for_each(|id| write!(f, "{id} led to "))?;
                match ids.first() {
                    Some(first) => write!(f, "{first}"),
                    None => Ok(()),
                }
            }
            Fault::Stamp(before, after) => {
                write!(
                    f,
                    "{after}: its stamp is not later than that of {before}, which led to it"
                )
            }
            Fault::Clock(before, after) => {
                write!(
                    f,
                    "{after}: its vector clock does not know {before}, which led to it"
                )
            }
            Fault::Own(id) => write!(f, "{id}: its vector clock does not count it"),
        }
    }
}

impl Graph {
    /// A graph of `events`, in any order, of any nodes. Copies of one event are one.
    pub fn new(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| event.id);
        events.dedup();
        let by_id: HashMap<EventId, u32> = (0..)
            .zip(&events)
            .map(|(at, event)| (event.id, at))
            .collect();
        let before = (0..events.len())
            .map(|at| {
                let event = &events[at];
                let previous = at
                    .checked_sub(1)
                    .filter(|&before| events[before].id.node == event.id.node);
                let cause = event.cause.and_then(|cause| by_id.get(&cause).copied());
                // An index fits: there is not the memory for more events.
                [previous.map(|before| before as u32), cause]
            })
            .collect();
        Graph { events, before }
    }

    /// All events, by node and number.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The event of this id.
    pub fn get(&self, id: EventId) -> Option<&Event> {
        Some(&self.events[self.index(id)?])
    }

    fn index(&self, id: EventId) -> Option<usize> {
        self.events.binary_search_by_key(&id, |event| event.id).ok()
    }

    /// Who comes right before event `at`, each once.
    fn before(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let [previous, cause] = self.before[at];
        let cause = cause.filter(|_| cause != previous);
        previous
            .into_iter()
            .chain(cause)
            .map(|index| index as usize)
    }

    /// Kahn's algorithm (1962); among events that may stand next the one with the earliest stamp does,
    /// so that the order is that of time as far as the clocks agree.
    pub fn order(&self) -> Order<'_> {
        let count = self.events.len();
        let mut missing = vec![0u8; count];
        // Successors, all in one vector: those of event `at` begin at `starts[at]`.
        let mut starts = vec![0u32; count + 1];
        for (at, missing) in missing.iter_mut().enumerate() {
            for before in self.before(at) {
                *missing += 1;
                starts[before + 1] += 1;
            }
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut successors = vec![0u32; starts[count] as usize];
        let mut filled = starts.clone();
        for at in 0..count {
            for before in self.before(at) {
                successors[filled[before] as usize] = at as u32;
                filled[before] += 1;
            }
        }
        let key = |at: usize| Reverse((self.events[at].stamp, at as u32));
        let mut ready: BinaryHeap<_> = (0..count).filter(|&at| missing[at] == 0).map(key).collect();
        let mut events = Vec::with_capacity(count);
        while let Some(Reverse((_, at))) = ready.pop() {
            let at = at as usize;
            events.push(&self.events[at]);
            for &next in &successors[starts[at] as usize..starts[at + 1] as usize] {
                let next = next as usize;
                missing[next] -= 1;
                if missing[next] == 0 {
                    ready.push(key(next));
                }
            }
        }
        let cycle = self.cycle(&missing);
        Order { events, cycle }
    }

    /// A cycle among the events that wait for others for ever.
    fn cycle(&self, missing: &[u8]) -> Vec<EventId> {
        let Some(start) = missing.iter().position(|&missing| missing > 0) else {
            return Vec::new();
        };
        // Each of them has one of them before it: going back must come to a place twice.
        let mut seen = HashMap::new();
        let (mut way, mut at) = (Vec::new(), start);
        loop {
            if let Some(&first) = seen.get(&at) {
                let ids = way[first..].iter().rev();
                return ids.map(|&at: &usize| self.events[at].id).collect();
            }
            seen.insert(at, way.len());
            way.push(at);
            match self.before(at).find(|&before| missing[before] > 0) {
                Some(before) => at = before,
                None => return Vec::new(),
            }
        }
    }

    /// A way from event `from` to event `to`, without `from`, with as few steps as possible that are
    /// not from a cause to its effect; empty if they are the same. `None` if there is none, or if
    /// events on it were lost.
    pub fn path(&self, from: EventId, to: EventId) -> Option<Vec<Step>> {
        let (start, end) = (self.index(from)?, self.index(to)?);
        // Back from the end, past events only that come after the start. Steps that cost nothing go to
        // the front of the queue, so that it is in the order of the costs.
        let mut after = HashMap::from([(end, None)]);
        let mut costs = HashMap::from([(end, 0u32)]);
        let mut done = HashSet::new();
        let mut queue = VecDeque::from([end]);
        while let Some(at) = queue.pop_front() {
            if at == start {
                return Some(self.steps(start, &after));
            }
            if !done.insert(at) {
                continue;
            }
            let [previous, cause] = self.before[at];
            let cause = cause.map(|before| (before as usize, true));
            let previous = previous.map(|before| (before as usize, false));
            for (before, is_cause) in cause.into_iter().chain(previous) {
                let known = self.events[before].knows(from.node) >= from.seq;
                let cost = costs[&at] + u32::from(!is_cause);
                let is_better = costs.get(&before).is_none_or(|other| cost < *other);
                if (known || before == start) && !done.contains(&before) && is_better {
                    costs.insert(before, cost);
                    after.insert(before, Some((at, is_cause)));
                    match is_cause {
                        true => queue.push_front(before),
                        false => queue.push_back(before),
                    }
                }
            }
        }
        None
    }

    fn steps(&self, start: usize, after: &HashMap<usize, Option<(usize, bool)>>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = start;
        while let Some(&Some((next, is_cause))) = after.get(&at) {
            let id = self.events[next].id;
            steps.push(match is_cause {
                true => Step::Caused(id),
                false => Step::Next(id),
            });
            at = next;
        }
        steps
    }

    /// What cannot be.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (at, event) in self.events.iter().enumerate() {
            if at > 0 && self.events[at - 1].id == event.id {
                faults.push(Fault::Twice(event.id));
            }
            if event.knows(event.id.node) != event.id.seq {
                faults.push(Fault::Own(event.id));
            }
            for before in self.before(at) {
                let before = &self.events[before];
                if before.stamp >= event.stamp {
                    faults.push(Fault::Stamp(before.id, event.id));
                }
                if event.knows(before.id.node) < before.id.seq {
                    faults.push(Fault::Clock(before.id, event.id));
                }
            }
        }
        let cycle = self.order().cycle;
        if !cycle.is_empty() {
            faults.push(Fault::Cycle(cycle));
        }
        faults
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Makes events as nodes do.
    #[derive(Default)]
    pub(crate) struct RecordingNodes {
        clocks: [Vec<u64>; 3],
        stamp: u64,
        pub(crate) events: Vec<Event>,
    }

    impl RecordingNodes {
        /// Records an event on `node` that `cause` led to, `micros` after the last.
        pub(crate) fn record(
            &mut self,
            node: u8,
            point: &str,
            cause: Option<usize>,
            begin: Option<usize>,
            micros: u64,
        ) -> usize {
            self.stamp += (micros.max(1) << 32) / 1_000_000;
            let mut clock = self.clocks[usize::from(node) - 1].clone();
            clock.resize(3, 0);
            if let Some(cause) = cause {
                for (own, theirs) in clock.iter_mut().zip(&self.events[cause].clock) {
                    *own = (*own).max(*theirs);
                }
            }
            clock[usize::from(node) - 1] += 1;
            let id = EventId {
                node,
                seq: clock[usize::from(node) - 1],
            };
            self.clocks[usize::from(node) - 1] = clock.clone();
            let peer = match point {
                "call" | "return" | "local" => 0,
                _ => node % 3 + 1,
            };
            self.events.push(Event {
                id,
                cause: cause.map(|cause| self.events[cause].id),
                begin: begin.map(|begin| self.events[begin].id),
                kind: "memory".to_owned(),
                point: point.to_owned(),
                op: 3,
                status: 0,
                bytes: 32,
                peer,
                wall_ns: virgo_proto::clock::Hybrid::from_wire(self.stamp).wall_nanos(),
                stamp: self.stamp,
                mono_ns: 1000 * ((self.stamp * 1_000_000) >> 32),
                about: 0,
                clock,
                text: String::new(),
            });
            self.events.len() - 1
        }
    }

    fn run() -> impl Strategy<Value = Vec<Event>> {
        let step = (1..=3u8, prop::option::of(any::<prop::sample::Index>()));
        prop::collection::vec(step, 1..40).prop_map(|steps| {
            let mut nodes = RecordingNodes::default();
            for (node, cause) in steps {
                let count = nodes.events.len();
                let cause = cause.filter(|_| count > 0).map(|cause| cause.index(count));
                nodes.record(node, "local", cause, None, 10);
            }
            nodes.events
        })
    }

    proptest! {
        #[test]
        fn no_event_stands_before_its_causes(events in run()) {
            let graph = Graph::new(events);
            let order = graph.order();
            prop_assert_eq!(order.events.len(), graph.events().len());
            for (at, event) in order.events.iter().enumerate() {
                for later in &order.events[at + 1..] {
                    prop_assert!(!later.is_before(event));
                }
            }
            prop_assert_eq!(graph.faults(), []);
        }

        #[test]
        fn happening_before_is_a_partial_order(events in run()) {
            for a in &events {
                prop_assert!(!a.is_before(a));
                for b in events.iter().filter(|b| a.is_before(b)) {
                    prop_assert!(!b.is_before(a));
                    for c in events.iter().filter(|c| b.is_before(c)) {
                        prop_assert!(a.is_before(c));
                    }
                }
            }
        }

        #[test]
        fn there_is_a_way_exactly_if_one_was_before_the_other(events in run()) {
            let graph = Graph::new(events);
            for a in graph.events() {
                for b in graph.events() {
                    let path = graph.path(a.id, b.id);
                    prop_assert_eq!(path.is_some(), a.id == b.id || a.is_before(b));
                    // Each step leads on from where the one before has led.
                    let mut at = a.id;
                    for step in path.unwrap_or_default() {
                        let (Step::Next(id) | Step::Caused(id)) = step;
                        let event = graph.get(id).unwrap();
                        match step {
                            Step::Next(id) => prop_assert!(id.node == at.node && id.seq == at.seq + 1),
                            Step::Caused(_) => prop_assert_eq!(event.cause, Some(at)),
                        }
                        at = id;
                    }
                    if a.is_before(b) {
                        prop_assert_eq!(at, b.id);
                    }
                }
            }
        }
    }

    #[test]
    fn cycles_and_impossible_stamps_are_found() {
        let mut nodes = RecordingNodes::default();
        let first = nodes.record(1, "send", None, None, 10);
        let second = nodes.record(2, "receive", Some(first), None, 10);
        let mut events = nodes.events.clone();
        events[first].cause = Some(events[second].id);
        let graph = Graph::new(events);
        let faults = graph.faults();
        let (a, b) = (EventId { node: 1, seq: 1 }, EventId { node: 2, seq: 1 });
        assert!(faults.contains(&Fault::Stamp(b, a)), "{faults:?}");
        assert!(faults.contains(&Fault::Clock(b, a)), "{faults:?}");
        let cycle = faults.iter().find(|fault| matches!(fault, Fault::Cycle(_)));
        let said = cycle.expect("there is a cycle").to_string();
        assert!(
            said == "a cycle: 1:1 led to 2:1 led to 1:1"
                || said == "a cycle: 2:1 led to 1:1 led to 2:1",
            "{said}"
        );

        let mut events = nodes.events.clone();
        events[second].stamp = events[first].stamp;
        events[first].clock = vec![7];
        let faults = Graph::new(events).faults();
        assert_eq!(faults, [Fault::Own(a), Fault::Stamp(a, b)]);

        let mut events = nodes.events.clone();
        events.push(Event {
            op: 9,
            ..events[0].clone()
        });
        assert!(Graph::new(events).faults().contains(&Fault::Twice(a)));
    }

    #[test]
    fn a_way_goes_by_messages_where_it_can() {
        let mut nodes = RecordingNodes::default();
        let call = nodes.record(1, "call", None, None, 10);
        let send = nodes.record(1, "send", Some(call), None, 10);
        let receive = nodes.record(2, "receive", Some(send), None, 10);
        let reply = nodes.record(2, "reply", Some(receive), Some(receive), 10);
        let done = nodes.record(1, "done", Some(reply), Some(send), 10);
        let ids: Vec<_> = nodes.events.iter().map(|event| event.id).collect();
        let path = Graph::new(nodes.events).path(ids[call], ids[done]);
        let by_messages = [send, receive, reply, done].map(|at| Step::Caused(ids[at]));
        assert_eq!(path.as_deref(), Some(&by_messages[..]));
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = EventId {
            node: 64,
            seq: u64::MAX,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1", "1:", ":1", "0:1", "65:1", "1:-1", "1:2:3", "a:b"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }

    /// 10⁶ events are put in order; how long that takes is in the benchmarks, not a test.
    #[test]
    fn a_million_events_are_put_in_order() {
        let mut nodes = RecordingNodes::default();
        let mut events = Vec::with_capacity(1_000_000);
        let mut last = None;
        for at in 0..1_000_000u64 {
            let node = (at % 3 + 1) as u8;
            nodes.events.truncate(1);
            if let Some(event) = last.take() {
                nodes.events.clear();
                nodes.events.push(event);
            }
            let cause = (!nodes.events.is_empty()).then_some(0);
            let index = nodes.record(node, "local", cause, None, 1);
            last = Some(nodes.events[index].clone());
            events.push(nodes.events[index].clone());
        }
        let graph = Graph::new(events);
        let order = graph.order();
        assert_eq!((order.events.len(), order.cycle.len()), (1_000_000, 0));
        assert!(
            order
                .events
                .windows(2)
                .all(|pair| pair[0].stamp < pair[1].stamp)
        );
    }
}
