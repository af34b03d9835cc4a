// SPDX-License-Identifier: GPL-2.0

//! All that a node knows of roll-outs: the one that it coordinates, the one that it takes part in, and how
//! those before them have ended.
//!
//! One at a time of each. A node in doubt takes part in no other: all nodes are needed for one, so nothing
//! can be rolled out anyway while one of them cannot be reached.

use super::{
    coordinator::{RolloutCoordinator, RolloutPhase},
    participant::{RolloutEffect, RolloutParticipant},
    RolloutAnswer, RolloutAsk, RolloutId, RolloutMessage, RolloutPlan, RolloutTiming,
};
use crate::vuid::NodeId;

/// How many decisions and outcomes are remembered.
pub const MAX_OUTCOMES: usize = 16;

/// The last decisions of a coordinator, by number: what is on its disk. 0 is none.
pub type DecidedRollouts = [u64; MAX_OUTCOMES];

/// See the module. Nodes have numbers 1 to `N`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutNode<const N: usize> {
    me: NodeId,
    timing: RolloutTiming,
    coordinator: Option<RolloutCoordinator<N>>,
    participant: Option<RolloutParticipant>,
    /// What is on disk, the last one first.
    decided: DecidedRollouts,
    /// What this node has taken part in, or will not take part in, the last one first, and what it says to
    /// whoever asks for it.
    ended: [Option<(RolloutId, RolloutAnswer)>; MAX_OUTCOMES],
}

/// What to do with a request to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutAdmission {
    /// Check the values, and say [`RolloutNode::prepared`] if they are good.
    Check,
    /// There is another one.
    Busy(RolloutId),
    /// This is the answer, before which this is to be done.
    Answer(RolloutAnswer, RolloutEffect),
}

impl<const N: usize> RolloutNode<N> {
    /// A node that knows nothing.
    pub fn new(me: NodeId, timing: RolloutTiming) -> Self {
        RolloutNode {
            me,
            timing,
            coordinator: None,
            participant: None,
            decided: [0; MAX_OUTCOMES],
            ended: [None; MAX_OUTCOMES],
        }
    }

    /// What was read from the disk.
    pub fn restore(&mut self, decided: DecidedRollouts) {
        self.decided = decided;
    }

    /// The roll-out that this node coordinates, or has coordinated last.
    pub fn coordinator(&self) -> Option<&RolloutCoordinator<N>> {
        self.coordinator.as_ref()
    }

    /// The roll-out that this node takes part in.
    pub fn participant(&self) -> Option<&RolloutParticipant> {
        self.participant.as_ref()
    }

