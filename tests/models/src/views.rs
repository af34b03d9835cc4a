// SPDX-License-Identifier: GPL-2.0

//! Three nodes that agree on views. Messages take any time, may come late or never; nodes may be slow, and
//! restart with nothing but what they have on disk.

use stateright::{Model, Property};
use std::collections::BTreeSet;
use virgo_proto::cloudsync::{
    membership::{Ask, Durable, Membership, Timing, Told},
    view::View,
};

const NODES: usize = 3;

const TIMING: Timing = Timing {
    beat_ms: 1,
    dead_ms: 2,
    lease_ms: 2,
    margin_ms: 1,
};

/// What is under way from a node to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Flight {
    Asked(Ask<NODES>, u64),
    Answered(Ask<NODES>, u64, Told<NODES>),
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u64,
    nodes: Vec<Membership<NODES>>,
    flights: Vec<Option<Flight>>,
    /// Requests whose senders have given up: they may still come.
    late: Vec<(u8, u8, Ask<NODES>)>,
    restarts: u32,
    boots: u64,
    /// All views that were ever installed.
    views: BTreeSet<(u64, Vec<(u64, u64)>)>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node sends what it has to say to another.
    Send(u8, u8),
    /// What is under way between two arrives.
    Arrive(u8, u8),
    /// A node gives up waiting for another's answer.
    GiveUp(u8, u8),
    /// A request that was given up arrives.
    Late(usize),
    /// A node looks at the clock.
    Tick(u8),
    /// A node restarts.
    Restart(u8),
    /// Time passes.
    Pass,
}

/// See the module.
#[derive(Clone)]
pub struct Views {
    /// Time ends then.
    pub end: u64,
    /// Restarts of all nodes together.
    pub restarts: u32,
    /// Nodes that use locks, as bits.
    pub active: u8,
    /// What a lease lasts, of the views that each node proposes.
    pub leases: [u32; NODES],
}

fn slot(from: u8, to: u8) -> usize {
    usize::from(from - 1) * NODES + usize::from(to - 1)
}

fn members(view: &View<NODES>) -> Vec<(u64, u64)> {
    view.members
        .iter()
        .map(|member| (member.boot, member.joined))
        .collect()
}

impl Views {
    fn node(&self, me: u8, boot: u64, now: u64, durable: Durable) -> Membership<NODES> {
        let timing = Timing {
            lease_ms: self.leases[usize::from(me) - 1],
            ..TIMING
        };
        let mut node = Membership::new(me, boot, timing, durable);
        node.configure(0b111, 0);
        node.set_active(self.active & (1 << (me - 1)) != 0, now);
        node
    }
}

impl Model for Views {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let nodes = (1..=3).map(|me| self.node(me, me.into(), 1, Durable::default()));
        vec![State {
            now: 1,
            nodes: nodes.collect(),
            flights: vec![None; NODES * NODES],
            late: Vec::new(),
            restarts: 0,
            boots: 3,
            views: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for from in 1..=3 {
            for to in (1..=3).filter(|to| *to != from) {
                match &state.flights[slot(from, to)] {
                    None => actions.push(Action::Send(from, to)),
                    Some(flight) => {
                        actions.push(Action::Arrive(from, to));
                        if let Flight::Asked(..) = flight {
                            actions.push(Action::GiveUp(from, to));
                        }
                    }
                }
            }
            actions.push(Action::Tick(from));
            if state.restarts < self.restarts {
                actions.push(Action::Restart(from));
            }
        }
        actions.extend((0..state.late.len()).map(Action::Late));
        if state.now < self.end {
            actions.push(Action::Pass);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let now = state.now;
        match action {
            Action::Send(from, to) => {
                let ask = state.nodes[usize::from(from) - 1].poll(to, now)?;
                state.flights[slot(from, to)] = Some(Flight::Asked(ask, now));
            }
            Action::Arrive(from, to) => {
                let flight = state.flights[slot(from, to)].take()?;
                match flight {
                    Flight::Asked(ask, sent) => {
                        let told = state.nodes[usize::from(to) - 1].handle(from, &ask, now);
                        state.flights[slot(from, to)] = Some(Flight::Answered(ask, sent, told));
                    }
                    Flight::Answered(ask, sent, told) => {
                        state.nodes[usize::from(from) - 1].told(to, &ask, sent, &told, now);
                    }
                }
            }
            Action::GiveUp(from, to) => {
                let Some(Flight::Asked(ask, _)) = state.flights[slot(from, to)].take() else {
                    return None;
                };
                state.nodes[usize::from(from) - 1].failed(to, &ask, now);
                let is_worth = !matches!(ask, Ask::Beat { .. } | Ask::Fetch);
                if is_worth && state.late.is_empty() {
                    state.late.push((from, to, ask));
                }
            }
            Action::Late(at) => {
                let (from, to, ask) = state.late.remove(at);
                state.nodes[usize::from(to) - 1].handle(from, &ask, now);
            }
            Action::Tick(node) => {
                state.nodes[usize::from(node) - 1].tick(now);
            }
            Action::Restart(node) => {
                state.restarts += 1;
                state.boots += 1;
                let durable = state.nodes[usize::from(node) - 1].durable();
                state.nodes[usize::from(node) - 1] = self.node(node, state.boots, now, durable);
                for other in 1..=3 {
                    state.flights[slot(node, other)] = None;
                }
            }
            Action::Pass => state.now += 1,
        }
        let views: Vec<_> = state.nodes.iter().map(|node| *node.view()).collect();
        let known = views.iter().filter(|view| view.nodes().next().is_some());
        let known: Vec<_> = known.map(|view| (view.number, members(view))).collect();
        state.views.extend(known);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a number belongs to one view", |_, state: &State| {
                let numbers: BTreeSet<u64> = state.views.iter().map(|view| view.0).collect();
                numbers.len() == state.views.len()
            }),
            Property::always(
                "who is left out holds nothing when others begin",
                |_, state: &State| {
                    let now = state.now;
                    let nodes = || (1u8..).zip(&state.nodes);
                    let leases = || nodes().filter(|(_, node)| node.has_lease(now));
                    let holds = || nodes().filter(|(_, node)| now < node.holds_until(now));
                    holds().all(|(old, former)| {
                        leases().all(|(_, node)| {
                            let (before, view) = (former.view(), node.view());
                            let member = view.member(old);
                            let knows = member.boot == before.member(old).boot
                                && member.joined <= before.number;
                            before.number >= view.number || knows || now < node.opens_at()
                        })
                    })
                },
            ),
            Property::sometimes("a view with all", |_, state: &State| {
                state
                    .nodes
                    .iter()
                    .any(|node| node.view().nodes().count() == 3)
            }),
            Property::sometimes("a lease", |_, state: &State| {
                state.nodes.iter().any(|node| node.has_lease(state.now))
            }),
            Property::sometimes(
                "a view that has lost somebody, with a lease",
                |_, state: &State| {
                    let lost = |node: &Membership<NODES>| {
                        node.view().has_lost && node.has_lease(state.now)
                    };
                    state.nodes.iter().any(lost)
                },
            ),
        ]
    }
}
