// SPDX-License-Identifier: GPL-2.0

//! What counts as a delivery, and who may acknowledge it.

use super::{
    Suite,
    queue::{figure, fresh, number, pushed, subscriber},
    suite,
};
use crate::{
    memory::TEXT,
    node::{Node, QUEUE},
    peer::{Peer, request},
    text::Text,
};
use std::{
    io, thread,
    time::{Duration, Instant},
};
use virgo_proto::{
    errno::Errno,
    queue::wire::{
        AckArgs, ForgetArgs, MAX_WAIT_MS, PullArgs, PulledMessage, UNTAKE, next_entry, op,
    },
};
use zerocopy::IntoBytes as _;

pub(super) const SUITE: Suite = suite![
    a_late_acknowledgement_is_stale,
    what_does_not_fit_was_not_delivered,
    what_is_taken_back_was_not_delivered,
    a_pull_that_nobody_waits_for_takes_nothing,
    what_a_forgotten_pull_has_taken_goes_to_the_next,
    a_dead_letter_stays_until_there_is_room_for_it,
    who_has_many_messages_open_gets_no_more,
    who_has_lost_many_messages_gets_others,
    many_who_wait_are_all_woken,
];

const NAME: &str = "t.deliveries";

fn pull(bytes: u32, wait_ms: u32, number: u32) -> Vec<u8> {
    let args = PullArgs {
        count: 1.into(),
        bytes: bytes.into(),
        wait_ms: wait_ms.into(),
        uid: TEXT.0.into(),
        number: number.into(),
    };
    [args.as_bytes(), NAME.as_bytes()].concat()
}

fn done(id: u64, flags: u16) -> Vec<u8> {
    let args = AckArgs {
        id: id.into(),
        delay_ms: 0.into(),
        flags: flags.into(),
        reserved: 0.into(),
        uid: TEXT.0.into(),
    };
    [args.as_bytes(), NAME.as_bytes()].concat()
}

fn forget(number: u32) -> Vec<u8> {
    let args = ForgetArgs {
        uid: TEXT.0.into(),
        number: number.into(),
    };
    [args.as_bytes(), NAME.as_bytes()].concat()
}

fn setup(node: &Node, options: &str) -> io::Result<(Text, Peer)> {
    let text = fresh(node, NAME, options)?;
    Ok((text, Peer::open_at(node, QUEUE, fastrand::u64(..))?))
}

/// The one message in a reply.
fn entry(body: &[u8]) -> PulledMessage {
    let mut rest = body;
    let (entry, ..) = next_entry(&mut rest).expect("a message");
    assert_eq!(rest, b"", "one message");
    entry
}

/// Pulls the message that is there.
fn take(peer: &mut Peer, number: u32) -> io::Result<PulledMessage> {
    let body = peer.ask(op::PULL, &pull(1000, 500, number))?;
    Ok(entry(&body.expect("a reply")))
}

fn a_late_acknowledgement_is_stale(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = setup(node, "ack=200")?;
    text.ask(format!("pub {NAME} once"))?;
    let first = take(&mut peer, 1)?;
    thread::sleep(Duration::from_millis(400));
    let second = take(&mut peer, 2)?;
    assert_eq!((first.deliveries.get(), second.deliveries.get()), (1, 2));
    assert_ne!(first.id, second.id);
    let late = peer.ask(op::ACK, &done(first.id.get(), 0))?;
    assert_eq!(late, Err(Errno::ESTALE), "another has it now");
    assert_eq!(peer.ask(op::ACK, &done(second.id.get(), 0))?, Ok(vec![]));
    let again = peer.ask(op::ACK, &done(second.id.get(), 0))?;
    assert_eq!(again, Err(Errno::ESTALE), "only once");
    text.ask(format!("delete {NAME}"))?;
    Ok(())
}

fn what_does_not_fit_was_not_delivered(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = setup(node, "deliveries=2")?;
    text.ask(format!("pub {NAME} {}", "x".repeat(200)))?;
    for _ in 0..3 {
        let small = peer.ask(op::PULL, &pull(100, 0, 1))?;
        assert_eq!(small, Err(Errno::EMSGSIZE));
    }
    assert_eq!(take(&mut peer, 2)?.deliveries.get(), 1);
    let queue = text.ask(format!("queue {NAME}"))?;
    assert_eq!(
        (number(&queue, "dead"), number(&queue, "delivered")),
        (0, 1)
    );
    text.ask(format!("delete {NAME}"))?;
    Ok(())
}

