// SPDX-License-Identifier: GPL-2.0
//! Queues and topics that a lock guards refuse who had the lock before, who has another one, and who has none.

use crate::queue::{call, made, named};
use std::{thread, time::Duration};
use virgo::{
    abi::{self, FenceArgs, QueueArgs, nr, queue_op as op},
    lock::Fence,
    queue::{How, Queue, Subscription},
};
use virgo_test_support::{invoke::as_uid, nodes::other_node};

crate::tests! {
    late_publishers_are_refused,
    late_purges_and_deletions_are_refused,
    requests_are_fenced,
    those_before_the_fence_are_published,
    who_finds_no_room_raises_nothing,
    who_waits_for_room_is_asked_again,
    a_token_takes_the_right_to_delete,
    the_owner_deletes_without_the_lock,
    what_nobody_has_created_has_no_fence,
    taking_needs_no_lock,
    bindings_get_copies_whatever_guards_them,
    dead_letters_come_whatever_guards_their_queue,
    structures_of_earlier_versions,
    bad_fences,
}

const NAME: &str = "c.fenced";

/// Options of a queue in memory, one on disk, and topics that keep messages and not.
const KINDS: [&str; 4] = ["", "durable", "topic", "topic keep=9"];

fn fence(token: u64) -> Fence {
    Fence::new("ledger", token)
}

/// `queue` as who has the lock with this token uses it.
fn with(queue: &Queue, token: u64) -> Queue {
    queue.clone().fenced(fence(token))
}

fn errno<T>(done: virgo::Result<T>) -> i32 {
    done.err().map_or(0, |error| error.errno())
}

/// The errno of a message, or 0.
fn publish(queue: &Queue) -> i32 {
    errno(queue.publish(b"x"))
}

/// A new queue of each kind, here and on another node.
fn each(test: impl Fn(&Queue, &str)) {
    for node in [0, other_node()] {
        for options in KINDS {
            let queue = made(Queue::new(NAME).on(node), options);
            test(&queue, &format!("'{options}' on {node}"));
            queue.delete().expect("the owner needs no lock");
        }
    }
}

fn late_publishers_are_refused() {
    each(|queue, what| {
        assert_eq!(publish(queue), 0, "{what}");
        assert_eq!(publish(&with(queue, 7)), 0, "{what}");
        assert_eq!(publish(&with(queue, 7)), 0, "the same holder again: {what}");
        assert_eq!(publish(&with(queue, 8)), 0, "the next one: {what}");
        assert_eq!(publish(&with(queue, 7)), libc::ESTALE, "{what}");
        assert_eq!(publish(queue), libc::ENOLCK, "{what}");
        let other = queue.clone().fenced(Fence::new("another", 9));
        assert_eq!(publish(&other), libc::ENOLCK, "{what}");
        assert_eq!(publish(&with(queue, 8)), 0, "{what}");
        let error = with(queue, 7).publish(b"x").expect_err("late");
        assert!(error.to_string().contains("has had the lock"), "{error}");
        assert!(error.is_of_fence());
    });
}

fn late_purges_and_deletions_are_refused() {
    each(|queue, what| {
        assert_eq!(errno(with(queue, 5).purge()), 0, "it raises, too: {what}");
        for late in [queue.clone(), with(queue, 4)] {
            let expected = [libc::ENOLCK, libc::ESTALE][usize::from(late != *queue)];
            assert_eq!(publish(&late), expected, "{what}");
            assert_eq!(errno(late.purge()), expected, "{what}");
        }
        assert_eq!(errno(with(queue, 4).delete()), libc::ESTALE, "{what}");
        assert_eq!(publish(&with(queue, 5)), 0, "it is there: {what}");
        let purged = with(queue, 6).purge().expect("the next holder");
        let expected = usize::from(!what.starts_with("'topic'"));
        assert_eq!(purged, expected, "{what}");
        assert_eq!(errno(with(queue, 5).purge()), libc::ESTALE, "{what}");
        assert_eq!(errno(with(queue, 6).delete()), 0, "{what}");
        // Another one of the name begins without.
        queue.create("").expect("create");
        assert_eq!(publish(queue), 0, "{what}");
    });
}

fn requests_are_fenced() {
    for node in [0, other_node()] {
        let queue = made(Queue::new(NAME).on(node), "").within(Duration::from_millis(500));
        assert_eq!(publish(&with(&queue, 7)), 0);
        // Nobody replies to those that are let in.
        for (queue, expected) in [
            (&queue, libc::ENOLCK),
            (&with(&queue, 6), libc::ESTALE),
            (&with(&queue, 8), libc::ETIMEDOUT),
            (&with(&queue, 7), libc::ESTALE),
        ] {
            assert_eq!(errno(queue.request(b"x")), expected, "on {node}");
        }
        queue.delete().expect("delete");
    }
}

