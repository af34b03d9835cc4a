// SPDX-License-Identifier: GPL-2.0

//! Participants of a bakery lock on processors that have store buffers. A store goes into its processor's buffer, and to the
//! memory at any later time; of two stores to different cells either may go first, unless the later one is a release. That is
//! the partial store order of SPARC, weaker than what x86 does; a barrier waits for the buffer. `tests/bakery_atomics.rs` has
//! a memory that reorders loads, too.

use stateright::{Model, Property};
use virgo_proto::bakery::{BakeryCell, BakeryStep, StoreOrder, Visit, WaitLoops};

/// What is left out of the algorithm, to see that it is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Full barriers do nothing.
    Barriers,
    /// Releases are relaxed stores.
    Releases,
    /// Flags always show 0.
    Flags,
    /// Nobody is woken when a flag is lowered.
    WakeAtDoorway,
    /// Nobody is woken by who leaves.
    WakeAtExit,
    /// Sleepers look before they can be woken, and not again.
    LastLook,
    /// The doorway counts as over when it has begun.
    EndOfDoorway,
}

/// A participant, and the buffer of its processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    visit: Visit,
    /// Oldest first.
    buffer: Vec<(BakeryCell, u64, StoreOrder)>,
    /// On the queue of its own, where it can be woken.
    is_queued: bool,
    /// It has looked since it was put there.
    has_looked: bool,
    /// Participants that were through the doorway when this one began, and have not entered since.
    before: Vec<bool>,
    /// Its doorway is over, and all can see that.
    is_through: bool,
    is_inside: bool,
    /// Visits after this one.
    left: u32,
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    threads: Vec<Thread>,
    flags: Vec<u64>,
    tickets: Vec<u64>,
    sleepers: u64,
    /// Visits that may still be given up.
    giving_up: u32,
    /// Somebody has entered before one of those that were before it.
    is_overtaken: bool,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The participant does what comes next.
    Step(usize),
    /// It gives up.
    GiveUp(usize),
    /// This store in its buffer goes to the memory.
    Flush(usize, usize),
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Bakery {
    /// How many participants, and how often each enters.
    pub participants: u16,
    /// See there.
    pub visits: u32,
    /// How they wait; the first one the other way if `mixed`.
    pub loops: WaitLoops,
    /// See there.
    pub mixed: bool,
    /// Visits that may be given up.
    pub giving_up: u32,
    /// What is left out.
    pub fault: Fault,
}

impl Bakery {
    /// Nobody gives up, all wait in the same way, and nothing is left out.
    pub fn new(participants: u16, visits: u32, loops: WaitLoops) -> Self {
        Bakery {
            participants,
            visits,
            loops,
            mixed: false,
            giving_up: 0,
            fault: Fault::None,
        }
    }

    fn entering(&self, at: usize) -> Visit {
        let loops = match (self.loops, self.mixed && at == 0) {
            (WaitLoops::One, true) => WaitLoops::Two,
            (WaitLoops::Two, true) => WaitLoops::One,
            (loops, false) => loops,
        };
        Visit::entering(at as u16, self.participants, loops).expect("it is one of them")
    }

    /// Whether the store at `place` of the buffer may go before those that are older.
    fn may_flush(&self, buffer: &[(BakeryCell, u64, StoreOrder)], place: usize) -> bool {
        let (cell, _, order) = buffer[place];
        let mut older = buffer[..place].iter();
        match order {
            StoreOrder::Release if self.fault != Fault::Releases => place == 0,
            _ => older.all(|(other, ..)| *other != cell),
        }
    }
}

impl State {
    fn cell(&mut self, cell: BakeryCell) -> &mut u64 {
        match cell {
            BakeryCell::Flag(of) => &mut self.flags[usize::from(of)],
            BakeryCell::Ticket(of) => &mut self.tickets[usize::from(of)],
        }
    }

    /// What a participant sees in a cell: the latest of its own stores, or the memory.
    fn load(&self, at: usize, cell: BakeryCell) -> u64 {
        let own = self.threads[at].buffer.iter().rev();
        let own = own.clone().find(|(stored, ..)| *stored == cell);
        match (own, cell) {
            (Some((_, value, _)), _) => *value,
            (None, BakeryCell::Flag(of)) => self.flags[usize::from(of)],
            (None, BakeryCell::Ticket(of)) => self.tickets[usize::from(of)],
        }
    }
}

