// SPDX-License-Identifier: GPL-2.0
//! What one user can use of queues and memory that others use as well.

use std::{
    thread,
    time::{Duration, Instant},
};
use virgo::{
    queue::{How, Queue, Subscription},
    status::Status,
};
use virgo_test_support::invoke::as_uid;

crate::tests! {
    a_user_has_a_share_of_a_queue_of_all,
    requests_have_no_delay_and_no_priority,
    subscribers_pay_for_what_they_keep,
    who_keeps_messages_for_replay_pays_for_them,
    who_keeps_dead_letters_for_replay_pays_for_them,
    dead_letters_of_one_owner_leave_room_for_those_of_others,
    a_user_has_a_share_of_what_is_bound,
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
        // Others, and who owns it, still find room. Users share buckets by a random key, one of 64 of
        // them that of the user above, so several are asked until one publishes.
        let publishes = |uid: &u32| as_uid(*uid, || queue.publish(b"x").is_ok());
        assert!(
            (1002..1010).any(|uid| publishes(&uid)),
            "others find no room"
        );
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

/// Makes dead letters of messages that root publishes to this queue, for its owner.
fn bury(queue: &Queue, owner: u32, data: &[u8]) {
    queue.publish(data).expect("publish");
    as_uid(owner, || {
        let taken = queue.take(1).expect("take");
        queue
            .give_back(taken[0].id, Duration::ZERO)
            .expect("give back");
    });
}

/// Waits until so many messages are in a queue, or kept by a topic.
fn wait_for(name: &str, count: u64) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let all = Status::default().queues().expect("as root").queues;
        let queue = all.iter().find(|queue| queue.name == name);
        let queue = queue.expect("it is there");
        if queue.ready + queue.kept == count {
            return;
        }
        assert!(Instant::now() < end, "{queue:?}, not {count}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn who_keeps_dead_letters_for_replay_pays_for_them() {
    let (topic, queue) = (Queue::new("c.graves"), Queue::new("c.dying"));
    let (_, _) = (topic.delete(), queue.delete());
    let bytes = "messages=100000 bytes=100000000";
    as_uid(1001, || {
        let options = format!("topic mode=72 keep=100000 {bytes}");
        topic.create(&options).expect("create");
    });
    as_uid(1000, || {
        let options = format!("deliveries=1 dead=c.graves {bytes}");
        queue.create(&options).expect("create");
    });
    // Less than the share of who keeps them, but with what follows more than that of the other.
    for _ in 0..500 {
        bury(&queue, 1000, &LARGE);
    }
    wait_for("c.graves", 500);
    assert_has_memory(1000);
    for queue in [topic, queue] {
        queue.delete().expect("delete");
    }
}

fn dead_letters_of_one_owner_leave_room_for_those_of_others() {
    let grave = Queue::new("c.grave");
    let _ = grave.delete();
    as_uid(1002, || {
        grave.create("mode=72 messages=10").expect("create");
    });
    let queues = [1001, 1002].map(|owner| {
        let queue = Queue::new(format!("c.dying.{owner}"));
        let _ = queue.delete();
        let options = "deliveries=1 dead=c.grave";
        as_uid(owner, || queue.create(options).expect("create"));
        (queue, owner)
    });
    // As many as one user may have there, all of which act as nobody; then those of who owns it.
    for (queue, owner) in &queues {
        for _ in 0..5 {
            bury(queue, *owner, b"x");
        }
    }
    wait_for("c.grave", 10);
    for (queue, _) in &queues {
        queue.delete().expect("delete");
    }
    grave.delete().expect("delete");
}

fn a_user_has_a_share_of_what_is_bound() {
    let bound = |n| Queue::new(format!("c.bound.to.{n}"));
    let create = |n| bound(n).create("bind=c.fan.>");
    let mut count = 0;
    let refused = as_uid(1001, || {
        loop {
            match create(count) {
                Ok(()) => count += 1,
                Err(e) => return e.errno(),
            }
        }
    });
    assert_eq!((count, refused), (1024, libc::EDQUOT));
    // What is bound to nothing, and what others bind, there may be.
    as_uid(1001, || bound(count).create("").expect("create"));
    as_uid(1002, || create(count + 1).expect("create"));
    Queue::new("c.fan.x").publish(b"x").expect("publish");
    for n in 0..count + 2 {
        bound(n).delete().expect("delete");
    }
    as_uid(1001, || {
        create(0).expect("create");
        bound(0).delete().expect("delete");
    });
}