/// Of several messages in one call none comes behind somebody with a later token.
fn those_before_the_fence_are_published() {
    for node in [0, other_node()] {
        let queue = made(Queue::new(NAME).on(node), "messages=10 policy=block");
        let holder = with(&queue, 7).within(Duration::from_secs(60));
        let holder = thread::spawn(move || {
            let all = [&b"x"[..]; 20];
            holder.publish_all(&all, How::default())
        });
        thread::sleep(Duration::from_secs(1));
        // The rest waits for room, which comes with the next holder.
        let purged = with(&queue, 8).purge().expect("purge");
        let published = match holder.join().expect("no panic") {
            Ok(published) => published,
            Err(error) => {
                assert_eq!(error.errno(), libc::ESTALE, "on {node}");
                0
            }
        };
        assert_eq!(purged, published, "on {node}");
        assert!(published < 20, "on {node}");
        assert_eq!(with(&queue, 8).purge().expect("purge"), 0, "on {node}");
        queue.delete().expect("delete");
    }
}

fn who_finds_no_room_raises_nothing() {
    for node in [0, other_node()] {
        for options in ["messages=1", "messages=1 durable"] {
            let queue = made(Queue::new(NAME).on(node), options);
            assert_eq!(publish(&queue), 0);
            assert_eq!(publish(&with(&queue, 7)), libc::ENOBUFS, "{options}");
            assert_eq!(publish(&queue), libc::ENOBUFS, "no lock yet: {options}");
            assert_eq!(errno(queue.purge()), 0);
            queue.delete().expect("delete");
        }
    }
}

fn who_waits_for_room_is_asked_again() {
    for options in ["messages=1 policy=block", "messages=1 policy=block durable"] {
        let queue = made(Queue::new(NAME), options);
        assert_eq!(publish(&with(&queue, 7)), 0);
        let late = with(&queue, 7).within(Duration::from_secs(60));
        let late = thread::spawn(move || publish(&late));
        thread::sleep(Duration::from_millis(500));
        assert_eq!(with(&queue, 8).purge().expect("purge"), 1, "{options}");
        assert_eq!(late.join().expect("no panic"), libc::ESTALE, "{options}");
        queue.delete().expect("delete");
    }
}

/// Otherwise whoever may publish could keep all others out for good.
fn a_token_takes_the_right_to_delete() {
    for node in [0, other_node()] {
        let queue = made(Queue::new(NAME).on(node), "mode=72");
        as_uid(1000, || {
            assert_eq!(publish(&with(&queue, u64::MAX)), libc::EACCES, "on {node}");
            assert_eq!(publish(&queue), 0, "on {node}");
        });
        queue.delete().expect("delete");
        let queue = made(Queue::new(NAME).on(node), "mode=73");
        as_uid(1000, || {
            assert_eq!(publish(&with(&queue, 7)), 0, "on {node}");
            assert_eq!(errno(queue.delete()), libc::ENOLCK, "on {node}");
            assert_eq!(errno(with(&queue, 6).delete()), libc::ESTALE, "on {node}");
            assert_eq!(errno(with(&queue, 7).delete()), 0, "on {node}");
        });
    }
}

/// Root is no exception but for that.
fn the_owner_deletes_without_the_lock() {
    for node in [0, other_node()] {
        for deleter in [0, 1000] {
            let queue = Queue::new(NAME).on(node);
            let _ = queue.delete();
            as_uid(1000, || {
                queue.create("mode=73").expect("create");
                assert_eq!(publish(&with(&queue, 7)), 0);
            });
            for uid in [0, 1000, 1001] {
                as_uid(uid, || {
                    assert_eq!(publish(&queue), libc::ENOLCK, "{uid}");
                    assert_eq!(errno(queue.purge()), libc::ENOLCK, "{uid}");
                });
            }
            as_uid(1001, || assert_eq!(errno(queue.delete()), libc::ENOLCK));
            as_uid(deleter, || queue.delete().expect("delete"));
        }
    }
}

fn what_nobody_has_created_has_no_fence() {
    let subscription = Subscription::open("c.nobody.*", "").expect("open");
    for node in [0, other_node()] {
        let queue = Queue::new("c.nobody.here").on(node);
        assert_eq!(publish(&with(&queue, 7)), libc::ENOLCK, "on {node}");
        assert_eq!(errno(with(&queue, 7).purge()), libc::ENOENT, "on {node}");
        assert_eq!(errno(with(&queue, 7).delete()), libc::ENOENT, "on {node}");
        let requests = Queue::new("requests").on(node);
        assert_eq!(publish(&with(&requests, 7)), libc::ENOLCK, "on {node}");
        assert_eq!(errno(with(&requests, 7).purge()), libc::ENOLCK, "on {node}");
    }
    assert_eq!(
        publish(&Queue::new("c.nobody.here")),
        0,
        "the subscriber has it"
    );
    drop(subscription);
}

fn taking_needs_no_lock() {
    for node in [0, other_node()] {
        let queue = made(Queue::new(NAME).on(node), "");
        let data = [&b"one"[..], b"two"];
        let published = with(&queue, 7).publish_all(&data, How::default());
        assert_eq!(published, Ok(2));
        let taken = queue.take(2).expect("take");
        queue.ack(taken[0].id).expect("ack");
        queue
            .give_back(taken[1].id, Duration::ZERO)
            .expect("give back");
        let taken = queue.take(1).expect("take");
        assert_eq!(taken[0].data, b"two");
        queue.ack(taken[0].id).expect("ack");
        queue.delete().expect("delete");
    }
}

