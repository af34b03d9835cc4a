// SPDX-License-Identifier: GPL-2.0

mod model;
mod replay;
mod room;

use super::{
    super::slab::{Plain, Slab, SlabItem},
    *,
};
use std::{vec, vec::Vec};

type Queued = Queue<Slab<Plain<u32>>>;

const SMALL: QueueLimits = QueueLimits {
    messages: 3,
    bytes: 100,
    leased: 2,
    ack_ms: 10,
    ..QueueLimits::DEFAULT
};

/// Users of the tests: who owns the queues, and another.
const OWNER: u32 = 1000;
const OTHER: u32 = 1001;

const SHARING: Sharing = Sharing {
    owner: OWNER,
    percent: 50,
    key: 1,
};

/// Items from here on are the other user's.
const OTHERS: u32 = 1 << 20;

impl SlabItem for u32 {
    fn publisher(&self) -> u32 {
        match *self {
            0..OTHERS => OWNER,
            _ => OTHER,
        }
    }
}

fn queue(limits: QueueLimits) -> Queued {
    Queue::new(Plain::slab(), limits, 77, SHARING)
}

fn plain(item: u32) -> Push<u32> {
    Push {
        item,
        bytes: 10,
        priority: 4,
        delay_ms: 0,
    }
}

fn push(queue: &mut Queued, item: u32) -> u64 {
    assert_eq!(queue.make_room(10, OWNER, |_| ()), Room::Yes);
    queue.push(0, plain(item)).unwrap()
}

/// Gives back all that `consumer` has. Returns how many messages were ready then that were not before.
fn give_all_back(queue: &mut Queued, now: u64, consumer: u64) -> u32 {
    let leased = queue.leased();
    queue.begin_to_give_back();
    while queue.give_back_some(now, true, |other| other == consumer) {}
    leased - queue.leased()
}

fn tick(queue: &mut Queued, now: u64) -> Option<u64> {
    loop {
        match queue.tick(now) {
            Some(due) if due <= now => (),
            due => return due,
        }
    }
}

fn replay(queue: &mut Queued, from: u64) -> u32 {
    queue.begin_with_kept(from);
    let mut all = 0;
    loop {
        let (count, more) = queue.replay_some(from);
        all += count;
        if !more {
            return all;
        }
    }
}

fn for_each(queue: &Queued, now: u64, mut see: impl FnMut(u64, u8, u64, &u32)) {
    let mut from = Some(0);
    while let Some(at) = from {
        from = queue.show_some(at, now, &mut see);
    }
}

fn acked(result: Result<(u64, Option<u32>), NotHeld>) -> Result<u64, NotHeld> {
    result.map(|(seq, _)| seq)
}

#[test]
fn first_in_first_out_within_a_priority() {
    let mut q = queue(QueueLimits::DEFAULT);
    for (item, priority) in [(1, 4), (2, 9), (3, 4), (4, 0), (5, 200)] {
        q.push(
            0,
            Push {
                priority,
                ..plain(item)
            },
        )
        .unwrap();
    }
    let order: Vec<_> = core::iter::from_fn(|| q.take_acked())
        .map(|t| t.item)
        .collect();
    assert_eq!(order, [2, 5, 1, 3, 4]);
    assert_eq!((q.len(), q.bytes()), (0, 0));
}

#[test]
fn a_lease_that_is_over_brings_the_message_back_before_younger_ones() {
    let mut q = queue(SMALL);
    for item in 1..=3 {
        push(&mut q, item);
    }
    assert_eq!(q.take(0, 7).unwrap().item, 1);
    assert_eq!(q.take(5, 7).unwrap().item, 2);
    assert!(q.take(5, 7).is_none(), "two are out");
    assert_eq!(q.tick(9), Some(10));
    assert_eq!(q.tick(15), None);
    let again = q.take(15, 8).unwrap();
    assert_eq!((again.item, again.deliveries), (1, 2));
    assert_eq!(q.ack(7, again.id), Err(NotHeld), "it is another's now");
    assert_eq!(q.ack(8, again.id), Ok((1, Some(1))));
    assert_eq!(q.ack(8, again.id), Err(NotHeld), "only once");
    assert_eq!(q.take(15, 8).unwrap().item, 2);
    assert_eq!(q.take(15, 8).unwrap().item, 3);
    assert_eq!(q.counts().redelivered, 2);
}

#[test]
fn a_consumer_that_goes_leaves_all_in_order() {
    let mut q = queue(QueueLimits {
        leased: 9,
        messages: 9,
        ..SMALL
    });
    for item in 1..=5 {
        push(&mut q, item);
    }
    for consumer in [1, 2, 1, 2] {
        q.take(0, consumer).unwrap();
    }
    assert_eq!(give_all_back(&mut q, 0, 1), 2);
    let order: Vec<_> = core::iter::from_fn(|| q.take_acked())
        .map(|t| t.item)
        .collect();
    assert_eq!(order, [1, 3, 5]);
    assert_eq!(q.leased(), 2);
}

