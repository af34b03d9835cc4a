// SPDX-License-Identifier: GPL-2.0

//! Three nodes, one of which rolls out. Messages take any time, are lost, or come when their sender has given
//! up; nodes restart with nothing but the coordinator's disk, and the coordinator may be taken out of the
//! configuration of the others.

use stateright::{Model, Property};
use std::collections::BTreeSet;
use virgo_proto::{
    analytics::rollout::{
        RolloutAnswer, RolloutAsk, RolloutMessage, RolloutTiming,
        coordinator::RolloutPhase,
        node::{DecidedRollouts, MAX_OUTCOMES, RolloutAdmission, RolloutNode},
        participant::{RolloutEffect, RolloutStage},
    },
    vuid::bit,
};

const NODES: usize = 3;
const ALL: u64 = 0b111;
const NUMBER: u64 = 7;

const TIMING: RolloutTiming = RolloutTiming {
    lease_ms: 5,
    keep_ms: 1,
    margin_ms: 1,
    owner_ms: 4,
};

/// What is under way from a node to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Flight {
    Asked(RolloutMessage, u64),
    Answered(RolloutMessage, u64, RolloutAnswer),
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u64,
    nodes: Vec<RolloutNode<NODES>>,
    /// Which nodes have the new values in force, as bits.
    new: u64,
    flights: Vec<Option<Flight>>,
    /// Requests whose senders have given up: they may still come.
    late: Vec<(u8, u8, RolloutMessage)>,
    /// The coordinator's disk.
    disk: DecidedRollouts,
    /// What is being written to it.
    writing: Option<DecidedRollouts>,
    restarts: u32,
    losses: u32,
    /// Nodes that have restarted, as bits.
    restarted: u64,
    /// Nodes that have taken the coordinator out of their configuration, as bits.
    removed: u64,
    /// How the roll-out has ever ended anywhere: node, and whether with the new values.
    ends: BTreeSet<(u8, bool)>,
    /// A node in doubt has learnt that it is committed.
    is_healed: bool,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node sends what it has to say to another, or to itself.
    Send(u8, u8),
    /// What is under way between two arrives.
    Arrive(u8, u8),
    /// A node gives up waiting for another's answer, which may not have got the request.
    GiveUp(u8, u8),
    /// A request that was given up arrives.
    Late(usize),
    /// A node looks at the clock.
    Tick(u8),
    /// A node restarts.
    Restart(u8),
    /// Who has begun the roll-out says that he is there.
    Touch,
    /// Who has begun the roll-out wants it.
    Decide,
    /// Who has begun the roll-out does not want it any more.
    GiveBack,
    /// The disk has the decision.
    Written,
    /// The coordinator is told that it is on disk, or that it is not.
    Decided(bool),
    /// A node takes the coordinator out of its configuration.
    Remove(u8),
    /// Time passes.
    Pass,
}

/// See the module.
#[derive(Clone)]
pub struct Rollouts {
    /// Time ends then.
    pub end: u64,
    /// Which node tries the values first.
    pub canary: Option<u8>,
    /// Restarts of all nodes together.
    pub restarts: u32,
    /// Whether all nodes are ready at the beginning, and the canary has the values.
    pub is_ready: bool,
    /// Messages that are given up.
    pub losses: u32,
    /// Whether who has begun it may give it up.
    pub gives_back: bool,
    /// Whether the coordinator may be taken out of the configuration.
    pub removes: bool,
}

fn slot(from: u8, to: u8) -> usize {
    usize::from(from - 1) * NODES + usize::from(to - 1)
}

impl State {
    fn node(&mut self, node: u8) -> &mut RolloutNode<NODES> {
        &mut self.nodes[usize::from(node) - 1]
    }

    fn configured(&self, node: u8) -> u64 {
        match self.removed & bit(node) {
            0 => ALL,
            _ => ALL & !bit(1),
        }
    }

    fn apply(&mut self, node: u8, effect: RolloutEffect) {
        match effect {
            RolloutEffect::None => (),
            RolloutEffect::Put => self.new |= bit(node),
            RolloutEffect::TakeBack => self.new &= !bit(node),
            RolloutEffect::Keep => {
                self.new |= bit(node);
                self.ends.insert((node, true));
            }
            RolloutEffect::Drop => {
                self.new &= !bit(node);
                self.ends.insert((node, false));
            }
        }
    }

