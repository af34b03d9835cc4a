// SPDX-License-Identifier: GPL-2.0

//! How roll-outs go, step by step; all orders of events are the model's (`tests/models`).

use super::{
    coordinator::{RolloutFailure, RolloutPhase},
    node::{RolloutAdmission, RolloutNode},
    participant::{RolloutEffect, RolloutStage},
    RolloutAnswer, RolloutAsk, RolloutMessage, RolloutTiming,
};
use crate::vuid::bit;
use std::{vec, vec::Vec};

const TIMING: RolloutTiming = RolloutTiming {
    lease_ms: 1000,
    keep_ms: 200,
    margin_ms: 100,
    owner_ms: 5000,
};

const ALL: u64 = 0b111;

/// Three nodes, what has been done to the variables of each, and who does not hear whom.
struct Trial {
    now: u64,
    nodes: Vec<RolloutNode<3>>,
    effects: Vec<Vec<RolloutEffect>>,
    cut: Vec<(u8, u8)>,
    /// The configuration of each.
    configured: [u64; 3],
}

impl Trial {
    fn new(canary: Option<u8>) -> Self {
        let mut nodes: Vec<_> = (1..=3).map(|me| RolloutNode::new(me, TIMING)).collect();
        nodes[0].begin(7, ALL, canary, 0).unwrap();
        Trial {
            now: 0,
            nodes,
            effects: vec![vec![]; 3],
            cut: vec![],
            configured: [ALL; 3],
        }
    }

    fn node(&mut self, node: u8) -> &mut RolloutNode<3> {
        &mut self.nodes[usize::from(node) - 1]
    }

    fn does(&mut self, node: u8, effect: RolloutEffect) {
        if effect != RolloutEffect::None {
            self.effects[usize::from(node) - 1].push(effect);
        }
    }

    fn configured(&self, node: u8) -> u64 {
        self.configured[usize::from(node) - 1]
    }

    fn answer(&mut self, to: u8, (id, ask): &RolloutMessage) -> RolloutAnswer {
        let (now, nodes) = (self.now, self.configured(to));
        let (answer, effect) = match ask {
            RolloutAsk::Prepare(plan) => match self.node(to).admit(*id, plan, nodes, now) {
                RolloutAdmission::Check => {
                    (self.node(to).prepared(*id, plan, now), RolloutEffect::None)
                }
                RolloutAdmission::Answer(answer, effect) => (answer, effect),
                RolloutAdmission::Busy(other) => panic!("busy with {other:?}"),
            },
            ask => self.node(to).handle(*id, ask, nodes, now),
        };
        self.does(to, effect);
        answer
    }

    /// Lets time pass, in which all say what they have to say.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now += 50;
            for from in 1..=3 {
                let (now, nodes) = (self.now, self.configured(from));
                let effect = self.node(from).tick(nodes, now);
                self.does(from, effect);
                for to in 1..=3 {
                    let Some(message) = self.node(from).poll(to, nodes, now) else {
                        continue;
                    };
                    if self.cut.contains(&(from, to)) || self.cut.contains(&(to, from)) {
                        self.node(from).failed(to, &message, false, now);
                        continue;
                    }
                    let answer = self.answer(to, &message);
                    let effect = self
                        .node(from)
                        .told(to, &message, now, answer, (nodes, now));
                    self.does(from, effect);
                }
            }
        }
    }

    fn phase(&self) -> RolloutPhase {
        self.nodes[0].coordinator().unwrap().phase()
    }

    fn stage(&self, node: u8) -> Option<RolloutStage> {
        let participant = self.nodes[usize::from(node) - 1].participant();
        participant.map(|one| one.stage())
    }

    fn decide(&mut self, is_on_disk: bool) {
        let now = self.now;
        assert!(self.node(1).coordinated(7).unwrap().decide(now));
        self.node(1).decided(7, is_on_disk, now);
    }
}

#[test]
fn all_get_the_values_and_the_canary_is_the_first() {
    let mut trial = Trial::new(Some(2));
    trial.pass(300);
    assert_eq!(trial.phase(), RolloutPhase::Ready);
    assert_eq!(trial.effects[1], [RolloutEffect::Put]);
    assert!(trial.effects[0].is_empty() && trial.effects[2].is_empty());
    // As long as its owner is there, and no longer.
    for _ in 0..5 {
        trial.pass(3000);
        let now = trial.now;
        trial.node(1).coordinated(7).unwrap().touch(now);
    }
    trial.decide(true);
    trial.pass(100);
    assert_eq!(trial.effects[1], [RolloutEffect::Put, RolloutEffect::Keep]);
    assert_eq!(trial.effects[0], [RolloutEffect::Keep]);
    assert_eq!(trial.effects[2], [RolloutEffect::Keep]);
    let coordinator = trial.nodes[0].coordinator().unwrap();
    assert!(coordinator.is_over(trial.now) && coordinator.untold() == 0);
}

#[test]
fn all_go_back_without_the_owner_or_the_disk() {
    let mut trial = Trial::new(Some(2));
    trial.pass(6000);
    let gone = RolloutPhase::Aborted(RolloutFailure::OwnerGone);
    assert_eq!(trial.phase(), gone);
    assert_eq!(trial.effects[1], [RolloutEffect::Put, RolloutEffect::Drop]);
    assert_eq!(trial.effects[2], [RolloutEffect::Drop]);
    let mut trial = Trial::new(None);
    trial.pass(300);
    trial.decide(false);
    trial.pass(300);
    assert_eq!(trial.phase(), RolloutPhase::Aborted(RolloutFailure::Disk));
    assert_eq!(trial.effects[2], [RolloutEffect::Drop]);
}