fn what_is_taken_back_was_not_delivered(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = setup(node, "deliveries=1 ack=0")?;
    text.ask(format!("pub {NAME} x"))?;
    for pull in 0..3 {
        let entry = take(&mut peer, pull)?;
        assert_eq!(entry.deliveries.get(), 1);
        assert_eq!(
            peer.ask(op::ACK, &done(entry.id.get(), UNTAKE))?,
            Ok(vec![])
        );
    }
    text.ask(format!("delete {NAME}"))?;
    Ok(())
}

fn a_pull_that_nobody_waits_for_takes_nothing(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = setup(node, "ack=0")?;
    let waiting = peer.number(1);
    let bytes = request(waiting, op::PULL, &pull(1000, MAX_WAIT_MS, 7));
    peer.wire.send(&bytes)?;
    peer.wire.is_silent_for(Duration::from_millis(100))?;
    let forgotten = peer.number(2);
    peer.wire
        .send(&request(forgotten, op::FORGET, &forget(7)))?;
    // Both are answered, in any order.
    let mut answers = [peer.wire.frame()?.0, peer.wire.frame()?.0].map(|answer| {
        let errno = (answer.word != 0).then(|| Errno::from_wire(answer.word));
        (answer.op, errno)
    });
    answers.sort_unstable_by_key(|&(op, _)| op);
    let expected = [(op::PULL, Some(Errno::ECANCELED)), (op::FORGET, None)];
    assert_eq!(answers, expected);
    let start = Instant::now();
    text.ask(format!("pub {NAME} message"))?;
    assert_eq!(take(&mut peer, 8)?.deliveries.get(), 1);
    assert!(start.elapsed() < Duration::from_secs(5), "at once");
    text.ask(format!("delete {NAME}"))?;
    Ok(())
}

fn what_a_forgotten_pull_has_taken_goes_to_the_next(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = setup(node, "ack=0")?;
    for data in ["one", "two"] {
        text.ask(format!("pub {NAME} {data}"))?;
    }
    let (one, two) = (take(&mut peer, 1)?, take(&mut peer, 2)?);
    assert_eq!(peer.ask(op::FORGET, &forget(1))?, Ok(vec![]));
    // That of the other pull stays where it is.
    assert_eq!(peer.ask(op::ACK, &done(two.id.get(), 0))?, Ok(vec![]));
    let late = peer.ask(op::ACK, &done(one.id.get(), 0))?;
    assert_eq!(late, Err(Errno::ESTALE));
    let again = take(&mut peer, 3)?;
    assert_eq!((again.position.get(), again.deliveries.get()), (1, 1));
    text.ask(format!("delete {NAME}"))?;
    Ok(())
}

fn a_dead_letter_stays_until_there_is_room_for_it(node: &Node) -> io::Result<()> {
    let mut letters = fresh(node, "t.letters", "messages=1")?;
    letters.ask("pub t.letters full")?;
    let mut text = fresh(node, NAME, "deliveries=1 dead=t.letters")?;
    let mut taker = subscriber(node, &format!("{NAME} ack"))?;
    text.ask(format!("pub {NAME} dies"))?;
    let id = number(&pushed(&mut taker)?, "message");
    assert_eq!(taker.ask(format!("nack({id})"))?, "OK");
    thread::sleep(Duration::from_millis(1500));
    let queue = text.ask(format!("queue {NAME}"))?;
    let dead = (number(&queue, "dead"), number(&queue, "dead_waiting"));
    assert_eq!(dead, (1, 1), "{queue}");
    let mut gravedigger = subscriber(node, "t.letters")?;
    for data in ["full", "dies"] {
        let line = pushed(&mut gravedigger)?;
        assert!(line.ends_with(&format!("data=\"{data}\"")), "{line}");
    }
    let queue = text.ask(format!("queue {NAME}"))?;
    assert_eq!(number(&queue, "dead_waiting"), 0);
    text.ask(format!("delete {NAME}"))?;
    letters.ask("delete t.letters")?;
    Ok(())
}

