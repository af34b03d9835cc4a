// SPDX-License-Identifier: GPL-2.0

use super::{
    super::slab::{Plain, Published, Slab},
    *,
};
use proptest::prelude::*;
use std::{vec, vec::Vec};

type Queued = Queue<Slab<Plain<u32>>>;

const SMALL: Limits = Limits {
    messages: 3,
    bytes: 100,
    leased: 2,
    ack_ms: 10,
    ..Limits::DEFAULT
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

impl Published for u32 {
    fn publisher(&self) -> u32 {
        match *self {
            0..OTHERS => OWNER,
            _ => OTHER,
        }
    }
}

fn queue(limits: Limits) -> Queued {
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
    let mut q = queue(Limits::DEFAULT);
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
fn a_holder_that_goes_leaves_all_in_order() {
    let mut q = queue(Limits {
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
    let mut q = queue(Limits {
        messages: count,
        leased: count,
        keep: count,
        ..Limits::DEFAULT
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
    let limits = Limits {
        messages: count,
        leased: count,
        keep: count,
        ack_ms: 10,
        ..Limits::DEFAULT
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
    let mut q = queue(Limits {
        messages: count,
        leased: count,
        ..Limits::DEFAULT
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
fn takes_of_one_holder_are_told_apart() {
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
    let limits = Limits {
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
    let mut q = queue(Limits {
        messages: count,
        ..Limits::DEFAULT
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
    let mut q = queue(Limits {
        messages: 1,
        deliveries: 1,
        ..SMALL
    });
    let seq = push(&mut q, 1);
    q.take(0, 7).unwrap();
    q.tick(10);
    assert_eq!((q.dead(), q.len(), q.first_dead()), (1, 1, Some(&1)));
    assert_eq!(q.make_room(10, OWNER, |_| ()), Room::No);
    assert_eq!(q.take_dead(), Some((seq, 1)));
    assert_eq!(q.make_room(10, OWNER, |_| ()), Room::Yes);
}

#[test]
fn too_many_deliveries_make_a_dead_letter() {
    let mut q = queue(Limits {
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
    q.limits.policy = Policy::Block;
    assert_eq!(room(&mut q, 10), (Room::Later, vec![]));
    assert_eq!(room(&mut q, 101), (Room::No, vec![]), "will never fit");
    q.limits.policy = Policy::DropOldest;
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
    let limits = Limits {
        messages: 10,
        keep: 10,
        ..Limits::DEFAULT
    };
    let mut q = queue(limits);
    let room = |q: &mut Queued, uid| q.make_room(10, uid, |_| ());
    for item in OTHERS..OTHERS + 5 {
        assert_eq!(room(&mut q, OTHER), Room::Yes);
        q.push(0, plain(item)).unwrap();
    }
    assert_eq!(room(&mut q, OTHER), Room::Share);
    assert_eq!(room(&mut q, OWNER), Room::Yes);
    q.limits.policy = Policy::Block;
    assert_eq!(room(&mut q, OTHER), Room::Later);
    q.limits.policy = Policy::Reject;
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

#[test]
fn room_that_is_reserved_stays() {
    let mut q = queue(Limits { keep: 3, ..SMALL });
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
    let mut q = queue(Limits {
        messages: count,
        bytes: u64::from(count) * 10,
        policy: Policy::DropOldest,
        ..Limits::DEFAULT
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
    let mut queue = queue(Limits::DEFAULT);
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
    let mut queue = queue(Limits::DEFAULT);
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
    let mut q = queue(Limits {
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
    let mut q = queue(Limits {
        keep: count,
        ..Limits::DEFAULT
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

#[derive(Clone, Debug)]
enum Step {
    Push { priority: u8, delay: u64 },
    Take(u64),
    TakeAcked,
    Ack(usize),
    GiveBack(usize, u64),
    Untake(usize),
    Gone(u64),
    Wait(u64),
    Replay,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, prop_oneof![3 => Just(0), 1 => 1..20u64])
            .prop_map(|(priority, delay)| Step::Push { priority, delay }),
        3 => (0..3u64).prop_map(Step::Take),
        1 => Just(Step::TakeAcked),
        2 => any::<usize>().prop_map(Step::Ack),
        1 => (any::<usize>(), 0..5u64).prop_map(|(i, d)| Step::GiveBack(i, d)),
        1 => any::<usize>().prop_map(Step::Untake),
        1 => (0..3u64).prop_map(Step::Gone),
        2 => (0..15u64).prop_map(Step::Wait),
        1 => Just(Step::Replay),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Ready,
    Delayed(u64),
    Leased {
        consumer: u64,
        until: u64,
        order: usize,
        id: u64,
    },
    Kept,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    priority: u8,
    deliveries: u32,
    at: At,
}

/// A queue as one would explain it: all messages in one vector, those that are ready in the order
/// in which they go out.
struct Model {
    all: Vec<Entry>,
    next: u64,
    order: usize,
    limits: Limits,
    dead: u64,
}

impl Model {
    fn live(&self) -> usize {
        self.all.iter().filter(|e| e.at != At::Kept).count()
    }

    fn leased(&self) -> usize {
        self.all
            .iter()
            .filter(|e| matches!(e.at, At::Leased { .. }))
            .count()
    }

    fn ready(&mut self, index: usize) {
        let mut entry = self.all.remove(index);
        entry.at = At::Ready;
        let older = |e: &Entry| {
            e.at != At::Ready
                || e.priority != entry.priority
                || (e.deliveries > 0 && e.seq < entry.seq)
        };
        let place = match entry.deliveries {
            0 => self.all.len(),
            _ => self
                .all
                .iter()
                .position(|e| !older(e))
                .unwrap_or(self.all.len()),
        };
        self.all.insert(place, entry);
    }

    fn priorities(&self) -> impl Iterator<Item = u8> + '_ {
        let ready = self.all.iter().filter(|e| e.at == At::Ready);
        ready.map(|e| e.priority)
    }

    fn first_of(&self, priority: u8) -> Option<usize> {
        self.all
            .iter()
            .position(|e| e.at == At::Ready && e.priority == priority)
    }

    fn next(&self) -> Option<usize> {
        self.first_of(self.priorities().max()?)
    }

    /// A delivery that did not come about: the message is the first of its kind again.
    fn untake(&mut self, index: usize) {
        let mut entry = self.all.remove(index);
        entry.deliveries -= 1;
        entry.at = At::Ready;
        let first = |e: &Entry| {
            e.at == At::Ready
                && e.priority == entry.priority
                && match entry.deliveries {
                    0 => e.deliveries == 0,
                    _ => e.deliveries == 0 || e.seq > entry.seq,
                }
        };
        let place = self.all.iter().position(first);
        self.all.insert(place.unwrap_or(self.all.len()), entry);
    }

    fn drop_oldest(&mut self) -> Option<u32> {
        let index = self.first_of(self.priorities().min()?)?;
        Some(self.all.remove(index).seq as u32)
    }

    fn back(&mut self, index: usize, now: u64, delay: u64) {
        let entry = &mut self.all[index];
        if entry.deliveries >= self.limits.deliveries {
            self.all.remove(index);
            self.dead += 1;
        } else if delay == 0 {
            self.ready(index);
        } else {
            entry.at = At::Delayed(now + delay);
        }
    }

    fn acked(&mut self, index: usize) {
        let mut entry = self.all.remove(index);
        entry.at = At::Kept;
        self.all.push(entry);
        let kept = |e: &Entry| e.at == At::Kept;
        while self.all.iter().filter(|e| kept(e)).count() > self.limits.keep as usize {
            let first = self.all.iter().position(kept).unwrap();
            self.all.remove(first);
        }
    }

    /// Those that are out, in the order in which they went out: consumer, number, delivery.
    fn leases(&self) -> Vec<(u64, u64, u64)> {
        let mut leases: Vec<_> = self
            .all
            .iter()
            .filter_map(|e| match e.at {
                At::Leased {
                    consumer,
                    order,
                    id,
                    ..
                } => Some((order, consumer, e.seq, id)),
                _ => None,
            })
            .collect();
        leases.sort_unstable();
        leases
            .iter()
            .map(|&(_, consumer, seq, id)| (consumer, seq, id))
            .collect()
    }

    fn index(&self, seq: u64) -> usize {
        self.all.iter().position(|e| e.seq == seq).unwrap()
    }

    fn tick(&mut self, now: u64) {
        loop {
            let due = self.all.iter().filter_map(|e| match e.at {
                At::Delayed(due) if due <= now => Some((due, e.seq)),
                _ => None,
            });
            let Some((_, seq)) = due.min() else { break };
            self.ready(self.index(seq));
        }
        for (_, seq, _) in self.leases() {
            let index = self.index(seq);
            if matches!(self.all[index].at, At::Leased { until, .. } if until <= now) {
                self.back(index, now, 0);
            }
        }
    }
}

proptest! {
    #[test]
    fn does_what_the_model_does(
        steps in prop::collection::vec(step(), 0..200),
        policy in prop::sample::select(&[Policy::Reject, Policy::DropOldest]),
    ) {
        let limits = Limits {
            messages: 12,
            bytes: 1 << 20,
            leased: 4,
            policy,
            ack_ms: 10,
            deliveries: 3,
            keep: 4,
        };
        let mut q = queue(limits);
        let mut m = Model { all: vec![], next: 1, order: 0, limits, dead: 0 };
        let mut now = 0;
        for step in steps {
            match step {
                Step::Push { priority, delay } => {
                    let mut gone = None;
                    let room = q.make_room(10, OWNER, |item| gone = Some(item)) == Room::Yes;
                    let full = m.live() >= limits.messages as usize;
                    let expected = match (full, policy) {
                        (true, Policy::DropOldest) => m.drop_oldest(),
                        _ => None,
                    };
                    prop_assert_eq!((gone, room), (expected, !full || expected.is_some()));
                    if room {
                        let push = Push { priority, delay_ms: delay, ..plain(m.next as u32) };
                        prop_assert_eq!(q.push(now, push), Ok(m.next));
                        let at = At::Delayed(now + delay);
                        m.all.push(Entry { seq: m.next, priority, deliveries: 0, at });
                        if delay == 0 {
                            m.ready(m.all.len() - 1);
                        }
                        m.next += 1;
                    }
                }
                Step::Take(consumer) => {
                    let expected = m.next().filter(|_| m.leased() < limits.leased as usize);
                    let taken = q.take(now, consumer);
                    let id = taken.as_ref().map_or(0, |t| t.id);
                    prop_assert_eq!(
                        taken.map(|t| (t.seq, t.deliveries)),
                        expected.map(|i| (m.all[i].seq, m.all[i].deliveries + 1))
                    );
                    if let Some(index) = expected {
                        let until = now + u64::from(limits.ack_ms);
                        m.order += 1;
                        m.all[index].deliveries += 1;
                        m.all[index].at = At::Leased { consumer, until, order: m.order, id };
                    }
                }
                Step::TakeAcked => {
                    let expected = m.next();
                    let taken = q.take_acked();
                    prop_assert_eq!(taken.map(|t| t.seq), expected.map(|i| m.all[i].seq));
                    if let Some(index) = expected {
                        m.all[index].deliveries += 1;
                        m.acked(index);
                    }
                }
                Step::Ack(which) => {
                    let leases = m.leases();
                    if let Some(&(consumer, seq, id)) = leases.get(which % leases.len().max(1)) {
                        prop_assert_eq!(q.ack(consumer + 100, id), Err(NotHeld));
                        prop_assert_eq!(q.ack(consumer, id), Ok((seq, None)));
                        prop_assert_eq!(q.ack(consumer, id), Err(NotHeld));
                        m.acked(m.index(seq));
                    }
                }
                Step::GiveBack(which, delay) => {
                    let leases = m.leases();
                    if let Some(&(consumer, seq, id)) = leases.get(which % leases.len().max(1)) {
                        prop_assert_eq!(q.give_back(now, consumer, id, delay), Ok(()));
                        m.back(m.index(seq), now, delay);
                    }
                }
                Step::Untake(which) => {
                    let leases = m.leases();
                    if let Some(&(consumer, seq, id)) = leases.get(which % leases.len().max(1)) {
                        prop_assert_eq!(q.untake(consumer, id), Ok(()));
                        m.untake(m.index(seq));
                    }
                }
                Step::Gone(consumer) => {
                    let held = m.leases().into_iter().filter(|&(h, ..)| h == consumer);
                    let held: Vec<_> = held.collect();
                    prop_assert_eq!(give_all_back(&mut q, now, consumer), held.len() as u32);
                    for (_, seq, _) in held {
                        m.back(m.index(seq), now, 0);
                    }
                }
                Step::Wait(ms) => {
                    now += ms;
                    tick(&mut q, now);
                    m.tick(now);
                }
                Step::Replay => {
                    let kept = m.all.iter().filter(|e| e.at == At::Kept).map(|e| e.seq);
                    let room = limits.messages as usize - m.live();
                    let kept: Vec<_> = kept.take(room).collect();
                    prop_assert_eq!(replay(&mut q, 0), kept.len() as u32);
                    for seq in kept {
                        m.ready(m.index(seq));
                    }
                }
            }
            while q.forget().is_some() {}
            while q.take_dead().is_some() {}
            prop_assert_eq!(q.len() as usize, m.live());
            prop_assert_eq!(q.leased() as usize, m.leased());
            prop_assert_eq!(q.kept() as usize, m.all.len() - m.live());
            prop_assert_eq!(q.bytes(), m.all.len() as u64 * 10);
            prop_assert_eq!(q.counts().dead, m.dead);
        }
        while q.remove_any().is_some() {}
        prop_assert_eq!((q.len(), q.kept(), q.bytes()), (0, 0, 0));
    }
}
