// SPDX-License-Identifier: GPL-2.0

//! Visits in a memory that has what was stored last. `tests/models` has memories that reorder, and all orders.

use super::*;
use proptest::prelude::*;
use std::{vec, vec::Vec};

const MANY: u16 = MAX_PARTICIPANTS;

/// What participants share, and who is on the queue of its own where it can be woken.
struct Shared {
    flags: [u64; MANY as usize],
    tickets: [u64; MANY as usize],
    sleepers: u64,
    can_be_woken: [bool; MANY as usize],
}

impl Shared {
    fn new() -> Self {
        Shared {
            flags: [0; MANY as usize],
            tickets: [0; MANY as usize],
            sleepers: 0,
            can_be_woken: [false; MANY as usize],
        }
    }

    fn cell(&mut self, cell: BakeryCell) -> &mut u64 {
        match cell {
            BakeryCell::Flag(of) => &mut self.flags[usize::from(of)],
            BakeryCell::Ticket(of) => &mut self.tickets[usize::from(of)],
        }
    }

    /// Does the access that comes next, if it is one.
    fn access(&mut self, visit: &mut Visit) -> bool {
        let mut seen = 0;
        match visit.next() {
            BakeryStep::Load(cell, _) => seen = *self.cell(cell),
            BakeryStep::Store(cell, value, _) => *self.cell(cell) = value,
            BakeryStep::Fence => (),
            BakeryStep::JoinSleepers => self.sleepers += 1,
            BakeryStep::LeaveSleepers => {
                self.sleepers -= 1;
                self.can_be_woken[usize::from(visit.me)] = false;
            }
            BakeryStep::ReadSleepers => seen = self.sleepers,
            BakeryStep::Wake(other) => self.can_be_woken[usize::from(other)] = false,
            _ => return false,
        }
        visit.advance(seen);
        true
    }

    /// Does accesses until something else comes next.
    fn run(&mut self, visit: &mut Visit) -> BakeryStep {
        while self.access(visit) {}
        visit.next()
    }
}

fn entering(me: u16, participants: u16, loops: WaitLoops) -> Visit {
    Visit::entering(me, participants, loops).unwrap()
}

#[test]
fn participants_that_cannot_be_are_refused() {
    for (me, participants) in [(0, 0), (1, 1), (7, 7), (0, MANY + 1), (u16::MAX, u16::MAX)] {
        assert_eq!(Visit::entering(me, participants, WaitLoops::One), None);
        assert_eq!(Visit::leaving(me, participants), None);
    }
    assert!(Visit::entering(MANY - 1, MANY, WaitLoops::Two).is_some());
    assert!(Visit::leaving(0, 1).is_some());
}

#[test]
fn the_accesses_of_a_visit_are_those_of_the_algorithm() {
    use BakeryCell::{Flag, Ticket};
    use BakeryStep::{Entered, Fence, Left, Load, ReadSleepers, Store};
    let mut shared = Shared::new();
    let mut trace = |visit: &mut Visit| {
        let mut steps = vec![visit.next()];
        while shared.access(visit) {
            steps.push(visit.next());
        }
        steps
    };
    let doorway = [
        Store(Flag(1), 1, StoreOrder::Relaxed),
        Fence,
        Load(Ticket(0), LoadOrder::Relaxed),
        Load(Ticket(2), LoadOrder::Relaxed),
        Store(Ticket(1), 1, StoreOrder::Release),
        Store(Flag(1), 0, StoreOrder::Release),
        Fence,
        ReadSleepers,
    ];
    let [of_0, of_2] = [0, 2].map(|other| {
        let [flag, ticket] = [Flag(other), Ticket(other)];
        [flag, ticket].map(|cell| Load(cell, LoadOrder::Acquire))
    });
    for (loops, waiting) in [
        (WaitLoops::One, [of_0[0], of_0[1], of_2[0], of_2[1]]),
        (WaitLoops::Two, [of_0[0], of_2[0], of_0[1], of_2[1]]),
    ] {
        let steps = trace(&mut entering(1, 3, loops));
        let expected = [&doorway[..], &waiting, &[Entered]].concat();
        assert_eq!(steps, expected);
        let steps = trace(&mut Visit::leaving(1, 3).unwrap());
        let store = Store(Ticket(1), 0, StoreOrder::Release);
        assert_eq!(steps, [store, Fence, ReadSleepers, Left]);
    }
}

#[test]
fn of_equal_tickets_that_of_the_smaller_participant_comes_first() {
    for loops in [WaitLoops::One, WaitLoops::Two] {
        let mut shared = Shared::new();
        let mut visits = [0, 1].map(|me| entering(me, 2, loops));
        // Both see that nobody has a ticket.
        for visit in &mut visits {
            while !matches!(visit.next(), BakeryStep::Store(BakeryCell::Ticket(_), _, _)) {
                shared.access(visit);
            }
        }
        let [first, second] = &mut visits;
        while !matches!(second.next(), BakeryStep::Blocked) {
            shared.access(second);
        }
        assert_eq!(shared.run(first), BakeryStep::Entered);
        assert_eq!(shared.tickets[..2], [1, 1]);
        second.look();
        assert_eq!(shared.run(second), BakeryStep::Blocked);
        let mut leaving = Visit::leaving(0, 2).unwrap();
        assert_eq!(shared.run(&mut leaving), BakeryStep::Left);
        second.look();
        assert_eq!(shared.run(second), BakeryStep::Entered);
    }
}

