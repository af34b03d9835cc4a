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
    letters_to_a_topic_wait_for_room_in_queues_that_are_bound_to_it,
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

/// A queue that keeps the letters is full for a while.
fn letters_to_a_topic_wait_for_room_in_queues_that_are_bound_to_it(node: &Node) -> io::Result<()> {
    for options in ["", "durable "] {
        fresh(node, "t.died", "topic")?;
        let mut archive = fresh(
            node,
            "t.archive",
            &format!("{options}bind=t.died messages=1"),
        )?;
        let mut dying = fresh(node, "t.dying", "deliveries=1 dead=t.died")?;
        let mut taker = subscriber(node, "t.dying ack")?;
        for n in 0..2 {
            dying.ask(format!("pub t.dying {n}"))?;
            refuse(&mut taker)?;
        }
        let end = Instant::now() + Duration::from_secs(10);
        // It is gone where it was when it is on disk.
        while number(&dying.ask("queue t.dying")?, "dead_waiting") == 2 {
            assert!(Instant::now() < end, "it does not come");
            thread::sleep(Duration::from_millis(50));
        }
        // The second one stays until the first one is gone.
        thread::sleep(Duration::from_millis(500));
        let dying_now = dying.ask("queue t.dying")?;
        assert_eq!(number(&dying_now, "dead_waiting"), 1, "{options}");
        assert_eq!(number(&archive.ask("queue t.archive")?, "ready"), 1);
        let mut reader = subscriber(node, "t.archive")?;
        for n in 0..2 {
            let line = pushed(&mut reader)?;
            assert!(line.ends_with(&format!("data=\"{n}\"")), "{line}");
        }
        for name in ["t.dying", "t.archive", "t.died"] {
            dying.ask(format!("delete {name}"))?;
        }
    }
    Ok(())
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
