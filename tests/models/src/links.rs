// SPDX-License-Identifier: GPL-2.0

//! Nodes some of whose links break, for good and each in one direction or both. Whatever else is sent arrives
//! at once, so that all that happens follows from the links: views must come to an end.

use stateright::{Model, Property};
use std::collections::BTreeSet;
use virgo_proto::cloudsync::membership::{Durable, Membership, Timing};

/// A node is found dead later than its link breaks, and what it knew is out of date still later.
const TIMING: Timing = Timing {
    beat_ms: 1,
    dead_ms: 3,
    lease_ms: 3,
    margin_ms: 1,
};

/// All links work until then.
const BREAK: u64 = 6;

/// When the last view is there, and all that follows from it.
const SETTLED: u64 = BREAK + 40;

/// Requests of a node to another in one unit of time.
const MOST: usize = 6;

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    now: u64,
    nodes: Vec<Membership<N>>,
    /// Whose turn comes first, if that does not change.
    first: u8,
    /// Requests that will not arrive: from whom, to whom.
    broken: BTreeSet<(u8, u8)>,
    /// Nodes that use locks.
    active: BTreeSet<u8>,
    /// Views since the links broke.
    views: BTreeSet<u64>,
    /// Who was left out since then.
    lost: BTreeSet<u8>,
    /// Views since all must have settled.
    late: BTreeSet<u64>,
}

/// A unit of time passes; nodes have their turns from this one on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn(u8);

/// See the module. Each pair of the lists is one way in which a cluster begins.
#[derive(Clone)]
pub struct Links<const N: usize> {
    /// Time ends then.
    pub end: u64,
    /// Requests that do not arrive.
    pub broken: Vec<BTreeSet<(u8, u8)>>,
    /// Nodes that use locks.
    pub active: Vec<BTreeSet<u8>>,
    /// Whether another node may come first in each unit of time.
    pub any_order: bool,
}

impl<const N: usize> Links<N> {
    /// One with all sets of broken directions in which `is_case` says so, and all sets of nodes that use locks.
    pub fn all(end: u64, any_order: bool, is_case: impl Fn(&BTreeSet<(u8, u8)>) -> bool) -> Self {
        let links: Vec<_> = (1..=N as u8)
            .flat_map(|from| (1..=N as u8).map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .collect();
        let some = |bits: u64| {
            let links = links.iter().enumerate();
            links
                .filter(move |(at, _)| bits & (1 << at) != 0)
                .map(|(_, link)| *link)
                .collect::<BTreeSet<_>>()
        };
        let nodes = |bits: u64| (1..=N as u8).filter(move |node| bits & (1 << node) != 0);
        Links {
            end,
            broken: (0..1 << links.len()).map(some).filter(is_case).collect(),
            active: (1..1 << N).map(|bits| nodes(bits << 1).collect()).collect(),
            any_order,
        }
    }

    /// Whether a majority is without a broken link among its members, and all of these use locks.
    fn has_majority(state: &State<N>) -> bool {
        let links = |node: u8| {
            let ends = |link: &&(u8, u8)| link.0 == node || link.1 == node;
            state.broken.iter().filter(ends).count()
        };
        let whole = (1..=N as u8).filter(|node| links(*node) == 0);
        state.active.len() == N && whole.count() > N / 2
    }
}

impl<const N: usize> Model for Links<N> {
    type State = State<N>;
    type Action = Turn;

    fn init_states(&self) -> Vec<State<N>> {
        let each = self.broken.iter();
        let each = each.flat_map(|broken| self.active.iter().map(move |active| (broken, active)));
        let each = each.flat_map(|(broken, active)| {
            let first = if self.any_order { 1..=1 } else { 1..=N as u8 };
            first.map(move |first| (broken, active, first))
        });
        let states = each.map(|(broken, active, first)| {
            let nodes = (1..=N as u8).map(|me| {
                let mut node = Membership::new(me, me.into(), TIMING, Durable::default());
                node.configure((1 << N) - 1, 0);
                node.set_active(active.contains(&me), 1);
                node
            });
            State {
                now: 1,
                nodes: nodes.collect(),
                first,
                broken: broken.clone(),
                active: active.clone(),
                views: BTreeSet::new(),
                lost: BTreeSet::new(),
                late: BTreeSet::new(),
            }
        });
        states.collect()
    }

    fn actions(&self, state: &State<N>, actions: &mut Vec<Turn>) {
        if state.now < self.end {
            match self.any_order {
                true => actions.extend((1..=N as u8).map(Turn)),
                false => actions.push(Turn(state.first)),
            }
        }
    }

    fn next_state(&self, last: &State<N>, Turn(first): Turn) -> Option<State<N>> {
        let mut state = last.clone();
        let now = state.now;
        for turn in 0..N as u8 {
            let from = (first - 1 + turn) % N as u8 + 1;
            state.nodes[usize::from(from) - 1].tick(now);
            for to in (1..=N as u8).filter(|to| *to != from) {
                for _ in 0..MOST {
                    let Some(ask) = state.nodes[usize::from(from) - 1].poll(to, now) else {
                        break;
                    };
                    if now >= BREAK && state.broken.contains(&(from, to)) {
                        state.nodes[usize::from(from) - 1].failed(to, &ask, now);
                        continue;
                    }
                    let told = state.nodes[usize::from(to) - 1].handle(from, &ask, now);
                    state.nodes[usize::from(from) - 1].told(to, &ask, now, &told, now);
                }
            }
        }
        let newest = |nodes: &[Membership<N>]| {
            let views = nodes.iter().map(|node| *node.view());
            views.max_by_key(|view| view.number)
        };
        let before = newest(&last.nodes).map(|view| view.number);
        let latest = newest(&state.nodes).filter(|view| Some(view.number) > before);
        if let Some(latest) = latest.filter(|_| now >= BREAK) {
            state.views.insert(latest.number);
            let goes_on = |node: &u8| latest.continuing().any(|member| member == *node);
            state
                .lost
                .extend((1..=N as u8).filter(|node| !goes_on(node)));
            if now >= SETTLED {
                state.late.insert(latest.number);
            }
        }
        state.now += 1;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("views come to an end", |_, state: &State<N>| {
                state.late.is_empty()
            }),
            Property::always("no more views than nodes", |_, state: &State<N>| {
                state.views.len() <= N
            }),
            Property::always("a whole majority has leases", |_, state: &State<N>| {
                let leases = || state.nodes.iter().filter(|node| node.has_lease(state.now));
                !Self::has_majority(state) || state.now < SETTLED || leases().count() > N / 2
            }),
            Property::always(
                "one broken link takes the locks of one node",
                |_, state: &State<N>| {
                    let ends = state.broken.iter().flat_map(|link| [link.0, link.1]);
                    let ends: BTreeSet<u8> = ends.collect();
                    ends.len() != 2 || state.active.len() < N || state.lost.len() <= 1
                },
            ),
            Property::sometimes("a view since a link broke", |_, state: &State<N>| {
                !state.views.is_empty()
            }),
        ]
    }
}