fn bindings_get_copies_whatever_guards_them() {
    for options in ["", "durable"] {
        let bound = made(Queue::new("c.bound"), &format!("bind=c.source.* {options}"));
        let source = made(Queue::new("c.source.a"), "topic");
        assert_eq!(publish(&with(&bound, 9)), 0);
        assert_eq!(publish(&source), 0, "the fence is that of the name");
        assert_eq!(publish(&with(&source, 3)), 0);
        assert_eq!(publish(&with(&source, 2)), libc::ESTALE);
        assert_eq!(publish(&bound), libc::ENOLCK);
        assert_eq!(bound.take(10).expect("take").len(), 3, "{options}");
        bound.delete().expect("delete");
        source.delete().expect("delete");
    }
}

fn dead_letters_come_whatever_guards_their_queue() {
    for options in ["", "durable", "topic keep=9"] {
        let letters = made(Queue::new("c.letters"), options);
        assert_eq!(publish(&with(&letters, 9)), 0);
        let queue = made(Queue::new(NAME), "deliveries=1 dead=c.letters");
        assert_eq!(publish(&queue), 0);
        let taken = queue.take(1).expect("take");
        queue
            .give_back(taken[0].id, Duration::ZERO)
            .expect("give back");
        let is_topic = options.starts_with("topic");
        let end = std::time::Instant::now() + Duration::from_secs(20);
        let arrived = || match is_topic {
            // What is published, and the letter: both are kept.
            true => with(&letters, 9).purge().expect("purge"),
            false => letters.take(1).map_or(0, |taken| {
                letters.ack(taken[0].id).expect("ack");
                1
            }),
        };
        let mut all = 0;
        while all < 2 {
            assert!(std::time::Instant::now() < end, "'{options}': {all}");
            all += arrived();
            thread::sleep(Duration::from_millis(100));
        }
        queue.delete().expect("delete");
        letters.delete().expect("delete");
    }
}

/// Programs that know nothing of fences, or of what was lost, go on working, whatever lies behind.
fn structures_of_earlier_versions() {
    let queue = made(Queue::new(NAME), "");
    let message = abi::MessageArgs {
        data: b"old".as_ptr().expose_provenance() as u64,
        len: 3,
        ..abi::MessageArgs::default()
    };
    let mut args = QueueArgs {
        count: 1,
        messages: (&raw const message).expose_provenance() as u64,
        lost: u64::MAX,
        // An address where no program has anything.
        fence: u64::MAX,
        ..named(op::PUBLISH, NAME)
    };
    for (size, lost) in [(56, u64::MAX), (64, 0)] {
        #[expect(unsafe_code, reason = "a system call with any arguments")]
        // SAFETY: The call reads `args` and the message, and may write to `args`.
        let done = unsafe {
            let address = (&raw mut args).expose_provenance() as u64;
            virgo::door::enter(nr::QUEUE, [address, size, 0, 0])
        };
        assert_eq!(done, Ok(1), "{size} bytes");
        assert_eq!(args.lost, lost, "{size} bytes");
    }
    assert_eq!(call(&args), Err(libc::EFAULT));
    assert_eq!(queue.take(10).expect("take").len(), 2);
    queue.delete().expect("delete");
}

fn bad_fences() {
    let queue = made(Queue::new(NAME), "");
    let name = [b'n'; 256];
    let good = FenceArgs {
        name: name.as_ptr().expose_provenance() as u64,
        token: 1,
        name_len: 255,
        flags: 0,
    };
    let at = |fence: &FenceArgs| (&raw const *fence).expose_provenance() as u64;
    let purge = |fence: u64| {
        call(&QueueArgs {
            fence,
            ..named(op::PURGE, NAME)
        })
    };
    for (bad, expected) in [
        (FenceArgs { token: 0, ..good }, libc::EINVAL),
        (FenceArgs { flags: 1, ..good }, libc::EINVAL),
        (
            FenceArgs {
                name_len: 0,
                ..good
            },
            libc::EINVAL,
        ),
        (
            FenceArgs {
                name_len: 256,
                ..good
            },
            libc::ENAMETOOLONG,
        ),
        (FenceArgs { name: 8, ..good }, libc::EFAULT),
    ] {
        assert_eq!(purge(at(&bad)), Err(expected), "{bad:?}");
    }
    assert_eq!(purge(8), Err(libc::EFAULT));
    // What changes nothing takes no lock.
    for op in [op::CREATE, op::OPEN, op::TAKE, op::ACK, op::NACK, op::REPLY] {
        let args = QueueArgs {
            fence: at(&good),
            ..named(op, NAME)
        };
        assert_eq!(call(&args), Err(libc::EINVAL), "{op}");
    }
    assert_eq!(purge(at(&good)), Ok(0));
    queue.delete().expect("delete");
}
