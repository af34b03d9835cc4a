// SPDX-License-Identifier: GPL-2.0

//! Slots of a client: their numbers, and how they are shared.

mod world;

use super::*;
use crate::frame::RequestId;
use std::{collections::VecDeque, vec::Vec};

/// What was asked for: a number that no other request has.
type Key = usize;

fn table(slots: usize) -> SlotTable<Vec<ClientSlot<Key>>> {
    SlotTable::new((0..slots).map(|_| ClientSlot::new()).collect(), 50)
}

fn slot(entry: AcquireOutcome) -> RequestId {
    match entry {
        AcquireOutcome::Slot(id) => id,
        AcquireOutcome::Wait(line) => panic!("waits in {line:?}"),
    }
}

fn line(entry: AcquireOutcome) -> SlotQueue {
    match entry {
        AcquireOutcome::Slot(id) => panic!("got {id:?}"),
        AcquireOutcome::Wait(line) => line,
    }
}

#[test]
fn what_is_superseded_is_refused_when_it_comes_late() {
    let mut table = table(2);
    let mut server =
        Replies::<Vec<ServerSlot<Key>>>::new((0..2).map(|_| ServerSlot::new()).collect());
    for arrives_first in [false, true] {
        let late = slot(table.enter(0, Class::Any));
        let taken = table.taken(late);
        if arrives_first {
            assert_eq!(server.arrive(late, taken), Arrival::New { abandoned: None });
        }
        let next = table.supersede(late).unwrap();
        assert_eq!((next.slot, next.seq), (late.slot, late.seq + 1));
        assert_eq!(table.supersede(late), None);
        table.under_way(next);
        // The slot stays busy until the server has it.
        assert!(table.is_owed(next));
        assert_eq!(table.release(next), (None, None));
        assert_eq!(table.busy(), 1);
        assert_eq!(server.arrive(next, taken), Arrival::New { abandoned: None });
        assert_eq!(server.arrive(late, taken), Arrival::Stale);
        assert_eq!(table.deliver(next, 1), ReplyDisposition::Unwanted(1, None));
        assert_eq!(table.busy(), 0);
    }
}

#[test]
fn numbers_grow_and_a_reply_given_up_is_told_with_the_next_request() {
    let mut table = table(2);
    let first = slot(table.enter(0, Class::Any));
    assert_eq!(first.seq, 1);
    assert_eq!(table.may_send(first, 7, false), Ok(()));
    table.sent(first, 7);
    assert_eq!(table.deliver(first, 10), ReplyDisposition::Kept);
    assert_eq!(table.take(first), Some(10));
    assert_eq!(table.take(first), None);
    let _ = table.release(first);
    let second = slot(table.enter(0, Class::Any));
    assert_eq!((second.slot, second.seq), (first.slot, 2));
    assert_eq!(table.taken(second), 1);
    // Given up: its slot comes first, though another is free.
    let _ = table.release(second);
    let third = slot(table.enter(0, Class::Any));
    assert_eq!((third.slot, third.seq), (first.slot, 3));
    assert_eq!(table.taken(third), 1);
    // What comes late for the one before is nobody's.
    assert_eq!(
        table.deliver(second, 20),
        ReplyDisposition::Unwanted(20, None)
    );
}

/// A table with two slots: one is busy, the request of user 1000 in the other was sent and given up.
fn given_up(class: Class) -> (SlotTable<Vec<ClientSlot<Key>>>, RequestId) {
    let mut table = table(2);
    slot(table.enter(0, Class::Any));
    let id = slot(table.enter(1000, class));
    table.under_way(id);
    assert_eq!(table.release(id), (None, None));
    (table, id)
}

#[test]
fn a_request_that_was_given_up_keeps_its_slot_until_it_is_answered() {
    let (mut table, id) = given_up(Class::Any);
    let waits = line(table.enter(0, Class::Any));
    assert_eq!(
        table.deliver(id, 10),
        ReplyDisposition::Unwanted(10, Some(waits))
    );
    // The server is told that nobody has taken the reply.
    let next = table.claim(waits).unwrap();
    assert_eq!((next.seq, table.taken(next)), (2, 0));
}

