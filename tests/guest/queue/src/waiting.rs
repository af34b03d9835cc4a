// SPDX-License-Identifier: GPL-2.0
//! Who is woken when there is a message, if many wait.

use crate::{
    queue::made,
    sleepers::{self, MANY, PATIENCE, all_sleep},
};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::sync::mpsc;
use virgo::queue::{How, Queue, Subscription};

crate::tests! {
    a_message_wakes_one_of_many,
    messages_of_a_batch_wake_as_many,
    all_who_poll_are_told,
}

/// Threads that take a message each, and send what they got.
fn takers(name: &'static str, count: usize) -> mpsc::Receiver<Vec<u8>> {
    let (sender, taken) = mpsc::channel();
    for _ in 0..count {
        let sender = sender.clone();
        sleepers::spawn(move || {
            let queue = Queue::new(name).within(PATIENCE * 2);
            if let Ok(messages) = queue.take(1) {
                // The test may have ended.
                let _ = sender.send(messages[0].data.clone());
            }
        });
    }
    taken
}

fn a_message_wakes_one_of_many() {
    let queue = made(Queue::new("c.waiting"), "");
    let count = MANY.count();
    let taken = takers("c.waiting", count);
    let before = all_sleep(count);
    queue.publish(b"one").expect("publish");
    assert_eq!(taken.recv_timeout(PATIENCE).expect("taken"), b"one");
    // The one that has it has ended.
    let woken = all_sleep(count - 1).saturating_sub(before);
    assert!(woken < 10, "{woken} of {count} were woken for one message");
    // Those that wait are told that it is gone.
    queue.delete().expect("delete");
    while taken.recv_timeout(PATIENCE).is_ok() {}
}

fn messages_of_a_batch_wake_as_many() {
    let queue = made(Queue::new("c.batch"), "");
    let taken = takers("c.batch", 8);
    all_sleep(8);
    let messages = [&b"some"[..]; 8];
    queue
        .publish_all(&messages, How::default())
        .expect("publish");
    for _ in messages {
        assert_eq!(taken.recv_timeout(PATIENCE).expect("taken"), b"some");
    }
    queue.delete().expect("delete");
}

/// Few are told by who publishes, more of them by the queue's own work.
fn all_who_poll_are_told() {
    for count in [1, 64, 65, 300] {
        let queue = made(Queue::new("c.polled"), "");
        let subscription = Subscription::open("c.polled", "").expect("open");
        let polls: Vec<_> = (0..count)
            .map(|_| {
                let poll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
                epoll::add(&poll, &subscription, EventData::new_u64(0), EventFlags::IN)
                    .expect("add");
                poll
            })
            .collect();
        queue.publish(b"one").expect("publish");
        for (index, poll) in polls.iter().enumerate() {
            let mut events = Vec::with_capacity(1);
            let timeout = PATIENCE.try_into().expect("timeout");
            epoll::wait(
                poll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            )
            .expect("wait");
            assert_eq!(events.len(), 1, "{index} of {count}");
        }
        queue.delete().expect("delete");
    }
}
