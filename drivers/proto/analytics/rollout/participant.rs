// SPDX-License-Identifier: GPL-2.0

//! A node's part in a roll-out that others coordinate.

use super::{RolloutAnswer, RolloutAsk, RolloutId, RolloutPlan};
use crate::vuid::{bit, NodeId};

/// Between two questions for an outcome, at most, in milliseconds.
const MAX_QUESTION_MS: u32 = 16_000;

/// Where a participant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RolloutStage {
    /// It could have the new values at any moment, until its lease ends.
    Prepared,
    /// It has the new values, until its lease ends.
    Trial,
    /// Its lease has ended: it has the old values, and asks for the outcome.
    Doubt,
}

/// What is to be done to the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RolloutEffect {
    /// Nothing.
    None,
    /// The new values are put in force, and may be taken back.
    Put,
    /// The old values come back; the new ones may still be wanted.
    TakeBack,
    /// The new values are in force from now on, and nothing else is wanted of them.
    Keep,
    /// The old values are in force from now on, and nothing else is wanted of the new ones.
    Drop,
}

/// A roll-out that this node takes part in. Times are in milliseconds of any clock of this node's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutParticipant {
    id: RolloutId,
    /// Who may know the outcome, as bits: the other nodes that take part, and the coordinator.
    others: u64,
    stage: RolloutStage,
    /// When the lease ends; in doubt, when the others are asked again.
    until: u64,
    /// Nodes that are to be asked now.
    to_ask: u64,
    /// Nodes that were asked, and whose answers count.
    asked: u64,
    /// Nodes that have said they do not know, and have no coordinator either.
    doubting: u64,
    /// Between two questions.
    question_ms: u32,
}

impl RolloutParticipant {
    /// Node `me` is ready: it has checked everything, and has the memory. Others are asked every `keep_ms`
    /// at first if it comes to that.
    pub fn new(id: RolloutId, me: NodeId, plan: &RolloutPlan, keep_ms: u32, now: u64) -> Self {
        RolloutParticipant {
            id,
            others: plan.nodes & !bit(me) | bit(id.coordinator),
            stage: RolloutStage::Prepared,
            until: now.saturating_add(plan.lease_ms.into()),
            to_ask: 0,
            asked: 0,
            doubting: 0,
            question_ms: keep_ms.max(1),
        }
    }

    /// Which roll-out.
    pub fn id(&self) -> RolloutId {
        self.id
    }

    /// Where it is.
    pub fn stage(&self) -> RolloutStage {
        self.stage
    }

    /// When [`Self::tick`] has something to do.
    pub fn next_tick(&self) -> u64 {
        self.until
    }

    /// Answers another node. `nodes` are those of the configuration, as bits. Whoever gets
    /// [`RolloutEffect::Keep`] or [`RolloutEffect::Drop`] forgets the participant.
    pub fn handle(
        &mut self,
        ask: &RolloutAsk,
        nodes: u64,
        now: u64,
    ) -> (RolloutAnswer, RolloutEffect) {
        // A lease that has ended does not begin anew: the coordinator has counted on no more.
        let lapsed = self.tick(now);
        let is_orphan = nodes & bit(self.id.coordinator) == 0;
        let (answer, effect) = match (ask, self.stage) {
            (RolloutAsk::Outcome, RolloutStage::Doubt) if is_orphan => {
                // Who is told this may end with the old values if all say so. So what this node has asked
                // before must not make it end with the new ones.
                self.asked = 0;
                (RolloutAnswer::Doubt, RolloutEffect::None)
            }
            (RolloutAsk::Outcome, _) => (RolloutAnswer::Undecided, RolloutEffect::None),
            (_, RolloutStage::Doubt) if is_orphan => (RolloutAnswer::Doubt, RolloutEffect::None),
            (RolloutAsk::Commit, _) => (RolloutAnswer::Committed, RolloutEffect::Keep),
            (RolloutAsk::Abort, _) => (RolloutAnswer::Aborted, RolloutEffect::Drop),
            (_, RolloutStage::Doubt) => (RolloutAnswer::Doubt, RolloutEffect::None),
            (RolloutAsk::Prepare(_), _) => (RolloutAnswer::Held, RolloutEffect::None),
            (RolloutAsk::Keep { lease_ms }, _) => {
                self.until = now.saturating_add((*lease_ms).into());
                (RolloutAnswer::Held, RolloutEffect::None)
            }
            (RolloutAsk::Try { lease_ms }, stage) => {
                self.until = now.saturating_add((*lease_ms).into());
                self.stage = RolloutStage::Trial;
                match stage {
                    RolloutStage::Trial => (RolloutAnswer::Held, RolloutEffect::None),
                    _ => (RolloutAnswer::Held, RolloutEffect::Put),
                }
            }
        };
        match effect {
            RolloutEffect::None => (answer, lapsed),
            effect => (answer, effect),
        }
    }

    /// Does what the time demands.
    pub fn tick(&mut self, now: u64) -> RolloutEffect {
        if now < self.until {
            return RolloutEffect::None;
        }
        let before = core::mem::replace(&mut self.stage, RolloutStage::Doubt);
        self.to_ask = self.others;
        if before == RolloutStage::Doubt {
            self.question_ms = self.question_ms.saturating_mul(2).min(MAX_QUESTION_MS);
        }
        self.until = now.saturating_add(self.question_ms.into());
        match before {
            RolloutStage::Trial => RolloutEffect::TakeBack,
            _ => RolloutEffect::None,
        }
    }

    /// Whether `node` is to be asked for the outcome now. Only once a round, and only if it is one of `nodes`,
    /// which are those of the configuration, as bits.
    pub fn poll(&mut self, node: NodeId, nodes: u64) -> bool {
        let is_due = self.stage == RolloutStage::Doubt && self.to_ask & nodes & bit(node) != 0;
        if is_due {
            self.to_ask &= !bit(node);
            self.asked |= bit(node);
        }
        is_due
    }

    /// What `node` has answered to the last question for the outcome. `nodes` are those of the
    /// configuration, as bits.
    pub fn told(&mut self, node: NodeId, answer: RolloutAnswer, nodes: u64) -> RolloutEffect {
        if self.asked & nodes & bit(node) == 0 {
            return RolloutEffect::None;
        }
        self.asked &= !bit(node);
        let is_coordinator = node == self.id.coordinator;
        match answer {
            RolloutAnswer::Committed => return RolloutEffect::Keep,
            RolloutAnswer::Aborted => return RolloutEffect::Drop,
            // A coordinator knows, or is not one.
            RolloutAnswer::Doubt if !is_coordinator => self.doubting |= bit(node),
            _ => self.doubting &= !bit(node),
        }
        self.end_without_coordinator(nodes)
    }

    /// Ends it if the coordinator is none of `nodes`, which are those of the configuration, and nobody else
    /// knows more than this node does.
    pub fn end_without_coordinator(&self, nodes: u64) -> RolloutEffect {
        let is_alone = self.stage == RolloutStage::Doubt && nodes & bit(self.id.coordinator) == 0;
        match is_alone && self.others & nodes & !self.doubting == 0 {
            true => RolloutEffect::Drop,
            false => RolloutEffect::None,
        }
    }
}
