// SPDX-License-Identifier: GPL-2.0

//! Which nodes are the cluster: views that a majority has agreed to, and the lease on the latest.
//!
//! ```text
//!   Prepare n --> promise (nothing below n any more), and the latest view known
//!        a majority of the configured nodes has promised
//!   Commit view n --> installed
//!   Beat n --> acknowledged, if n is installed and nothing above it promised
//! ```
//!
//! A view is decided by who proposes it, alone: its number is promised to one proposer only. It matters
//! only when a majority has promised its number, and it may be used only while a majority
//! acknowledges it. What a view is needed for, the state of the locks, its members have themselves.
//!
//! Invariants:
//!
//! 1. *A number belongs to one view.* A majority promises it to one incarnation of one node, and
//!    two majorities share a node, which remembers on disk what it has promised
//!    ([`Membership::durable`] is on disk before anybody is told of it).
//! 2. *A lease on view n ends after a majority has promised a larger number.* A lease is
//!    [`View::lease_ms`] from the sending of the beats that a majority has acknowledged. Of the majority
//!    that promised, one has acknowledged the last of these before its promise, and acknowledges none
//!    after it. So the lease ends at the latest one lease after the promise.
//! 3. *Who is left out uses nothing when the next view gives it to others.* The members of the next view
//!    wait for one lease, with a margin for clocks that run at different speed, from when they learn of it,
//!    which is after all the promises: [`Membership::opens_at`]. Leases may last longer in one view than in
//!    another, so each view says what the longest lasts that may not be over: [`View::wait_ms`].
//! 4. *Nothing that was granted is forgotten by who is left.* Whoever used a lock in a view had a lease on
//!    it, so a majority had installed it, and one of these has promised the next number and told that
//!    view: it is the base. Members of the base that were asked continue; all others join anew, and know
//!    that what they had is lost.
//!
//! Clocks are CLOCK_MONOTONIC of each node and are never compared with another's. They may differ in
//! speed by an eighth, besides [`Timing::margin_ms`]. A machine whose clock stands still while others' go
//! on (a virtual machine that is paused) keeps its lease for too long; what it does then with a
//! resource is refused by the fencing token.

mod links;
mod message;
mod peer;
mod proposal;
mod propose;
#[cfg(test)]
mod tests;
mod timing;

pub use message::{Ask, Links, Told};
pub use timing::Timing;

use super::token::MAX_VIEW;
use super::view::View;
use crate::vuid::{bit, NodeId, NodeSetIter};
use peer::PeerState;
use proposal::Proposal;

/// Numbers that are larger by more than this come from nowhere: of a view that is in use a node hears by a
/// commit before anybody asks it to promise the next.
const MAX_STEP: u64 = 1 << 16;

/// So often one after the other a proposal gives way to another node's of a number that is as large or larger.
const MAX_GIVE_WAY: u32 = 3;

/// What of the state outlives the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The largest number promised.
    pub promised: u64,
    /// The number of the latest view installed.
    pub view: u64,
    /// What a lease may last that was given until then: see [`View::wait_ms`].
    pub wait_ms: u32,
}

/// See the module. Times are milliseconds of one clock that never goes back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Membership<const N: usize> {
    me: NodeId,
    boot: u64,
    /// The nodes of the configuration, as bits.
    configured: u64,
    quorum: u32,
    timing: Timing,
    promised: u64,
    /// To whom: its number and incarnation.
    promised_to: (NodeId, u64),
    view: View<N>,
    opens_at: u64,
    /// Leases that were given in earlier views are over then.
    ages_at: u64,
    /// The end of the last lease that was given in an earlier view, if this node has gone on from there.
    kept: u64,
    proposal: Option<Proposal<N>>,
    peers: [PeerState; N],
    is_active: bool,
    /// When to propose a view, if one is wanted.
    propose_at: Option<u64>,
    /// The largest number that anybody has promised.
    seen: u64,
    /// The latest view has not been taken yet by who works with it: no other is installed meanwhile.
    is_busy: bool,
    /// How often this node has given way to others since the last view.
    gave_way: u32,
}

