// SPDX-License-Identifier: GPL-2.0

//! Vector clocks (Fidge 1988, Mattern 1989).

use crate::{config::MAX_NODES, vuid::NodeId};

/// How many events of each node happened before something, that included.
///
/// One clock is less than another if each of its counts is at most the other's and one is less:
/// exactly then its event happened before the other's. Clocks of concurrent events do not compare.
///
/// The counts of a node go on from a larger number after it has restarted: the node begins with a
/// number made of the time (seconds since 1970, times 2²⁰, which grows faster than events are counted).
/// So events of one incarnation of a node are never taken for those of another.
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
    #[inline]
    pub fn tick(&mut self, node: NodeId) -> u64 {
        let Some(own) = index(node).and_then(|at| self.0.get_mut(at)) else {
            return 1;
        };
        *own = own.saturating_add(1);
        *own
    }

    /// Makes this the least clock that is neither less than it was nor than the one with these `counts`,
    /// from node 1 on. That of node `own` stays as it is. Returns the highest node that they have a
    /// count of; 0 if there is none.
    #[inline]
    pub fn merge(&mut self, counts: impl Iterator<Item = u64>, own: NodeId) -> NodeId {
        let mut highest = 0;
        for ((node, known), count) in (1..=NodeId::MAX).zip(&mut self.0).zip(counts) {
            if count == 0 {
                continue;
            }
            highest = node;
            if node != own {
                *known = count.max(*known);
            }
        }
        highest
    }

    /// The counts of the first `nodes` nodes, for the wire: little-endian, 8 bytes each.
    #[inline]
    pub fn to_wire(&self, nodes: usize) -> impl Iterator<Item = [u8; 8]> + '_ {
        self.0.iter().take(nodes).map(|count| count.to_le_bytes())
    }
}

#[inline]
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
        joined.merge(b.0.into_iter(), 0);
        joined
    }

    /// Whether none of the counts of `a` is larger than that of `b`.
    fn is_at_most(a: &Vector, b: &Vector) -> bool {
        a.0.iter().zip(&b.0).all(|(a, b)| a <= b)
    }

    fn happens_before(a: &Vector, b: &Vector) -> bool {
        a != b && is_at_most(a, b)
    }

    proptest! {
        #[test]
        fn merging_is_a_join(a in clock(), b in clock(), c in clock()) {
            let ab = joined(&a, &b);
            prop_assert_eq!(ab, joined(&b, &a));
            prop_assert_eq!(joined(&ab, &c), joined(&a, &joined(&b, &c)));
            prop_assert_eq!(joined(&a, &a), a);
            // An upper bound, and the least one.
            prop_assert!(is_at_most(&a, &ab) && is_at_most(&b, &ab));
            if is_at_most(&a, &c) && is_at_most(&b, &c) {
                prop_assert!(is_at_most(&ab, &c));
            }
        }

        #[test]
        fn others_do_not_count_the_own_events(mut a in clock(), b in clock(), own in 1..=4u8) {
            let before = a;
            a.merge(b.0.into_iter(), own);
            prop_assert_eq!(a.count(own), before.count(own));
            prop_assert!(is_at_most(&a, &joined(&before, &b)));
        }

        #[test]
        fn clocks_know_their_nodes(counts in prop::collection::vec(any::<u64>(), 0..=MAX_NODES)) {
            let mut clock = Vector::ZERO;
            let nodes = usize::from(clock.merge(counts.iter().copied(), 0));
            prop_assert!(counts.iter().skip(nodes).all(|&count| count == 0));
            prop_assert!(nodes == 0 || counts[nodes - 1] > 0);
            let bytes: Vec<u8> = clock.to_wire(counts.len()).flatten().collect();
            let back = bytes.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
            prop_assert_eq!(back.collect::<Vec<_>>(), counts);
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
                    clock = joined(&clock, &events[cause].1);
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
                    prop_assert_eq!(happens_before(&events[a].1, &events[b].1), before[a][b]);
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