/// So many messages a session may have that it has not acknowledged.
const OPEN: usize = 4096;

/// Makes a queue with more messages than that, and a session that has as many of them. Returns their ids.
fn with_all_open(node: &Node, more: usize, ack_ms: u32) -> io::Result<(Text, Text, Vec<u64>)> {
    let options = format!("messages=10000 unacked=10000 ack={ack_ms}");
    let mut text = fresh(node, NAME, &options)?;
    let mut wire = text.wire.0.try_clone()?;
    let lines = format!("pub {NAME} x\n").repeat(OPEN + more);
    let writer = thread::spawn(move || io::Write::write_all(&mut wire, lines.as_bytes()));
    for _ in 0..OPEN + more {
        assert!(pushed(&mut text)?.starts_with("position="));
    }
    writer.join().expect("no panic")?;
    let mut session = Text::open(node, QUEUE)?;
    session.ask(format!("sub {NAME} ack"))?;
    let ids = (0..OPEN).map(|_| Ok(number(&pushed(&mut session)?, "message")));
    let ids = ids.collect::<io::Result<_>>()?;
    Ok((text, session, ids))
}

/// The others stay where they are.
fn who_has_many_messages_open_gets_no_more(node: &Node) -> io::Result<()> {
    let (mut text, mut session, ids) = with_all_open(node, 3, 0)?;
    session.wire.is_silent_for(Duration::from_millis(500))?;
    assert_eq!(figure(&mut text, NAME, "ready")?, 3);
    // All of them it can still speak of, and for each that it is done with it gets another.
    for (at, id) in [ids[0], ids[OPEN / 2], ids[OPEN - 1]].iter().enumerate() {
        assert_eq!(session.ask(format!("ack {id}"))?, "OK");
        let next = number(&pushed(&mut session)?, "message");
        assert_eq!(next, ids[OPEN - 1] + 1 + at as u64);
    }
    session.wire.is_silent_for(Duration::from_millis(100))?;
    assert_eq!(session.ask(format!("ack {}", ids[1]))?, "OK");
    session.wire.is_silent_for(Duration::from_millis(100))?;
    text.ask(format!("delete {NAME}")).map(drop)
}

/// Those that have come again, or are no more, are not open.
fn who_has_lost_many_messages_gets_others(node: &Node) -> io::Result<()> {
    let (mut text, mut session, _) = with_all_open(node, 3, 10_000)?;
    let timeout = Some(Duration::from_secs(30));
    session.wire.0.set_read_timeout(timeout)?;
    for _ in 0..OPEN {
        assert!(pushed(&mut session)?.starts_with("message="));
    }
    drop(session);

    let (mut other, mut session, _) = with_all_open(node, 1, 0)?;
    other.ask("create t.other")?;
    let reply = session.ask("sub t.other")?;
    assert!(reply.starts_with("subscribed="), "{reply}");
    text.ask("pub t.other first")?;
    session.wire.is_silent_for(Duration::from_millis(100))?;
    text.ask(format!("delete {NAME}"))?;
    let mut lines = [pushed(&mut session)?, pushed(&mut session)?];
    lines.sort();
    assert!(lines[0].starts_with("deleted="), "{lines:?}");
    assert!(lines[1].ends_with("data=\"first\""), "{lines:?}");
    text.ask("delete t.other").map(drop)
}

/// More sessions than a publisher wakes itself wait for the messages of a queue.
fn many_who_wait_are_all_woken(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, NAME, "")?;
    let sessions = (0..20).map(|_| subscriber(node, NAME));
    let mut sessions: Vec<_> = sessions.collect::<io::Result<_>>()?;
    for n in 0..200 {
        text.ask(format!("pub {NAME} {n}"))?;
    }
    let mut got = Vec::new();
    for session in &mut sessions {
        let timeout = Some(Duration::from_millis(200));
        session.wire.0.set_read_timeout(timeout)?;
        while let Ok(line) = pushed(session) {
            got.push(number(&line, "data"));
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    // Each hears that there is nothing to wait for any more.
    text.ask(format!("delete {NAME}"))?;
    for session in &mut sessions {
        session
            .wire
            .0
            .set_read_timeout(Some(Duration::from_secs(10)))?;
        assert!(pushed(session)?.starts_with("deleted="));
    }
    Ok(())
}