#[test]
fn who_is_cut_off_while_it_is_decided_gets_the_values_later() {
    for canary in [None, Some(3)] {
        let mut trial = Trial::new(canary);
        trial.pass(300);
        trial.cut = vec![(1, 3), (2, 3)];
        trial.decide(true);
        trial.pass(5000);
        assert_eq!(trial.effects[1], [RolloutEffect::Keep]);
        assert_eq!(trial.stage(3), Some(RolloutStage::Doubt));
        assert_ne!(trial.effects[2].last(), Some(&RolloutEffect::Keep));
        // Of another one than the coordinator.
        trial.cut = vec![(1, 3)];
        trial.pass(40_000);
        assert_eq!(trial.effects[2].last(), Some(&RolloutEffect::Keep));
        assert_eq!(trial.stage(3), None);
    }
}

#[test]
fn a_coordinator_that_dies_before_its_decision_has_decided_nothing() {
    let mut trial = Trial::new(Some(2));
    trial.pass(300);
    trial.cut = vec![(1, 2), (1, 3)];
    trial.pass(2000);
    assert_eq!(
        trial.effects[1],
        [RolloutEffect::Put, RolloutEffect::TakeBack]
    );
    assert_eq!(trial.stage(3), Some(RolloutStage::Doubt));
    // It has restarted, with what is on its disk.
    *trial.node(1) = RolloutNode::new(1, TIMING);
    trial.cut.clear();
    trial.pass(40_000);
    assert_eq!(trial.effects[1].last(), Some(&RolloutEffect::Drop));
    assert_eq!(trial.effects[2], [RolloutEffect::Drop]);
}

#[test]
fn a_coordinator_that_dies_after_its_decision_has_decided() {
    let mut trial = Trial::new(Some(2));
    trial.pass(300);
    trial.cut = vec![(1, 2), (1, 3)];
    trial.decide(true);
    let disk = trial.node(1).decisions();
    assert_eq!(disk[0], 7);
    trial.pass(2000);
    *trial.node(1) = RolloutNode::new(1, TIMING);
    trial.node(1).restore(disk);
    trial.cut.clear();
    trial.pass(40_000);
    assert_eq!(trial.effects[1].last(), Some(&RolloutEffect::Keep));
    assert_eq!(trial.effects[2], [RolloutEffect::Keep]);
}

#[test]
fn without_the_coordinators_node_all_keep_the_old_values() {
    let mut trial = Trial::new(Some(2));
    trial.pass(300);
    trial.cut = vec![(1, 2), (1, 3)];
    trial.pass(5000);
    trial.configured[1] = 0b110;
    trial.pass(40_000);
    // Node 3 still has it in its configuration.
    assert_eq!(trial.stage(2), Some(RolloutStage::Doubt));
    trial.configured[2] = 0b110;
    trial.pass(40_000);
    assert_eq!(trial.stage(2), None);
    assert_eq!(trial.stage(3), None);
    assert_eq!(trial.effects[1].last(), Some(&RolloutEffect::Drop));
}

#[test]
fn nothing_is_decided_when_a_lease_is_about_to_end() {
    let mut trial = Trial::new(None);
    trial.pass(300);
    // The last word that node 3 has heard is 200 ms old at most; its lease is counted on for 775 ms.
    trial.cut = vec![(1, 3)];
    trial.pass(600);
    let now = trial.now + 200;
    assert!(!trial.node(1).coordinated(7).unwrap().decide(now));
    let silent = RolloutPhase::Aborted(RolloutFailure::Silent(3));
    assert_eq!(trial.phase(), silent);
}

#[test]
fn one_at_a_time() {
    let mut trial = Trial::new(None);
    assert!(trial.node(1).begin(8, ALL, None, 10).is_err());
    trial.pass(300);
    let now = trial.now;
    let other = trial.node(2).begin(9, ALL, None, now).unwrap();
    let (id, ask) = trial.node(2).poll(3, ALL, now).unwrap();
    assert_eq!(id, other);
    let RolloutAsk::Prepare(plan) = ask else {
        panic!("{ask:?}");
    };
    assert_eq!(plan.nodes, bit(1) | bit(2) | bit(3));
    let busy = trial.node(3).admit(id, &plan, ALL, now);
    assert!(matches!(busy, RolloutAdmission::Busy(first) if first.number == 7));
    trial.decide(true);
    trial.pass(300);
    assert!(trial.node(1).begin(8, ALL, None, now + 300).is_ok());
}

#[test]
fn what_has_ended_is_not_begun_by_a_late_request() {
    let mut trial = Trial::new(None);
    let now = trial.now;
    let (id, ask) = trial.node(1).poll(3, ALL, now).unwrap();
    assert!(trial.node(1).coordinated(7).unwrap().abort(now));
    let abort = trial.answer(3, &(id, RolloutAsk::Abort));
    assert_eq!(abort, RolloutAnswer::Aborted);
    assert_eq!(trial.answer(3, &(id, ask)), RolloutAnswer::Aborted);
    assert_eq!(trial.stage(3), None);
    // Nor by one that comes when somebody has heard that this node knows nothing.
    assert_eq!(
        trial.answer(2, &(id, RolloutAsk::Outcome)),
        RolloutAnswer::Doubt
    );
    assert_eq!(trial.answer(2, &(id, ask)), RolloutAnswer::Doubt);
}
