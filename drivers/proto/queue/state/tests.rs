// SPDX-License-Identifier: GPL-2.0

mod model;

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
fn policies_at_the_bound() {
    let mut q = queue(SMALL);
    for item in 1..=3 {
        push(&mut q, item);
    }
    let room = |q: &mut Queued, bytes| {
        let mut gone = vec![];
        (q.make_room(bytes, OWNER, |item| gone.push(item)), gone)
    };
    assert_eq!(room(&mut q, 10), (Room::No, vec![]));
    q.limits.policy = OverflowPolicy::Block;
    assert_eq!(room(&mut q, 10), (Room::Later, vec![]));
    assert_eq!(room(&mut q, 101), (Room::No, vec![]), "will never fit");
    q.limits.policy = OverflowPolicy::DropOldest;
    q.take(0, 7).unwrap();
    assert_eq!(room(&mut q, 10), (Room::Yes, vec![2]));
    assert_eq!(room(&mut q, 10), (Room::Yes, vec![]));
    assert_eq!((q.counts().dropped, q.counts().refused), (1, 2));
    q.take(0, 7).unwrap();
    q.push(0, plain(4)).unwrap();
    assert_eq!(
        room(&mut q, 90),
        (Room::No, vec![4]),
        "what is out cannot be dropped"
    );
}

#[test]
fn another_user_has_a_share_of_what_waits() {
    let limits = QueueLimits {
        messages: 10,
        keep: 10,
        ..QueueLimits::DEFAULT
    };
    let mut q = queue(limits);
    let room = |q: &mut Queued, uid| q.make_room(10, uid, |_| ());
    for item in OTHERS..OTHERS + 5 {
        assert_eq!(room(&mut q, OTHER), Room::Yes);
        q.push(0, plain(item)).unwrap();
    }
    assert_eq!(room(&mut q, OTHER), Room::Share);
    assert_eq!(room(&mut q, OWNER), Room::Yes);
    q.limits.policy = OverflowPolicy::Block;
    assert_eq!(room(&mut q, OTHER), Room::Later);
    q.limits.policy = OverflowPolicy::Reject;
    // What is out or delayed counts, what is done does not, also if it is kept.
    let taken = q.take(0, 1).unwrap();
    assert_eq!(room(&mut q, OTHER), Room::Share);
    q.give_back(0, 1, taken.id, 5).unwrap();
    assert_eq!(room(&mut q, OTHER), Room::Share);
    q.take_acked().unwrap();
    assert_eq!(room(&mut q, OTHER), Room::Yes);
    assert_eq!(replay(&mut q, 0), 1);
    assert_eq!(room(&mut q, OTHER), Room::Share);
    while q.remove_any().is_some() {}
    assert_eq!(room(&mut q, OTHER), Room::Yes);
}

/// Too large, beyond a share, one too many, or more than there is beside what is not done.
#[test]
fn what_is_refused_costs_nothing_that_is_kept() {
    for policy in [OverflowPolicy::Reject, OverflowPolicy::Block] {
        let mut q = queue(QueueLimits {
            keep: 3,
            messages: 4,
            policy,
            ..SMALL
        });
        for item in 1..=3 {
            push(&mut q, item);
            q.take_acked().unwrap();
        }
        let mut gone = vec![];
        let mut room = |q: &mut Queued, bytes, uid| {
            let room = q.make_room(bytes, uid, |item| gone.push(item));
            (room, gone.split_off(0))
        };
        let refused = |why| match policy {
            OverflowPolicy::Block => (Room::Later, vec![]),
            _ => (why, vec![]),
        };
        assert_eq!(room(&mut q, 101, OWNER), (Room::No, vec![]));
        for item in OTHERS..OTHERS + 2 {
            q.push(0, plain(item)).unwrap();
        }
        assert_eq!(room(&mut q, 60, OTHER), refused(Room::Share));
        assert_eq!(room(&mut q, 81, OWNER), refused(Room::No));
        assert_eq!(room(&mut q, 80, OWNER), (Room::Yes, vec![1, 2, 3]));
        q.take_acked().unwrap();
        for item in 4..=6 {
            q.push(0, plain(item)).unwrap();
        }
        assert_eq!(room(&mut q, 60, OWNER), refused(Room::No), "one too many");
    }
}

#[test]
fn what_was_kept_is_told_when_it_is_taken_out() {
    let mut q = queue(QueueLimits { keep: 1, ..SMALL });
    for item in 1..=2 {
        push(&mut q, item);
    }
    q.take_acked().unwrap();
    let removed = [(); 3].map(|()| q.remove_any().map(|r| (r.seq, r.was_kept, r.item)));
    assert_eq!(removed, [Some((2, false, 2)), Some((1, true, 1)), None]);
}

