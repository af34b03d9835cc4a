// SPDX-License-Identifier: GPL-2.0

//! The node that has begun a roll-out, and decides it.

use super::{RolloutAnswer, RolloutAsk, RolloutId, RolloutPlan, RolloutTiming};
use crate::vuid::{bit, NodeId, NodeSetIter};

/// How far a roll-out has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RolloutPhase {
    /// Nodes are asked to be ready.
    Preparing,
    /// All are; the canary is asked to have the new values.
    Trying,
    /// All are ready, and the canary has the new values.
    Ready,
    /// It is being written to disk that all are to have them.
    Deciding,
    /// All are to have the new values.
    Committed,
    /// All are to have the old values.
    Aborted(RolloutFailure),
}

/// Why a roll-out has ended with the old values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RolloutFailure {
    /// A node has refused them.
    Refused(NodeId),
    /// A node has not answered in time.
    Silent(NodeId),
    /// A node has restarted, or has not heard of this one in time.
    Lost(NodeId),
    /// Who has begun it wants so.
    Owner,
    /// Who has begun it has said nothing for too long.
    OwnerGone,
    /// The disk has not taken the decision.
    Disk,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Peer {
    /// It was asked to be ready: it may be.
    is_asked: bool,
    /// It has said that it is.
    is_ready: bool,
    /// It has the new values on trial.
    is_trying: bool,
    /// It has said that it knows the outcome.
    is_told: bool,
    /// When its lease ends, at the earliest.
    held_until: u64,
    /// When something is said to it again.
    next: u64,
}

const NEW: Peer = Peer {
    is_asked: false,
    is_ready: false,
    is_trying: false,
    is_told: false,
    held_until: 0,
    next: 0,
};

/// A roll-out over nodes 1 to `N` at most. Times are in milliseconds of any clock of this node's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutCoordinator<const N: usize> {
    id: RolloutId,
    nodes: u64,
    canary: Option<NodeId>,
    timing: RolloutTiming,
    phase: RolloutPhase,
    peers: [Peer; N],
    /// Until when something is to be heard of its owner; after the decision, until when it is told.
    until: u64,
}

impl<const N: usize> RolloutCoordinator<N> {
    /// Begins a roll-out on `nodes`, as bits. The canary is one of them, if there is one.
    pub fn new(
        id: RolloutId,
        nodes: u64,
        canary: Option<NodeId>,
        timing: RolloutTiming,
        now: u64,
    ) -> Self {
        RolloutCoordinator {
            id,
            nodes,
            canary,
            timing,
            phase: RolloutPhase::Preparing,
            peers: [NEW; N],
            until: now.saturating_add(timing.owner_ms.into()),
        }
    }

    /// Which roll-out.
    pub fn id(&self) -> RolloutId {
        self.id
    }

    /// Who takes part, as bits.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// How far it has come.
    pub fn phase(&self) -> RolloutPhase {
        self.phase
    }

    /// Whether nothing can change its outcome any more.
    pub fn is_decided(&self) -> bool {
        matches!(
            self.phase,
            RolloutPhase::Committed | RolloutPhase::Aborted(_)
        )
    }

    /// Nodes that have to be told the outcome and have not said that they know it, as bits.
    pub fn untold(&self) -> u64 {
        NodeSetIter(self.nodes)
            .filter(|node| self.peer(*node).is_some_and(|p| p.is_asked && !p.is_told))
            .fold(0, |bits, node| bits | bit(node))
    }

    /// Whether it is decided and said to all, or to whoever has answered: the others ask by themselves.
    pub fn is_over(&self, now: u64) -> bool {
        self.is_decided() && (self.untold() == 0 || now >= self.until)
    }

    fn peer(&self, node: NodeId) -> Option<&Peer> {
        self.peers.get(usize::from(node).checked_sub(1)?)
    }

