// SPDX-License-Identifier: GPL-2.0

//! Sessions whose user has no memory left for messages.

use super::{
    Suite,
    queue::{fresh, pushed},
    suite,
};
use crate::{
    node::{Node, QUEUE},
    text::Text,
};
use std::{io, thread, time::Duration};

pub(super) const SUITE: Suite = suite![
    a_subscription_without_memory_ends_and_says_so,
    a_queue_is_purged,
    messages_are_charged_with_their_memory,
];

/// Publishes until the user's share is used up. Returns how many were accepted.
fn fill(text: &mut Text, queue: &str, data: &str) -> io::Result<usize> {
    for count in 0..2000 {
        let reply = text.ask(format!("pub {queue} {data}"))?;
        if reply.starts_with("ERR EDQUOT") {
            return Ok(count);
        }
        assert!(reply.starts_with("position="), "{reply}");
    }
    panic!("there is no bound");
}

fn a_subscription_without_memory_ends_and_says_so(node: &Node) -> io::Result<()> {
    let options = "messages=100000 bytes=100000000";
    let mut text = fresh(node, "t.fill", options)?;
    fresh(node, "t.spare", "")?;
    fresh(node, "t.silent", "")?;
    fresh(node, "t.many", options)?;
    text.ask(format!("pub t.spare {}", "x".repeat(40_000)))?;
    fill(&mut text, "t.fill", &"x".repeat(60_000))?;
    // Room for a subscription and few messages.
    text.ask("delete t.spare")?;
    let mut session = Text::open(node, QUEUE)?;
    let reply = session.ask("sub t.many ack")?;
    assert!(reply.starts_with("subscribed="), "{reply}");
    // Busy, so that nothing is handed out before all memory is gone.
    session.wire.send(b"req t.silent x\n")?;
    thread::sleep(Duration::from_millis(300));
    for n in 0..60 {
        let reply = text.ask(format!("pub t.many {n}"))?;
        assert!(reply.starts_with("position="), "{reply}");
    }
    fill(&mut text, "t.fill", "")?;
    assert!(pushed(&mut session)?.starts_with("ERR ETIMEDOUT"));
    let mut got = 0;
    let end = loop {
        let line = pushed(&mut session)?;
        if !line.starts_with("message=") {
            break line;
        }
        got += 1;
    };
    assert_eq!(end, "ended=\"t.many\" error=\"EDQUOT\"", "after {got}");
    // Once; and what it had others get.
    session.wire.is_silent_for(Duration::from_millis(300))?;
    let queue = text.ask("queue t.many")?;
    assert!(queue.contains(" ready=60 "), "{queue}");
    for name in ["t.fill", "t.silent", "t.many"] {
        text.ask(format!("delete {name}"))?;
    }
    Ok(())
}

fn a_queue_is_purged(node: &Node) -> io::Result<()> {
    for options in ["keep=10", "durable"] {
        let mut text = fresh(node, "t.purged", options)?;
        for n in 0..50 {
            text.ask(format!("publish(t.purged,{},{},x)", n % 10, n % 2 * 5000))?;
        }
        assert_eq!(text.ask("purge t.purged")?, "purged=50");
        let queue = text.ask("queue t.purged")?;
        assert!(queue.contains(" ready=0 delayed=0 "), "{queue}");
        text.ask("pub t.purged x")?;
        assert_eq!(text.ask("purge t.purged")?, "purged=1");
        text.ask("delete t.purged")?;
    }
    Text::open(node, QUEUE)?.ask_in_vain("purge requests", "EACCES")
}

/// The kernel takes 64 KiB for a message of little more than half as many bytes.
fn messages_are_charged_with_their_memory(node: &Node) -> io::Result<()> {
    const MEMORY: usize = 64 << 10;
    /// What one user may have of all messages.
    const SHARE: usize = 32 << 20;
    let mut text = fresh(node, "t.fill", "messages=100000 bytes=100000000")?;
    let count = fill(&mut text, "t.fill", &"x".repeat(MEMORY / 2 + 1))?;
    assert!(
        (SHARE / MEMORY - 20..=SHARE / MEMORY).contains(&count),
        "{count}"
    );
    text.ask("delete t.fill").map(drop)
}