#[test]
fn room_that_is_reserved_stays() {
    let mut q = queue(QueueLimits { keep: 3, ..SMALL });
    for item in 1..=3 {
        push(&mut q, item);
        q.take_acked().unwrap();
    }
    push(&mut q, 4);
    push(&mut q, 5);
    assert_eq!(q.make_room(10, OWNER, |_| ()), Room::Yes);
    assert!(q.reserve());
    assert_eq!(replay(&mut q, 0), 0, "there is room for three");
    let seq = q.next_seq();
    q.give_up_reserved(true);
    assert_eq!(q.next_seq(), seq + 1, "the number is not used again");
    assert_eq!(replay(&mut q, 0), 1);
}

#[test]
fn room_is_made_in_steps() {
    let count = 3 * STEP;
    let mut q = queue(QueueLimits {
        messages: count,
        bytes: u64::from(count) * 10,
        policy: OverflowPolicy::DropOldest,
        ..QueueLimits::DEFAULT
    });
    for item in 0..count {
        push(&mut q, item);
    }
    let mut gone = 0;
    for expected in [Room::More, Room::More, Room::More, Room::Yes] {
        assert_eq!(q.make_room(count * 10, OWNER, |_| gone += 1), expected);
    }
    assert_eq!((gone, q.len()), (count, 0));
}

#[test]
fn places_are_used_again() {
    let mut queue = queue(QueueLimits::DEFAULT);
    let later = Push {
        delay_ms: 10,
        ..plain(5)
    };
    for _ in 0..50 {
        for item in 0..4 {
            push(&mut queue, item);
        }
        queue.push(0, later).unwrap();
        let taken = queue.take(0, 1).unwrap();
        queue.take(0, 1).unwrap();
        assert_eq!(queue.take_acked().unwrap().item, 2);
        queue.ack(1, taken.id).unwrap();
        // One that is ready, one that is delayed, one that is leased.
        for _ in 0..3 {
            queue.remove_any().unwrap();
        }
        assert_eq!(queue.remove_any(), None);
        assert_eq!((queue.places.live(), queue.bytes()), (1, 0));
    }
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

#[test]
fn what_passes_is_counted_as_if_it_had_been_there() {
    let (mut passed, mut there) = (queue(SMALL), queue(SMALL));
    for item in 1..=5 {
        let seq = push(&mut there, item);
        there.take_acked().unwrap();
        assert_eq!(passed.pass(), seq);
    }
    assert_eq!(passed.counts(), there.counts());
    assert_eq!(push(&mut passed, 6), push(&mut there, 6));
}

#[test]
fn acknowledged_messages_are_kept_and_replayed() {
    let mut q = queue(QueueLimits {
        keep: 3,
        bytes: 50,
        ..SMALL
    });
    for item in 1..=5 {
        push(&mut q, item);
        q.take_acked().unwrap();
        while q.forget().is_some() {}
    }
    let mut seen = vec![];
    q.begin_with_kept(4);
    while q.show_some_kept(4, |seq, &item| seen.push((seq, item))) {}
    assert_eq!(seen, [(4, 4), (5, 5)]);
    assert_eq!(replay(&mut q, 4), 2);
    assert_eq!((q.kept(), q.ready(), q.next_seq()), (1, 2, 6));
    let again = q.take_acked().unwrap();
    assert_eq!((again.item, again.deliveries), (4, 2));
    let mut forgotten = vec![];
    q.make_room(30, OWNER, |item| forgotten.push(item));
    assert_eq!(forgotten, [3], "new ones go before old ones");
}

#[test]
fn those_that_were_kept_last_are_found_at_once() {
    let count = 3 * STEP;
    let mut q = queue(QueueLimits {
        keep: count,
        ..QueueLimits::DEFAULT
    });
    for item in 1..=count {
        push(&mut q, item);
        q.take_acked().unwrap();
    }
    for from in [0, 1, 2 * STEP, count - 1, count, count + 1] {
        let mut seen = vec![];
        q.begin_with_kept(from.into());
        let mut steps = 0;
        while q.show_some_kept(from.into(), |_, &item| seen.push(item)) {
            steps += 1;
        }
        assert_eq!(seen, (from.max(1)..=count).collect::<Vec<_>>());
        assert!(from < count - 1 || steps == 0, "{from}: {steps} steps");
    }
}

#[test]
fn restored_messages_keep_their_numbers() {
    let mut q = queue(SMALL);
    q.restore(
        100,
        17,
        Push {
            delay_ms: 5,
            ..plain(1)
        },
    )
    .unwrap();
    q.restore(100, 19, plain(2)).unwrap();
    assert_eq!(q.next_seq(), 20);
    let mut seen = vec![];
    for_each(&q, 102, |seq, _, delay, _| seen.push((seq, delay)));
    seen.sort_unstable();
    assert_eq!(seen, [(17, 3), (19, 0)]);
}
