// SPDX-License-Identifier: GPL-2.0

//! Clients that ask for much and do not read it.

use super::{Suite, suite};
use crate::{
    memory::TEXT,
    node::{ECHO, MEMPOOL, Node},
    peer::{Number, Peer, request},
    text::Text,
    wire::{Wire, is_reset, is_timeout},
};
use std::{
    fs,
    io::{self, Write as _},
    thread,
    time::{Duration, Instant},
};
use virgo_proto::{
    errno::Errno,
    mempool::{PIECE, op},
};

pub(super) const SUITE: Suite = suite![
    quit_is_heeded_after_a_stall,
    a_bad_frame_is_refused_once_after_a_stall,
    slow_strangers_are_cut_off_in_time_beside_a_stall,
    slow_who_reads_slowly_is_served,
    slow_who_reads_nothing_is_held_back_and_then_cut_off,
];

/// Answers of 60 KB that fill every buffer between us and the node.
const ANSWERS: usize = 400;

/// Bytes of requests that the network may hold for a node that takes no more.
const MAX_HELD: usize = 16 << 20;

/// An object of 60 KB without a zero, and the command that gets it.
fn long_string(peer: &mut Peer) -> io::Result<(u64, String)> {
    let id = peer.alloc(60_000, PIECE)?;
    peer.set(id, 0, &[b'x'; 60_000])?.expect("set");
    Ok((id, format!("virgo_cloud_get({id:x})\n")))
}

fn quit_is_heeded_after_a_stall(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let (_, get) = long_string(&mut peer)?;
    let mut text = Text::open(node, MEMPOOL)?;
    let commands = format!("{}quit\nstats\n", get.repeat(ANSWERS));
    text.wire.send(commands.as_bytes())?;
    thread::sleep(Duration::from_millis(500));
    let replies = text.wire.rest()?;
    assert_eq!(
        replies.len(),
        ANSWERS * 60_001,
        "bytes of {ANSWERS} answers"
    );
    Ok(())
}

fn a_bad_frame_is_refused_once_after_a_stall(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let (id, _) = long_string(&mut peer)?;
    let numbers: Vec<_> = (0..ANSWERS).map(|_| peer.number(1)).collect();
    let gets = numbers
        .iter()
        .flat_map(|&number| request(number, op::GET, &TEXT.get(id, 0, 60_000)));
    let mut bytes: Vec<u8> = gets.collect();
    bytes.extend_from_slice(&[0; 64]);
    peer.wire.send(&bytes)?;
    thread::sleep(Duration::from_millis(500));
    for number in numbers {
        let body = peer.answer(number, op::GET)?.expect("the bytes");
        assert_eq!(body.len(), 60_000);
    }
    assert_eq!(peer.wire.refusal()?, Errno::EPROTO);
    Ok(())
}

/// Sends `bytes` again and again until nobody takes more of it. Returns how much went.
fn fill(wire: &mut Wire, bytes: &[u8]) -> io::Result<usize> {
    wire.0.set_nonblocking(true)?;
    let (mut sent, mut last) = (0, Instant::now());
    while last.elapsed() < Duration::from_secs(2) {
        match wire.0.write(&bytes[sent % bytes.len()..]) {
            Ok(n) => (sent, last) = (sent + n, Instant::now()),
            Err(e) if is_timeout(&e) => thread::sleep(Duration::from_millis(10)),
            Err(e) => return Err(e),
        }
        if sent > 4 * MAX_HELD {
            return Err(io::Error::other(format!(
                "the node takes {sent} bytes and more"
            )));
        }
    }
    Ok(sent)
}

/// Whether the node has ended a connection on which nothing is read.
fn is_cut_off(wire: &mut Wire) -> io::Result<bool> {
    if wire.0.take_error()?.is_some() {
        return Ok(true);
    }
    match wire.0.write(b"x") {
        Err(e) if is_reset(&e) => Ok(true),
        Err(e) if !is_timeout(&e) => Err(e),
        _ => Ok(false),
    }
}