    /// How those have ended that this node has been asked for, the last one first: committed, aborted, or in
    /// doubt if it knows nothing of them, and will not.
    pub fn ended(&self) -> impl Iterator<Item = (RolloutId, RolloutAnswer)> + '_ {
        self.ended.iter().flatten().copied()
    }

    /// Begins to roll out on `nodes`. One before it that is decided need not have been told to all: those who
    /// were not ask for it.
    ///
    /// # Errors
    ///
    /// The one that is under way.
    pub fn begin(
        &mut self,
        number: u64,
        nodes: u64,
        canary: Option<NodeId>,
        now: u64,
    ) -> Result<RolloutId, RolloutId> {
        if let Some(other) = self.coordinator.as_ref().filter(|one| !one.is_decided()) {
            return Err(other.id());
        }
        let id = RolloutId {
            number,
            coordinator: self.me,
        };
        let begun = RolloutCoordinator::new(id, nodes, canary, self.timing, now);
        self.coordinator = Some(begun);
        Ok(id)
    }

    /// The coordinator of roll-out `number`, if this node has it.
    pub fn coordinated(&mut self, number: u64) -> Option<&mut RolloutCoordinator<N>> {
        self.coordinator
            .as_mut()
            .filter(|one| one.id().number == number)
    }

    /// What is on disk.
    pub fn decisions(&self) -> DecidedRollouts {
        self.decided
    }

    /// What is to be on disk before the roll-out may be [decided](RolloutCoordinator::decided): all that is,
    /// and roll-out `number`.
    pub fn with_decision(&self, number: u64) -> DecidedRollouts {
        let mut decided = self.decided;
        decided.rotate_right(1);
        if let Some(first) = decided.first_mut() {
            *first = number;
        }
        decided
    }

    /// The decision of roll-out `number` is on disk, or is not and will not be.
    pub fn decided(&mut self, number: u64, is_on_disk: bool, now: u64) {
        if is_on_disk {
            self.decided = self.with_decision(number);
        }
        if let Some(coordinator) = self.coordinated(number) {
            coordinator.decided(is_on_disk, now);
        }
    }

    /// Whether this node is to get ready for `id`. `nodes` are those of the configuration, as bits.
    pub fn admit(
        &mut self,
        id: RolloutId,
        plan: &RolloutPlan,
        nodes: u64,
        now: u64,
    ) -> RolloutAdmission {
        if let Some(answer) = self.outcome(id) {
            return RolloutAdmission::Answer(answer, RolloutEffect::None);
        }
        match &mut self.participant {
            Some(participant) if participant.id() == id => {
                // Asked once more, since the answer was lost. Its lease counts from the first time.
                let (answer, effect) = participant.handle(&RolloutAsk::Prepare(*plan), nodes, now);
                RolloutAdmission::Answer(answer, effect)
            }
            Some(other) => RolloutAdmission::Busy(other.id()),
            None => RolloutAdmission::Check,
        }
    }

    /// This node is ready for `id`, which it was [admitted](Self::admit) to.
    pub fn prepared(&mut self, id: RolloutId, plan: &RolloutPlan, now: u64) -> RolloutAnswer {
        let keep_ms = self.timing.keep_ms;
        self.participant = Some(RolloutParticipant::new(id, self.me, plan, keep_ms, now));
        RolloutAnswer::Held
    }

    /// Answers another node, or this one, to anything but [`RolloutAsk::Prepare`]; what is to be done to the
    /// variables has to be done before the answer is sent. `nodes` are those of the configuration, as bits.
    pub fn handle(
        &mut self,
        id: RolloutId,
        ask: &RolloutAsk,
        nodes: u64,
        now: u64,
    ) -> (RolloutAnswer, RolloutEffect) {
        if id.coordinator == self.me && *ask == RolloutAsk::Outcome {
            return (self.decision(id), RolloutEffect::None);
        }
        if let Some(participant) = self.participant.as_mut().filter(|p| p.id() == id) {
            let (answer, effect) = participant.handle(ask, nodes, now);
            self.follow(id, effect);
            return (answer, effect);
        }
        if let Some(answer) = self.outcome(id) {
            return (answer, RolloutEffect::None);
        }
        // This node has restarted since it was ready, or was not asked to be. After this answer it must not
        // become ready, if such a request is late.
        let answer = match ask {
            RolloutAsk::Abort => RolloutAnswer::Aborted,
            _ => RolloutAnswer::Doubt,
        };
        self.end(id, answer);
        (answer, RolloutEffect::None)
    }

    /// What this node, which coordinates it, has decided. What it does not know it has not decided, and will
    /// not.
    fn decision(&self, id: RolloutId) -> RolloutAnswer {
        let under_way = self.coordinator.as_ref().filter(|one| one.id() == id);
        match under_way.map(RolloutCoordinator::phase) {
            Some(RolloutPhase::Committed) => RolloutAnswer::Committed,
            Some(RolloutPhase::Aborted(_)) => RolloutAnswer::Aborted,
            Some(_) => RolloutAnswer::Undecided,
            None if self.decided.contains(&id.number) => RolloutAnswer::Committed,
            None => RolloutAnswer::Aborted,
        }
    }

    fn outcome(&self, id: RolloutId) -> Option<RolloutAnswer> {
        let (_, answer) = self.ended().find(|(ended, _)| *ended == id)?;
        Some(answer)
    }

    fn end(&mut self, id: RolloutId, answer: RolloutAnswer) {
        self.ended.rotate_right(1);
        if let Some(first) = self.ended.first_mut() {
            *first = Some((id, answer));
        }
    }

    fn follow(&mut self, id: RolloutId, effect: RolloutEffect) {
        match effect {
            RolloutEffect::Keep => self.end(id, RolloutAnswer::Committed),
            RolloutEffect::Drop => self.end(id, RolloutAnswer::Aborted),
            _ => return,
        }
        self.participant = None;
    }

    /// Does what the time demands. `nodes` are those of the configuration.
    pub fn tick(&mut self, nodes: u64, now: u64) -> RolloutEffect {
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.tick(now);
        }
        let Some(participant) = &mut self.participant else {
            return RolloutEffect::None;
        };
        let (id, lapsed) = (participant.id(), participant.tick(now));
        if lapsed != RolloutEffect::None {
            return lapsed;
        }
        let effect = participant.end_without_coordinator(nodes);
        self.follow(id, effect);
        effect
    }

    /// When time makes a difference, if nothing happens before.
    pub fn next_tick(&self, now: u64) -> Option<u64> {
        let of_coordinator = self.coordinator.as_ref();
        let of_coordinator = of_coordinator.and_then(|one| one.next_tick(now));
        let of_participant = self.participant.as_ref().map(|one| one.next_tick());
        of_coordinator.into_iter().chain(of_participant).min()
    }

    /// What is to be said to `node` now, which may be this one. `nodes` are those of the configuration, as bits.
    pub fn poll(&mut self, node: NodeId, nodes: u64, now: u64) -> Option<RolloutMessage> {
        if let Some(coordinator) = &mut self.coordinator {
            if let Some(ask) = coordinator.poll(node, now) {
                return Some((coordinator.id(), ask));
            }
        }
        let participant = self.participant.as_mut()?;
        let is_due = participant.poll(node, nodes);
        is_due.then_some((participant.id(), RolloutAsk::Outcome))
    }

    /// When there may be something to say to `node`, unless something else happens before.
    pub fn next_poll(&self, node: NodeId, now: u64) -> Option<u64> {
        self.coordinator.as_ref()?.next_poll(node, now)
    }

    /// What `node` has answered to a message that was sent at `sent`. `nodes` are those of the configuration.
    pub fn told(
        &mut self,
        node: NodeId,
        (id, ask): &RolloutMessage,
        sent: u64,
        answer: RolloutAnswer,
        (nodes, now): (u64, u64),
    ) -> RolloutEffect {
        if *ask == RolloutAsk::Outcome {
            let Some(participant) = self.participant.as_mut().filter(|one| one.id() == *id) else {
                return RolloutEffect::None;
            };
            let effect = participant.told(node, answer, nodes);
            self.follow(*id, effect);
            return effect;
        }
        if let Some(coordinator) = self.coordinated(id.number) {
            coordinator.told(node, ask, sent, answer, now);
        }
        RolloutEffect::None
    }

    /// `node` has not answered, or has refused.
    pub fn failed(&mut self, node: NodeId, (id, ask): &RolloutMessage, is_refused: bool, now: u64) {
        if let Some(coordinator) = self.coordinated(id.number) {
            coordinator.failed(node, ask, is_refused, now);
        }
    }
}
