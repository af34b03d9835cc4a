// SPDX-License-Identifier: GPL-2.0

//! Several messages in one request of another node.

use super::{
    Suite,
    queue::{fresh, pushed, subscriber},
    suite,
};
use crate::{
    memory::TEXT,
    node::{Node, QUEUE},
    peer::{Number, Peer, request},
    text::Text,
};
use std::io;
use virgo_proto::{
    errno::Errno,
    frame::MAX_BODY,
    queue::wire::{NameHeader, PublishReply, PublishedMessage, op},
};
use zerocopy::{FromBytes as _, IntoBytes as _};

pub(super) const SUITE: Suite = suite![
    all_are_published_in_order,
    those_before_the_first_refused_are_published,
    one_that_may_wait_says_so,
    a_repeated_request_publishes_once,
    what_is_torn_publishes_nothing,
    what_is_no_name_is_refused,
    as_many_as_a_frame_holds,
];

const NAME: &str = "t.publishing";

/// A Publish of these data.
fn publish<D: AsRef<[u8]>>(messages: &[D]) -> Vec<u8> {
    publish_to(NAME, messages)
}

fn publish_to<D: AsRef<[u8]>>(name: &str, messages: &[D]) -> Vec<u8> {
    let named = NameHeader {
        name_len: (name.len() as u16).into(),
        reserved: 0.into(),
        uid: TEXT.0.into(),
    };
    let mut body = [named.as_bytes(), name.as_bytes()].concat();
    for data in messages.iter().map(AsRef::as_ref) {
        let item = PublishedMessage {
            data_len: (data.len() as u32).into(),
            delay_ms: 0.into(),
            priority: 4,
            reserved: [0; 3],
        };
        body.extend_from_slice(item.as_bytes());
        body.extend_from_slice(data);
    }
    body
}

/// What a reply says: how many, and why no more.
fn published(answer: Result<Vec<u8>, Errno>) -> Result<(u32, u32), Errno> {
    let reply = PublishReply::read_from_bytes(&answer?).expect("a reply");
    Ok((reply.published.get(), reply.errno.get()))
}

/// A session and a connection; the queue is new.
fn with_queue(node: &Node, options: &str) -> io::Result<(Text, Peer)> {
    let text = fresh(node, NAME, options)?;
    Ok((text, Peer::open_at(node, QUEUE, fastrand::u64(..))?))
}

/// Asserts that these are in the queue, and takes them.
fn assert_there(node: &Node, text: &mut Text, expected: &[&str]) -> io::Result<()> {
    let queue = text.ask(format!("queue {NAME}"))?;
    let ready = format!("ready={}", expected.len());
    assert!(queue.split(' ').any(|field| field == ready), "{queue}");
    let mut taker = subscriber(node, NAME)?;
    for data in expected {
        let line = pushed(&mut taker)?;
        assert!(line.ends_with(&format!("data=\"{data}\"")), "{line}");
    }
    Ok(())
}

fn all_are_published_in_order(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = with_queue(node, "")?;
    let answer = peer.ask(op::PUBLISH, &publish(&["one", "", "three"]))?;
    assert_eq!(published(answer), Ok((3, 0)));
    assert_there(node, &mut text, &["one", "", "three"])?;
    let answer = peer.ask(op::PUBLISH, &publish::<&str>(&[]))?;
    assert_eq!(published(answer), Ok((0, 0)));
    assert_there(node, &mut text, &[])
}

fn those_before_the_first_refused_are_published(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = with_queue(node, "messages=2 policy=reject")?;
    let answer = peer.ask(op::PUBLISH, &publish(&["one", "two", "three", "four"]))?;
    assert_eq!(published(answer), Ok((2, Errno::ENOBUFS.to_wire())));
    let answer = peer.ask(op::PUBLISH, &publish(&["three"]))?;
    assert_eq!(published(answer), Err(Errno::ENOBUFS));
    assert_there(node, &mut text, &["one", "two"])
}

fn one_that_may_wait_says_so(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = with_queue(node, "messages=1 policy=block")?;
    let answer = peer.ask(op::PUBLISH, &publish(&["one", "two"]))?;
    assert_eq!(published(answer), Ok((1, Errno::EAGAIN.to_wire())));
    let answer = peer.ask(op::PUBLISH, &publish(&["two"]))?;
    assert_eq!(published(answer), Err(Errno::EAGAIN));
    assert_there(node, &mut text, &["one"])
}

fn a_repeated_request_publishes_once(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = with_queue(node, "")?;
    let bytes = request(Number::FIRST, op::PUBLISH, &publish(&["one", "two"]));
    peer.wire.send(&[&bytes[..], &bytes].concat())?;
    for _ in 0..2 {
        let answer = peer.answer(Number::FIRST, op::PUBLISH)?;
        assert_eq!(published(answer), Ok((2, 0)));
    }
    assert_there(node, &mut text, &["one", "two"])
}

fn what_is_torn_publishes_nothing(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = with_queue(node, "")?;
    let whole = publish(&["one", "two"]);
    for len in 0..whole.len() {
        // What ends with the first message or the name is whole.
        if [publish(&["one"]).len(), publish::<&str>(&[]).len()].contains(&len) {
            continue;
        }
        let answer = peer.ask(op::PUBLISH, &whole[..len])?;
        assert_eq!(answer, Err(Errno::EINVAL), "{len} bytes");
    }
    assert_there(node, &mut text, &[])
}

fn what_is_no_name_is_refused(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = with_queue(node, "bind=>")?;
    for name in [
        "",
        ".",
        "two words",
        "t.*",
        &"n".repeat(129),
        &"n".repeat(40_000),
    ] {
        let answer = peer.ask(op::PUBLISH, &publish_to(name, &["x"]))?;
        assert_eq!(answer, Err(Errno::EINVAL), "{name:.20}");
    }
    assert_there(node, &mut text, &[])
}

fn as_many_as_a_frame_holds(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = with_queue(node, "messages=10000")?;
    let count = (MAX_BODY - publish::<&str>(&[]).len()) / size_of::<PublishedMessage>();
    let answer = peer.ask(op::PUBLISH, &publish(&vec![""; count]))?;
    assert_eq!(published(answer), Ok((count as u32, 0)));
    let queue = text.ask(format!("queue {NAME}"))?;
    assert!(queue.contains(&format!("ready={count} ")), "{queue}");
    assert_eq!(text.ask(format!("delete {NAME}"))?, "OK");
    Ok(())
}
