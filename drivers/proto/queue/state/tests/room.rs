// SPDX-License-Identifier: GPL-2.0

//! Bounds: what there is room for, and what is dropped or refused.

use super::*;

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
