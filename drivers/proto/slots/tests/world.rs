// SPDX-License-Identifier: GPL-2.0

//! Both halves together, with a network between them that loses and repeats.

use super::{table, Key};
use crate::frame::RequestId;
use crate::slots::*;
use proptest::prelude::*;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    vec,
    vec::Vec,
};

#[derive(Clone, Debug)]
enum Step {
    /// A task wants something done.
    Ask {
        uid: u32,
        class: Class,
        repeatable: bool,
    },
    /// Task number `n` that has a slot sends its request, on the present connection, if it has not
    /// yet; perhaps only a part of it, which reaches nobody.
    Send { n: usize, whole: bool },
    /// The network delivers request number `n` of those on the present connection, and keeps it if it
    /// is to come `again`. What is new is done at once, or `later`.
    Arrive { n: usize, again: bool, later: bool },
    /// Deferred request number `n` of those so far is done.
    Done { n: usize },
    /// The network delivers reply number `n` on the present connection.
    Reply { n: usize, again: bool },
    /// Task number `n` takes its reply, if that is there.
    Take { n: usize },
    /// Task number `n` gives up.
    GiveUp { n: usize },
    /// A task that waits for a slot gives up.
    Leave { n: usize },
    /// The connection breaks: what is on its way is lost, and a new one is made.
    Reconnect,
    /// The server forgets all.
    Restart,
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        3 => Just(Class::Any),
        2 => Just(Class::Deferred),
        1 => Just(Class::Ahead)
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = || 0..100_usize;
    let step = prop_oneof![
        6 => (0..3_u32, class(), any::<bool>())
            .prop_map(|(uid, class, repeatable)| Step::Ask { uid, class, repeatable }),
        8 => (n(), prop::bool::weighted(0.8)).prop_map(|(n, whole)| Step::Send { n, whole }),
        8 => (n(), any::<bool>(), any::<bool>())
            .prop_map(|(n, again, later)| Step::Arrive { n, again, later }),
        4 => n().prop_map(|n| Step::Done { n }),
        6 => (n(), any::<bool>()).prop_map(|(n, again)| Step::Reply { n, again }),
        4 => n().prop_map(|n| Step::Take { n }),
        2 => n().prop_map(|n| Step::GiveUp { n }),
        1 => n().prop_map(|n| Step::Leave { n }),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..400)
}

/// A task that has a slot.
struct Task {
    key: Key,
    id: RequestId,
    repeatable: bool,
    /// The connection that it was sent on last, whole.
    sent_on: Option<u32>,
    /// Incarnations of the server that it was sent to, in part at least.
    incarnations: HashSet<u64>,
}

/// A client, a server, and what is between them.
struct World {
    client: SlotTable<Vec<ClientSlot<Key>>>,
    server: Replies<Vec<ServerSlot<Key>>>,
    incarnation: u64,
    connection: u32,
    tasks: Vec<Task>,
    /// Requests whose tasks have given up, and that keep their slots.
    given_up: Vec<RequestId>,
    lines: Vec<VecDeque<(Key, bool)>>,
    requests: Vec<(Key, RequestId, u64)>,
    replies: Vec<(RequestId, Key)>,
    deferred: Vec<(RequestId, Key)>,
    keys: Key,
    repeatable: HashSet<Key>,
    /// By key and incarnation of the server.
    done: HashMap<(Key, u64), usize>,
    undone: HashSet<Key>,
    taken: HashSet<Key>,
}

const SLOTS_HERE: usize = 8;

fn new_server() -> Replies<Vec<ServerSlot<Key>>> {
    Replies::new((0..SLOTS_HERE).map(|_| ServerSlot::new()).collect())
}

fn pick<T>(all: &[T], n: usize) -> Option<usize> {
    (!all.is_empty()).then(|| n % all.len())
}