impl<const N: usize> Membership<N> {
    /// Of no node yet: see [`Self::begin`]. A constant, so that it is copied to where it is to lie and never
    /// lies on a stack.
    pub const BLANK: Self = Membership {
        me: 0,
        boot: 0,
        configured: 0,
        quorum: 1,
        timing: Timing::ZERO,
        promised: 0,
        promised_to: (0, 0),
        view: View::NONE,
        opens_at: 0,
        ages_at: 0,
        kept: 0,
        proposal: None,
        peers: [PeerState::UNKNOWN; N],
        is_active: false,
        propose_at: None,
        seen: 0,
        is_busy: false,
        gave_way: 0,
    };

    /// Makes this one of node `me` in its incarnation `boot`, which is not 0. To be called before anything
    /// else.
    pub fn begin(&mut self, me: NodeId, boot: u64, timing: Timing) {
        self.me = me;
        self.boot = boot;
        self.configured = bit(me);
        self.timing = timing;
    }

    /// Node `me` in its incarnation `boot`, which is not 0. `durable` is what was written last.
    pub fn new(me: NodeId, boot: u64, timing: Timing, durable: Durable) -> Self {
        let mut new = Self::BLANK;
        new.begin(me, boot, timing);
        new.restore(durable);
        new
    }

    /// This node had promised and installed this before. To be called right after [`Self::begin`].
    pub fn restore(&mut self, durable: Durable) {
        self.promised = durable.promised.max(durable.view);
        self.view.number = durable.view;
        self.view.lease_ms = durable.wait_ms;
        self.view.wait_ms = durable.wait_ms;
    }

    /// The nodes of the configuration, and how many of them a view needs: 0 stands for more than half.
    pub fn configure(&mut self, nodes: u64, quorum: u32) {
        let known = (1..)
            .zip(&self.peers)
            .fold(0, |known, (node, _)| known | bit(node));
        self.configured = (nodes | bit(self.me)) & known;
        let count = self.configured.count_ones();
        self.quorum = match quorum {
            0 => (count / 2).saturating_add(1),
            quorum => quorum.min(count),
        };
    }

    /// What has to be on disk before anybody is told anything.
    pub fn durable(&self) -> Durable {
        Durable {
            promised: self.promised,
            view: self.view.number,
            wait_ms: self.view.wait_ms.max(self.view.lease_ms),
        }
    }

    /// The latest view.
    pub fn view(&self) -> &View<N> {
        &self.view
    }

    /// Whether this node is a member of it.
    pub fn is_member(&self) -> bool {
        self.view.has(self.me, self.boot)
    }

    /// When those who are left out of the view cannot use anything any more.
    pub fn opens_at(&self) -> u64 {
        self.opens_at
    }

    /// How many nodes must agree.
    pub fn quorum(&self) -> u32 {
        self.quorum
    }

    /// Whether a node answers, and for how long it has not; `None` if nobody listens for it.
    pub fn silent_ms(&self, node: NodeId, now: u64) -> Option<u64> {
        let peer = self.peer(node);
        (self.is_active && node != self.me && peer.is_alive).then(|| now.saturating_sub(peer.heard))
    }

    fn others(&self) -> NodeSetIter {
        NodeSetIter(self.configured & !bit(self.me))
    }

    fn speaks_to(&self, node: NodeId) -> bool {
        node != self.me && self.configured & bit(node) != 0
    }

    fn peer(&self, node: NodeId) -> PeerState {
        let index = usize::from(node).wrapping_sub(1);
        self.peers.get(index).copied().unwrap_or_default()
    }

    fn peer_mut(&mut self, node: NodeId) -> Option<&mut PeerState> {
        self.peers.get_mut(usize::from(node).wrapping_sub(1))
    }

    /// When the lease on the view ends; in the past if there is none.
    pub fn lease_until(&self, now: u64) -> u64 {
        if !self.is_member() {
            return 0;
        }
        // The time by which enough nodes had acknowledged: the latest one for which they are enough.
        let enough = |at: u64| {
            let acked = self.others().filter(|node| self.peer(*node).acked > at);
            acked.count().saturating_add(1) >= self.quorum as usize
        };
        if self.quorum <= 1 {
            return now.saturating_add(self.view.lease_ms.into());
        }
        let times = self.others().map(|node| self.peer(node).acked);
        let sent = times
            .filter_map(|time| time.checked_sub(1))
            .filter(|at| enough(*at))
            .max();
        sent.map_or(0, |sent| sent.saturating_add(self.view.lease_ms.into()))
    }