#[test]
fn many_that_come_back_are_in_order() {
    let count = 3000;
    let mut q = queue(QueueLimits {
        messages: count,
        leased: count,
        keep: count,
        ..QueueLimits::DEFAULT
    });
    for item in 0..count {
        push(&mut q, item);
    }
    let order = |q: &mut Queued| -> (Vec<u64>, Vec<u64>) {
        core::iter::from_fn(|| q.take(0, 1))
            .map(|t| (t.seq, t.id))
            .unzip()
    };
    let all: Vec<u64> = (1..=u64::from(count)).collect();
    assert_eq!(order(&mut q).0, all);
    assert_eq!(give_all_back(&mut q, 0, 1), count);
    let (taken, ids) = order(&mut q);
    assert_eq!(taken, all, "all at once");
    for &id in ids.iter().rev() {
        q.give_back(0, 1, id, 0).unwrap();
    }
    let (taken, mut ids) = order(&mut q);
    assert_eq!(taken, all, "the last one first");
    // As adverse as a consumer can be.
    ids.sort_unstable_by_key(|id| id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for id in ids {
        q.give_back(0, 1, id, 0).unwrap();
    }
    let (taken, ids) = order(&mut q);
    assert_eq!(taken, all, "in any order");
    for id in ids {
        q.ack(1, id).unwrap();
    }
    assert_eq!(replay(&mut q, 1), count);
    assert_eq!(order(&mut q).0, all, "by replay");
}

#[test]
fn a_step_is_bounded() {
    let count = 10 * STEP;
    let limits = QueueLimits {
        messages: count,
        leased: count,
        keep: count,
        ack_ms: 10,
        ..QueueLimits::DEFAULT
    };
    let mut q = queue(limits);
    for item in 0..count {
        let delay_ms = 5;
        q.push(
            0,
            Push {
                delay_ms,
                ..plain(item)
            },
        )
        .unwrap();
    }
    assert_eq!((q.tick(4), q.ready()), (Some(5), 0));
    assert_eq!((q.tick(5), q.ready()), (Some(5), STEP));
    assert_eq!(tick(&mut q, 5), None);
    while q.take(5, 1).is_some() {}
    assert_eq!((q.tick(15), q.ready()), (Some(15), STEP));
    tick(&mut q, 15);
    while q.take(15, 1).is_some() {}
    q.begin_to_give_back();
    assert!(q.give_back_some(15, true, |consumer| consumer == 1));
    assert_eq!(q.ready(), STEP);
    while q.give_back_some(15, true, |consumer| consumer == 1) {}
    assert_eq!(q.ready(), count);
    while q.take_acked().is_some() {}
    q.begin_with_kept(1);
    assert_eq!(q.replay_some(1), (STEP, true));
}

#[test]
fn a_walk_survives_what_happens_between_its_steps() {
    let count = 4 * STEP;
    let mut q = queue(QueueLimits {
        messages: count,
        leased: count,
        ..QueueLimits::DEFAULT
    });
    let ids: Vec<u64> = (0..count)
        .map(|item| {
            push(&mut q, item);
            q.take(0, u64::from(item % 2)).unwrap().id
        })
        .collect();
    q.begin_to_give_back();
    assert!(q.give_back_some(0, true, |consumer| consumer == 1));
    // The place where the walk goes on, and those behind it.
    for (item, &id) in (0..count).zip(&ids).skip(STEP as usize).take(9) {
        acked(q.ack(u64::from(item % 2), id)).unwrap();
    }
    while q.give_back_some(0, true, |consumer| consumer == 1) {}
    // Those of the other consumer, without five of the nine.
    assert_eq!(q.leased(), count / 2 - 5);
    assert_eq!(q.ready(), count / 2 - 4);
}

/// Who has had a message before cannot acknowledge it, whoever has it now.
#[test]
fn each_delivery_has_an_id_of_its_own() {
    let mut q = queue(SMALL);
    push(&mut q, 1);
    let first = q.take(0, 7).unwrap();
    q.tick(10);
    let second = q.take(10, 7).unwrap();
    assert_eq!(first.seq, second.seq);
    assert_ne!(first.id, second.id);
    assert!(second.id < 1 << 53);
    assert_eq!(q.held(7, first.id), None);
    assert_eq!(q.give_back(10, 7, first.id, 0), Err(NotHeld));
    assert_eq!(acked(q.ack(7, first.id)), Err(NotHeld));
    assert_eq!(q.held(7, second.id), Some(&1));
    assert_eq!(acked(q.ack(7, second.id)), Ok(1));
    // The place is another message's now.
    push(&mut q, 2);
    let third = q.take(10, 7).unwrap();
    assert_eq!(acked(q.ack(7, second.id)), Err(NotHeld));
    // In another queue, after a restart, it is nothing.
    let mut again = Queue::new(Plain::slab(), SMALL, 1 << 20, SHARING);
    push(&mut again, 2);
    again.take(0, 7).unwrap();
    assert_eq!(acked(again.ack(7, third.id)), Err(NotHeld));
}

#[test]
fn takes_of_one_consumer_are_told_apart() {
    let mut q = queue(SMALL);
    push(&mut q, 1);
    push(&mut q, 2);
    let first = q.take(0, 7 | (1 << 40)).unwrap();
    let second = q.take(0, 7 | (2 << 40)).unwrap();
    assert_eq!(acked(q.ack(8, first.id)), Err(NotHeld));
    q.begin_to_give_back();
    while q.give_back_some(0, false, |consumer| consumer == (7 | (1 << 40))) {}
    assert_eq!((q.ready(), q.leased()), (1, 1));
    assert_eq!(acked(q.ack(7, second.id)), Ok(2));
}

/// A delivery that did not come about is none, however often.
#[test]
fn what_is_not_handed_out_does_not_count() {
    let limits = QueueLimits {
        deliveries: 2,
        ..SMALL
    };
    let mut q = queue(limits);
    for item in 1..=3 {
        push(&mut q, item);
    }
    let before = q.counts();
    for _ in 0..5 {
        let taken = q.take(0, 7).unwrap();
        assert_eq!((taken.item, taken.deliveries), (1, 1));
        q.untake(7, taken.id).unwrap();
        assert_eq!(q.untake(7, taken.id), Err(NotHeld));
    }
    assert_eq!(q.counts(), before);
    let taken = q.take(0, 7).unwrap();
    q.give_back(0, 7, taken.id, 0).unwrap();
    for _ in 0..5 {
        let taken = q.take(0, 7).unwrap();
        assert_eq!((taken.item, taken.deliveries), (1, 2));
        q.untake(7, taken.id).unwrap();
    }
    assert_eq!((q.dead(), q.ready()), (0, 3));
    assert_eq!((q.counts().delivered, q.counts().redelivered), (1, 0));
    let order: Vec<_> = core::iter::from_fn(|| q.take_acked())
        .map(|t| t.item)
        .collect();
    assert_eq!(order, [1, 2, 3]);
}

/// A queue that was full and is empty has given its memory back.
#[test]
fn a_drained_queue_has_no_memory() {
    let count = 5000;
    let mut q = queue(QueueLimits {
        messages: count,
        ..QueueLimits::DEFAULT
    });
    for round in 0..3 {
        for item in 0..count {
            push(&mut q, item);
        }
        assert_eq!(q.places.live(), count.div_ceil(32) as usize);
        while q.take_acked().is_some() {}
        assert_eq!(q.places.live(), 1, "round {round}");
    }
}

/// Dead letters take the room of a message until they are safe elsewhere.
#[test]
fn dead_letters_stay_until_they_are_taken() {
    let mut q = queue(QueueLimits {
        messages: 1,
        deliveries: 1,
        ..SMALL
    });
    let seq = push(&mut q, 1);
    q.take(0, 7).unwrap();
    q.tick(10);
    assert_eq!((q.dead(), q.len()), (1, 1));
    assert_eq!((q.dead_behind(0), q.dead_behind(1)), (Some(&1), None));
    assert_eq!(q.make_room(10, OWNER, |_| ()), Room::No);
    assert_eq!(q.take_dead(), Some((seq, 1)));
    assert_eq!(q.make_room(10, OWNER, |_| ()), Room::Yes);
}

#[test]
fn too_many_deliveries_make_a_dead_letter() {
    let mut q = queue(QueueLimits {
        deliveries: 2,
        ..SMALL
    });
    let seq = push(&mut q, 1);
    let id = q.take(0, 7).unwrap().id;
    q.give_back(0, 7, id, 5).unwrap();
    assert_eq!((q.ready(), q.delayed(), q.tick(4)), (0, 1, Some(5)));
    q.tick(5);
    let id = q.take(5, 7).unwrap().id;
    q.give_back(5, 7, id, 5).unwrap();
    assert_eq!(q.take_dead(), Some((seq, 1)));
    assert_eq!(
        (q.take_dead(), q.len(), q.bytes(), q.counts().dead),
        (None, 0, 0, 1)
    );
}

#[test]
fn each_message_is_shown_once() {
    let mut queue = queue(QueueLimits::DEFAULT);
    for item in [1, 2] {
        let later = Push {
            delay_ms: 10,
            ..plain(item)
        };
        queue.push(u64::from(item) * 5, later).unwrap();
    }
    queue.tick(15);
    let mut seen = vec![];
    for_each(&queue, 15, |_, _, delay, &item| seen.push((item, delay)));
    assert_eq!(seen, [(1, 0), (2, 5)]);
}
