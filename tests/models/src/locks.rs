// SPDX-License-Identifier: GPL-2.0

//! One name on three nodes, over a change of view. Messages come in any order, any number of times, or
//! never. Views come from elsewhere (see [`crate::views`]): the nodes learn of the second one at any time,
//! and who is left out by it goes on using what it has until its lease ends. Or node 3 comes back in another
//! incarnation, which knows nothing.

use stateright::{Model, Property};
use std::collections::BTreeSet;
use virgo_proto::cloudsync::{
    Mode, Token, Value,
    holder::{Holder, Local},
    list::{Full, List},
    resource::{Answer, Claim, Entry, Notice, Report, Resource, buried},
    view::{Member, View},
};

/// A list on the heap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Items<T>(Vec<T>);

impl<T> List<T> for Items<T> {
    fn items(&self) -> &[T] {
        &self.0
    }

    fn items_mut(&mut self) -> &mut [T] {
        &mut self.0
    }

    fn push(&mut self, item: T) -> Result<(), Full> {
        self.0.push(item);
        Ok(())
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        (index < self.0.len()).then(|| self.0.remove(index))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Message {
    Claim(u8, u64, Claim),
    Answer(u8, u64, Answer),
    Notice(u8, u64, Notice),
    Report(u8, Report),
    /// A node has reported all.
    Reported(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    view: u64,
    holder: Holder<Items<Local>>,
    resource: Option<Resource<Items<Entry>>>,
    /// What it has to report before it claims anything.
    unreported: Vec<Report>,
    requests: u32,
    seq: u64,
}

impl Node {
    fn new() -> Self {
        Node {
            view: 1,
            holder: Holder::new(Items(Vec::new())),
            resource: None,
            unreported: Vec::new(),
            requests: 0,
            seq: 0,
        }
    }
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    nodes: Vec<Node>,
    messages: Vec<Message>,
    /// Who has reported to the new master.
    reported: BTreeSet<u8>,
    is_open: bool,
    /// The lease of who is left out has ended.
    is_expired: bool,
    /// The version of the latest value that a program has written.
    written: u64,
    /// The largest token of each mode.
    tokens: Vec<u64>,
    tokens_in_order: bool,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A program of a node asks for a mode.
    Request(u8, Mode),
    /// It gives the lock back.
    Unlock(u8),
    /// A node says what it has to say.
    Claim(u8),
    /// The master says something to a node.
    Notify(u8),
    /// A message comes; it may come again.
    Deliver(usize),
    /// Node 3 is another incarnation.
    Restart,
    /// A node learns of the second view.
    Install(u8),
    /// The lease of who is left out ends.
    Expire,
    /// The new master begins.
    Open,
}

/// See the module.
#[derive(Clone)]
pub struct Locks {
    /// Who masters the name in each view.
    pub masters: [u8; 2],
    /// Whether node 3 is left out by the second view.
    pub is_left_out: bool,
    /// Whether it is a member of the second one in another incarnation.
    pub restarts: bool,
    /// Requests of each node.
    pub requests: u32,
    /// What they ask for.
    pub modes: Vec<Mode>,
}

impl Locks {
    fn master(&self, view: u64) -> u8 {
        let masters = [0, self.masters[0], self.masters[1]];
        masters[view as usize]
    }

    /// The second view.
    fn second(&self) -> View<3> {
        let mut view = View::NONE;
        view.number = 2;
        view.base = 1;
        view.has_lost = self.is_left_out || self.restarts;
        for (node, member) in (1..).zip(&mut view.members) {
            *member = match node {
                3 if self.is_left_out => Member::default(),
                3 if self.restarts => Member { boot: 4, joined: 2 },
                _ => Member {
                    boot: node,
                    joined: 1,
                },
            };
        }
        view
    }

    /// Whether the name stays with its master.
    fn stays(&self) -> bool {
        self.second().keeps(self.masters[0], self.masters[1])
    }

    /// The view that a node has before it learns of the second one.
    fn before(&self, node: u8) -> u64 {
        match self.restarts && node == 3 {
            true => 0,
            false => 1,
        }
    }

    fn restart(&self, state: &mut State) {
        let requests = state.nodes[2].requests;
        state.nodes[2] = Node {
            view: 0,
            requests,
            ..Node::new()
        };
        state
            .messages
            .retain(|message| !matches!(message, Message::Answer(3, ..) | Message::Notice(3, ..)));
    }

    fn is_gone(&self, node: u8) -> bool {
        self.is_left_out && node == 3
    }

    fn holders_of_second(&self) -> Vec<u8> {
        (1..=3).filter(|node| !self.is_gone(*node)).collect()
    }

    fn may_use(&self, state: &State, node: u8) -> bool {
        !(self.is_gone(node) && state.is_expired)
    }

    /// Lets programs in; notes their tokens.
    fn pump(&self, state: &mut State, node: u8) {
        let has_lease = self.may_use(state, node);
        let of = &mut state.nodes[usize::from(node) - 1];
        let before = of.holder.local(0);
        of.holder.pump(has_lease);
        let Some(local) = of.holder.local(0) else {
            return;
        };
        if let (Some(mode), true) = (
            local.held,
            before.and_then(|before| before.held) != local.held,
        ) {
            for other in Mode::ALL {
                if !other.is_compatible(mode) && state.tokens[other as usize] >= local.token.0 {
                    state.tokens_in_order = false;
                }
            }
            let largest = &mut state.tokens[mode as usize];
            *largest = local.token.0.max(*largest);
        }
    }

    fn say(&self, state: &mut State, message: Message) {
        if !state.messages.contains(&message) {
            state.messages.push(message);
        }
    }

    fn deliver(&self, state: &mut State, message: Message) {
        let second = self.masters[1];
        match message {
            Message::Claim(from, view, claim) => {
                let master = self.master(view);
                if master == 0 {
                    return;
                }
                let node = &mut state.nodes[usize::from(master) - 1];
                if node.view != view {
                    return;
                }
                let is_open = view == 1 || state.is_open || self.stays();
                let is_valid = !self.second().has_lost;
                let resource = node.resource.get_or_insert_with(|| {
                    let list = Items(Vec::new());
                    match is_open {
                        true if is_valid || view == 1 || self.stays() => {
                            Resource::new(list, view, Token(0))
                        }
                        true => Resource::new(list, view, Token(0)).of_unknown_value(),
                        false => Resource::recovering(list, view, is_valid),
                    }
                });
                let answer = resource.claim(from, &claim, view);
                let former = self.restarts && from == 3 && view == 1;
                if former && state.nodes[2].view != 1 {
                    // The connection is gone by which the former incarnation would have got it.
                    return;
                }
                self.say(state, Message::Answer(from, claim.seq, answer));
            }
            Message::Answer(to, seq, answer) => {
                state.nodes[usize::from(to) - 1].holder.answer(seq, &answer);
            }
            Message::Notice(to, view, notice) => {
                let node = &mut state.nodes[usize::from(to) - 1];
                if node.view != view || view == 0 {
                    return;
                }
                node.holder.notice(&notice);
                let master = self.master(view);
                if master == 0 {
                    return;
                }
                let master = &mut state.nodes[usize::from(master) - 1];
                if let Some(resource) = master.resource.as_mut().filter(|_| master.view == view) {
                    resource.told(to, &notice);
                }
            }
            Message::Report(from, report) => {
                if state.nodes[usize::from(second) - 1].view != 2 {
                    return;
                }
                let of = &mut state.nodes[usize::from(from) - 1];
                of.unreported.retain(|unreported| *unreported != report);
                if state.is_open {
                    return;
                }
                let node = &mut state.nodes[usize::from(second) - 1];
                let is_valid = !self.second().has_lost;
                let resource = node
                    .resource
                    .get_or_insert_with(|| Resource::recovering(Items(Vec::new()), 2, is_valid));
                resource.recover(from, &report).expect("there is room");
            }
            Message::Reported(from) => {
                if state.nodes[usize::from(second) - 1].view == 2 {
                    state.reported.insert(from);
                }
            }
        }
    }

    fn install(&self, state: &mut State, node: u8) {
        let of = &mut state.nodes[usize::from(node) - 1];
        of.view = 2;
        if let (Some(resource), true) = (&mut of.resource, self.restarts) {
            resource.bury(3, 2);
        }
        if self.stays() {
            return;
        }
        // What the former master knows it tells, and forgets.
        let mut reports = Vec::new();
        if let Some(resource) = of.resource.take() {
            reports.push(resource.report());
        }
        reports.extend(of.holder.report());
        of.holder.remaster();
        of.unreported = reports.clone();
        for report in reports {
            self.say(state, Message::Report(node, report));
        }
    }

    /// Lets everything happen that can, without faults: whoever has the lock is done with it. Returns
    /// whether nobody waits then.
    fn ends(&self, state: &State) -> bool {
        let mut state = state.clone();
        state.messages.clear();
        for node in self.holders_of_second() {
            if node == 3 && self.restarts && state.nodes[2].view == 1 {
                self.restart(&mut state);
            }
            if state.nodes[usize::from(node) - 1].view != 2 {
                self.install(&mut state, node);
            }
        }
        // Reports are sent until they have come.
        if !state.is_open && !self.stays() {
            let second = usize::from(self.masters[1]) - 1;
            for node in self.holders_of_second() {
                let report = state.nodes[usize::from(node) - 1].holder.report();
                if let (Some(report), false) = (report, state.reported.contains(&node)) {
                    self.deliver(&mut state, Message::Report(node, report));
                }
            }
            if let Some(resource) = &mut state.nodes[second].resource {
                resource.open(2);
            }
        }
        if self.is_left_out && !state.is_open {
            let master = usize::from(self.masters[1]) - 1;
            if let Some(resource) = &mut state.nodes[master].resource {
                resource.remove(3, 2);
            }
        }
        if self.restarts && !state.is_open {
            let master = usize::from(self.masters[1]) - 1;
            if let Some(resource) = &mut state.nodes[master].resource {
                resource.remove(buried(3), 2);
            }
        }
        state.is_open = true;
        state.is_expired = true;
        for _ in 0..40 {
            for node in self.holders_of_second() {
                self.pump(&mut state, node);
                let of = &mut state.nodes[usize::from(node) - 1];
                of.seq += 1;
                let seq = of.seq;
                if let Some(claim) = of.holder.claim(|| seq) {
                    self.deliver(&mut state, Message::Claim(node, 2, claim));
                }
                let master = &state.nodes[usize::from(self.masters[1]) - 1];
                let notice = master
                    .resource
                    .as_ref()
                    .and_then(|resource| resource.notice(node));
                if let Some(notice) = notice {
                    self.deliver(&mut state, Message::Notice(node, 2, notice));
                }
                for message in std::mem::take(&mut state.messages) {
                    self.deliver(&mut state, message);
                }
                self.pump(&mut state, node);
                let of = &mut state.nodes[usize::from(node) - 1];
                if of.holder.local(0).is_some_and(|local| local.want.is_none()) {
                    of.holder.unlock(0);
                }
            }
        }
        let nodes = self.holders_of_second();
        let mut nodes = nodes
            .iter()
            .map(|node| &state.nodes[usize::from(*node) - 1]);
        nodes.all(|node| node.holder.locals().is_empty())
    }
}

impl Model for Locks {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            nodes: vec![Node::new(); 3],
            messages: Vec::new(),
            reported: BTreeSet::new(),
            is_open: false,
            is_expired: false,
            written: 0,
            tokens: vec![0; 7],
            tokens_in_order: true,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, node) in (1u8..).zip(&state.nodes) {
            match node.holder.local(0) {
                None if node.requests < self.requests => {
                    actions.extend(self.modes.iter().map(|mode| Action::Request(number, *mode)));
                }
                Some(local) if local.want.is_none() => actions.push(Action::Unlock(number)),
                _ => (),
            }
            actions.push(Action::Claim(number));
            actions.push(Action::Notify(number));
            if node.view == self.before(number) && !self.is_gone(number) {
                actions.push(Action::Install(number));
            }
        }
        actions.extend((0..state.messages.len()).map(Action::Deliver));
        if self.restarts && state.nodes[2].view == 1 {
            actions.push(Action::Restart);
        }
        if self.is_left_out && !state.is_expired {
            actions.push(Action::Expire);
        }
        if !state.is_open {
            actions.push(Action::Open);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Request(node, mode) => {
                let of = &mut state.nodes[usize::from(node) - 1];
                of.requests += 1;
                of.holder.request(0, mode, false).ok()?;
            }
            Action::Unlock(node) => {
                let of = &mut state.nodes[usize::from(node) - 1];
                of.holder.write(0, &[node; 64]);
                let local = of.holder.unlock(0)?;
                if local.held.is_some_and(Mode::writes) {
                    state.written = state.written.max(local.token.0);
                }
            }
            Action::Claim(node) => {
                let of = &mut state.nodes[usize::from(node) - 1];
                let seq = of.seq + 1;
                let view = of.view;
                if view == 0 || !of.unreported.is_empty() {
                    return None;
                }
                let claim = of.holder.claim(|| seq)?;
                of.seq = of.seq.max(claim.seq);
                self.say(&mut state, Message::Claim(node, view, claim));
            }
            Action::Notify(node) => {
                let mut said = Vec::new();
                for (number, master) in (1u8..).zip(&state.nodes) {
                    if self.master(master.view) == number {
                        let resource = master.resource.as_ref();
                        let notice = resource.and_then(|resource| resource.notice(node));
                        said.extend(
                            notice.map(|notice| Message::Notice(node, master.view, notice)),
                        );
                    }
                }
                for message in said {
                    self.say(&mut state, message);
                }
            }
            Action::Deliver(at) => {
                let message = state.messages[at].clone();
                self.deliver(&mut state, message);
            }
            Action::Restart => self.restart(&mut state),
            Action::Install(node) => {
                self.install(&mut state, node);
                self.say(&mut state, Message::Reported(node));
            }
            Action::Expire => {
                // Time begins to run when the view is decided; it is seen by those who learn of it.
                if state.nodes.iter().all(|node| node.view == 1) {
                    return None;
                }
                state.is_expired = true;
                state.nodes[2].holder.lapse();
            }
            Action::Open => {
                let second = self.masters[1];
                let all = self
                    .holders_of_second()
                    .iter()
                    .all(|node| state.reported.contains(node));
                // A report comes before the word that all have come.
                let come = state.messages.iter().all(|message| match message {
                    Message::Report(from, report) => {
                        let mut probe = state.clone();
                        self.deliver(&mut probe, Message::Report(*from, *report));
                        probe.nodes[usize::from(second) - 1].resource
                            == state.nodes[usize::from(second) - 1].resource
                    }
                    _ => true,
                });
                if !all || !come || (self.is_left_out && !state.is_expired) {
                    return None;
                }
                state.is_open = true;
                if let Some(resource) = &mut state.nodes[usize::from(second) - 1].resource {
                    if self.is_left_out {
                        resource.remove(3, 2);
                    }
                    if self.restarts {
                        resource.remove(buried(3), 2);
                    }
                    resource.open(2);
                }
            }
        }
        for node in 1..=3 {
            self.pump(&mut state, node);
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("exclusion", |_, state: &State| {
                // Programs know nothing of leases: they have a lock until they are told of its end.
                let locals = state.nodes.iter().map(|node| node.holder.local(0));
                let held: Vec<Mode> = locals
                    .filter_map(|local| local.and_then(|local| local.held))
                    .collect();
                let pairs = held.iter().enumerate();
                pairs.into_iter().all(|(at, mode)| {
                    held.iter()
                        .skip(at + 1)
                        .all(|other| mode.is_compatible(*other))
                })
            }),
            Property::always(
                "of two that exclude each other the later has the larger token",
                |_, state: &State| state.tokens_in_order,
            ),
            Property::always("a valid value is the latest", |_, state: &State| {
                let reads = state.nodes.iter().filter(|node| {
                    let held = node.holder.local(0).and_then(|local| local.held);
                    held.is_some_and(|held| !held.is_compatible(Mode::Pw))
                });
                let is_latest = |value: &Value| !value.is_valid || value.version.0 >= state.written;
                reads.into_iter().all(|node| is_latest(node.holder.value()))
            }),
            Property::always(
                "every wait ends when the messages come",
                |model: &Locks, state: &State| model.ends(state),
            ),
            Property::sometimes("a lock in the second view", |_, state: &State| {
                let held = |node: &Node| {
                    node.holder
                        .local(0)
                        .is_some_and(|local| local.held.is_some())
                };
                state.is_open && state.nodes.iter().any(|node| node.view == 2 && held(node))
            }),
        ]
    }
}
