// SPDX-License-Identifier: GPL-2.0
//! Several messages published in one call, here and on another node.

use crate::queue::{call, made, named};
use std::{thread, time::Duration};
use virgo::{
    abi::{self, QueueArgs, queue_op as op},
    queue::{How, Queue},
};
use virgo_test_support::nodes::other_node;

crate::tests! {
    many_messages_arrive_in_order,
    many_large_messages_arrive_in_order,
    those_before_one_that_cannot_be_read_are_published,
    those_that_find_no_room_wait_for_it,
}

/// A queue of this node, and the same of another.
fn here_and_there(name: &str, options: &str) -> [Queue; 2] {
    [0, other_node()].map(|node| made(Queue::new(name).on(node), options))
}

/// Publishes in one call, and takes; all arrive, in order.
fn assert_arrive(queue: &Queue, messages: &[Vec<u8>]) {
    let data: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let published = queue.publish_all(&data, How::default()).expect("publish");
    assert_eq!(published, messages.len());
    let mut taken = Vec::new();
    while taken.len() < messages.len() {
        let some = queue.take(messages.len() - taken.len()).expect("take");
        taken.extend(some.into_iter().map(|message| message.data));
    }
    assert!(taken == messages, "as they were published");
    queue.delete().expect("delete");
}

fn many_messages_arrive_in_order() {
    let count = u32::try_from(abi::MAX_MESSAGES).expect("few");
    let messages: Vec<_> = (0..count).map(|i| i.to_le_bytes().to_vec()).collect();
    for options in ["", "durable"] {
        for queue in here_and_there("c.many", options) {
            assert_arrive(&queue, &messages);
        }
    }
}

/// Some fit into a request, together with others or just so.
fn many_large_messages_arrive_in_order() {
    for queue in here_and_there("c.large", "") {
        let lens = [
            40_000, 25_000, 524, 65_536, 0, 65_524, 12, 30_000, 30_000, 30_000,
        ];
        let messages: Vec<_> = (0..).zip(lens).map(|(i, len)| vec![i; len]).collect();
        assert_arrive(&queue, &messages);
    }
}

fn those_before_one_that_cannot_be_read_are_published() {
    for (queue, node) in here_and_there("c.half", "").iter().zip([0, other_node()]) {
        let good = abi::MessageArgs {
            data: b"good".as_ptr().expose_provenance() as u64,
            len: 4,
            ..abi::MessageArgs::default()
        };
        let bad = [
            abi::MessageArgs { data: 8, ..good },
            abi::MessageArgs {
                len: 65_537,
                ..good
            },
            abi::MessageArgs {
                priority: 10,
                ..good
            },
            abi::MessageArgs { flags: 1, ..good },
        ];
        let expected = [libc::EFAULT, libc::EMSGSIZE, libc::EINVAL, libc::EINVAL];
        for (bad, errno) in bad.into_iter().zip(expected) {
            let messages = [good, good, bad, good];
            let args = |first: usize| QueueArgs {
                node,
                count: (messages.len() - first) as u32,
                messages: messages[first..].as_ptr().expose_provenance() as u64,
                ..named(op::PUBLISH, "c.half")
            };
            assert_eq!(call(&args(0)), Ok(2));
            assert_eq!(call(&args(2)), Err(errno));
            assert_eq!(queue.take(10).expect("take").len(), 2);
        }
        queue.delete().expect("delete");
    }
}

fn those_that_find_no_room_wait_for_it() {
    for queue in here_and_there("c.room", "messages=3 policy=block") {
        let messages: Vec<_> = (0..20u8).map(|i| vec![i]).collect();
        let taker = queue.clone();
        let taker = thread::spawn(move || {
            let mut taken = Vec::new();
            while taken.len() < 20 {
                for message in taker.take(10).expect("take") {
                    taker.ack(message.id).expect("ack");
                    taken.push(message.data);
                }
            }
            taken
        });
        let data: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        assert_eq!(
            queue.publish_all(&data, How::default()).expect("publish"),
            20
        );
        assert_eq!(taker.join().expect("taker"), messages);
        // With nobody who takes there is room for three.
        // Time enough for an answer of a busy node.
        let impatient = queue.clone().within(Duration::from_millis(1500));
        assert_eq!(
            impatient
                .publish_all(&data, How::default())
                .expect("publish"),
            3
        );
        let full = impatient.publish(b"x").expect_err("full");
        assert_eq!(full.errno(), libc::ETIMEDOUT);
        queue.delete().expect("delete");
    }
}
