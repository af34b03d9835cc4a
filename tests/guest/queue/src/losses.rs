// SPDX-License-Identifier: GPL-2.0
//! What a queue loses is told to who has published it and to who was to get it.

use crate::queue::made;
use std::{
    thread,
    time::{Duration, Instant},
};
use virgo::queue::{How, Published, Queue, Subscription};
use virgo_test_support::nodes::other_node;

crate::tests! {
    a_slow_subscriber_is_told,
    who_publishes_to_a_full_subscription_is_told,
    a_bound_queue_that_refuses_keeps_all_from_getting_it,
    a_bound_queue_that_blocks_is_waited_for,
    a_reply_that_is_too_large_is_an_error_at_once,
}

const MANY: [&[u8]; 5] = [b"1", b"2", b"3", b"4", b"5"];

fn a_slow_subscriber_is_told() {
    let topic = made(Queue::new("c.slow"), "topic");
    let slow = Subscription::open("c.slow", "messages=2").expect("open");
    topic.publish_all(&MANY, How::default()).expect("publish");
    let taken = slow.take(5, None).expect("take");
    let data: Vec<_> = taken.into_iter().map(|message| message.data).collect();
    assert_eq!(data, [b"4", b"5"]);
    assert_eq!((slow.lost(), slow.lost()), (3, 0), "told once");
    topic.publish(b"6").expect("publish");
    slow.take(1, None).expect("take");
    assert_eq!(slow.lost(), 0);
    topic.delete().expect("delete");
}

fn who_publishes_to_a_full_subscription_is_told() {
    let topic = made(Queue::new("c.full"), "topic");
    let full = Subscription::open("c.full", "messages=2 policy=reject").expect("open");
    let published = topic.publish_counted(&MANY, How::default());
    let expected = Published {
        accepted: 5,
        lost: 3,
    };
    assert_eq!(published.expect("publish"), expected);
    assert_eq!(full.take(5, None).expect("take").len(), 2);
    assert_eq!(full.lost(), 3);
    topic.delete().expect("delete");
}

/// A topic with a queue that is bound to it and has room for one message.
fn bound(options: &str, node: u32) -> [Queue; 2] {
    let topic = made(Queue::new("c.news").on(node), "topic");
    let options = format!("bind=c.news messages=1 {options}");
    [topic, made(Queue::new("c.archive").on(node), &options)]
}

fn a_bound_queue_that_refuses_keeps_all_from_getting_it() {
    for node in [0, other_node()] {
        for options in ["", "durable"] {
            let [topic, archive] = bound(options, node);
            topic.publish(b"one").expect("publish");
            let refused = topic.publish(b"two").expect_err("there is no room");
            assert_eq!(refused.errno(), libc::ENOBUFS, "{options} on {node}");
            let taken = archive.take(1).expect("take");
            archive.ack(taken[0].id).expect("ack");
            topic.publish(b"three").expect("publish");
            assert_eq!(archive.take(1).expect("take")[0].data, b"three");
            topic.delete().expect("delete");
            archive.delete().expect("delete");
        }
    }
}

fn a_bound_queue_that_blocks_is_waited_for() {
    for node in [0, other_node()] {
        for options in ["policy=block", "durable policy=block"] {
            let [topic, archive] = bound(options, node);
            topic.publish(b"one").expect("publish");
            let impatient = topic.clone().within(Duration::from_millis(300));
            let refused = impatient.publish(b"two").expect_err("there is no room");
            assert!(
                [libc::ETIMEDOUT, libc::EAGAIN].contains(&refused.errno()),
                "{refused}"
            );
            let patient = topic.clone().within(Duration::from_secs(20));
            let publisher = thread::spawn(move || patient.publish(b"three"));
            thread::sleep(Duration::from_millis(300));
            let taken = archive.take(1).expect("take");
            archive.ack(taken[0].id).expect("ack");
            publisher.join().expect("thread").expect("publish");
            assert_eq!(archive.take(1).expect("take")[0].data, b"three");
            topic.delete().expect("delete");
            archive.delete().expect("delete");
        }
    }
}

fn a_reply_that_is_too_large_is_an_error_at_once() {
    let queue = made(Queue::new("c.large.reply"), "");
    let service = Subscription::open("c.large.reply", "ack").expect("open");
    let asker = thread::spawn({
        let queue = queue.clone().within(Duration::from_secs(20));
        move || queue.request(b"much")
    });
    let request = service.take(1, None).expect("take").remove(0);
    let start = Instant::now();
    let refused = service.reply(request.id, &vec![0; 70_000]);
    assert_eq!(refused.expect_err("too large").errno(), libc::EMSGSIZE);
    let told = asker.join().expect("thread").expect_err("no reply");
    assert_eq!(told.errno(), libc::EMSGSIZE);
    assert!(start.elapsed() < Duration::from_secs(5), "at once");
    let late = service.ack(request.id).expect_err("it is done");
    assert_eq!(late.errno(), libc::ESTALE);
    queue.delete().expect("delete");
}
