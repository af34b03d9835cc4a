// SPDX-License-Identifier: GPL-2.0

//! Where dead letters go.

use super::{
    Suite,
    queue::{fresh, number, pushed, subscriber},
    suite,
};
use crate::{node::Node, text::Text};
use std::{
    io, thread,
    time::{Duration, Instant},
};

pub(super) const SUITE: Suite = suite![
    a_topic_of_dead_letters_is_heard,
    a_queue_of_dead_letters_does_not_hold_up_others,
];

/// Gives back the next message that the session gets.
fn refuse(text: &mut Text) -> io::Result<()> {
    let id = number(&pushed(text)?, "message");
    assert_eq!(text.ask(format!("nack {id}"))?, "OK");
    Ok(())
}

fn a_topic_of_dead_letters_is_heard(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.died", "topic keep=10")?;
    let mut watch = subscriber(node, "t.died")?;
    let mut dying = fresh(node, "t.dying", "deliveries=1 dead=t.died messages=3")?;
    let mut taker = subscriber(node, "t.dying ack")?;
    for n in 0..5 {
        let reply = dying.ask(format!("pub t.dying {n}"))?;
        assert!(reply.starts_with("position="), "{reply}");
        refuse(&mut taker)?;
        let line = pushed(&mut watch)?;
        assert!(line.contains("subject=\"t.dying\"") && line.ends_with(&format!("data=\"{n}\"")));
    }
    let topic = text.ask("queue t.died")?;
    assert_eq!((number(&topic, "ready"), number(&topic, "kept")), (0, 5));
    text.ask("delete t.dying")?;
    text.ask("delete t.died").map(drop)
}

/// The letters of one queue cannot be brought; those of others can.
fn a_queue_of_dead_letters_does_not_hold_up_others(node: &Node) -> io::Result<()> {
    let mut text = fresh(
        node,
        "t.stuck",
        "deliveries=1 dead=t.no.such.queue messages=100",
    )?;
    let mut other = fresh(node, "t.grave", "")?;
    fresh(node, "t.other", "deliveries=1 dead=t.grave")?;
    let mut taker = subscriber(node, "t.stuck ack")?;
    for n in 0..40 {
        text.ask(format!("pub t.stuck {n}"))?;
        refuse(&mut taker)?;
    }
    let mut taker = subscriber(node, "t.other ack")?;
    text.ask("pub t.other x")?;
    refuse(&mut taker)?;
    let end = Instant::now() + Duration::from_secs(10);
    while number(&other.ask("queue t.grave")?, "ready") == 0 {
        assert!(Instant::now() < end, "it does not come");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(number(&text.ask("queue t.stuck")?, "dead_waiting"), 40);
    for name in ["t.stuck", "t.other", "t.grave"] {
        text.ask(format!("delete {name}"))?;
    }
    Ok(())
}
