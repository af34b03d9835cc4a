// SPDX-License-Identifier: GPL-2.0

//! Many connections, of which few mean well.

use super::{Suite, suite};
use crate::{
    calls::assert_here,
    node::{CPUPOOLING, MEMPOOL, Node},
    peer::Peer,
    rounds::Rounds,
    text::Text,
    wire::{Wire, is_timeout},
};
use std::{
    collections::VecDeque,
    io, thread,
    time::{Duration, Instant},
};

pub(super) const SUITE: Suite = suite![
    many_idle_connections_keep_nobody_waiting,
    many_connections_that_end_at_once_do_no_harm,
    many_who_are_refused_keep_nobody_waiting,
    a_node_has_few_connections,
    sessions_are_limited_and_those_that_are_go_on,
    an_ended_session_that_waits_delays_no_other,
];

/// Connections that nobody needs: more than a service keeps.
const CROWD: Rounds = Rounds {
    debug: 100,
    slim: 1000,
    soak: 1000,
};

/// How long each of those pauses who flood a node with connections, in milliseconds. The debug kernel could do
/// nothing else than refuse what comes without.
const FLOOD_PAUSE_MS: Rounds = Rounds {
    debug: 250,
    slim: 0,
    soak: 250,
};

/// How long a good client may wait for a whole session beside a crowd.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Strangers that a service keeps of one node's address: half of the module's parameter, which is 64 by
/// default.
const MAX_STRANGERS: usize = 32;

/// Text sessions that one user has: half of the module's parameter, which is 256 by default.
const USER_SESSIONS: usize = 128;

/// Checks that a new client and those with a session are served at once.
fn assert_served(node: &Node, text: &mut Text, peer: &mut Peer) -> io::Result<()> {
    let start = Instant::now();
    Text::open(node, MEMPOOL)?.stats()?;
    let new = start.elapsed();
    text.stats()?;
    let id = peer.alloc(1, 0)?;
    peer.free(id)?.expect("freed");
    let all = start.elapsed();
    assert!(
        all < AT_ONCE,
        "a new client took {new:?}, all three {all:?}"
    );
    Ok(())
}

fn many_idle_connections_keep_nobody_waiting(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = (Text::open(node, MEMPOOL)?, Peer::open(node)?);
    let mut crowd = Vec::new();
    for _ in 0..CROWD.count() / 50 {
        for _ in 0..50 {
            crowd.push(Wire(node.connect(MEMPOOL)?));
        }
        assert_served(node, &mut text, &mut peer)?;
    }
    let mut open = 0;
    for wire in &crowd {
        wire.0.set_nonblocking(true)?;
        open += usize::from(wire.0.peek(&mut [0]).is_err_and(|e| is_timeout(&e)));
        wire.0.set_nonblocking(false)?;
    }
    assert!(open <= MAX_STRANGERS, "{open} strangers are kept");
    let start = Instant::now();
    for mut wire in crowd {
        wire.end_within(Duration::from_secs(8).saturating_sub(start.elapsed()))?;
    }
    assert_served(node, &mut text, &mut peer)
}

fn many_connections_that_end_at_once_do_no_harm(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = (Text::open(node, MEMPOOL)?, Peer::open(node)?);
    for i in 0..CROWD.count() {
        let mut wire = Wire(node.connect(MEMPOOL)?);
        match i % 4 {
            0 => (),
            1 => wire.finish()?,
            // With answers that nobody reads: the connection is reset.
            2 => wire.send(b"help\n")?,
            _ => wire.send(b"\xf6")?,
        }
    }
    assert_served(node, &mut text, &mut peer)
}