impl World {
    fn new() -> Self {
        World {
            client: table(SLOTS_HERE),
            server: new_server(),
            incarnation: 1,
            connection: 0,
            tasks: Vec::new(),
            given_up: Vec::new(),
            lines: vec![VecDeque::new(); LINES],
            requests: Vec::new(),
            replies: Vec::new(),
            deferred: Vec::new(),
            keys: 0,
            repeatable: HashSet::new(),
            done: HashMap::new(),
            undone: HashSet::new(),
            taken: HashSet::new(),
        }
    }

    fn begin(&mut self, key: Key, id: RequestId, repeatable: bool) {
        let tasks = self.tasks.iter().map(|task| task.id);
        assert!(
            tasks
                .chain(self.given_up.iter().copied())
                .all(|other| other.slot != id.slot),
            "slot {} has two requests",
            id.slot
        );
        self.tasks.push(Task {
            key,
            id,
            repeatable,
            sent_on: None,
            incarnations: HashSet::new(),
        });
    }

    fn end(&mut self, task: usize) -> Task {
        let task = self.tasks.swap_remove(task);
        let busy = self.client.busy();
        let (_, given) = self.client.release(task.id);
        if self.client.busy() == busy && given.is_none() {
            assert_eq!(task.sent_on, Some(self.connection));
            assert!(self.given_up.len() < SLOTS_HERE / 2);
            self.given_up.push(task.id);
        }
        self.give(given);
        task
    }

    fn give(&mut self, given: Option<SlotQueue>) {
        let Some(line) = given else { return };
        let (key, repeatable) = self.lines[line.index()].pop_front().expect("who waits");
        let id = self.client.claim(line).expect("a slot");
        self.begin(key, id, repeatable);
    }

    fn send(&mut self, n: usize, whole: bool) {
        let Some(at) = pick(&self.tasks, n) else {
            return;
        };
        let task = &mut self.tasks[at];
        if task.sent_on == Some(self.connection) {
            return;
        }
        let others = task
            .incarnations
            .iter()
            .any(|&incarnation| incarnation != self.incarnation);
        match self
            .client
            .may_send(task.id, self.incarnation, task.repeatable)
        {
            Ok(()) => {
                let taken = self.client.taken(task.id);
                assert!(task.repeatable || !others);
                self.client.sent(task.id, self.incarnation);
                task.incarnations.insert(self.incarnation);
                if whole {
                    self.client.under_way(task.id);
                    task.sent_on = Some(self.connection);
                    self.requests.push((task.key, task.id, taken));
                }
            }
            Err(Restarted) => {
                assert!(!task.repeatable && others);
                self.end(at);
            }
        }
        if !whole {
            self.reconnect();
        }
    }

    fn arrive(&mut self, n: usize, again: bool, later: bool) {
        let Some(at) = pick(&self.requests, n) else {
            return;
        };
        let (key, id, taken) = match again {
            true => self.requests[at],
            false => self.requests.swap_remove(at),
        };
        match self.server.arrive(id, taken) {
            Arrival::New { abandoned } => {
                if let Some(key) = abandoned {
                    assert!(self.undone.insert(key), "undone twice");
                    assert!(!self.taken.contains(&key), "taken, and undone");
                    assert!(self.tasks.iter().all(|task| task.key != key));
                }
                *self.done.entry((key, self.incarnation)).or_default() += 1;
                if later {
                    self.server.defer(id);
                    self.deferred.push((id, key));
                } else {
                    self.server.finish(id, key);
                    self.replies.push((id, key));
                }
            }
            Arrival::Again(&stored) => {
                assert_eq!(stored, key);
                self.replies.push((id, stored));
            }
            Arrival::Deferred | Arrival::Stale => (),
        }
    }

    fn reply(&mut self, n: usize, again: bool) {
        let Some(at) = pick(&self.replies, n) else {
            return;
        };
        let (id, key) = match again {
            true => self.replies[at],
            false => self.replies.swap_remove(at),
        };
        if let ReplyDisposition::Unwanted(_, given) = self.client.deliver(id, key) {
            self.given_up.retain(|other| *other != id);
            self.give(given);
        } else {
            let task = self.tasks.iter().find(|task| task.id == id);
            assert_eq!(task.map(|task| task.key), Some(key), "another's reply");
        }
    }