#[test]
fn slots_are_left_for_those_who_take_the_answers() {
    let mut table = table(8);
    let all: Vec<_> = (0..8)
        .map(|uid| slot(table.enter(uid, Class::Any)))
        .collect();
    for &id in &all {
        table.under_way(id);
        let _ = table.release(id);
    }
    assert_eq!(table.busy(), 4);
    let receiver = slot(table.enter(9, Class::Any));
    assert!(table.must_wait(receiver));
    assert_eq!(
        table.deliver(all[0], 1),
        ReplyDisposition::Unwanted(1, None)
    );
    assert!(!table.must_wait(receiver));
}

#[test]
fn a_lost_connection_ends_what_was_given_up() {
    let (mut table, id) = given_up(Class::Any);
    let waits = line(table.enter(0, Class::Any));
    table.connection_lost();
    assert_eq!(table.give(), Some(waits));
    assert_eq!(table.give(), None);
    table.claim(waits).unwrap();
    assert_eq!(table.deliver(id, 10), ReplyDisposition::Unwanted(10, None));
}

#[test]
fn the_slot_of_what_may_be_deferred_is_free_at_once() {
    let (mut table, _) = given_up(Class::Deferred);
    slot(table.enter(0, Class::Any));
}

#[test]
fn a_user_that_has_given_up_much_waits_for_answers() {
    let mut table = table(64);
    let given_up: Vec<_> = (0..GIVEN_UP_MAX)
        .map(|_| {
            let id = slot(table.enter(1000, Class::Any));
            assert!(!table.must_wait(id));
            table.under_way(id);
            let _ = table.release(id);
            id
        })
        .collect();
    let next = slot(table.enter(1000, Class::Any));
    assert!(table.must_wait(next));
    assert_eq!(table.enter_now(1000, Class::Ahead), None);
    // What holds up nobody, and others, need not wait.
    let deferred = slot(table.enter(1000, Class::Deferred));
    let other = slot(table.enter(1001, Class::Any));
    assert!(!table.must_wait(deferred) && !table.must_wait(other));
    assert_eq!(
        table.deliver(given_up[3], 1),
        ReplyDisposition::Unwanted(1, None)
    );
    assert!(!table.must_wait(next));
}

#[test]
fn what_was_sent_is_not_sent_to_another_incarnation_unless_it_is_repeatable() {
    let mut table = table(2);
    let id = slot(table.enter(0, Class::Any));
    assert_eq!(table.may_send(id, 1, false), Ok(()));
    // Nothing went, so another incarnation may get it.
    assert_eq!(table.may_send(id, 2, false), Ok(()));
    table.sent(id, 2);
    assert_eq!(table.may_send(id, 2, false), Ok(()));
    assert_eq!(table.may_send(id, 3, false), Err(Restarted));
    assert_eq!(table.may_send(id, 3, true), Ok(()));
    // The next request in this slot was not sent.
    let _ = table.release(id);
    let id = slot(table.enter(0, Class::Any));
    assert_eq!(table.may_send(id, 3, false), Ok(()));
}

#[test]
fn slots_are_given_in_the_order_in_which_they_were_asked_for() {
    let mut table = table(2);
    let mut busy: VecDeque<_> = (0..2).map(|_| slot(table.enter(0, Class::Any))).collect();
    for _ in 0..3 {
        let _ = line(table.enter(0, Class::Any));
    }
    for _ in 0..3 {
        let id = busy.pop_front().unwrap();
        let (_, given) = table.release(id);
        // It is promised: nobody who comes now overtakes.
        assert_eq!(table.enter_now(0, Class::Any), None);
        busy.push_back(table.claim(given.unwrap()).unwrap());
    }
    for id in busy {
        assert_eq!(table.release(id), (None, None));
    }
    assert_eq!(table.busy(), 0);
}

