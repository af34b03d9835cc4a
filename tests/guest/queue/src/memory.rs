// SPDX-License-Identifier: GPL-2.0
//! Memory that queues take: it goes back when they are empty, and is charged to who uses it.

use crate::{queue::made, rounds::Rounds};
use std::{fs, process, thread, time::Duration};
use virgo::{
    abi::MAX_MESSAGES,
    queue::{How, Queue},
};

crate::tests! {
    drained_queues_give_their_memory_back,
    messages_are_charged_to_the_memory_cgroup,
}

/// Publishes `count` small messages.
fn fill(queue: &Queue, count: usize) {
    let small: Vec<&[u8]> = vec![b"small"; MAX_MESSAGES];
    let mut left = count;
    while left > 0 {
        let some = &small[..left.min(MAX_MESSAGES)];
        left -= queue.publish_all(some, How::default()).expect("publish");
    }
}

/// KiB of the kernel's own objects that cannot be reclaimed.
fn slabs() -> u64 {
    // What other processors have freed is given back after a while.
    fs::write("/proc/sys/vm/drop_caches", "3").expect("as root");
    let all = fs::read_to_string("/proc/meminfo").expect("procfs");
    let line = all
        .lines()
        .find_map(|line| line.strip_prefix("SUnreclaim:"));
    let words = line.expect("a line").split_whitespace().next();
    words.expect("a number").parse().expect("a number")
}

fn drained_queues_give_their_memory_back() {
    let count = Rounds {
        debug: 3,
        slim: 8,
        soak: 64,
    }
    .count();
    let messages = 20_000;
    let before = slabs();
    let queues: Vec<_> = (0..count)
        .map(|number| {
            let name = format!("c.drained.{number}");
            let queue = made(Queue::new(name), "messages=100000 bytes=100000000 keep=0");
            fill(&queue, messages);
            let mut left = messages;
            while left > 0 {
                let taken = queue.take(MAX_MESSAGES).expect("take");
                for message in &taken {
                    queue.ack(message.id).expect("ack");
                }
                left -= taken.len();
            }
            queue
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let grown = slabs().saturating_sub(before);
    // Places of all these messages took 56 bytes each, and stayed.
    let places = (count * messages * 56 / 1024) as u64;
    for queue in queues {
        queue.delete().expect("delete");
    }
    assert!(grown < places / 3, "{grown} KiB of {places}");
}

/// Moves this process into the memory cgroup at `path`.
fn enter(path: &str) {
    fs::write(format!("{path}/cgroup.procs"), process::id().to_string()).expect("enter");
}

fn messages_are_charged_to_the_memory_cgroup() {
    const ROOT: &str = "/sys/fs/cgroup";
    let group = format!("{ROOT}/virgo_test");
    fs::create_dir_all(&group).expect("a group");
    let queue = made(Queue::new("c.charged"), "messages=100000 bytes=100000000");
    enter(&group);
    let current = || -> u64 {
        let file = fs::read_to_string(format!("{group}/memory.current")).expect("a file");
        file.trim().parse().expect("a number")
    };
    let before = current();
    let large = vec![1; 60_000];
    for _ in 0..100 {
        queue.publish(&large).expect("publish");
    }
    let (full, counted) = (current(), 100 * 60_000);
    queue.delete().expect("delete");
    enter(ROOT);
    let _ = fs::remove_dir(&group);
    assert!(full >= before + counted, "{before} {full}");
}