    fn reconnect(&mut self) {
        self.connection += 1;
        self.requests.clear();
        self.replies.clear();
        self.given_up.clear();
        self.client.connection_lost();
        while let Some(given) = self.client.give() {
            self.give(Some(given));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask {
                uid,
                class,
                repeatable,
            } => {
                let key = self.keys;
                self.keys += 1;
                if repeatable {
                    self.repeatable.insert(key);
                }
                let entry = match class {
                    Class::Ahead => self.client.enter_now(uid, class).map(AcquireOutcome::Slot),
                    _ => Some(self.client.enter(uid, class)),
                };
                match entry {
                    Some(AcquireOutcome::Slot(id)) => self.begin(key, id, repeatable),
                    Some(AcquireOutcome::Wait(line)) => {
                        self.lines[line.index()].push_back((key, repeatable));
                    }
                    None => (),
                }
            }
            Step::Send { n, whole } => self.send(n, whole),
            Step::Arrive { n, again, later } => self.arrive(n, again, later),
            Step::Done { n } => {
                if let Some(at) = pick(&self.deferred, n) {
                    let (id, key) = self.deferred.swap_remove(at);
                    if self.server.finish_deferred(id, key).is_some() {
                        self.replies.push((id, key));
                    }
                }
            }
            Step::Reply { n, again } => self.reply(n, again),
            Step::Take { n } => {
                if let Some(at) = pick(&self.tasks, n) {
                    let task = &self.tasks[at];
                    if let Some(key) = self.client.take(task.id) {
                        assert_eq!(key, task.key);
                        assert!(self.done.keys().any(|&(done, _)| done == key));
                        self.taken.insert(key);
                        self.end(at);
                    }
                }
            }
            Step::GiveUp { n } => {
                if let Some(at) = pick(&self.tasks, n) {
                    self.end(at);
                }
            }
            Step::Leave { n } => {
                let waiting: Vec<_> = (0..LINES)
                    .filter(|&at| !self.lines[at].is_empty())
                    .collect();
                if let Some(at) = pick(&waiting, n) {
                    // Only its number tells which line it is.
                    let line = SlotQueue::from_index(waiting[at]);
                    self.lines[waiting[at]].pop_back();
                    self.client.leave_line(line);
                }
            }
            Step::Reconnect => self.reconnect(),
            Step::Restart => {
                self.incarnation += 1;
                self.server = new_server();
                self.deferred.clear();
                self.reconnect();
            }
        }
    }

    fn check(&self) {
        for (&(key, incarnation), &times) in &self.done {
            assert_eq!(
                times, 1,
                "{key} was done {times} times in incarnation {incarnation}"
            );
            let incarnations = self.done.keys().filter(|(done, _)| *done == key).count();
            assert!(incarnations == 1 || self.repeatable.contains(&key), "{key}");
        }
        assert_eq!(self.client.busy(), self.tasks.len() + self.given_up.len());
        assert!(
            self.client.has_given_all_it_can(),
            "a slot is free that somebody waits for"
        );
    }
}

proptest! {
    /// Whatever the network loses and repeats, however often connections break and the server
    /// restarts: no request is done twice in an incarnation of the server, and none that is not repeatable
    /// in two; each gets its own reply; what was given up is undone once at most, what was taken
    /// never; and no slot is free that somebody waits for.
    #[test]
    fn at_most_once_across_connections_and_restarts(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        while !world.tasks.is_empty() {
            world.end(0);
        }
        world.reconnect();
        while !world.tasks.is_empty() {
            world.end(0);
        }
        prop_assert!(world.lines.iter().all(VecDeque::is_empty));
        prop_assert_eq!(world.client.busy(), 0);
    }
}
