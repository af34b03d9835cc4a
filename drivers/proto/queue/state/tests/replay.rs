// SPDX-License-Identifier: GPL-2.0

//! What was kept or restored.

use super::*;

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
