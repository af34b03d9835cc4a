// SPDX-License-Identifier: GPL-2.0

//! When a node proposes another view, and which.

use super::{Membership, Proposal};
use crate::{
    cloudsync::token::MAX_VIEW,
    vuid::{bit, NodeId},
};

/// A member that was taken out of the configuration is left out after so many times [`Timing::dead_ms`].
const REMOVE_AFTER: u64 = 10;

impl<const N: usize> Membership<N> {
    /// Does what the time demands. Returns when it is to be called again, if something is going on;
    /// it is also to be called when a view has been taken.
    pub fn tick(&mut self, now: u64) -> Option<u64> {
        let before = self.view.number;
        self.finish(now);
        if !self.is_active {
            self.proposal = None;
            return None;
        }
        if self.view.number != before {
            // Another one follows, if at all, when this one has been taken.
            return Some(now);
        }
        if let Some(proposal) = &self.proposal {
            let is_held_up = self.is_busy && proposal.until <= now;
            return (!is_held_up).then_some(proposal.until);
        }
        let chosen = self.chosen(now);
        let wants = self.wants_view(chosen);
        if !wants && !self.has_removed() {
            self.propose_at = None;
            return Some(self.next_look(now));
        }
        let enough = chosen.count_ones() >= self.quorum;
        if chosen & bit(self.me) == 0 || !enough || !self.knows_links(now) {
            // What others say of their links may change that.
            return Some(now.saturating_add(self.timing.beat_ms.into()));
        }
        // Those of lower number go first.
        let before = self
            .others_alive(now)
            .filter(|node| *node < self.me)
            .count();
        let rank = (before as u64).min(4);
        let wait = match wants {
            true => rank.saturating_mul(self.timing.beat_ms.into()),
            // While a new configuration goes round, who has the old one would bring the node back.
            false => u64::from(self.timing.dead_ms).saturating_mul(REMOVE_AFTER),
        };
        let soon = now.saturating_add(wait);
        let at = *self.propose_at.get_or_insert(soon);
        if now < at {
            return Some(at);
        }
        self.propose(now);
        // It may have come to nothing at once, or numbers are at their end.
        let later = now.saturating_add(self.timing.dead_ms.into());
        let until = self.proposal.as_ref().map(|proposal| proposal.until);
        Some(until.or(self.propose_at).unwrap_or(later))
    }

    /// When the next node may be found dead.
    fn next_look(&self, now: u64) -> u64 {
        let times = self.others().map(|node| {
            let heard = self.peer(node).heard;
            heard
                .saturating_add(self.timing.dead_ms.into())
                .saturating_add(1)
        });
        let next = times.filter(|at| *at > now).min();
        next.unwrap_or(now.saturating_add(self.timing.dead_ms.into()))
    }

    pub(super) fn is_dead(&self, node: NodeId, now: u64) -> bool {
        let silent = now.saturating_sub(self.peer(node).heard);
        silent > u64::from(self.timing.dead_ms)
    }

    fn others_alive(&self, now: u64) -> impl Iterator<Item = NodeId> + '_ {
        let alive = move |node: &NodeId| self.peer(*node).is_alive && !self.is_dead(*node, now);
        self.others().filter(alive)
    }

    /// When to propose again what came to nothing: each node at another time, so that they do not hinder each
    /// other once more.
    pub(super) fn next_turn(&self, now: u64) -> u64 {
        let rank = u64::from(self.me).saturating_add(1);
        now.saturating_add(rank.saturating_mul(self.timing.beat_ms.into()))
    }

    /// Whether the view is not what it should be, if it should have the nodes `chosen`.
    fn wants_view(&self, chosen: u64) -> bool {
        let members = self.view.nodes().fold(0, |all, node| all | bit(node));
        let is_other = |node: NodeId| {
            let (peer, member) = (self.peer(node), self.view.member(node));
            peer.is_alive && peer.boot != member.boot
        };
        !self.is_member()
            || self.promised.max(self.seen) > self.view.number
            || chosen != members & self.configured
            || self
                .others()
                .any(|node| chosen & bit(node) != 0 && is_other(node))
    }

    /// Whether a node is a member that was taken out of the configuration.
    fn has_removed(&self) -> bool {
        self.view
            .nodes()
            .any(|node| self.configured & bit(node) == 0)
    }

    /// The number of the next view. One that was promised to this node alone, and came to nothing, is used
    /// again: who is cut off for long does not use numbers up.
    fn next_number(&self) -> Option<u64> {
        let known = self.promised.max(self.seen).max(self.view.number);
        let is_own = self.promised_to == (self.me, self.boot) && self.promised > self.view.number;
        let number = match is_own && known == self.promised {
            true => known,
            false => known.checked_add(1)?,
        };
        (number <= MAX_VIEW).then_some(number)
    }

    fn propose(&mut self, now: u64) {
        let Some(number) = self.next_number() else {
            return;
        };
        self.promise(number, (self.me, self.boot), now);
        // Who is dead is not waited for.
        let dead = self
            .others()
            .filter(|node| self.peer(*node).is_alive || self.view.member(*node).boot != 0);
        let dead = dead
            .filter(|node| self.is_dead(*node, now))
            .fold(0, |dead, node| dead | bit(node));
        let is_settled = now >= self.opens_at;
        let until = now.saturating_add(self.timing.dead_ms.into());
        let proposal = Proposal::new(number, self.view, until);
        let proposal = self.proposal.insert(proposal);
        proposal.asked |= dead;
        proposal.note(self.me, (self.boot, self.view.number), is_settled);
        self.propose_at = None;
        self.finish(now);
    }

    /// Installs what is proposed if enough have promised, and all have answered or had the time.
    pub(super) fn finish(&mut self, now: u64) {
        let Some(proposal) = &self.proposal else {
            return;
        };
        let all = self.configured & !proposal.asked == 0;
        if self.is_busy || !all && now < proposal.until {
            return;
        }
        if proposal.promised_by().count_ones() < self.quorum {
            self.proposal = None;
            self.propose_at = Some(self.next_turn(now));
            return;
        }
        let (promised, members) = (proposal.promised_by(), proposal.continuing());
        let chosen = self.chosen_of(promised, members, now);
        if chosen & bit(self.me) == 0 || chosen.count_ones() < self.quorum {
            self.proposal = None;
            self.propose_at = Some(now.saturating_add(self.timing.dead_ms.into()));
            return;
        }
        let lease_ms = self.timing.lease_ms;
        let mut view = proposal.view(chosen, lease_ms);
        // Leases of the base may be as long as it says. Those given before it are over if that is known
        // here, by who has had the base for that long.
        let base = proposal.base();
        let is_old = base.number == self.view.number && self.is_member() && now >= self.ages_at;
        let earlier = if is_old { 0 } else { base.wait_ms };
        view.wait_ms = lease_ms.max(base.lease_ms).max(earlier);
        self.install(&view, now);
        self.leave_alone(now);
    }
}
