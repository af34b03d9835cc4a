// SPDX-License-Identifier: GPL-2.0
//! Who gets the room that becomes free in a queue that blocks, if many wait for it.

use crate::{
    queue::made,
    sleepers::{self, MANY, PATIENCE, all_sleep},
};
use rustix::{process::Uid, thread::set_thread_res_uid};
use std::{
    process::Command,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use virgo::queue::{Message, Queue};
use virgo_test_support::{invoke::as_uid, rounds::Rounds};

crate::tests! {
    room_wakes_as_many_as_it_is_for,
    all_come_in,
    room_of_who_gives_up_is_for_the_next,
    room_of_who_is_killed_is_for_the_next,
    a_small_message_goes_where_a_large_one_has_no_room,
    who_has_its_share_keeps_nobody_waiting,
    who_waits_for_room_is_told_that_the_queue_is_gone,
}

/// A round takes a second or two.
const ROUNDS: Rounds = Rounds {
    debug: 3,
    slim: 5,
    soak: 400,
};

/// Has a thread publish `data`, as user `uid`. It sends the data when it is in, or how that failed.
fn publish_late(queue: &Queue, uid: u32, data: &[u8], done: &mpsc::Sender<Result<Vec<u8>, i32>>) {
    let (queue, data, done) = (queue.clone(), data.to_vec(), done.clone());
    sleepers::spawn(move || {
        let uid = Uid::from_raw(uid);
        set_thread_res_uid(None, Some(uid), None).expect("setresuid");
        let published = queue.publish(&data);
        // The test may have ended.
        let _ = done.send(published.map(|_| data).map_err(|e| e.errno()));
    });
}

fn take(queue: &Queue) -> Message {
    let message = queue.take(1).expect("take").remove(0);
    queue.ack(message.id).expect("ack");
    message
}

fn room_wakes_as_many_as_it_is_for() {
    for options in ["", "durable"] {
        let queue = made(
            Queue::new("c.herd"),
            &format!("{options} messages=1 policy=block"),
        );
        let queue = queue.within(PATIENCE * 2);
        queue.publish(b"full").expect("publish");
        let (done, published) = mpsc::channel();
        // The first ones come one after the other.
        let count = MANY.count();
        for n in 0..count {
            publish_late(&queue, 0, n.to_string().as_bytes(), &done);
            if n < 3 {
                all_sleep(n + 1);
            }
        }
        let before = all_sleep(count);
        take(&queue);
        let first = published.recv_timeout(PATIENCE).expect("one has room");
        assert_eq!(first, Ok(b"0".to_vec()));
        // That one has ended.
        let woken = all_sleep(count - 1).saturating_sub(before);
        assert!(woken < 20, "{woken} of {count} were woken for one message");
        for n in 0..3 {
            assert_eq!(take(&queue).data, n.to_string().as_bytes());
        }
        queue.delete().expect("delete");
        drop(done);
        // Those that wait are told that it is gone.
        while published.recv_timeout(PATIENCE).is_ok() {}
        all_sleep(0);
    }
}

/// Also if several messages leave at a time, and newcomers are there.
fn all_come_in() {
    let count = MANY.count();
    let queue = made(Queue::new("c.all"), "messages=10 policy=block").within(PATIENCE * 3);
    let (done, published) = mpsc::channel();
    for n in 0..count {
        publish_late(&queue, 0, n.to_string().as_bytes(), &done);
    }
    let mut taken = 0;
    while taken < count {
        let messages = queue.take(8).expect("take");
        for message in &messages {
            queue.ack(message.id).expect("ack");
        }
        taken += messages.len();
    }
    for _ in 0..count {
        let published = published.recv_timeout(PATIENCE).expect("all have ended");
        published.expect("publish");
    }
    queue.delete().expect("delete");
}

/// A queue without room, for which one waits that is begun by `wait`, and another behind it. The first gives
/// up when what that has returned is called.
fn assert_next_has_room<G: FnOnce() -> JoinHandle<()>>(wait: impl Fn(&Queue, u64) -> G) {
    let queue = made(Queue::new("c.next"), "messages=1 policy=block").within(PATIENCE);
    for round in 0..ROUNDS.count() as u64 {
        queue.publish(b"full").expect("publish");
        let give_up = wait(&queue, round);
        let (done, published) = mpsc::channel();
        publish_late(&queue, 0, b"patient", &done);
        all_sleep(1);
        let first = give_up();
        let start = Instant::now();
        assert_eq!(take(&queue).data, b"full");
        // The first one may have come in before.
        while take(&queue).data != b"patient" {}
        let published = published.recv_timeout(PATIENCE).expect("ended");
        assert_eq!(published, Ok(b"patient".to_vec()));
        let took = start.elapsed();
        assert!(took < PATIENCE / 2, "{took:?} in round {round}");
        all_sleep(0);
        // It may have begun so late that it came in behind the other one.
        first.join().expect("the first one");
        queue.purge().expect("purge");
    }
    queue.delete().expect("delete");
}

fn room_of_who_gives_up_is_for_the_next() {
    assert_next_has_room(|queue, round| {
        let patience = Duration::from_millis(1200);
        let impatient = queue.clone().within(patience);
        let until = Instant::now() + patience;
        let first = thread::spawn(move || drop(impatient.publish(b"impatient")));
        thread::sleep(Duration::from_millis(20));
        // About when its time is over.
        move || {
            let left = until.saturating_duration_since(Instant::now());
            thread::sleep(left + Duration::from_millis(round % 10));
            first
        }
    });
}

fn room_of_who_is_killed_is_for_the_next() {
    assert_next_has_room(|_, round| {
        let mut child = Command::new("virgo")
            .args(["queue", "pub", "--timeout", "60s", "c.next", "killed"])
            .spawn()
            .expect("virgo");
        thread::sleep(Duration::from_millis(100));
        move || {
            child.kill().expect("kill");
            if round % 2 == 0 {
                child.wait().expect("wait");
            }
            thread::spawn(move || drop(child.wait()))
        }
    });
}

fn a_small_message_goes_where_a_large_one_has_no_room() {
    let options = "bytes=62000 policy=block";
    let queue = made(Queue::new("c.sizes"), options).within(PATIENCE);
    let (large, small) = (vec![1; 60_000], vec![2; 1000]);
    queue.publish(&small).expect("publish");
    queue.publish(&large).expect("publish");
    let (done, published) = mpsc::channel();
    publish_late(&queue, 0, &large, &done);
    all_sleep(1);
    publish_late(&queue, 0, &small, &done);
    all_sleep(2);
    assert_eq!(take(&queue).data, small);
    let first = published.recv_timeout(PATIENCE / 2).expect("one has room");
    assert_eq!(first.expect("publish"), small);
    assert_eq!(take(&queue).data, large);
    let second = published
        .recv_timeout(PATIENCE / 2)
        .expect("the other one, too");
    assert_eq!(second.expect("publish"), large);
    queue.delete().expect("delete");
}

/// A user whose share is used up may wait with many tasks: those behind them have the room.
fn who_has_its_share_keeps_nobody_waiting() {
    let options = "mode=72 messages=6 policy=block";
    let queue = made(Queue::new("c.shared"), options).within(PATIENCE * 2);
    for _ in 0..3 {
        queue.publish(b"root").expect("publish");
    }
    for _ in 0..3 {
        as_uid(1001, || queue.publish(b"greedy")).expect("publish");
    }
    let (done, published) = mpsc::channel();
    let count = MANY.count();
    for _ in 0..count {
        publish_late(&queue, 1001, b"greedy", &done);
    }
    all_sleep(count);
    let (done, mine) = mpsc::channel();
    publish_late(&queue, 0, b"root", &done);
    all_sleep(count + 1);
    assert_eq!(take(&queue).data, b"root");
    let first = mine.recv_timeout(PATIENCE / 2).expect("there is room");
    assert_eq!(first, Ok(b"root".to_vec()));
    queue.delete().expect("delete");
    for _ in 0..count {
        let ended = published.recv_timeout(PATIENCE).expect("it is gone");
        assert_eq!(ended, Err(libc::ENOENT));
    }
}

fn who_waits_for_room_is_told_that_the_queue_is_gone() {
    let queue = made(Queue::new("c.going"), "messages=1 policy=block").within(PATIENCE * 2);
    queue.publish(b"full").expect("publish");
    let (done, published) = mpsc::channel();
    let count = MANY.count();
    for _ in 0..count {
        publish_late(&queue, 0, b"late", &done);
    }
    all_sleep(count);
    let start = Instant::now();
    queue.delete().expect("delete");
    for _ in 0..count {
        let ended = published.recv_timeout(PATIENCE).expect("it is gone");
        assert_eq!(ended, Err(libc::ENOENT));
    }
    assert!(start.elapsed() < PATIENCE);
}