    /// What `to` answers to `from`; `None` if it does not listen to it any more.
    fn answer(&mut self, from: u8, to: u8, (id, ask): &RolloutMessage) -> Option<RolloutAnswer> {
        let (now, nodes) = (self.now, self.configured(to));
        if from == 1 && nodes & bit(1) == 0 {
            return None;
        }
        let (answer, effect) = match ask {
            RolloutAsk::Prepare(plan) => match self.node(to).admit(*id, plan, nodes, now) {
                RolloutAdmission::Check => {
                    (self.node(to).prepared(*id, plan, now), RolloutEffect::None)
                }
                RolloutAdmission::Answer(answer, effect) => (answer, effect),
                RolloutAdmission::Busy(_) => unreachable!("there is one roll-out only"),
            },
            ask => self.node(to).handle(*id, ask, nodes, now),
        };
        self.apply(to, effect);
        Some(answer)
    }

    fn hear(
        &mut self,
        from: u8,
        to: u8,
        message: &RolloutMessage,
        sent: u64,
        answer: RolloutAnswer,
    ) {
        let (now, nodes) = (self.now, self.configured(from));
        let effect = self
            .node(from)
            .told(to, message, sent, answer, (nodes, now));
        self.is_healed |= effect == RolloutEffect::Keep;
        self.apply(from, effect);
    }

    fn tick(&mut self, node: u8) {
        let (now, nodes) = (self.now, self.configured(node));
        let effect = self.node(node).tick(nodes, now);
        self.apply(node, effect);
    }

    /// Whether all that know of the roll-out end in the same way, and before long, if nothing is lost from
    /// now on and the owner is gone.
    fn settles(&self) -> bool {
        let mut state = self.clone();
        if let Some(decided) = state.writing.take() {
            state.disk = decided;
            let now = state.now;
            state.node(1).decided(NUMBER, true, now);
        }
        state.flights = vec![None; NODES * NODES];
        state.late.clear();
        let has_ended = |state: &State| {
            let coordinator = state.nodes[0].coordinator();
            coordinator.is_none_or(|one| one.is_decided())
                && state.nodes.iter().all(|node| node.participant().is_none())
        };
        for _ in 0..60 {
            if has_ended(&state) {
                break;
            }
            state.now += 1;
            state.exchange();
        }
        has_ended(&state) && state.agrees()
    }

    /// All say what they have to say, and nothing is lost.
    fn exchange(&mut self) {
        for from in 1..=3 {
            self.tick(from);
            for to in 1..=3 {
                let (now, nodes) = (self.now, self.configured(from));
                let Some(message) = self.node(from).poll(to, nodes, now) else {
                    continue;
                };
                match self.answer(from, to, &message) {
                    Some(answer) => self.hear(from, to, &message, now, answer),
                    None => self.node(from).failed(to, &message, false, now),
                }
            }
        }
    }

    /// Whether no two nodes have ended in different ways. A node that has restarted since has lost what it had;
    /// if the coordinator was taken out by all, it does not count, either.
    fn agrees(&self) -> bool {
        let counts = |node: u8| self.removed == 0 || node != 1 && self.restarted & bit(node) == 0;
        let ends: BTreeSet<bool> = self
            .ends
            .iter()
            .filter(|(node, _)| counts(*node))
            .map(|(_, new)| *new)
            .collect();
        ends.len() < 2
    }
}