#[test]
fn a_user_gets_the_next_slot_however_many_tasks_of_others_wait() {
    let mut table = table(8);
    let root: Vec<_> = (0..8).map(|_| slot(table.enter(0, Class::Any))).collect();
    for _ in 0..1000 {
        let _ = line(table.enter(0, Class::Any));
    }
    let user = line(table.enter(1000, Class::Any));
    assert_eq!(table.release(root[0]), (None, Some(user)));
    // And then as many as others have.
    for _ in 0..10 {
        let _ = line(table.enter(1000, Class::Any));
    }
    let mut users = 1;
    for &id in &root[1..] {
        let (_, given) = table.release(id);
        users += usize::from(given == Some(user));
        table.claim(given.unwrap()).unwrap();
    }
    assert_eq!(users, 4);
}

#[test]
fn a_user_has_a_share_of_the_slots_of_a_class() {
    let mut table = table(16);
    for _ in 0..8 {
        slot(table.enter(1000, Class::Any));
    }
    let _ = line(table.enter(1000, Class::Any));
    for _ in 0..4 {
        slot(table.enter(2000, Class::Deferred));
    }
    let deferred = line(table.enter(2000, Class::Deferred));
    assert_eq!(table.enter_now(2000, Class::Deferred), None);
    // Its other requests have a line of their own.
    slot(table.enter(2000, Class::Any));
    // Root has no share.
    for _ in 0..3 {
        slot(table.enter(0, Class::Any));
    }
    // All are busy.
    assert_ne!(line(table.enter(0, Class::Any)), deferred);
}

#[test]
fn classes_have_limits() {
    let mut table = table(16);
    for _ in 0..4 {
        table.enter_now(0, Class::Ahead).unwrap();
    }
    assert_eq!(table.enter_now(0, Class::Ahead), None);
    for _ in 0..8 {
        slot(table.enter(0, Class::Deferred));
    }
    let deferred = line(table.enter(0, Class::Deferred));
    let any = slot(table.enter(0, Class::Any));
    // A slot that it cannot have is not given to it.
    assert_eq!(table.release(any), (None, None));
    table.leave_line(deferred);
}

#[test]
fn what_a_task_does_not_want_goes_to_the_next() {
    let mut table = table(1);
    let id = slot(table.enter(0, Class::Any));
    let first = line(table.enter(0, Class::Any));
    let second = line(table.enter(5, Class::Any));
    let given = table.release(id).1.unwrap();
    let other = table.revoke(given).unwrap();
    assert!([(first, second), (second, first)].contains(&(given, other)));
    let id = table.claim(other).unwrap();
    assert_eq!(table.release(id), (None, None));
}

#[test]
fn more_users_than_can_be_told_apart_are_served_all_the_same() {
    let mut table = table(256);
    let ids: Vec<_> = (1000..1100)
        .map(|uid| slot(table.enter(uid, Class::Any)))
        .collect();
    for id in ids {
        let _ = table.release(id);
    }
    // Those of nobody are used again.
    for uid in 5000..5100 {
        let id = slot(table.enter(uid, Class::Any));
        let _ = table.release(id);
    }
    assert_eq!(table.busy(), 0);
}

#[test]
fn who_slept_last_is_woken_first() {
    let mut table = table(3);
    let ids: Vec<_> = (0..3).map(|_| slot(table.enter(0, Class::Any))).collect();
    for &id in &ids {
        table.sleep(id);
    }
    assert_eq!(table.deliver(ids[1], 0), ReplyDisposition::Wakes);
    assert_eq!(
        table.deliver(ids[1], 0),
        ReplyDisposition::Unwanted(0, None)
    );
    assert_eq!(table.wake_latest(), Some(ids[2].slot));
    assert!(table.wake(ids[0].slot));
    assert_eq!(table.wake_latest(), None);
}
