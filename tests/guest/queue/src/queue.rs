// SPDX-License-Identifier: GPL-2.0
//! The system call of queues: its arguments, and descriptors that are polled.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    os::fd::{AsFd, AsRawFd},
    thread,
    time::{Duration, Instant},
};
use virgo::{
    abi::{self, QueueArgs, nr, queue_op as op},
    queue::{Message, Queue, Subscription},
};

crate::tests! {
    a_descriptor_is_readable_when_there_is_a_message,
    poll_waits_for_a_message,
    a_deleted_queue_is_readable_and_says_so,
    closing_gives_back_what_was_taken,
    requests_by_descriptor,
    large_messages_and_small_rooms,
    dead_letters_make_room,
    kept_messages_make_room,
    an_acknowledgement_lets_the_next_taker_go_on,
    bad_arguments,
    bad_descriptors,
    bad_addresses_lose_nothing,
}

fn fresh(name: &str, options: &str) -> Queue {
    made(Queue::new(name), options)
}

/// A queue that is made anew.
pub(crate) fn made(queue: Queue, options: &str) -> Queue {
    let _ = queue.delete();
    queue.create(options).expect("create");
    queue
}

fn is_readable(subscription: &Subscription, ms: u64) -> bool {
    let fd = subscription.as_fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec::try_from(Duration::from_millis(ms)).expect("short");
    poll(&mut fds, Some(&timeout)).expect("poll") == 1
}

fn one(subscription: &Subscription) -> Message {
    let mut messages = subscription
        .take(1, Some(Duration::from_secs(5)))
        .expect("take");
    messages.pop().expect("one")
}

fn a_descriptor_is_readable_when_there_is_a_message() {
    let queue = fresh("c.poll", "");
    let subscription = Subscription::open("c.poll", "ack").expect("open");
    assert!(!is_readable(&subscription, 0));
    queue.publish(b"one").expect("publish");
    assert!(is_readable(&subscription, 0));
    let message = one(&subscription);
    assert_eq!(
        (&message.data[..], message.subject.as_str()),
        (&b"one"[..], "c.poll")
    );
    assert!(!is_readable(&subscription, 0));
    subscription.ack(message.id).expect("ack");
    let again = subscription.ack(message.id).expect_err("only once");
    assert_eq!(again.errno(), libc::ESTALE);
    queue.delete().expect("delete");
}

fn poll_waits_for_a_message() {
    let queue = fresh("c.wait", "topic");
    let subscription = Subscription::open("c.*", "").expect("open");
    let publisher = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        queue.publish(b"late").expect("publish");
        queue
    });
    let start = Instant::now();
    assert!(is_readable(&subscription, 10_000));
    let took = start.elapsed();
    assert!(
        took > Duration::from_millis(200) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(one(&subscription).data, b"late");
    publisher
        .join()
        .expect("no panic")
        .delete()
        .expect("delete");
}

fn a_deleted_queue_is_readable_and_says_so() {
    let queue = fresh("c.gone", "");
    let subscription = Subscription::open("c.gone", "ack").expect("open");
    queue.delete().expect("delete");
    assert!(is_readable(&subscription, 1000));
    let error = subscription.take(1, None).expect_err("it is gone");
    assert_eq!(error.errno(), libc::ENOENT);
}

fn closing_gives_back_what_was_taken() {
    let queue = fresh("c.back", "ack=0");
    queue.publish(b"one").expect("publish");
    let first = Subscription::open("c.back", "ack").expect("open");
    assert_eq!(one(&first).deliveries, 1);
    let second = Subscription::open("c.back", "ack").expect("open");
    assert!(!is_readable(&second, 0));
    drop(first);
    assert!(is_readable(&second, 1000));
    assert_eq!(one(&second).deliveries, 2);
    queue.delete().expect("delete");
}

fn requests_by_descriptor() {
    let queue = fresh("c.ask", "");
    let service = Subscription::open("c.ask", "ack").expect("open");
    let asker = thread::spawn({
        let queue = queue.clone();
        move || queue.request(b"question")
    });
    let request = one(&service);
    assert!(request.is_request);
    service.reply(request.id, b"answer").expect("reply");
    assert_eq!(asker.join().expect("no panic").expect("reply"), b"answer");
    queue.publish(b"no question").expect("publish");
    let error = service
        .reply(one(&service).id, b"x")
        .expect_err("nobody asks");
    assert_eq!(error.errno(), libc::EINVAL);
    let impatient = queue.clone().within(Duration::from_millis(200));
    let error = impatient.request(b"x").expect_err("nobody answers");
    assert_eq!(error.errno(), libc::ETIMEDOUT);
    queue.delete().expect("delete");
}

fn large_messages_and_small_rooms() {
    let queue = fresh("c.large", "ack=0");
    let large = vec![7; virgo::queue::MAX_MESSAGE];
    queue.publish(&large).expect("publish");
    let error = queue
        .publish(&vec![7; large.len() + 1])
        .expect_err("too large");
    assert_eq!(error.errno(), libc::EMSGSIZE);
    let messages = queue.take(3).expect("take");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].data, large);
    queue.delete().expect("delete");
}

/// Makes the call as it is.
#[expect(unsafe_code, reason = "a system call with any arguments")]
pub(crate) fn call(args: &QueueArgs) -> Result<usize, i32> {
    let address = (&raw const *args).expose_provenance() as u64;
    // SAFETY: The addresses in the arguments are those of nothing, or of what the test owns.
    unsafe { virgo::door::enter(nr::QUEUE, [address, size_of::<QueueArgs>() as u64, 0, 0]) }
}

