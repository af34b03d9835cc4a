// SPDX-License-Identifier: GPL-2.0

//! Replies that come later: those of requests to a queue of which a text session takes care, and those
//! of pulls of an empty queue.

use super::{
    Suite,
    queue::{fresh, number, pushed, subscriber},
    suite,
};
use crate::{
    memory::TEXT,
    node::{Node, QUEUE},
    peer::{Number, Peer, request},
    text::Text,
};
use std::{
    io, thread,
    time::{Duration, Instant},
};
use virgo_proto::{
    errno::Errno,
    queue::wire::{AskArgs, MAX_WAIT_MS, PullArgs, PulledMessage, op},
    slots::SLOTS,
};
use zerocopy::IntoBytes as _;

pub(super) const SUITE: Suite = suite![
    others_are_served_meanwhile,
    a_repeated_request_is_one_request,
    a_reply_waits_for_who_has_lost_the_connection,
    a_connection_that_asks_nothing_takes_no_reply,
    a_reply_that_was_given_up_goes_nowhere,
    a_request_that_fails_is_answered_at_once,
    only_so_many_are_owed,
    a_pull_waits_for_a_message,
    a_pull_that_waits_ends,
];

const NAME: &str = "t.deferred";

/// Time in which nothing comes.
const SILENCE: Duration = Duration::from_millis(100);

/// A request to the queue.
fn ask(name: &str, data: &str, timeout_ms: u32) -> Vec<u8> {
    ask_as(TEXT.0, name, data, timeout_ms)
}

fn ask_as(uid: u32, name: &str, data: &str, timeout_ms: u32) -> Vec<u8> {
    let args = AskArgs {
        timeout_ms: timeout_ms.into(),
        name_len: (name.len() as u16).into(),
        reserved: 0.into(),
        uid: uid.into(),
    };
    [args.as_bytes(), name.as_bytes(), data.as_bytes()].concat()
}

/// A pull of one message.
fn pull(wait_ms: u32) -> Vec<u8> {
    let args = PullArgs {
        count: 1.into(),
        bytes: 100.into(),
        wait_ms: wait_ms.into(),
        uid: TEXT.0.into(),
        number: 0.into(),
    };
    [args.as_bytes(), NAME.as_bytes()].concat()
}

/// Who takes care of the queue, which is new.
fn service(node: &Node) -> io::Result<Text> {
    fresh(node, NAME, "")?;
    subscriber(node, NAME)
}

fn peer(node: &Node) -> io::Result<(Peer, u64)> {
    let boot = fastrand::u64(..);
    Ok((Peer::open_at(node, QUEUE, boot)?, boot))
}

/// Replies to the next request.
fn reply(service: &mut Text, text: &str) -> io::Result<()> {
    let id = number(&pushed(service)?, "request");
    assert_eq!(service.ask(format!("reply {id} {text}"))?, "OK");
    Ok(())
}

fn others_are_served_meanwhile(node: &Node) -> io::Result<()> {
    let mut service = service(node)?;
    let (mut peer, _) = peer(node)?;
    let late = peer.number(3);
    peer.wire
        .send(&request(late, op::ASK, &ask(NAME, "late", 5000)))?;
    peer.wire.is_silent_for(SILENCE)?;
    assert_eq!(peer.ask(op::PULL, &pull(0))?, Ok(vec![]));
    reply(&mut service, "at last")?;
    assert_eq!(peer.answer(late, op::ASK)?, Ok(b"at last".to_vec()));
    Ok(())
}

fn a_repeated_request_is_one_request(node: &Node) -> io::Result<()> {
    let mut service = service(node)?;
    let (mut first, boot) = peer(node)?;
    let bytes = request(Number::FIRST, op::ASK, &ask(NAME, "once", 5000));
    first.wire.send(&[&bytes[..], &bytes].concat())?;
    first.wire.is_silent_for(SILENCE)?;
    let mut second = Peer::open_at(node, QUEUE, boot)?;
    second.wire.send(&bytes)?;
    second.wire.is_silent_for(SILENCE)?;
    reply(&mut service, "one")?;
    let expected = Ok(b"one".to_vec());
    assert_eq!(second.answer(Number::FIRST, op::ASK)?, expected);
    // It is kept, and nobody gets the request again.
    second.wire.send(&bytes)?;
    assert_eq!(second.answer(Number::FIRST, op::ASK)?, expected);
    first.wire.is_silent_for(SILENCE)?;
    service.wire.is_silent_for(SILENCE)
}

fn a_reply_waits_for_who_has_lost_the_connection(node: &Node) -> io::Result<()> {
    let mut service = service(node)?;
    let (mut lost, boot) = peer(node)?;
    let bytes = request(Number::FIRST, op::ASK, &ask(NAME, "hello?", 5000));
    lost.wire.send(&bytes)?;
    lost.wire.is_silent_for(SILENCE)?;
    drop(lost);
    reply(&mut service, "here")?;
    let mut found = Peer::open_at(node, QUEUE, boot)?;
    found.wire.is_silent_for(SILENCE)?;
    found.wire.send(&bytes)?;
    let answer = found.answer(Number::FIRST, op::ASK)?;
    assert_eq!(answer, Ok(b"here".to_vec()));
    Ok(())
}