impl Model for Rollouts {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut nodes: Vec<_> = (1..=3).map(|me| RolloutNode::new(me, TIMING)).collect();
        nodes[0].begin(NUMBER, ALL, self.canary, 1).unwrap();
        let mut state = State {
            now: 1,
            nodes,
            new: 0,
            flights: vec![None; NODES * NODES],
            late: Vec::new(),
            disk: [0; MAX_OUTCOMES],
            writing: None,
            restarts: 0,
            losses: 0,
            restarted: 0,
            removed: 0,
            ends: BTreeSet::new(),
            is_healed: false,
        };
        if self.is_ready {
            state.exchange();
            state.exchange();
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for from in 1..=3 {
            for to in 1..=3 {
                match &state.flights[slot(from, to)] {
                    None => {
                        let mut node = state.nodes[usize::from(from) - 1].clone();
                        if node.poll(to, state.configured(from), state.now).is_some() {
                            actions.push(Action::Send(from, to));
                        }
                    }
                    Some(_) => {
                        actions.push(Action::Arrive(from, to));
                        if from != to && state.losses < self.losses {
                            actions.push(Action::GiveUp(from, to));
                        }
                    }
                }
            }
            let tick = state.nodes[usize::from(from) - 1].next_tick(state.now);
            if tick.is_some_and(|at| at <= state.now) {
                actions.push(Action::Tick(from));
            }
            if state.restarts < self.restarts {
                actions.push(Action::Restart(from));
            }
            if self.removes && from != 1 && state.removed & bit(from) == 0 {
                actions.push(Action::Remove(from));
            }
        }
        actions.extend((0..state.late.len()).map(Action::Late));
        let coordinator = state.nodes[0].coordinator();
        if coordinator.is_some_and(|one| !one.is_decided()) {
            actions.extend([Action::Touch, Action::Decide]);
            if self.gives_back {
                actions.push(Action::GiveBack);
            }
        }
        if state.writing.is_some() {
            actions.extend([
                Action::Written,
                Action::Decided(true),
                Action::Decided(false),
            ]);
        }
        if state.now < self.end {
            actions.push(Action::Pass);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let now = state.now;
        match action {
            Action::Send(from, to) => {
                let nodes = state.configured(from);
                let message = state.node(from).poll(to, nodes, now)?;
                state.flights[slot(from, to)] = Some(Flight::Asked(message, now));
            }
            Action::Arrive(from, to) => match state.flights[slot(from, to)].take()? {
                Flight::Asked(message, sent) => match state.answer(from, to, &message) {
                    Some(answer) => {
                        let flight = Flight::Answered(message, sent, answer);
                        state.flights[slot(from, to)] = Some(flight);
                    }
                    None => state.node(from).failed(to, &message, false, now),
                },
                Flight::Answered(message, sent, answer) => {
                    state.hear(from, to, &message, sent, answer);
                }
            },
            Action::GiveUp(from, to) => {
                state.losses += 1;
                match state.flights[slot(from, to)].take()? {
                    Flight::Asked(message, _) => {
                        state.node(from).failed(to, &message, false, now);
                        if state.late.is_empty() {
                            state.late.push((from, to, message));
                        }
                    }
                    Flight::Answered(message, ..) => {
                        state.node(from).failed(to, &message, false, now)
                    }
                }
            }
            Action::Late(at) => {
                let (from, to, message) = state.late.remove(at);
                state.answer(from, to, &message);
            }
            Action::Tick(node) => state.tick(node),
            Action::Restart(node) => {
                state.restarts += 1;
                state.restarted |= bit(node);
                state.new &= !bit(node);
                *state.node(node) = RolloutNode::new(node, TIMING);
                if node == 1 {
                    state.writing = None;
                    let disk = state.disk;
                    state.node(1).restore(disk);
                }
                for other in 1..=3 {
                    state.flights[slot(node, other)] = None;
                }
            }
            Action::Touch => state.node(1).coordinated(NUMBER)?.touch(now),
            Action::Decide => {
                if !state.node(1).coordinated(NUMBER)?.decide(now) {
                    // It may have looked at the clock.
                    return (state != *last).then_some(state);
                }
                state.writing = Some(state.node(1).with_decision(NUMBER));
            }
            Action::GiveBack => {
                state.node(1).coordinated(NUMBER)?.abort(now);
            }
            Action::Written => state.disk = state.writing?,
            Action::Decided(true) => {
                state.disk = state.writing.take()?;
                state.node(1).decided(NUMBER, true, now);
            }
            Action::Decided(false) => {
                // It was not written, or is taken back.
                state.writing = None;
                state.disk = [0; MAX_OUTCOMES];
                state.node(1).decided(NUMBER, false, now);
            }
            Action::Remove(node) => state.removed |= bit(node),
            Action::Pass => state.now += 1,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("all end in the same way", |_, state: &State| state.agrees()),
            Property::always(
                "new values are decided, or on trial for a lease",
                |model: &Self, state: &State| {
                    (1..=3).all(|node| {
                        let participant = state.nodes[usize::from(node) - 1].participant();
                        let on_trial = participant.is_some_and(|one| {
                            one.stage() == RolloutStage::Trial && model.canary == Some(node)
                        });
                        state.new & bit(node) == 0 || on_trial || state.ends.contains(&(node, true))
                    })
                },
            ),
            Property::always(
                "new values stay only if the disk says so",
                |_, state: &State| {
                    state.disk.contains(&NUMBER) || !state.ends.iter().any(|(_, new)| *new)
                },
            ),
            Property::always("it comes to an end", |_, state: &State| state.settles()),
            Property::sometimes("all have the new values", |_, state: &State| {
                state.new == ALL && state.ends.len() == 3
            }),
            Property::sometimes("a node in doubt gets the new values", |_, state: &State| {
                state.is_healed
            }),
            Property::sometimes("it fails, and is said to all", |_, state: &State| {
                let coordinator = state.nodes[0].coordinator();
                let failed = coordinator.is_some_and(|one| {
                    matches!(one.phase(), RolloutPhase::Aborted(_)) && one.untold() == 0
                });
                failed && state.ends.len() == 3
            }),
        ]
    }
}