    fn peer_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(usize::from(node).checked_sub(1)?)
    }

    fn all(&self, holds: impl Fn(&Peer) -> bool) -> bool {
        NodeSetIter(self.nodes).all(|node| self.peer(node).is_some_and(&holds))
    }

    /// Its owner is there.
    pub fn touch(&mut self, now: u64) {
        if !self.is_decided() {
            self.until = now.saturating_add(self.timing.owner_ms.into());
        }
    }

    /// What is to be said to `node` now. One message to a node is under way at a time.
    pub fn poll(&mut self, node: NodeId, now: u64) -> Option<RolloutAsk> {
        if self.nodes & bit(node) == 0 {
            return None;
        }
        let RolloutTiming {
            lease_ms, keep_ms, ..
        } = self.timing;
        let (phase, nodes, is_over) = (self.phase, self.nodes, self.is_over(now));
        let is_canary = self.canary == Some(node);
        let peer = self.peer_mut(node)?;
        let is_due = now >= peer.next;
        let later = now.saturating_add(keep_ms.into());
        let ask = match phase {
            RolloutPhase::Preparing if !peer.is_asked => {
                peer.is_asked = true;
                RolloutAsk::Prepare(RolloutPlan { nodes, lease_ms })
            }
            RolloutPhase::Committed if is_due && !peer.is_told && !is_over => RolloutAsk::Commit,
            RolloutPhase::Aborted(_) if is_due && peer.is_asked && !peer.is_told && !is_over => {
                RolloutAsk::Abort
            }
            RolloutPhase::Committed | RolloutPhase::Aborted(_) => return None,
            RolloutPhase::Trying if is_canary && !peer.is_trying && is_due => {
                RolloutAsk::Try { lease_ms }
            }
            _ if !peer.is_ready || !is_due => return None,
            _ if peer.is_trying => RolloutAsk::Try { lease_ms },
            _ => RolloutAsk::Keep { lease_ms },
        };
        peer.next = later;
        Some(ask)
    }

    /// When there may be something to say to `node`; `None` if not before something else happens.
    pub fn next_poll(&self, node: NodeId, now: u64) -> Option<u64> {
        let peer = self.peer(node).filter(|_| self.nodes & bit(node) != 0)?;
        let waits = match self.phase {
            RolloutPhase::Committed | RolloutPhase::Aborted(_) => {
                peer.is_asked && !peer.is_told && !self.is_over(now)
            }
            RolloutPhase::Preparing => !peer.is_asked || peer.is_ready,
            _ => true,
        };
        waits.then_some(peer.next)
    }

    /// What `node` has answered to `ask`, which was sent at `sent`.
    pub fn told(
        &mut self,
        node: NodeId,
        ask: &RolloutAsk,
        sent: u64,
        answer: RolloutAnswer,
        now: u64,
    ) {
        let lease = sent.saturating_add(self.timing.lease_ms.into());
        let (phase, is_decided) = (self.phase, self.is_decided());
        let Some(peer) = self.peer_mut(node) else {
            return;
        };
        match (ask, answer) {
            (RolloutAsk::Commit | RolloutAsk::Abort, _) => peer.is_told = true,
            (_, RolloutAnswer::Held) => {
                peer.is_ready = true;
                peer.is_trying |= matches!(ask, RolloutAsk::Try { .. });
                peer.held_until = peer.held_until.max(lease);
            }
            (_, _) if is_decided || phase == RolloutPhase::Deciding => (),
            (_, _) => return self.fail(RolloutFailure::Lost(node), now),
        }
        self.go_on(now);
    }

    fn go_on(&mut self, now: u64) {
        let is_canary_trying = || self.peer(self.canary?).map(|peer| peer.is_trying);
        self.phase = match self.phase {
            RolloutPhase::Preparing if self.all(|peer| peer.is_ready) => match self.canary {
                None => RolloutPhase::Ready,
                Some(_) => RolloutPhase::Trying,
            },
            RolloutPhase::Trying if is_canary_trying() == Some(true) => RolloutPhase::Ready,
            phase => phase,
        };
        if self.phase == RolloutPhase::Trying {
            if let Some(peer) = self.canary.and_then(|canary| self.peer_mut(canary)) {
                peer.next = peer.next.min(now);
            }
        }
    }

    /// `node` has not answered to `ask`, or has refused it.
    pub fn failed(&mut self, node: NodeId, ask: &RolloutAsk, is_refused: bool, now: u64) {
        let quarter = self.timing.keep_ms.div_ceil(4);
        match (ask, is_refused) {
            (RolloutAsk::Prepare(_), true) => self.fail(RolloutFailure::Refused(node), now),
            (RolloutAsk::Prepare(_), false) => self.fail(RolloutFailure::Silent(node), now),
            // Soon again: the lease has an end.
            _ => {
                if let Some(peer) = self.peer_mut(node) {
                    peer.next = now.saturating_add(quarter.into());
                }
            }
        }
    }

    fn fail(&mut self, failure: RolloutFailure, now: u64) {
        if !self.is_decided() && self.phase != RolloutPhase::Deciding {
            self.end(RolloutPhase::Aborted(failure), now);
        }
    }

    /// The outcome is known: it is said to all at once, and for as long as leases may last.
    fn end(&mut self, phase: RolloutPhase, now: u64) {
        self.phase = phase;
        let lease = u64::from(self.timing.lease_ms);
        self.until = now.saturating_add(lease.saturating_mul(2));
        for peer in &mut self.peers {
            peer.next = now;
        }
    }

    /// Its owner does not want it any more. False if it is too late for that.
    pub fn abort(&mut self, now: u64) -> bool {
        self.fail(RolloutFailure::Owner, now);
        matches!(self.phase, RolloutPhase::Aborted(_))
    }

    /// Its owner wants it: true if it is to be written to disk that it is decided, and [`Self::decided`]
    /// is to follow. Only if it is [ready](RolloutPhase::Ready), and all nodes will be for a while.
    pub fn decide(&mut self, now: u64) -> bool {
        self.tick(now);
        if self.phase != RolloutPhase::Ready {
            return false;
        }
        self.phase = RolloutPhase::Deciding;
        true
    }

    /// The decision is on disk, or is not and will not be.
    pub fn decided(&mut self, is_on_disk: bool, now: u64) {
        if self.phase == RolloutPhase::Deciding {
            match is_on_disk {
                true => self.end(RolloutPhase::Committed, now),
                false => self.end(RolloutPhase::Aborted(RolloutFailure::Disk), now),
            }
        }
    }

    /// Does what the time demands.
    pub fn tick(&mut self, now: u64) {
        if self.is_decided() || self.phase == RolloutPhase::Deciding {
            return;
        }
        if now >= self.until {
            return self.fail(RolloutFailure::OwnerGone, now);
        }
        let late = NodeSetIter(self.nodes).find(|node| {
            self.peer(*node)
                .is_some_and(|peer| peer.is_ready && now >= self.trusted_until(peer))
        });
        if let Some(node) = late {
            self.fail(RolloutFailure::Silent(node), now);
        }
    }

    /// Until when a node is counted on: its clock may be faster by an eighth.
    fn trusted_until(&self, peer: &Peer) -> u64 {
        let shorter = u64::from(self.timing.lease_ms.div_ceil(8));
        let early = shorter.saturating_add(self.timing.margin_ms.into());
        peer.held_until.saturating_sub(early)
    }

    /// When time makes a difference, if nothing happens before.
    pub fn next_tick(&self, now: u64) -> Option<u64> {
        if self.is_decided() {
            return (!self.is_over(now)).then_some(self.until);
        }
        if self.phase == RolloutPhase::Deciding {
            return None;
        }
        NodeSetIter(self.nodes)
            .filter_map(|node| self.peer(node))
            .filter(|peer| peer.is_ready)
            .map(|peer| self.trusted_until(peer))
            .chain([self.until])
            .min()
    }
}