/// Whether the node has a session with the other end of this connection.
fn is_served(wire: &Wire) -> io::Result<bool> {
    let own = wire.0.local_addr()?.to_string();
    let sessions = fs::read_to_string("/sys/kernel/debug/virgo/mempool/sessions")?;
    Ok(sessions.split_whitespace().any(|word| word == own))
}

fn slow_strangers_are_cut_off_in_time_beside_a_stall(node: &Node) -> io::Result<()> {
    let mut staller = Text::open(node, ECHO)?;
    // So that nobody's time is running when the stall begins.
    thread::sleep(Duration::from_secs(4));
    let line = format!("echo({})\n", "x".repeat(1000));
    fill(&mut staller.wire, line.as_bytes())?;
    let mut stranger = Wire(node.connect(ECHO)?);
    let time = stranger.end_within(Duration::from_secs(8))?;
    assert!(time > Duration::from_secs(4), "cut off after {time:?}");
    Ok(())
}

/// Time counts from what was read last: a slow reader gets all.
fn slow_who_reads_slowly_is_served(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let (_, get) = long_string(&mut peer)?;
    let mut text = Text::open(node, MEMPOOL)?;
    let commands = format!("{}quit\n", get.repeat(ANSWERS));
    text.wire.send(commands.as_bytes())?;
    // Not slower: a receiver's kernel says that there is room again when there is much of it.
    let mut piece = vec![0; 24 * 1024];
    let mut got = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        text.wire.receive(&mut piece)?;
        got += piece.len();
        thread::sleep(Duration::from_secs(1));
    }
    got += text.wire.rest()?.len();
    assert_eq!(got, ANSWERS * 60_001, "bytes of {ANSWERS} answers");
    Ok(())
}

fn slow_who_reads_nothing_is_held_back_and_then_cut_off(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let (id, get) = long_string(&mut peer)?;
    let mut text = Text::open(node, MEMPOOL)?;
    let mut frames = peer.open_beside(node)?;
    // Numbers do not matter here: who repeats a Get gets it again.
    let number = Number {
        slot: 31,
        seq: 1,
        taken: 0,
    };
    let request = request(number, op::GET, &TEXT.get(id, 0, 60_000));
    let start = Instant::now();
    for (wire, bytes) in [
        (&mut text.wire, get.as_bytes()),
        (&mut frames.wire, &request),
    ] {
        let sent = fill(wire, bytes)?;
        assert!(sent < MAX_HELD, "{sent} bytes of requests were taken");
    }
    let mut ends = [None; 2];
    // What our kernel has taken, and since when no more.
    let mut taken = [(0, start); 2];
    let mut room = vec![0; MAX_HELD];
    while ends.contains(&None) {
        for (index, wire) in [&text.wire, &frames.wire].into_iter().enumerate() {
            let (before, since) = taken[index];
            // The time of a look, here and there, is allowed for.
            assert!(
                ends[index].is_some() || since.elapsed() < Duration::from_secs(45),
                "not ended; nothing was taken for {:?}",
                since.elapsed()
            );
            if ends[index].is_none() && !is_served(wire)? {
                ends[index] = Some(Instant::now());
                println!("ended {:?} after a byte was taken", since.elapsed());
            }
            match wire.0.peek(&mut room) {
                Ok(now) if now != before => taken[index] = (now, Instant::now()),
                _ => (),
            }
        }
        // Others do not notice.
        let start = Instant::now();
        assert_eq!(Text::open(node, MEMPOOL)?.ask(get.trim())?.len(), 60_000);
        let served = start.elapsed();
        assert!(served < Duration::from_secs(2), "served after {served:?}");
        thread::sleep(Duration::from_millis(500));
    }
    for (wire, end) in [&mut text.wire, &mut frames.wire].into_iter().zip(ends) {
        let end = end.expect("both have ended");
        let time = end - start;
        assert!(time.as_secs() >= 29, "ended after {time:?}");
        // The reset may be lost, as it is not in the window. Then our kernel learns of it when it asks
        // whether there is room again, which it does at growing distances.
        while !is_cut_off(wire)? {
            assert!(end.elapsed() < Duration::from_secs(60), "not cut off");
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}
