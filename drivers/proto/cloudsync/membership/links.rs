// SPDX-License-Identifier: GPL-2.0

//! Whom a view should have, if not all nodes hear each other.
//!
//! Two nodes are at odds if one of them does not hear the other. No view has both: locks that one of them
//! masters the other could not use. Each node says whom it hears with each answer, so all that share a neighbour
//! come to the same choice, and who is not chosen proposes nothing:
//!
//! 1. A member of the view stays, whoever is at odds with it that is none. So who is left out stays out until
//!    its links to all members work, and takes nobody's locks.
//! 2. Of members that are at odds the one goes that is at odds with most of them; of equals that of the
//!    larger number.
//! 3. If those do not suffice for a view, all nodes are looked at as in 2, members or not.
//! 4. If those do not suffice either, of all nodes the one stays that is at odds with fewest, of equals that of
//!    the smaller number, and those that it is at odds with go; and so on.
//! 5. Who answers and promises nothing is left alone for a while, each time for longer, unless it proposes itself
//!    or there is no view without it.
//!
//! While the links stay as they are views come to an end. The members of a view are not at odds, so
//! that they stay by 1, and each further view has more of them.

use super::{Links, Membership};
use crate::vuid::{bit, NodeId, NodeSetIter};

#[cfg(test)]
mod tests;

/// So often it becomes twice as long: half a minute with the defaults.
const MAX_DOUBLED: u32 = 5;

/// So many times [`Timing::dead_ms`](super::Timing::dead_ms) a node that asks nobody any more says whom it did
/// not hear. Two such nodes ask each other nothing, so neither would learn that the other is there again.
const DEAF_FOR: u64 = 10;

/// Who is at odds with whom: for each node, by number from 1, the others as bits.
struct Odds<const N: usize>([u64; N]);

impl<const N: usize> Odds<N> {
    fn of(&self, node: NodeId) -> u64 {
        let index = usize::from(node).wrapping_sub(1);
        self.0.get(index).copied().unwrap_or_default()
    }

    fn add(&mut self, a: NodeId, b: NodeId) {
        for (node, other) in [(a, b), (b, a)] {
            if let Some(row) = self.0.get_mut(usize::from(node).wrapping_sub(1)) {
                *row |= bit(other);
            }
        }
    }

    /// Those of `nodes` that are left when who is at odds with most of them has gone, one after the other.
    fn settle(&self, nodes: u64) -> u64 {
        let mut left = nodes;
        for _ in 0..N {
            let counts = NodeSetIter(left).map(|node| ((self.of(node) & left).count_ones(), node));
            match counts.max() {
                Some((1.., worst)) => left &= !bit(worst),
                _ => break,
            }
        }
        left
    }

    /// Those of `nodes` that are left when who is at odds with fewest of them stays, without those, one after
    /// the other. These may be more than [`Self::settle`] leaves, or fewer.
    fn gather(&self, nodes: u64) -> u64 {
        let (mut stay, mut left) = (0, nodes);
        for _ in 0..N {
            let counts = NodeSetIter(left).map(|node| ((self.of(node) & left).count_ones(), node));
            let Some((_, best)) = counts.min() else {
                break;
            };
            stay |= bit(best);
            left &= !(self.of(best) | bit(best));
        }
        stay
    }

    /// Those of `nodes` that a view should have, if it needs `quorum` and `members` are in one now.
    fn choose(&self, nodes: u64, members: u64, quorum: u32) -> u64 {
        let stay = self.settle(nodes & members);
        let joins = |node: &NodeId| self.of(*node) & stay == 0;
        let join = NodeSetIter(nodes & !members)
            .filter(joins)
            .fold(0, |join, node| join | bit(node));
        let chosen = stay | self.settle(join);
        let suffices = |nodes: &u64| nodes.count_ones() >= quorum;
        let either = [chosen, self.settle(nodes)].into_iter().find(suffices);
        either.unwrap_or_else(|| self.gather(nodes))
    }
}

impl<const N: usize> Membership<N> {
    /// Whether a node did not answer when this one asked last, not long ago.
    fn misses(&self, node: NodeId, now: u64) -> bool {
        now < self.peer(node).deaf_until || self.is_active && self.is_dead(node, now)
    }

    /// Whether a node has answered not long ago.
    fn is_answered_by(&self, node: NodeId, now: u64) -> bool {
        self.is_active && self.peer(node).is_alive && !self.is_dead(node, now)
    }

    /// Nobody is waited for who has not had the time to answer.
    pub(super) fn knows_links(&self, now: u64) -> bool {
        let mut others = self.others();
        others.all(|node| self.is_answered_by(node, now) || self.misses(node, now))
    }

