// SPDX-License-Identifier: GPL-2.0
//! What one user can use of queues and memory that others use as well.

use virgo::queue::{How, Queue, Subscription};
use virgo_test_support::invoke::as_uid;

crate::tests! {
    a_user_has_a_share_of_a_queue_of_all,
    requests_have_no_delay_and_no_priority,
    subscribers_pay_for_what_they_keep,
    who_keeps_messages_for_replay_pays_for_them,
}

/// Publishes until that fails. Returns how often it went well, and how it failed.
fn publish_all(queue: &Queue, data: &[u8]) -> (usize, i32) {
    let mut count = 0;
    loop {
        match queue.publish(data) {
            Ok(_) => count += 1,
            Err(e) => return (count, e.errno()),
        }
        assert!(count < 10_000, "there is no bound");
    }
}

fn a_user_has_a_share_of_a_queue_of_all() {
    for options in ["", "durable"] {
        let queue = Queue::new("c.box");
        let _ = queue.delete();
        let options = format!("{options} mode=72 messages=10");
        as_uid(1000, || queue.create(&options).expect("create"));
        assert_eq!(
            as_uid(1001, || publish_all(&queue, b"x")),
            (5, libc::EDQUOT)
        );
        // Others, and who owns it, still find room.
        as_uid(1002, || queue.publish(b"x").expect("publish"));
        assert_eq!(
            as_uid(1000, || publish_all(&queue, b"x")),
            (4, libc::ENOBUFS)
        );
        // What is taken makes room for its publisher.
        as_uid(1000, || {
            let taken = queue.take(1).expect("take");
            queue.ack(taken[0].id).expect("ack");
        });
        as_uid(1001, || queue.publish(b"x").expect("publish"));
        queue.delete().expect("delete");
    }
}

fn requests_have_no_delay_and_no_priority() {
    let requests = Queue::new("requests");
    let late = How {
        delay: std::time::Duration::from_secs(3600),
        ..How::default()
    };
    let urgent = How {
        priority: 9,
        ..How::default()
    };
    for how in [late, urgent] {
        let refused = as_uid(1001, || requests.publish_all(&[b"x"], how));
        assert_eq!(refused.expect_err("not root's").errno(), libc::EPERM);
    }
}

/// Large enough that few of them are a user's share of the memory for messages.
static LARGE: [u8; 60_000] = [7; 60_000];

/// Who publishes has its share left whatever others keep of that.
fn assert_has_memory(uid: u32) {
    let own = Queue::new("c.own");
    let _ = own.delete();
    as_uid(uid, || {
        own.create("messages=1000 bytes=100000000").expect("create");
        for _ in 0..100 {
            own.publish(&LARGE).expect("its own memory");
        }
        own.delete().expect("delete");
    });
}

fn subscribers_pay_for_what_they_keep() {
    let options = "messages=100000 bytes=100000000 policy=reject";
    let kept = as_uid(1001, || {
        Subscription::open("c.keeps.>", options).expect("open")
    });
    let queue = Queue::new("c.keeps.x");
    let (count, errno) = as_uid(1000, || publish_all(&queue, &LARGE));
    assert_eq!(errno, libc::ENOBUFS, "after {count}");
    assert_has_memory(1000);
    drop(kept);
}

fn who_keeps_messages_for_replay_pays_for_them() {
    let topic = Queue::new("c.topic");
    let _ = topic.delete();
    let options = "topic mode=72 keep=100000 messages=100000 bytes=100000000";
    as_uid(1001, || topic.create(options).expect("create"));
    let (count, errno) = as_uid(1000, || publish_all(&topic, &LARGE));
    assert_eq!(errno, libc::ENOBUFS, "after {count}");
    assert_has_memory(1000);
    topic.delete().expect("delete");
}