/// One user has half of the sessions of those who type; the one beyond is told so.
fn sessions_are_limited_and_those_that_are_go_on(node: &Node) -> io::Result<()> {
    let mut sessions = Vec::new();
    let refusal = loop {
        let mut text = Text::stranger(node, MEMPOOL)?;
        let reply = text.ask([b"auth ", &node.text_key[..]].concat())?;
        if reply != "OK" {
            assert_eq!(text.wire.rest()?, b"", "what follows the refusal");
            break reply;
        }
        sessions.push(text);
        let count = sessions.len();
        assert!(count <= USER_SESSIONS, "{count} sessions at once");
    };
    assert!(
        refusal.starts_with("ERR EDQUOT too many sessions of this user"),
        "'{refusal}'"
    );
    let count = sessions.len();
    // Others may have some, too.
    assert!(count >= USER_SESSIONS / 2, "{count} sessions at once");
    for text in &mut sessions {
        text.stats()?;
    }
    // Nodes have sessions of their own.
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(1, 0)?;
    peer.free(id)?.expect("freed");
    drop(sessions);
    // There is room as soon as the node has noticed.
    let start = Instant::now();
    loop {
        let mut text = Text::stranger(node, MEMPOOL)?;
        let reply = text.ask([b"auth ", &node.text_key[..]].concat())?;
        if reply == "OK" {
            return text.stats().map(drop);
        }
        assert!(start.elapsed() < Duration::from_secs(3), "'{reply}'");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A session is ended in the middle of a command that waits; others of its service are ended in
/// their time, and the command is given up.
fn an_ended_session_that_waits_delays_no_other(node: &Node) -> io::Result<()> {
    let mut waits = Text::open(node, CPUPOOLING)?;
    waits.wire.send(b"clone timeout=60000 sleep(60000)\n")?;
    let mut root = Text::open(node, CPUPOOLING)?;
    let sessions = root.ask("sessions")?;
    let first = sessions.split(':').next().unwrap_or_default();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(root.ask(format!("end_session({first})"))?, "ended");
    let time = Wire(node.connect(CPUPOOLING)?).end_within(Duration::from_secs(9))?;
    assert!(time > Duration::from_secs(4), "cut off after {time:?}");
    assert_here(node, 0)
}

/// Connections of one node in one life: the oldest is ended, however many there are.
fn a_node_has_few_connections(node: &Node) -> io::Result<()> {
    let mut first = Peer::open(node)?;
    let beside: Vec<_> = (0..20)
        .map(|_| first.open_beside(node))
        .collect::<io::Result<_>>()?;
    first.wire.end_within(Duration::from_secs(3))?;
    let mut last = beside.into_iter().last().expect("20 connections");
    let id = last.alloc(1, 0)?;
    last.free(id)?.expect("freed");
    Ok(())
}

/// Refused sessions do not count as proven: a crowd of them leaves room.
fn many_who_are_refused_keep_nobody_waiting(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = (Text::open(node, MEMPOOL)?, Peer::open(node)?);
    let mut crowd = Vec::new();
    for i in 0..CROWD.count() {
        let mut wire = Wire(node.connect(MEMPOOL)?);
        let line: &[u8] = match i % 3 {
            0 => b"quit\n",
            1 => b"auth wrong\n",
            _ => &[b'x'; 300],
        };
        // It may have made room already.
        let _ = wire.send(line);
        crowd.push(wire);
        if i % 50 == 49 {
            assert_served(node, &mut text, &mut peer)?;
        }
    }
    Ok(())
}

/// Not a test: for 20 s makes connections that are refused, and keeps hundreds of them open.
pub(super) fn flood_of_strangers(node: &Node) -> io::Result<()> {
    let start = Instant::now();
    let pause = Duration::from_millis(FLOOD_PAUSE_MS.count() as u64);
    let flood = || {
        let mut crowd = VecDeque::new();
        let mut made = 0;
        while start.elapsed() < Duration::from_secs(20) {
            if crowd.len() >= 100 {
                crowd.pop_front();
            }
            let Ok(mut wire) = node.connect(MEMPOOL).map(Wire) else {
                continue;
            };
            made += 1;
            let _ = wire.send(b"quit\n");
            crowd.push_back(wire);
            thread::sleep(pause);
        }
        made
    };
    let made: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(flood)).collect();
        let made = threads.into_iter().map(|thread| thread.join());
        made.map(|made| made.expect("does not panic")).sum()
    });
    println!("{made} connections");
    Ok(())
}
