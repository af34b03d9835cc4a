// SPDX-License-Identifier: GPL-2.0

//! Vector clocks (Fidge 1988, Mattern 1989).

use crate::{config::MAX_NODES, vuid::NodeId};
use core::cmp::Ordering;

/// How many events of each node happened before something, that included.
///
/// One clock is less than another if each of its counts is at most the other's and one is less:
/// exactly then its event happened before the other's. Clocks of concurrent events do not compare.
///
/// The counts of a node go on from a larger number after it has restarted: the node begins with a
/// number made of the time (a [`Hybrid`](super::Hybrid) stamp, which grows faster than events are
/// counted). So events of one incarnation of a node are never taken for those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector([u64; MAX_NODES]);

impl Vector {
    /// Before anything has happened.
    pub const ZERO: Vector = Vector([0; MAX_NODES]);

    /// Bytes of a count on the wire.
    const COUNT: usize = 8;

    /// Most bytes of a clock on the wire.
    pub const MAX_BYTES: usize = Self::COUNT.wrapping_mul(MAX_NODES);

    /// The count of `node`; 0 of what is no node.
    pub fn count(&self, node: NodeId) -> u64 {
        index(node)
            .and_then(|at| self.0.get(at))
            .copied()
            .unwrap_or(0)
    }

    /// Sets the count of `node`, unless it is larger.
    pub fn raise(&mut self, node: NodeId, count: u64) {
        if let Some(own) = index(node).and_then(|at| self.0.get_mut(at)) {
            *own = count.max(*own);
        }
    }

    /// Counts an event of `node`. Returns its number.
    pub fn tick(&mut self, node: NodeId) -> u64 {
        let next = self.count(node).saturating_add(1);
        self.raise(node, next);
        next
    }

    /// Makes this the least clock that is neither less than it was nor than `other`.
    pub fn join(&mut self, other: &Vector) {
        for (own, theirs) in self.0.iter_mut().zip(&other.0) {
            *own = (*own).max(*theirs);
        }
    }

    /// Whether what has this clock happened before what has `other`.
    pub fn happens_before(&self, other: &Vector) -> bool {
        self.partial_cmp(other) == Some(Ordering::Less)
    }

    /// The counts of the first `nodes` nodes, for the wire: little-endian, 8 bytes each.
    pub fn to_wire(&self, nodes: usize) -> impl Iterator<Item = [u8; 8]> + '_ {
        self.0.iter().take(nodes).map(|count| count.to_le_bytes())
    }

    /// Reads what [`Self::to_wire`] has written; the other counts are 0. `None` if these are not the
    /// bytes of a clock.
    pub fn from_wire(bytes: &[u8]) -> Option<Vector> {
        let counts = bytes.chunks_exact(Self::COUNT);
        if bytes.len() > Self::MAX_BYTES || !counts.remainder().is_empty() {
            return None;
        }
        let mut clock = Vector::ZERO;
        for (own, count) in clock.0.iter_mut().zip(counts) {
            *own = u64::from_le_bytes(count.try_into().ok()?);
        }
        Some(clock)
    }
}

impl PartialOrd for Vector {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let mut result = Ordering::Equal;
        for (own, theirs) in self.0.iter().zip(&other.0) {
            match (own.cmp(theirs), result) {
                (Ordering::Equal, _) => (),
                (order, Ordering::Equal) => result = order,
                (order, before) if order == before => (),
                _ => return None,
            }
        }
        Some(result)
    }
}

fn index(node: NodeId) -> Option<usize> {
    usize::from(node).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    fn clock() -> impl Strategy<Value = Vector> {
        // Few nodes and small counts, so that many clocks compare.
        prop::collection::vec(0..3u64, 4).prop_map(|counts| {
            let mut clock = Vector::ZERO;
            for (node, count) in (1..).zip(counts) {
                clock.raise(node, count);
            }
            clock
        })
    }

    fn joined(a: &Vector, b: &Vector) -> Vector {
        let mut joined = *a;
        joined.join(b);
        joined
    }

    proptest! {
        #[test]
        fn happening_before_is_a_partial_order(a in clock(), b in clock(), c in clock()) {
            prop_assert!(!a.happens_before(&a));
            prop_assert!(!(a.happens_before(&b) && b.happens_before(&a)));
            if a.happens_before(&b) && b.happens_before(&c) {
                prop_assert!(a.happens_before(&c));
            }
            prop_assert_eq!(a.partial_cmp(&b), b.partial_cmp(&a).map(Ordering::reverse));
            prop_assert_eq!(a == b, a.partial_cmp(&b) == Some(Ordering::Equal));
        }

        #[test]
        fn merging_is_a_join(a in clock(), b in clock(), c in clock()) {
            let ab = joined(&a, &b);
            prop_assert_eq!(ab, joined(&b, &a));
            prop_assert_eq!(joined(&ab, &c), joined(&a, &joined(&b, &c)));
            prop_assert_eq!(joined(&a, &a), a);
            // An upper bound, and the least one.
            prop_assert!(a <= ab && b <= ab);
            if a <= c && b <= c {
                prop_assert!(ab <= c);
            }
        }

        #[test]
        fn clocks_survive_the_wire(counts in prop::collection::vec(any::<u64>(), 0..=MAX_NODES)) {
            let mut clock = Vector::ZERO;
            for (node, &count) in (1..).zip(&counts) {
                clock.raise(node, count);
            }
            let bytes: Vec<u8> = clock.to_wire(counts.len()).flatten().collect();
            prop_assert_eq!(Vector::from_wire(&bytes), Some(clock));
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let good = bytes.len() % 8 == 0 && bytes.len() <= Vector::MAX_BYTES;
            prop_assert_eq!(Vector::from_wire(&bytes).is_some(), good);
        }

        /// Processes send messages to each other; a clock is less than another exactly if there is a
        /// way from one event to the other, along processes and messages.
        #[test]
        fn clocks_know_what_happened_before(
            steps in prop::collection::vec((1..=3u8, prop::option::of(any::<prop::sample::Index>())), 1..30)
        ) {
            let mut events: Vec<(u8, Vector, Vec<usize>)> = vec![];
            for (node, cause) in steps {
                let own = events.iter().rposition(|event| event.0 == node);
                let sent = cause.filter(|_| !events.is_empty()).map(|c| c.index(events.len()));
                let mut clock = Vector::ZERO;
                let causes: Vec<usize> = own.into_iter().chain(sent).collect();
                for &cause in &causes {
                    clock.join(&events[cause].1);
                }
                clock.tick(node);
                events.push((node, clock, causes));
            }
            // The transitive closure, by brute force.
            let mut before = vec![vec![false; events.len()]; events.len()];
            for (at, event) in events.iter().enumerate() {
                for &cause in &event.2 {
                    for (other, row) in before.iter_mut().enumerate().take(at) {
                        if other == cause || row[cause] {
                            row[at] = true;
                        }
                    }
                }
            }
            for a in 0..events.len() {
                for b in 0..events.len() {
                    prop_assert_eq!(events[a].1.happens_before(&events[b].1), before[a][b]);
                }
            }
        }
    }

    #[test]
    fn what_is_no_node_has_no_events() {
        let mut clock = Vector::ZERO;
        clock.raise(0, 5);
        clock.raise(255, 5);
        assert_eq!(clock, Vector::ZERO);
        assert_eq!((clock.count(0), clock.count(255)), (0, 0));
    }
}