pub(crate) fn named(op: u32, name: &str) -> QueueArgs {
    QueueArgs {
        op,
        fd: -1,
        name: name.as_ptr().expose_provenance() as u64,
        name_len: name.len() as u32,
        ..QueueArgs::default()
    }
}

/// Publishes to a queue without room while a message leaves it; that may not take long.
fn assert_makes_room(queue: &Queue, leave: impl FnOnce()) {
    let waiting = queue.clone().within(Duration::from_secs(20));
    let start = Instant::now();
    let publisher = thread::spawn(move || waiting.publish(b"late"));
    thread::sleep(Duration::from_millis(100));
    leave();
    publisher.join().expect("thread").expect("publish");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    queue.delete().expect("delete");
}

fn dead_letters_make_room() {
    let letters = fresh("c.letters", "");
    let queue = fresh(
        "c.dying",
        "messages=1 policy=block ack=500 deliveries=1 dead=c.letters",
    );
    queue.publish(b"dies").expect("publish");
    queue.take(1).expect("take");
    assert_makes_room(&queue, || {
        let dead = letters.take(1).expect("take");
        assert_eq!(dead[0].data, b"dies");
    });
    letters.delete().expect("delete");
}

fn kept_messages_make_room() {
    for options in ["", "durable"] {
        // Room for two, with what is counted beside their data.
        let options = format!("{options} bytes=700 policy=block keep=10");
        let queue = fresh("c.kept", &options);
        queue.publish(b"one").expect("publish");
        queue.publish(b"two").expect("publish");
        assert_makes_room(&queue, || {
            let taken = queue.take(1).expect("take");
            queue.ack(taken[0].id).expect("ack");
        });
    }
}

/// One message may be out: the next one can be taken when that is acknowledged, at once.
fn an_acknowledgement_lets_the_next_taker_go_on() {
    let queue = fresh("c.next", "unacked=1 ack=0");
    queue.publish(b"one").expect("publish");
    queue.publish(b"two").expect("publish");
    let first = queue.take(1).expect("take").remove(0);
    let patient = queue.clone().within(Duration::from_secs(20));
    let taker = thread::spawn(move || patient.take(1));
    thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    queue.ack(first.id).expect("ack");
    let second = taker.join().expect("no panic").expect("take");
    assert_eq!(second[0].data, b"two");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    queue.delete().expect("delete");
}

fn bad_arguments() {
    let nothing = abi::MessageArgs::default();
    let args = named(op::DELETE, "c.nothing");
    let cases = [
        (QueueArgs { op: 0, ..args }, libc::EINVAL),
        (
            QueueArgs {
                op: op::PURGE + 1,
                ..args
            },
            libc::EINVAL,
        ),
        (
            QueueArgs {
                op: u32::MAX,
                ..args
            },
            libc::EINVAL,
        ),
        (QueueArgs { flags: 1, ..args }, libc::EINVAL),
        (QueueArgs { node: 9, ..args }, libc::ENODEV),
        (
            QueueArgs {
                node: 1 << 20,
                ..args
            },
            libc::ENODEV,
        ),
        (
            QueueArgs {
                timeout_ms: 300_001,
                ..args
            },
            libc::EINVAL,
        ),
        (
            QueueArgs {
                name_len: 129,
                ..args
            },
            libc::EMSGSIZE,
        ),
        (QueueArgs { name: 8, ..args }, libc::EFAULT),
        (args, libc::ENOENT),
        (named(op::PUBLISH, "c.nothing"), libc::EINVAL),
        (named(op::CREATE, "no name"), libc::EINVAL),
        (
            QueueArgs {
                count: 1,
                messages: (&raw const nothing).expose_provenance() as u64,
                ..named(op::PUBLISH, "no name")
            },
            libc::EINVAL,
        ),
        (named(op::OPEN, "a.>.b"), libc::EINVAL),
        (
            QueueArgs {
                node: 2,
                ..named(op::OPEN, "c.x")
            },
            libc::EOPNOTSUPP,
        ),
        (
            QueueArgs {
                count: 1025,
                ..named(op::TAKE, "c.x")
            },
            libc::EINVAL,
        ),
        (
            QueueArgs {
                count: 1,
                messages: 8,
                ..named(op::PUBLISH, "c.x")
            },
            libc::EFAULT,
        ),
    ];
    for (args, expected) in cases {
        assert_eq!(call(&args), Err(expected), "{args:?}");
    }
}

fn bad_descriptors() {
    let file = std::fs::File::open("/dev/null").expect("open");
    for fd in [-1, 1000, file.as_raw_fd()] {
        let message = abi::MessageArgs::default();
        let args = QueueArgs {
            fd,
            name_len: 0,
            count: 1,
            messages: (&raw const message).expose_provenance() as u64,
            ..named(op::TAKE, "")
        };
        assert_eq!(call(&args), Err(libc::EBADF), "{fd}");
    }
}

/// A message that cannot be handed to its taker stays.
fn bad_addresses_lose_nothing() {
    let queue = fresh("c.fault", "ack=0");
    queue.publish(b"kept").expect("publish");
    let mut message = abi::MessageArgs {
        data: 8,
        len: 100,
        ..abi::MessageArgs::default()
    };
    let args = QueueArgs {
        count: 1,
        messages: (&raw mut message).expose_provenance() as u64,
        ..named(op::TAKE, "c.fault")
    };
    assert_eq!(call(&args), Err(libc::EFAULT));
    let messages = queue.take(1).expect("take");
    assert_eq!(messages[0].data, b"kept");
    queue.delete().expect("delete");
}
