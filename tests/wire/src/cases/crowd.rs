// SPDX-License-Identifier: GPL-2.0

//! Many connections, of which few mean well.

use super::{Suite, suite};
use crate::{
    node::{MEMPOOL, Node},
    peer::Peer,
    rounds::Rounds,
    text::Text,
    wire::{Wire, is_timeout},
};
use std::{
    io::{self, ErrorKind},
    thread,
    time::{Duration, Instant},
};

pub(super) const SUITE: Suite = suite![
    many_idle_connections_keep_nobody_waiting,
    many_connections_that_end_at_once_do_no_harm,
    sessions_are_limited_and_those_that_are_go_on,
];

/// Connections that nobody needs: more than a service keeps.
const CROWD: Rounds = Rounds {
    debug: 100,
    slim: 1000,
    soak: 1000,
};

/// How long a good client may wait for a whole session beside a crowd.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Strangers that a service keeps, as the module's parameter has it by default.
const MAX_STRANGERS: usize = 64;

/// Sessions that a service has, as the module's parameter has it by default.
const MAX_SESSIONS: usize = 256;

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

fn sessions_are_limited_and_those_that_are_go_on(node: &Node) -> io::Result<()> {
    let mut sessions = Vec::new();
    while sessions.len() <= MAX_SESSIONS {
        match Text::open(node, MEMPOOL) {
            Ok(text) => sessions.push(text),
            Err(e) if is_refusal(&e) => break,
            Err(e) => return Err(e),
        }
    }
    let count = sessions.len();
    // Others may have some, too.
    let expected = MAX_SESSIONS / 2..=MAX_SESSIONS;
    assert!(expected.contains(&count), "{count} sessions at once");
    for text in &mut sessions {
        text.stats()?;
    }
    drop(sessions);
    // There is room as soon as the node has noticed.
    let start = Instant::now();
    loop {
        match Text::open(node, MEMPOOL) {
            Ok(mut text) => return text.stats().map(drop),
            Err(e) if start.elapsed() > Duration::from_secs(3) => return Err(e),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Whether the node has closed a new connection.
fn is_refusal(e: &io::Error) -> bool {
    e.kind() == ErrorKind::UnexpectedEof || crate::wire::is_reset(e)
}
