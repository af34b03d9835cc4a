// SPDX-License-Identifier: GPL-2.0
//! Whose queues are, and who may acknowledge what.

use crate::queue::made;
use std::time::Duration;
use virgo::queue::Queue;
use virgo_test_support::invoke::as_uid;
use virgo_test_support::nodes::other_node;

crate::tests! {
    a_late_acknowledgement_is_stale,
    queues_are_their_owners,
    others_may_not_acknowledge_what_a_user_has,
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