    /// Whom this node hears.
    pub(super) fn links(&self, now: u64) -> Links {
        let dead_ms = u64::from(self.timing.dead_ms);
        let asks = |node: NodeId| {
            let asked = self.peer(node).asked;
            asked != 0 && now.saturating_sub(asked) < dead_ms
        };
        let mut links = Links::NONE;
        for node in self.others() {
            if self.is_answered_by(node, now) || asks(node) {
                links.hears |= bit(node);
            }
            if self.misses(node, now) {
                links.misses |= bit(node);
            }
        }
        links
    }

    /// Notes before this node stops listening who does not answer.
    pub(super) fn note_misses(&mut self, now: u64) {
        let wait = u64::from(self.timing.dead_ms).saturating_mul(DEAF_FOR);
        for node in self.others() {
            let is_dead = self.is_dead(node, now);
            if let Some(peer) = self.peer_mut(node).filter(|_| is_dead) {
                peer.deaf_until = now.saturating_add(wait);
            }
        }
    }

    /// The nodes that the next view should have, as far as this node knows.
    pub(super) fn chosen(&self, now: u64) -> u64 {
        let is_left =
            |node: NodeId| self.view.member(node).boot == 0 && now < self.peer(node).left_until;
        let left = self.others().filter(|node| is_left(*node));
        let left = left.fold(0, |left, node| left | bit(node));
        let chosen = self.chosen_without(left, now);
        match left != 0 && chosen.count_ones() < self.quorum {
            true => self.chosen_without(0, now),
            false => chosen,
        }
    }

    /// The same if those in `left` are left alone.
    fn chosen_without(&self, left: u64, now: u64) -> u64 {
        let own = self.links(now);
        let answered = self.others().filter(|node| self.is_answered_by(*node, now));
        let answered = answered.filter(|node| left & bit(*node) == 0);
        let heard = answered.fold(bit(self.me), |heard, node| heard | bit(node));
        let links = |node| match node == self.me {
            true => own,
            false => self.peer(node).links,
        };
        // Who is there, though this node does not hear it.
        let others = NodeSetIter(heard).fold(0, |all, node| all | links(node).hears);
        let counts = |node: &NodeId| {
            // If so many do not hear it that it is no member of any majority, it may be left out.
            let without = NodeSetIter(heard).filter(|other| links(*other).hears & bit(*node) == 0);
            let without = without.fold(0, |without, other| without | bit(other));
            (self.configured & !without).count_ones() >= self.quorum
        };
        let beyond = NodeSetIter(others & self.configured & !heard)
            .filter(counts)
            .fold(0, |beyond, node| beyond | bit(node));
        let members = self.view.nodes().filter(|node| {
            let boot = self.view.member(*node).boot;
            match *node == self.me {
                true => boot == self.boot,
                false => beyond & bit(*node) != 0 || boot == self.peer(*node).boot,
            }
        });
        let members = members.fold(0, |members, node| members | bit(node));
        let nodes = heard | beyond;
        let mut odds = self.odds(nodes, now);
        for node in NodeSetIter(beyond) {
            odds.add(self.me, node);
        }
        odds.choose(nodes, members, self.quorum)
    }

    /// Leaves those alone for a while who have answered and are not in this node's view.
    pub(super) fn leave_alone(&mut self, now: u64) {
        for node in self.others() {
            let is_member = self.view.member(node).boot != 0;
            let answers = self.is_answered_by(node, now);
            let dead_ms = u64::from(self.timing.dead_ms);
            let Some(peer) = self.peer_mut(node) else {
                continue;
            };
            if is_member {
                peer.refusals = 0;
            } else if answers {
                let wait = dead_ms.wrapping_shl(peer.refusals.min(MAX_DOUBLED));
                peer.refusals = peer.refusals.saturating_add(1);
                peer.left_until = now.saturating_add(wait);
            }
        }
    }

    /// Those of `nodes`, which have all answered, that a view should have whose base has `members`.
    pub(super) fn chosen_of(&self, nodes: u64, members: u64, now: u64) -> u64 {
        self.odds(nodes, now).choose(nodes, members, self.quorum)
    }

    fn odds(&self, nodes: u64, now: u64) -> Odds<N> {
        let mut odds = Odds([0; N]);
        for node in NodeSetIter(nodes) {
            let misses = match node == self.me {
                true => self.links(now).misses,
                false => self.peer(node).links.misses,
            };
            for other in NodeSetIter(misses & nodes).filter(|other| *other != node) {
                odds.add(node, other);
            }
        }
        odds
    }
}