    /// Until when the programs of this node have what they were granted. That is a lease, and in a view in
    /// which this node goes on, also one of a view before: whoever takes anything from it waits for both.
    pub fn holds_until(&self, now: u64) -> u64 {
        match self.is_member() {
            true => self.lease_until(now).max(self.kept),
            false => 0,
        }
    }

    /// Whether this node may use what it was granted, and grant it to its programs.
    pub fn has_lease(&self, now: u64) -> bool {
        now < self.lease_until(now)
    }

    /// Somebody here uses locks, or nobody does any more: then nothing is sent.
    pub fn set_active(&mut self, is_active: bool, now: u64) {
        if is_active && !self.is_active {
            for peer in &mut self.peers {
                peer.heard = now;
                peer.is_alive = false;
                peer.next = now;
            }
        }
        if !is_active && self.is_active {
            self.note_misses(now);
        }
        self.is_active = is_active;
        if !is_active {
            self.propose_at = None;
        }
    }

    /// Whether somebody here uses locks.
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Whether the latest view has to be taken before another one is installed.
    pub fn set_busy(&mut self, is_busy: bool) {
        self.is_busy = is_busy;
    }

    /// Answers another node.
    pub fn handle(&mut self, from: NodeId, ask: &Ask<N>, now: u64) -> Told<N> {
        if let Some(peer) = self.peer_mut(from) {
            peer.asked = now.saturating_add(1);
            peer.deaf_until = 0;
        }
        let mut yes = true;
        let mut latest = None;
        match ask {
            Ask::Beat { view } => yes = *view == self.view.number && self.promised <= *view,
            Ask::Fetch => latest = Some(self.view),
            Ask::Prepare { number, boot } => {
                let again = *number == self.promised && self.promised_to == (from, *boot);
                let is_due = again || *number > self.promised && self.is_plausible(*number);
                yes = is_due && self.configured & bit(from) != 0;
                if yes {
                    self.promise(*number, (from, *boot), now);
                }
                latest = Some(self.view);
            }
            Ask::Commit(view) => yes = self.install(view, now),
        }
        Told {
            boot: self.boot,
            promised: self.promised,
            view: self.view.number,
            yes,
            is_settled: now >= self.opens_at,
            links: self.links(now),
            latest,
        }
    }

    /// Whether a number may be promised: views have not come to an end by it, and it follows from views.
    fn is_plausible(&self, number: u64) -> bool {
        let known = self.promised.max(self.seen).max(self.view.number);
        number <= MAX_VIEW && number.saturating_sub(known) <= MAX_STEP
    }

    fn promise(&mut self, number: u64, to: (NodeId, u64), now: u64) {
        self.promised = number;
        self.promised_to = to;
        self.seen = self.seen.max(number);
        if to.0 != self.me {
            self.proposal = None;
            // It has this long to commit it.
            self.propose_at = Some(now.saturating_add(self.timing.dead_ms.into()));
        }
    }

    /// Installs a view that is not older than what was promised. Returns whether it is the latest now.
    fn install(&mut self, view: &View<N>, now: u64) -> bool {
        if view.number > MAX_VIEW {
            return false;
        }
        let is_late = view.number < self.promised || view.number <= self.view.number;
        if is_late || self.is_busy {
            // Of a view that it has it is the latest as long as no larger number is promised.
            return view.number == self.view.number && self.promised <= view.number;
        }
        let goes_on = self.is_member()
            && view.base == self.view.number
            && view.has(self.me, self.boot)
            && view.continuing().any(|node| node == self.me);
        self.kept = match goes_on {
            true => self.holds_until(now),
            false => 0,
        };
        self.view = *view;
        self.promised = view.number;
        self.promised_to = (0, 0);
        self.gave_way = 0;
        self.proposal = None;
        self.propose_at = None;
        let lease = u64::from(view.wait_ms.max(view.lease_ms));
        let wait = lease.saturating_add(lease / 8);
        let wait = wait.saturating_add(self.timing.margin_ms.into());
        self.ages_at = now.saturating_add(wait);
        self.opens_at = match view.has_lost {
            true => self.ages_at,
            false => now,
        };
        for peer in &mut self.peers {
            peer.acked = 0;
            peer.next = now;
        }
        true
    }