impl Model for Bakery {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let count = usize::from(self.participants);
        let thread = |at| Thread {
            visit: self.entering(at),
            buffer: Vec::new(),
            is_queued: false,
            has_looked: false,
            before: vec![false; count],
            is_through: false,
            is_inside: false,
            left: self.visits - 1,
        };
        vec![State {
            threads: (0..count).map(thread).collect(),
            flags: vec![0; count],
            tickets: vec![0; count],
            sleepers: 0,
            giving_up: self.giving_up,
            is_overtaken: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, thread) in state.threads.iter().enumerate() {
            let is_enabled = match thread.visit.next() {
                BakeryStep::Fence => thread.buffer.is_empty() || self.fault == Fault::Barriers,
                // The queue has a barrier; behind that it looks, and then sleeps until it is woken.
                BakeryStep::Asleep if !thread.is_queued => thread.buffer.is_empty(),
                BakeryStep::Asleep => !thread.has_looked,
                BakeryStep::Left => thread.left > 0,
                _ => true,
            };
            if is_enabled {
                actions.push(Action::Step(at));
            }
            let may_give_up = matches!(
                thread.visit.next(),
                BakeryStep::Blocked | BakeryStep::Asleep
            );
            if may_give_up && state.giving_up > 0 {
                actions.push(Action::GiveUp(at));
            }
            for place in 0..thread.buffer.len() {
                if self.may_flush(&thread.buffer, place) {
                    actions.push(Action::Flush(at, place));
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let at = match action {
            Action::Flush(at, place) => {
                let (cell, value, _) = state.threads[at].buffer.remove(place);
                *state.cell(cell) = value;
                return Some(state);
            }
            Action::GiveUp(at) => {
                state.giving_up -= 1;
                state.threads[at].visit.give_up();
                state.threads[at].is_queued = false;
                forget(&mut state, at);
                return Some(state);
            }
            Action::Step(at) => at,
        };
        let mut seen = 0;
        let step = state.threads[at].visit.next();
        match step {
            BakeryStep::Load(BakeryCell::Flag(_), _) if self.fault == Fault::Flags => (),
            BakeryStep::Load(cell, _) => {
                seen = state.load(at, cell);
                state.threads[at].has_looked = true;
            }
            BakeryStep::Store(cell, value, order) => {
                if cell == BakeryCell::Flag(at as u16) && value == 1 {
                    let through = state.threads.iter().map(|thread| thread.is_through);
                    state.threads[at].before = through.collect();
                    state.threads[at].is_through = self.fault == Fault::EndOfDoorway;
                }
                state.threads[at].buffer.push((cell, value, order));
            }
            BakeryStep::Fence => {
                // That behind the doorway: with the ticket its flag was lowered, too.
                state.threads[at].is_through |= last.load(at, BakeryCell::Ticket(at as u16)) != 0;
            }
            BakeryStep::JoinSleepers => state.sleepers += 1,
            BakeryStep::LeaveSleepers => {
                state.sleepers -= 1;
                state.threads[at].is_queued = false;
            }
            BakeryStep::ReadSleepers => {
                let is_leaving = last.load(at, BakeryCell::Ticket(at as u16)) == 0;
                let is_forgotten = match self.fault {
                    Fault::WakeAtDoorway => !is_leaving,
                    Fault::WakeAtExit => is_leaving,
                    _ => false,
                };
                seen = if is_forgotten { 0 } else { state.sleepers };
            }
            BakeryStep::Wake(other) => {
                let other = &mut state.threads[usize::from(other)];
                other.has_looked &= !other.is_queued;
                other.is_queued = false;
            }
            // Spinning would be another look, which changes nothing until a store arrives: who sleeps sees all that.
            BakeryStep::Blocked => {
                state.threads[at].visit.fall_asleep();
                state.threads[at].has_looked = false;
                return Some(state);
            }
            BakeryStep::Asleep => {
                let thread = &mut state.threads[at];
                if thread.is_queued || self.fault == Fault::LastLook && !thread.has_looked {
                    thread.visit.look();
                } else {
                    thread.is_queued = true;
                    thread.has_looked = self.fault == Fault::LastLook;
                }
                return Some(state);
            }
            BakeryStep::Entered if !state.threads[at].is_inside => {
                state.threads[at].is_inside = true;
                state.is_overtaken |= state.threads[at].before.contains(&true);
                forget(&mut state, at);
                return Some(state);
            }
            BakeryStep::Entered => {
                state.threads[at].is_inside = false;
                let leaving = Visit::leaving(at as u16, self.participants);
                state.threads[at].visit = leaving.expect("it is one of them");
                return Some(state);
            }
            BakeryStep::Left => {
                state.threads[at].left -= 1;
                state.threads[at].visit = self.entering(at);
                return Some(state);
            }
            BakeryStep::Exhausted => return None,
        }
        state.threads[at].visit.advance(seen);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one at a time is inside", |_, state: &State| {
                state
                    .threads
                    .iter()
                    .filter(|thread| thread.is_inside)
                    .count()
                    <= 1
            }),
            Property::always("first come, first served", |_, state: &State| {
                !state.is_overtaken
            }),
            Property::always(
                "what has stopped is over",
                |model: &Bakery, state: &State| {
                    let mut actions = Vec::new();
                    model.actions(state, &mut actions);
                    let is_over = |thread: &Thread| thread.visit.next() == BakeryStep::Left;
                    !actions.is_empty() || state.threads.iter().all(is_over) && state.sleepers == 0
                },
            ),
            Property::sometimes("somebody sleeps until it is woken", |_, state: &State| {
                let sleeps = |thread: &Thread| {
                    thread.visit.next() == BakeryStep::Asleep
                        && thread.is_queued
                        && thread.has_looked
                };
                state.threads.iter().any(sleeps)
            }),
            Property::sometimes("two have the same ticket", |_, state: &State| {
                let tickets = || {
                    state
                        .tickets
                        .iter()
                        .enumerate()
                        .filter(|(_, ticket)| **ticket != 0)
                };
                tickets()
                    .any(|(at, ticket)| tickets().any(|(other, same)| other > at && same == ticket))
            }),
        ]
    }
}

/// Nobody waits for this participant any more.
fn forget(state: &mut State, at: usize) {
    state.threads[at].is_through = false;
    for thread in &mut state.threads {
        thread.before[at] = false;
    }
}