#[test]
fn whoever_leaves_wakes_the_one_that_comes_first() {
    let mut shared = Shared::new();
    let mut visits: Vec<_> = [2, 0, 3, 1]
        .map(|me| entering(me, 4, WaitLoops::One))
        .into();
    assert_eq!(shared.run(&mut visits[0]), BakeryStep::Entered);
    for visit in &mut visits[1..] {
        assert_eq!(shared.run(visit), BakeryStep::Blocked);
        visit.fall_asleep();
        assert_eq!(shared.run(visit), BakeryStep::Asleep);
        shared.can_be_woken[usize::from(visit.me)] = true;
        visit.look();
        assert_eq!(shared.run(visit), BakeryStep::Asleep);
    }
    assert_eq!(shared.sleepers, 3);
    let mut leaving = Visit::leaving(2, 4).unwrap();
    assert_eq!(shared.run(&mut leaving), BakeryStep::Left);
    assert_eq!(shared.can_be_woken[..4], [false, true, false, true]);
    // The next one gives up, and wakes the one behind it.
    visits[1].give_up();
    assert_eq!(shared.run(&mut visits[1]), BakeryStep::Left);
    assert_eq!(shared.can_be_woken[..4], [false, true, false, false]);
    assert_eq!(shared.sleepers, 2);
    visits[2].look();
    assert_eq!(shared.run(&mut visits[2]), BakeryStep::Entered);
    assert_eq!(shared.sleepers, 1);
}

#[test]
fn there_is_no_ticket_after_the_largest() {
    let mut shared = Shared::new();
    shared.tickets[1] = u64::MAX - 1;
    let mut last = entering(0, 3, WaitLoops::One);
    assert_eq!(shared.run(&mut last), BakeryStep::Blocked);
    assert_eq!(shared.tickets[0], u64::MAX);
    let mut visit = entering(2, 3, WaitLoops::One);
    assert_eq!(shared.run(&mut visit), BakeryStep::Exhausted);
    assert_eq!((shared.flags[2], shared.tickets[2]), (0, 0));
    // When nobody has one any more they begin anew.
    shared.tickets = [0; MANY as usize];
    let mut visit = entering(2, 3, WaitLoops::One);
    assert_eq!(shared.run(&mut visit), BakeryStep::Entered);
    assert_eq!(shared.tickets[2], 1);
}

proptest! {
    /// Whatever order their steps have: one at a time is inside, those whose doorways do not overlap enter in that
    /// order, and all get in.
    #[test]
    fn all_enter_one_after_the_other(
        participants in 1..7u16,
        is_one in prop::collection::vec(any::<bool>(), 7),
        choices in prop::collection::vec(any::<u16>(), 0..600),
    ) {
        let mut shared = Shared::new();
        let loops = |me: u16| match is_one[usize::from(me)] {
            true => WaitLoops::One,
            false => WaitLoops::Two,
        };
        let mut visits: Vec<_> = (0..participants).map(|me| entering(me, participants, loops(me))).collect();
        // Who was through the doorway when this one began.
        let mut before: Vec<Option<Vec<u16>>> = vec![None; visits.len()];
        let mut entered = Vec::new();
        let mut inside = None;
        // Behind the choices all get their turns.
        for turn in choices.into_iter().chain((0..participants).cycle().take(20_000)) {
            let me = turn % participants;
            let at = usize::from(me);
            if visits.iter().all(|visit| visit.next() == BakeryStep::Left) {
                break;
            }
            let is_through = |visit: &Visit| visit.ticket != 0 && visit.phase != Phase::TakeTicket
                && visit.phase != Phase::LowerFlag;
            if before[at].is_none() {
                before[at] = Some((0..participants).filter(|of| is_through(&visits[usize::from(*of)])).collect());
            }
            match visits[at].next() {
                BakeryStep::Blocked if turn > participants => visits[at].fall_asleep(),
                BakeryStep::Blocked => visits[at].look(),
                BakeryStep::Asleep if !shared.can_be_woken[at] => {
                    shared.can_be_woken[at] = true;
                    visits[at].look();
                }
                BakeryStep::Asleep => (),
                BakeryStep::Entered if inside == Some(me) => {
                    inside = None;
                    visits[at] = Visit::leaving(me, participants).unwrap();
                }
                BakeryStep::Entered => {
                    prop_assert_eq!(inside, None);
                    inside = Some(me);
                    let before = before[at].as_deref().unwrap_or_default();
                    prop_assert!(before.iter().all(|of| entered.contains(of)));
                    entered.push(me);
                }
                BakeryStep::Left => (),
                _ => prop_assert!(shared.access(&mut visits[at])),
            }
        }
        prop_assert_eq!(entered.len(), visits.len());
        prop_assert_eq!(shared.sleepers, 0);
        prop_assert!(visits.iter().all(|visit| visit.next() == BakeryStep::Left));
    }
}