fn a_connection_that_asks_nothing_takes_no_reply(node: &Node) -> io::Result<()> {
    let mut service = service(node)?;
    let (mut peer, boot) = peer(node)?;
    let number = peer.number(0);
    peer.wire
        .send(&request(number, op::ASK, &ask(NAME, "mine", 5000)))?;
    peer.wire.is_silent_for(SILENCE)?;
    let beside = Peer::open_at(node, QUEUE, boot)?;
    drop(beside);
    reply(&mut service, "yours")?;
    assert_eq!(peer.answer(number, op::ASK)?, Ok(b"yours".to_vec()));
    Ok(())
}

fn a_reply_that_was_given_up_goes_nowhere(node: &Node) -> io::Result<()> {
    let mut service = service(node)?;
    let (mut peer, _) = peer(node)?;
    let given_up = peer.number(0);
    peer.wire
        .send(&request(given_up, op::ASK, &ask(NAME, "first", 5000)))?;
    let next = Number {
        taken: 0,
        ..peer.number(0)
    };
    peer.wire
        .send(&request(next, op::ASK, &ask(NAME, "second", 5000)))?;
    let requests = [pushed(&mut service)?, pushed(&mut service)?];
    for (line, text) in requests.iter().zip(["one", "two"]) {
        let id = number(line, "request");
        assert_eq!(service.ask(format!("reply {id} {text}"))?, "OK");
    }
    assert_eq!(peer.answer(next, op::ASK)?, Ok(b"two".to_vec()));
    peer.wire.is_silent_for(SILENCE)
}

fn a_request_that_fails_is_answered_at_once(node: &Node) -> io::Result<()> {
    let (mut peer, _) = peer(node)?;
    let nobody = ask("t.nobody.is.there", "", 5000);
    assert_eq!(peer.ask(op::ASK, &nobody)?, Err(Errno::ENOENT));
    let mut short = ask("t", "", 5000);
    short[4] = 2;
    for bad in [&short[..], &short[..7], b""] {
        assert_eq!(peer.ask(op::ASK, bad)?, Err(Errno::EINVAL), "{bad:?}");
    }
    // A repetition gets the stored error.
    let number = peer.number(1);
    for _ in 0..2 {
        let answer = peer.ask_numbered(number, op::ASK, &nobody)?;
        assert_eq!(answer, Err(Errno::ENOENT));
    }
    peer.wire.is_silent_for(SILENCE)
}

/// A user that asks, gives up and asks again, as processes do that are killed, leaves half of what a node
/// may be owed to its others.
fn only_so_many_are_owed(node: &Node) -> io::Result<()> {
    fresh(node, NAME, "mode=72")?;
    let (mut peer, _) = peer(node)?;
    let short = Duration::from_secs(4);
    let [body, other, third] =
        [TEXT.0, 1000, 1001].map(|uid| ask_as(uid, NAME, "x", short.as_millis() as u32));
    for body in [&body, &other] {
        for slot in 0..=u8::MAX {
            let number = peer.number(slot);
            peer.wire.send(&request(number, op::ASK, body))?;
        }
        assert_eq!(peer.ask(op::ASK, body)?, Err(Errno::EDQUOT));
    }
    assert_eq!(peer.ask(op::ASK, &third)?, Err(Errno::EUSERS));
    // Their time is over, and there is room again.
    thread::sleep(short + SILENCE);
    let number = peer.number(0);
    peer.wire.send(&request(number, op::ASK, &body))?;
    // Those of the second round are told that nobody will reply.
    for _ in 1..SLOTS {
        let (header, _) = peer.wire.frame()?;
        assert_eq!(Errno::from_wire(header.word), Errno::ECANCELED);
    }
    peer.wire.is_silent_for(SILENCE)
}

fn a_pull_waits_for_a_message(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, NAME, "")?;
    let (mut peer, _) = peer(node)?;
    let numbers = [1, 2].map(|slot| peer.number(slot));
    for number in numbers {
        let bytes = request(number, op::PULL, &pull(MAX_WAIT_MS));
        peer.wire.send(&bytes)?;
    }
    peer.wire.is_silent_for(SILENCE)?;
    // One of the two gets it; the other's time ends.
    text.ask(format!("pub {NAME} message"))?;
    let mut bodies = Vec::new();
    for _ in numbers {
        let (header, body) = peer.wire.frame()?;
        assert_eq!((header.op, header.word), (op::PULL, 0));
        bodies.push(body);
    }
    let head = size_of::<PulledMessage>() + NAME.len();
    assert_eq!(bodies[0].get(head..), Some(&b"message"[..]));
    assert_eq!(bodies[1], b"");
    Ok(())
}

fn a_pull_that_waits_ends(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, NAME, "")?;
    let (mut peer, _) = peer(node)?;
    let start = Instant::now();
    assert_eq!(peer.ask(op::PULL, &pull(500))?, Ok(vec![]));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(450), "it took {took:?}");
    let too_long = pull(MAX_WAIT_MS + 1);
    assert_eq!(peer.ask(op::PULL, &too_long)?, Err(Errno::EINVAL));
    // With the queue.
    let number = peer.number(0);
    peer.wire
        .send(&request(number, op::PULL, &pull(MAX_WAIT_MS)))?;
    peer.wire.is_silent_for(SILENCE)?;
    text.ask(format!("delete {NAME}"))?;
    assert_eq!(peer.answer(number, op::PULL)?, Err(Errno::ENOENT));
    // What has come after the time is there for others.
    fresh(node, NAME, "")?;
    assert_eq!(peer.ask(op::PULL, &pull(100))?, Ok(vec![]));
    text.ask(format!("pub {NAME} late"))?;
    assert_ne!(peer.ask(op::PULL, &pull(0))?, Ok(vec![]));
    Ok(())
}
