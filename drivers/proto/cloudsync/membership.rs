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
//!    which is after all the promises: [`Membership::opens_at`].
//! 4. *Nothing that was granted is forgotten by who is left.* Whoever used a lock in a view had a lease on
//!    it, so a majority had installed it, and one of these has promised the next number and told that
//!    view: it is the base. Members of the base that were asked continue; all others join anew, and know
//!    that what they had is lost.
//!
//! Clocks are CLOCK_MONOTONIC of each node and are never compared with another's. They may differ in
//! speed by an eighth, besides [`Timing::margin_ms`]. A machine whose clock stands still while others' go
//! on (a virtual machine that is paused) keeps its lease for too long; what it does then with a
//! resource is refused by the fencing token.

use super::view::{Member, View};
use crate::vuid::{bit, NodeId, Nodes};

/// Times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Between two beats.
    pub beat_ms: u32,
    /// A node that has not answered for so long is taken for dead.
    pub dead_ms: u32,
    /// What a lease lasts.
    pub lease_ms: u32,
    /// What is waited longer than a lease and an eighth.
    pub margin_ms: u32,
}

/// What one node asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask<const N: usize> {
    /// Is this the latest view?
    Beat {
        /// Its number.
        view: u64,
    },
    /// Which view is the latest?
    Fetch,
    /// Promise this number.
    Prepare {
        /// See there.
        number: u64,
        /// The proposer's incarnation.
        boot: u64,
    },
    /// A view that a majority has promised.
    Commit(View<N>),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Told<const N: usize> {
    /// Who answers: its incarnation.
    pub boot: u64,
    /// The largest number that it has promised.
    pub promised: u64,
    /// The number of its latest view.
    pub view: u64,
    /// The beat is acknowledged, the promise given, the view installed.
    pub yes: bool,
    /// Who was left out by its latest view, or by one before, cannot use anything any more.
    pub is_settled: bool,
    /// The latest view, with a promise or when it was asked for.
    pub latest: Option<View<N>>,
}

/// What of the state outlives the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The largest number promised.
    pub promised: u64,
    /// The number of the latest view installed.
    pub view: u64,
}

/// A view that this node proposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Proposal<const N: usize> {
    number: u64,
    /// Who has answered, or was not reached.
    asked: u64,
    /// Who has promised: incarnation, and whether it is a member of the base if that has this number.
    promises: [(u64, u64); N],
    /// Of these, who does not know that those who were left out before cannot use anything any more.
    unsettled: u64,
    /// The latest view that somebody has told.
    base: View<N>,
    until: u64,
}

/// What is known of another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Peer {
    /// When it answered last, or when this node began to listen.
    heard: u64,
    /// It has answered since.
    is_alive: bool,
    /// The incarnation that answered.
    boot: u64,
    /// When the last beat was sent that it has acknowledged in this view, plus one; 0 for none.
    acked: u64,
    /// The view that it has.
    view: u64,
    /// When the next beat is due.
    next: u64,
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
    proposal: Option<Proposal<N>>,
    peers: [Peer; N],
    is_active: bool,
    /// When to propose a view, if one is wanted.
    propose_at: Option<u64>,
    /// The largest number that anybody has promised.
    seen: u64,
}

impl<const N: usize> Membership<N> {
    /// Node `me` in its incarnation `boot`, which is not 0. `durable` is what was written last.
    pub fn new(me: NodeId, boot: u64, timing: Timing, durable: Durable) -> Self {
        Membership {
            me,
            boot,
            configured: bit(me),
            quorum: 1,
            timing,
            promised: durable.promised.max(durable.view),
            promised_to: (0, 0),
            view: View {
                number: durable.view,
                ..View::NONE
            },
            opens_at: 0,
            proposal: None,
            peers: [Peer::default(); N],
            is_active: false,
            propose_at: None,
            seen: 0,
        }
    }

    /// This node had promised and installed this before. To be called before anything else.
    pub fn restore(&mut self, durable: Durable) {
        self.promised = durable.promised.max(durable.view);
        self.view.number = durable.view;
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

    fn others(&self) -> Nodes {
        Nodes(self.configured & !bit(self.me))
    }

    fn peer(&self, node: NodeId) -> Peer {
        let index = usize::from(node).wrapping_sub(1);
        self.peers.get(index).copied().unwrap_or_default()
    }

    fn peer_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
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
        self.is_active = is_active;
        if !is_active {
            self.propose_at = None;
        }
    }