    /// What is to be sent to a node now. It is followed by [`Self::told`] or [`Self::failed`] before this is
    /// called again for the same node.
    pub fn poll(&mut self, node: NodeId, now: u64) -> Option<Ask<N>> {
        if !self.speaks_to(node) {
            return None;
        }
        if let Some(proposal) = &self.proposal {
            if proposal.asked & bit(node) == 0 {
                return Some(Ask::Prepare {
                    number: proposal.number,
                    boot: self.boot,
                });
            }
        }
        let peer = self.peer(node);
        if !self.is_active || now < peer.next {
            return None;
        }
        let next = now.saturating_add(self.timing.beat_ms.into());
        let view = self.view;
        self.peer_mut(node)?.next = next;
        Some(match peer.view.cmp(&view.number) {
            core::cmp::Ordering::Greater => Ask::Fetch,
            core::cmp::Ordering::Less if self.is_member() => Ask::Commit(view),
            _ => self.beat(),
        })
    }

    /// When [`Self::poll`] has something for a node, if nothing happens before.
    pub fn next_poll(&self, node: NodeId) -> Option<u64> {
        if !self.speaks_to(node) {
            return None;
        }
        let asks = self
            .proposal
            .is_some_and(|proposal| proposal.asked & bit(node) == 0);
        match asks {
            true => Some(0),
            false => self.is_active.then(|| self.peer(node).next),
        }
    }

    /// Asks whether the view is still the latest.
    fn beat(&self) -> Ask<N> {
        Ask::Beat {
            view: self.view.number,
        }
    }

    /// A node has answered what was sent to it at `sent`.
    pub fn told(&mut self, node: NodeId, ask: &Ask<N>, sent: u64, told: &Told<N>, now: u64) {
        let view = self.view.number;
        if told.promised > self.seen && self.is_plausible(told.promised) {
            self.seen = told.promised;
            // Whoever it was promised to has this long to commit it.
            let soon = now.saturating_add(self.timing.dead_ms.into());
            self.propose_at.get_or_insert(soon);
        }
        if let Some(peer) = self.peer_mut(node) {
            peer.heard = now;
            peer.is_alive = true;
            peer.deaf_until = 0;
            peer.links = told.links;
            peer.boot = told.boot;
            if told.view != peer.view {
                // There is something to be sent at once.
                peer.next = now;
            }
            peer.view = told.view;
        }
        // This node acknowledges its own beats with others': none after it has promised more.
        let acks = told.yes && self.promised <= view;
        match ask {
            Ask::Beat { view: of } if acks && *of == view => self.acked(node, sent),
            Ask::Commit(of) if acks && of.number == view => self.acked(node, sent),
            Ask::Fetch => {
                if let Some(latest) = &told.latest {
                    self.install(latest, now);
                }
            }
            Ask::Prepare { number, .. } => self.promised_by(node, *number, told, now),
            _ => (),
        }
    }

    fn acked(&mut self, node: NodeId, sent: u64) {
        if let Some(peer) = self.peer_mut(node) {
            peer.acked = peer.acked.max(sent.saturating_add(1));
        }
    }

    /// A node was not reached.
    pub fn failed(&mut self, node: NodeId, ask: &Ask<N>, now: u64) {
        if let (Some(proposal), Ask::Prepare { number, .. }) = (&mut self.proposal, ask) {
            if proposal.number == *number {
                proposal.asked |= bit(node);
            }
        }
        self.finish(now);
    }

    fn promised_by(&mut self, node: NodeId, number: u64, told: &Told<N>, now: u64) {
        let Some(proposal) = self.proposal.as_mut().filter(|p| p.number == number) else {
            return;
        };
        if told.yes {
            proposal.promised(node, told);
        } else if (number..=self.seen).contains(&told.promised) && self.gave_way < MAX_GIVE_WAY {
            // Somebody else proposes: it gets some time for that. Who has refused the number once does so
            // again.
            self.gave_way = self.gave_way.saturating_add(1);
            self.proposal = None;
            self.promised_to = (0, 0);
            self.propose_at = Some(self.next_turn(now));
            return;
        } else {
            // A majority does without it.
            proposal.asked |= bit(node);
        }
        self.finish(now);
    }
}
