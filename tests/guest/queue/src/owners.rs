// SPDX-License-Identifier: GPL-2.0
//! Whose queues are, and who may acknowledge what.

use crate::queue::made;
use std::time::Duration;
use virgo::queue::{How, Queue};
use virgo_test_support::invoke::as_uid;
use virgo_test_support::nodes::other_node;

crate::tests! {
    a_late_acknowledgement_is_stale,
    queues_are_their_owners,
    others_may_not_acknowledge_what_a_user_has,
    a_queue_is_emptied_by_who_may_delete_it,
}

fn a_late_acknowledgement_is_stale() {
    for node in [0, other_node()] {
        let queue = made(Queue::new("c.late").on(node), "ack=300");
        queue.publish(b"once").expect("publish");
        let first = queue.take(1).expect("take").remove(0);
        let second = queue.take(1).expect("take").remove(0);
        assert_eq!((first.deliveries, second.deliveries), (1, 2));
        let late = queue.ack(first.id).expect_err("another has it");
        assert_eq!(late.errno(), libc::ESTALE, "on {node}");
        let late = queue.give_back(first.id, Duration::ZERO).expect_err("so");
        assert_eq!(late.errno(), libc::ESTALE, "on {node}");
        queue.ack(second.id).expect("ack");
        queue.delete().expect("delete");
    }
}

fn queues_are_their_owners() {
    for node in [0, other_node()] {
        for options in ["", "durable"] {
            let queue = Queue::new("c.owned").on(node);
            let _ = queue.delete();
            as_uid(1000, || queue.create(options).expect("create"));
            as_uid(1001, || {
                let impatient = queue.clone().within(Duration::from_millis(200));
                for error in [
                    queue.publish(b"x").expect_err("not theirs"),
                    impatient.take(1).expect_err("not theirs"),
                    queue.delete().expect_err("not theirs"),
                ] {
                    assert_eq!(error.errno(), libc::EACCES, "on {node}");
                }
                let taken = queue.create("").expect_err("there is one");
                assert_eq!(taken.errno(), libc::EEXIST);
                let given = Queue::new("c.given").on(node).create("owner=1000");
                assert_eq!(given.expect_err("not root").errno(), libc::EPERM);
            });
            as_uid(1000, || {
                queue.publish(b"mine").expect("publish");
                assert_eq!(queue.take(1).expect("take")[0].data, b"mine");
                queue.delete().expect("delete");
            });
        }
    }
}

fn others_may_not_acknowledge_what_a_user_has() {
    for node in [0, other_node()] {
        let queue = made(Queue::new("c.shared").on(node), "mode=77 ack=0");
        queue.publish(b"x").expect("publish");
        let message = as_uid(1000, || queue.take(1).expect("take").remove(0));
        for uid in [1001, 0] {
            let error = as_uid(uid, || queue.ack(message.id).expect_err("not theirs"));
            assert_eq!(error.errno(), libc::ESTALE, "{uid} on {node}");
        }
        as_uid(1000, || queue.ack(message.id).expect("ack"));
        queue.delete().expect("delete");
    }
}

fn a_queue_is_emptied_by_who_may_delete_it() {
    for node in [0, other_node()] {
        for options in ["keep=10", "durable"] {
            let queue = Queue::new("c.emptied").on(node);
            let _ = queue.delete();
            let options = format!("{options} mode=76");
            as_uid(1000, || queue.create(&options).expect("create"));
            assert_eq!(queue.purge().expect("it is empty"), 0);
            queue
                .publish_all(&[&b"x"[..]; 100], How::default())
                .expect("publish");
            let taken = as_uid(1000, || queue.take(2).expect("take"));
            as_uid(1000, || queue.ack(taken[0].id).expect("ack"));
            let error = as_uid(1001, || queue.purge().expect_err("not theirs"));
            assert_eq!(error.errno(), libc::EACCES, "on {node}");
            let there = if options.starts_with("keep") { 100 } else { 99 };
            assert_eq!(as_uid(1000, || queue.purge().expect("purge")), there);
            queue.publish(b"after").expect("publish");
            let left = as_uid(1000, || queue.take(10).expect("take"));
            assert_eq!(left.len(), 1, "on {node}");
            assert_eq!(left[0].data, b"after");
            queue.delete().expect("delete");
        }
        let gone = Queue::new("c.emptied").on(node).purge();
        assert_eq!(gone.expect_err("deleted").errno(), libc::ENOENT);
    }
}