    /// Whether somebody here uses locks.
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Answers another node.
    pub fn handle(&mut self, from: NodeId, ask: &Ask<N>, now: u64) -> Told<N> {
        let mut yes = true;
        let mut latest = None;
        match ask {
            Ask::Beat { view } => yes = *view == self.view.number && self.promised <= *view,
            Ask::Fetch => latest = Some(self.view),
            Ask::Prepare { number, boot } => {
                let again = *number == self.promised && self.promised_to == (from, *boot);
                yes = (*number > self.promised || again) && self.configured & bit(from) != 0;
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
            latest,
        }
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
        if view.number < self.promised || view.number <= self.view.number {
            // Of a view that it has it is the latest as long as no larger number is promised.
            return view.number == self.view.number && self.promised <= view.number;
        }
        self.view = *view;
        self.promised = view.number;
        self.promised_to = (0, 0);
        self.proposal = None;
        self.propose_at = None;
        let lease = u64::from(view.lease_ms);
        let wait = lease.saturating_add(lease / 8);
        let wait = wait.saturating_add(self.timing.margin_ms.into());
        self.opens_at = match view.has_lost {
            true => now.saturating_add(wait),
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
        if node == self.me || self.configured & bit(node) == 0 {
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
            _ => Ask::Beat { view: view.number },
        })
    }

    /// When [`Self::poll`] has something for a node, if nothing happens before.
    pub fn next_poll(&self, node: NodeId) -> Option<u64> {
        let asks = self
            .proposal
            .is_some_and(|proposal| proposal.asked & bit(node) == 0);
        match asks {
            true => Some(0),
            false => self.is_active.then(|| self.peer(node).next),
        }
    }

    /// A node has answered what was sent to it at `sent`.
    pub fn told(&mut self, node: NodeId, ask: &Ask<N>, sent: u64, told: &Told<N>, now: u64) {
        self.seen = self.seen.max(told.promised);
        let view = self.view.number;
        if let Some(peer) = self.peer_mut(node) {
            peer.heard = now;
            peer.is_alive = true;
            peer.boot = told.boot;
            if told.view != peer.view {
                // There is something to be sent at once.
                peer.next = now;
            }
            peer.view = told.view;
        }
        match ask {
            Ask::Beat { view: of } if told.yes && *of == view => self.acked(node, sent),
            Ask::Commit(of) if told.yes && of.number == view => self.acked(node, sent),
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
        if !told.yes {
            // Somebody else proposes: it gets some time for that.
            self.proposal = None;
            let rank = u64::from(self.me).saturating_add(1);
            let wait = rank.saturating_mul(self.timing.beat_ms.into());
            self.propose_at = Some(now.saturating_add(wait));
            return;
        }
        proposal.asked |= bit(node);
        if !told.is_settled {
            proposal.unsettled |= bit(node);
        }
        let latest = told.latest.unwrap_or(View::NONE);
        let index = usize::from(node).wrapping_sub(1);
        if let Some(promise) = proposal.promises.get_mut(index) {
            *promise = (told.boot, latest.number);
        }
        // Of one that was forgotten but for its number somebody else may know the rest.
        let knows_more =
            latest.number == proposal.base.number && proposal.base.nodes().next().is_none();
        if latest.number > proposal.base.number || knows_more {
            proposal.base = latest;
        }
        self.finish(now);
    }

    /// Does what the time demands. Returns when it is to be called again, if something is going on.
    pub fn tick(&mut self, now: u64) -> Option<u64> {
        self.finish(now);
        if !self.is_active {
            self.proposal = None;
            return None;
        }
        if let Some(proposal) = &self.proposal {
            return Some(proposal.until);
        }
        if !self.wants_view(now) {
            self.propose_at = None;
            return Some(self.next_look(now));
        }
        // Those of lower number go first.
        let before = self
            .others_alive(now)
            .filter(|node| *node < self.me)
            .count();
        let rank = (before as u64).min(4);
        let soon = now.saturating_add(rank.saturating_mul(self.timing.beat_ms.into()));
        let at = *self.propose_at.get_or_insert(soon);
        if now < at {
            return Some(at);
        }
        self.propose(now);
        self.proposal
            .as_ref()
            .map_or(Some(now), |proposal| Some(proposal.until))
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

    fn is_dead(&self, node: NodeId, now: u64) -> bool {
        let silent = now.saturating_sub(self.peer(node).heard);
        silent > u64::from(self.timing.dead_ms)
    }

    fn others_alive(&self, now: u64) -> impl Iterator<Item = NodeId> + '_ {
        let alive = move |node: &NodeId| self.peer(*node).is_alive && !self.is_dead(*node, now);
        self.others().filter(alive)
    }

    /// Whether the view is not what it should be.
    fn wants_view(&self, now: u64) -> bool {
        let differs = |node: NodeId| {
            let (peer, member) = (self.peer(node), self.view.member(node));
            let dead = self.is_dead(node, now);
            match member.boot {
                0 => peer.is_alive && !dead,
                boot => dead || (peer.is_alive && peer.boot != boot),
            }
        };
        !self.is_member() || self.promised > self.view.number || self.others().any(differs)
    }

    fn propose(&mut self, now: u64) {
        let Some(number) = self
            .promised
            .max(self.seen)
            .max(self.view.number)
            .checked_add(1)
        else {
            return;
        };
        if number > super::token::MAX_VIEW {
            return;
        }
        self.promise(number, (self.me, self.boot), now);
        // Who is dead is not waited for.
        let dead = self
            .others()
            .filter(|node| self.peer(*node).is_alive || self.view.member(*node).boot != 0);
        let dead = dead
            .filter(|node| self.is_dead(*node, now))
            .fold(0, |dead, node| dead | bit(node));
        let mut promises = [(0, 0); N];
        if let Some(own) = promises.get_mut(usize::from(self.me).wrapping_sub(1)) {
            *own = (self.boot, self.view.number);
        }
        self.propose_at = None;
        self.proposal = Some(Proposal {
            number,
            asked: bit(self.me) | dead,
            promises,
            unsettled: match now < self.opens_at {
                true => bit(self.me),
                false => 0,
            },
            base: self.view,
            until: now.saturating_add(self.timing.dead_ms.into()),
        });
        self.finish(now);
    }

    /// Installs what is proposed if enough have promised, and all have answered or had the time.
    fn finish(&mut self, now: u64) {
        let Some(proposal) = &self.proposal else {
            return;
        };
        let all = self.configured & !proposal.asked == 0;
        if !all && now < proposal.until {
            return;
        }
        let promised = |promise: &&(u64, u64)| promise.0 != 0;
        let count = proposal.promises.iter().filter(promised).count();
        if count < self.quorum as usize {
            self.proposal = None;
            let wait = u64::from(self.timing.beat_ms).saturating_mul(2);
            self.propose_at = Some(now.saturating_add(wait));
            return;
        }
        let base = proposal.base;
        let mut view = View {
            number: proposal.number,
            base: base.number,
            lease_ms: self.timing.lease_ms,
            ..View::NONE
        };
        let known = base.number != 0;
        // Without its members nobody knows whom the base had.
        view.has_lost = known && base.nodes().next().is_none();
        let each = view
            .members
            .iter_mut()
            .zip(&base.members)
            .zip(&proposal.promises);
        let mut has_lost = view.has_lost;
        for (node, ((member, before), (boot, latest))) in (1..).zip(each) {
            let continues = *boot != 0 && *boot == before.boot && *latest == base.number && known;
            let is_unsettled = proposal.unsettled & bit(node) != 0;
            has_lost |= before.boot != 0 && (!continues || is_unsettled);
            if *boot != 0 {
                *member = Member {
                    boot: *boot,
                    joined: match continues {
                        true => before.joined,
                        false => view.number,
                    },
                };
            }
        }
        view.has_lost = has_lost;
        self.install(&view, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    type M = Membership<3>;

    const TIMING: Timing = Timing {
        beat_ms: 100,
        dead_ms: 500,
        lease_ms: 400,
        margin_ms: 50,
    };

    /// Three nodes whose messages take 1 ms each way; `up` are those that work.
    struct Cluster {
        nodes: Vec<M>,
        up: [bool; 3],
        now: u64,
    }

    impl Cluster {
        fn new() -> Self {
            let nodes = (1..=3).map(|me| {
                let mut node = M::new(me, u64::from(me) * 10, TIMING, Durable::default());
                node.configure(0b111, 0);
                node
            });
            Cluster {
                nodes: nodes.collect(),
                up: [true; 3],
                now: 1000,
            }
        }

        fn run(&mut self, ms: u64) {
            for _ in 0..ms {
                self.now += 1;
                for from in 0..3 {
                    if !self.up[from] {
                        continue;
                    }
                    self.nodes[from].tick(self.now);
                    for to in 0..3 {
                        let Some(ask) = self.nodes[from].poll(to as u8 + 1, self.now) else {
                            continue;
                        };
                        if !self.up[to] {
                            self.nodes[from].failed(to as u8 + 1, &ask, self.now);
                            continue;
                        }
                        let told = self.nodes[to].handle(from as u8 + 1, &ask, self.now);
                        self.nodes[from].told(to as u8 + 1, &ask, self.now, &told, self.now);
                    }
                }
            }
        }

        fn members(&self, node: usize) -> Vec<u8> {
            self.nodes[node].view().nodes().collect()
        }
    }

    #[test]
    fn an_idle_cluster_says_nothing() {
        let mut c = Cluster::new();
        c.run(2000);
        assert!(c.nodes.iter().all(|node| node.view().number == 0));
    }

    #[test]
    fn a_node_that_dies_is_left_out_and_comes_back() {
        let mut c = Cluster::new();
        c.nodes[0].set_active(true, c.now);
        c.run(10);
        assert_eq!(c.members(0), [1, 2, 3]);
        assert!(c.nodes[0].has_lease(c.now) && !c.nodes[1].has_lease(c.now));
        c.up[2] = false;
        c.run(700);
        assert_eq!(c.members(0), [1, 2]);
        let view = *c.nodes[1].view();
        assert!(view.has_lost && view.continuing().eq([1, 2]));
        assert!(c.nodes[0].opens_at() > c.now && c.nodes[0].has_lease(c.now));
        c.run(700);
        c.up[2] = true;
        c.run(700);
        let view = *c.nodes[2].view();
        assert_eq!(c.members(2), [1, 2, 3]);
        // It knows that what it had is lost.
        assert!(!view.has_lost && view.continuing().eq([1, 2]));
    }

    #[test]
    fn a_view_waits_also_for_who_was_left_out_by_the_one_before() {
        let mut c = Cluster::new();
        c.nodes[0].set_active(true, c.now);
        c.run(10);
        c.up[2] = false;
        while c.members(0).len() == 3 {
            c.run(1);
        }
        let opens_at = c.nodes[0].opens_at();
        c.up[2] = true;
        while c.members(0).len() == 2 {
            c.run(1);
        }
        assert!(c.now < opens_at && c.nodes[2].view().has_lost);
        assert!(c.nodes[2].opens_at() >= opens_at);
    }

    #[test]
    fn a_minority_has_no_lease() {
        let mut c = Cluster::new();
        c.nodes[0].set_active(true, c.now);
        c.run(10);
        let until = c.nodes[0].lease_until(c.now);
        c.up[1] = false;
        c.up[2] = false;
        c.run(2000);
        assert!(c.nodes[0].lease_until(c.now) < until + 10);
        assert!(!c.nodes[0].has_lease(c.now));
        c.up[1] = true;
        c.run(1500);
        assert_eq!(c.members(0), [1, 2]);
        assert!(c.nodes[0].has_lease(c.now));
    }

    #[test]
    fn who_restarts_is_another_member() {
        let mut c = Cluster::new();
        c.nodes[0].set_active(true, c.now);
        c.run(10);
        let durable = c.nodes[1].durable();
        c.nodes[1] = M::new(2, 21, TIMING, durable);
        c.nodes[1].configure(0b111, 0);
        c.run(300);
        let view = *c.nodes[0].view();
        assert!(view.has_lost && view.has(2, 21) && view.continuing().eq([1, 3]));
    }

    #[test]
    fn all_of_them_may_want_a_view_at_once() {
        let mut c = Cluster::new();
        let now = c.now;
        for node in &mut c.nodes {
            node.set_active(true, now);
        }
        c.run(2000);
        let numbers: Vec<u64> = c.nodes.iter().map(|node| node.view().number).collect();
        assert_eq!(numbers, vec![numbers[0]; 3]);
        assert!(c.nodes.iter().all(|node| node.has_lease(c.now)));
    }

    #[test]
    fn a_number_is_promised_once() {
        let mut node = M::new(3, 30, TIMING, Durable::default());
        node.configure(0b111, 0);
        let ask = |number, boot| Ask::Prepare { number, boot };
        assert!(node.handle(1, &ask(4, 10), 0).yes);
        assert!(node.handle(1, &ask(4, 10), 0).yes);
        assert!(!node.handle(1, &ask(4, 11), 0).yes);
        assert!(!node.handle(2, &ask(4, 20), 0).yes);
        // Also when it has restarted.
        let mut node = M::new(3, 31, TIMING, node.durable());
        node.configure(0b111, 0);
        assert!(!node.handle(1, &ask(4, 10), 0).yes);
        assert!(node.handle(2, &ask(5, 20), 0).yes);
        assert!(!node.handle(2, &Ask::Beat { view: 0 }, 0).yes);
    }

    #[test]
    fn who_has_promised_more_acknowledges_no_commit() {
        let mut node = M::new(3, 30, TIMING, Durable::default());
        node.configure(0b111, 0);
        let view = View {
            number: 1,
            ..View::NONE
        };
        assert!(node.handle(1, &Ask::Commit(view), 0).yes);
        assert!(node.handle(1, &Ask::Commit(view), 0).yes);
        assert!(
            node.handle(
                2,
                &Ask::Prepare {
                    number: 2,
                    boot: 20
                },
                0
            )
            .yes
        );
        assert!(!node.handle(1, &Ask::Commit(view), 0).yes);
    }

    #[test]
    fn a_node_alone_needs_nobody() {
        let mut node = M::new(1, 10, TIMING, Durable::default());
        node.configure(0b111, 1);
        node.set_active(true, 0);
        node.tick(0);
        for peer in [2, 3] {
            let ask = node.poll(peer, 1).unwrap();
            node.failed(peer, &ask, 1);
        }
        assert!(node.has_lease(1) && node.view().nodes().eq([1]));
    }
}
