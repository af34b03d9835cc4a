// SPDX-License-Identifier: GPL-2.0

//! Requests with a trace context: which event of the sender has sent them. What tracepoints tell.

use super::{Suite, suite};
use crate::{
    memory::TEXT,
    node::{ECHO, Node},
    peer::{Number, Peer, request},
    text::Text,
};
use std::{fs, io, process::Command};
use virgo_proto::{
    errno::Errno,
    eventnet::{MAX_CONTEXT, PORT, TraceContext, event::EventId},
    mempool::op,
};

pub(super) const SUITE: Suite = suite![
    bad_contexts_end_the_session,
    a_context_is_no_part_of_the_body,
    a_recorded_request_has_a_recorded_reply,
    stamps_from_the_future_are_not_followed,
    a_command_of_a_text_session_is_told_to_tracers,
];

/// The byte of a frame that has its kind.
const KIND: usize = 5;

/// Bytes of the reply to an allocation.
const ALLOCATED: usize = 16;

fn traced(number: Number, context: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = request(number, op::ALLOC, &[context, body].concat());
    bytes[KIND] |= 0x80;
    bytes
}

fn context(node: u8, counts: &[u64]) -> Vec<u8> {
    let event = EventId { node, seq: 7 };
    let start = TraceContext::start(event, counts.len() as u8);
    let numbers = start.iter().map(|number| number.get());
    let numbers = numbers.chain(counts.iter().copied());
    numbers.flat_map(u64::to_le_bytes).collect()
}

fn bad_contexts_end_the_session(node: &Node) -> io::Result<()> {
    let good = context(1, &[7, 0]);
    let mut reserved = good.clone();
    reserved[4] = 1;
    let mut too_many = good.clone();
    too_many[1] = 65;
    let no_node = context(0, &[7]);
    for bad in [&good[..20], &[], &reserved, &too_many, &no_node] {
        let mut peer = Peer::open(node)?;
        peer.wire.send(&traced(Number::FIRST, bad, &[]))?;
        assert_eq!(peer.wire.refusal()?, Errno::EPROTO, "{bad:?}");
    }
    Ok(())
}

/// Nothing is recorded: the request is done, and its reply is as any other.
fn a_context_is_no_part_of_the_body(node: &Node) -> io::Result<()> {
    let longest = context(1, &[u64::MAX; 64]);
    assert_eq!(longest.len(), MAX_CONTEXT);
    let mut peer = Peer::open(node)?;
    for context in [longest, context(64, &[])] {
        let number = peer.number(0);
        let frame = traced(number, &context, &TEXT.alloc(1, 0));
        peer.wire.send(&frame)?;
        let (header, body) = peer.wire.frame()?;
        assert_eq!(
            (header.word, header.traced, body.len()),
            (0, false, ALLOCATED),
            "{header:?}"
        );
        assert_ne!(header.stamp.to_wire(), 0, "a reply has a stamp");
    }
    Ok(())
}

fn a_recorded_request_has_a_recorded_reply(node: &Node) -> io::Result<()> {
    // Only root has others watched.
    Text::open(node, PORT)?.ask_in_vain("eventnet_on(memory)", "EPERM")?;
    switch(node, "on")?;
    let result = recorded(node);
    switch(node, "off")?;
    result
}

/// By the command line, which is root.
fn switch(node: &Node, how: &str) -> io::Result<()> {
    let mut command = Command::new("virgo");
    command.args(["eventnet", how, "--node", &node.own.to_string()]);
    assert!(command.status()?.success(), "virgo eventnet {how}");
    Ok(())
}

fn recorded(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let number = peer.number(0);
    // A node that was not configured when recording was switched on has a count of its own.
    let frame = traced(number, &context(1, &[7, 0, 0, 0, 9]), &TEXT.alloc(1, 0));
    let mut last = None;
    // What is repeated gets the stored reply, its context included.
    for _ in 0..2 {
        peer.wire.send(&frame)?;
        let (header, body) = peer.wire.frame()?;
        assert!(header.traced && header.word == 0, "{header:?}");
        let (context, rest) = TraceContext::split(&body).expect("a context");
        assert_eq!(rest.len(), ALLOCATED, "what was allocated");
        assert!(context.event.seq > 1 << 40, "{context:?}");
        assert_eq!(context.counts().nth(4), Some(9), "{context:?}");
        assert_eq!(last.replace(body.clone()).unwrap_or(body.clone()), body);
    }
    // A failed one has a context and nothing else.
    let number = peer.number(0);
    peer.wire
        .send(&traced(number, &context(1, &[8]), &[1, 2, 3]))?;
    let (header, body) = peer.wire.frame()?;
    assert!(header.traced && header.word != 0, "{header:?}");
    let (_, rest) = TraceContext::split(&body).expect("a context");
    assert_eq!(rest, b"");
    // Without a context the sender has not recorded it, and nor does the node.
    let number = peer.number(0);
    peer.wire
        .send(&request(number, op::ALLOC, &TEXT.alloc(1, 0)))?;
    assert!(!peer.wire.frame()?.0.traced);
    Ok(())
}

fn stamps_from_the_future_are_not_followed(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let mut stamps = Vec::new();
    for stamp in [0, u64::MAX] {
        let number = peer.number(0);
        let mut frame = request(number, op::ALLOC, &TEXT.alloc(1, 0));
        frame[32..40].copy_from_slice(&stamp.to_le_bytes());
        peer.wire.send(&frame)?;
        stamps.push(peer.wire.frame()?.0.stamp);
    }
    let [before, after] = stamps[..] else {
        panic!("two stamps")
    };
    assert!(before < after, "{stamps:?}");
    let minute = 60_000_000_000;
    assert!(
        after.wall_nanos() < before.wall_nanos() + minute,
        "{stamps:?}"
    );
    Ok(())
}

fn a_command_of_a_text_session_is_told_to_tracers(node: &Node) -> io::Result<()> {
    let tracing = "/sys/kernel/tracing";
    let switch = format!("{tracing}/events/virgo/virgo_serve/enable");
    fs::write(&switch, "1")?;
    let asked = Text::open(node, ECHO).and_then(|mut text| text.ask("echo(traced)"));
    let told = fs::read_to_string(format!("{tracing}/trace"));
    fs::write(&switch, "0")?;
    assert_eq!(asked?, "traced");
    let (told, expected) = (told?, format!("virgo_serve: node=0 port={ECHO} op=0 "));
    let of_echo = told.lines().find(|line| line.contains(&expected));
    assert!(
        of_echo.is_some_and(|line| line.contains(" size=12 status=0 ")),
        "{told}"
    );
    Ok(())
}
