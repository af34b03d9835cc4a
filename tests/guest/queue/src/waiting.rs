// SPDX-License-Identifier: GPL-2.0
//! Who is woken when there is a message, if many wait.

use crate::queue::made;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::{
    fs, process,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use virgo::queue::{How, Queue, Subscription};
use virgo_test_support::rounds::Rounds;

crate::tests! {
    a_message_wakes_one_of_many,
    messages_of_a_batch_wake_as_many,
    all_who_poll_are_told,
}

/// Programs that wait.
const MANY: Rounds = Rounds {
    debug: 100,
    slim: 500,
    soak: 2000,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Threads that take a message each, and send what they got.
fn takers(name: &'static str, count: usize) -> mpsc::Receiver<Vec<u8>> {
    let (sender, taken) = mpsc::channel();
    for _ in 0..count {
        let sender = sender.clone();
        thread::Builder::new()
            .name("taker".into())
            .stack_size(128 << 10)
            .spawn(move || {
                let queue = Queue::new(name).within(PATIENCE * 2);
                if let Ok(messages) = queue.take(1) {
                    // The test may have ended.
                    let _ = sender.send(messages[0].data.clone());
                }
            })
            .expect("thread");
    }
    taken
}

/// How many takers sleep, and how often all of them have begun to.
fn sleeping() -> (usize, u64) {
    let mut all = (0, 0);
    for task in fs::read_dir(format!("/proc/{}/task", process::id())).expect("tasks") {
        // One that has ended meanwhile has no status.
        let path = task.expect("task").path().join("status");
        let status = fs::read_to_string(path).unwrap_or_default();
        if !status.starts_with("Name:\ttaker\n") {
            continue;
        }
        let line = |name| {
            status
                .lines()
                .find_map(|line: &str| line.strip_prefix(name))
        };
        let state = line("State:").unwrap_or_default().trim_start();
        let switches = line("voluntary_ctxt_switches:").unwrap_or_default();
        all.0 += usize::from(!state.starts_with('R'));
        all.1 += switches.trim().parse::<u64>().unwrap_or(0);
    }
    all
}

/// Returns when so many sleep and none has done anything for a while: how often they have slept.
fn all_sleep(count: usize) -> u64 {
    let start = Instant::now();
    let mut before = sleeping();
    loop {
        assert!(start.elapsed() < PATIENCE, "they do not wait: {before:?}");
        thread::sleep(Duration::from_millis(300));
        let now = sleeping();
        if now == before && now.0 == count {
            return now.1;
        }
        before = now;
    }
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
