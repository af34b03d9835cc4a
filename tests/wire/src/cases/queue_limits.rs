// SPDX-License-Identifier: GPL-2.0

//! Bounds of queues, and what they refuse.

use super::{
    Suite,
    queue::{field, figure, fresh, number, pushed, subscriber, until},
    suite,
};
use crate::{
    node::{Node, QUEUE},
    rounds::Rounds,
    text::Text,
};
use std::{io, thread, time::Duration};

pub(super) const SUITE: Suite = suite![
    policies_at_the_bound,
    durable_queues_keep_what_a_queue_can,
    who_was_too_slow_is_told,
    bad_commands_are_refused,
    a_megabyte_is_refused,
    a_subscriber_that_does_not_read_hurts_nobody,
    many_queues,
];

fn policies_at_the_bound(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.full", "messages=2")?;
    text.ask("pub t.full 1")?;
    text.ask("pub t.full 2")?;
    text.ask_in_vain("pub t.full 3", "ENOBUFS")?;
    assert_eq!(figure(&mut text, "t.full", "refused")?, 1);

    let mut text = fresh(node, "t.full", "messages=2 policy=drop-oldest")?;
    for n in 1..=5 {
        assert!(
            text.ask(format!("pub t.full {n}"))?
                .starts_with("position=")
        );
    }
    assert_eq!(figure(&mut text, "t.full", "dropped")?, 3);
    let mut one = subscriber(node, "t.full")?;
    for n in 4..=5 {
        assert_eq!(number(&pushed(&mut one)?, "data"), n);
    }
    drop(one);

    let mut text = fresh(node, "t.full", "messages=1 policy=block")?;
    text.ask("pub t.full 1")?;
    let mut waiting = Text::open(node, QUEUE)?;
    let waiter = thread::spawn(move || waiting.ask("pub t.full 2"));
    thread::sleep(Duration::from_millis(500));
    assert!(!waiter.is_finished(), "it should wait for room");
    let mut one = subscriber(node, "t.full")?;
    let reply = waiter.join().expect("no panic")?;
    assert_eq!(reply, "position=2 channels=1");
    for n in 1..=2 {
        assert_eq!(number(&pushed(&mut one)?, "data"), n);
    }
    text.ask("delete t.full").map(drop)
}

fn durable_queues_keep_what_a_queue_can(node: &Node) -> io::Result<()> {
    let mut text = fresh(
        node,
        "t.durable",
        "durable messages=100 deliveries=1 dead=t.buried",
    )?;
    let mut other = fresh(node, "t.buried", "durable bind=t.bound.>")?;
    // Many at once, answered in order.
    let lines: String = (1..=100).map(|n| format!("pub t.durable {n}\n")).collect();
    text.wire.send(lines.as_bytes())?;
    for n in 1..=100 {
        assert_eq!(pushed(&mut text)?, format!("position={n} channels=1"));
    }
    text.ask_in_vain("pub t.durable 101", "ENOBUFS")?;
    let mut one = subscriber(node, "t.durable ack")?;
    let id = number(&pushed(&mut one)?, "message");
    one.wire.send(format!("nack {id}\n").as_bytes())?;
    until(|| Ok(figure(&mut other, "t.buried", "ready")? == 1))?;
    assert_eq!(other.ask("pub t.bound.x y")?, "position=0 channels=1");
    assert_eq!(figure(&mut other, "t.buried", "ready")?, 2);
    text.ask_in_vain("create t.x durable policy=drop-oldest", "EINVAL")?;
    drop(one);
    text.ask("delete t.durable")?;
    text.ask("delete t.buried").map(drop)
}

fn who_was_too_slow_is_told(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    // A line of input that does not end keeps nothing from coming, so the session is busy otherwise:
    // with a request that nobody answers.
    let mut silent = fresh(node, "t.silent", "")?;
    let mut slow = subscriber(node, "t.news messages=3")?;
    slow.wire.send(b"req t.silent x\n")?;
    thread::sleep(Duration::from_millis(300));
    for n in 1..=10 {
        assert!(text.ask(format!("pub t.news {n}"))?.contains("channels=1"));
    }
    let lines: Vec<_> = (0..5)
        .map(|_| pushed(&mut slow))
        .collect::<io::Result<_>>()?;
    assert!(lines[0].starts_with("ERR ETIMEDOUT"), "{lines:?}");
    assert_eq!(lines[1], "lost=7 subject=\"t.news\"");
    for (line, n) in lines[2..].iter().zip(8..) {
        assert_eq!(number(line, "data"), n);
    }
    // With reject it is the publisher who is told.
    let mut slow = subscriber(node, "t.more messages=1 policy=reject")?;
    slow.wire.send(b"req t.silent x\n")?;
    thread::sleep(Duration::from_millis(300));
    assert_eq!(text.ask("pub t.more 1")?, "position=0 channels=1");
    text.ask_in_vain("pub t.more 2", "ENOBUFS")?;
    silent.ask("delete t.silent").map(drop)
}

fn bad_commands_are_refused(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    for line in [
        "create",
        "create a*",
        "create a..b",
        "create ../../etc",
        "create t.x what",
        "create t.x messages=0",
        "create t.x topic durable",
        "pub",
        "pub a* x",
        "publish(t.x,1,x)",
        "publish(t.x,10,0,x)",
        "publish(t.x,1,-1,x)",
        "sub",
        "sub a.>.b",
        "sub t.x from=x",
        "sub t.x group=*",
        "req",
        "replay requests",
    ] {
        text.ask_in_vain(line, "EINVAL")?;
    }
    for line in [
        "delete t.none",
        "queue t.none",
        "queue",
        "delete",
        "pub t.none x",
        "replay t.none 1",
    ] {
        text.ask_in_vain(line, "ENOENT")?;
    }
    for line in ["ack 1", "nack 1", "reply 1 x", "unsub t.x"] {
        text.ask_in_vain(line, "ESTALE")?;
    }
    text.ask("create t.twice")?;
    text.ask_in_vain("create t.twice", "EEXIST")?;
    assert!(text.ask("sub t.twice")?.starts_with("subscribed="));
    text.ask_in_vain("sub t.twice", "EALREADY")?;
    for line in ["ack x", "ack", "nack 1,x", "reply x y"] {
        text.ask_in_vain(line, "EINVAL")?;
    }
    // An empty message is one.
    assert_eq!(text.ask("pub t.twice")?, "position=1 channels=1");
    assert!(pushed(&mut text)?.ends_with("data=\"\""));
    text.ask("delete t.twice").map(drop)
}

fn a_megabyte_is_refused(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.big", "")?;
    let most = [b"pub t.big ", &[b'x'; 65536][..]].concat();
    assert_eq!(text.ask(&most)?, "position=1 channels=1");
    text.ask_in_vain([&most[..], b"y"].concat(), "EMSGSIZE")?;
    text.ask_in_vain([b"pub t.big ", &[b'x'; 1 << 20][..]].concat(), "EMSGSIZE")?;
    let mut one = subscriber(node, "t.big")?;
    let line = pushed(&mut one)?;
    assert_eq!(field(&line, "data").len(), 65536);
    text.ask("delete t.big").map(drop)
}

fn a_subscriber_that_does_not_read_hurts_nobody(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let before = text.stats()?["used"];
    let deaf = subscriber(node, "t.flood messages=100")?;
    let mut good = subscriber(node, "t.flood messages=100")?;
    let data = "x".repeat(30_000);
    let rounds = Rounds {
        debug: 100,
        slim: 400,
        soak: 4000,
    }
    .count();
    for n in 0..rounds {
        let reply = text.ask(format!("pub t.flood {n} {data}"))?;
        assert_eq!(reply, "position=0 channels=2");
        let line = pushed(&mut good)?;
        assert_eq!(
            field(&line, "data")
                .trim_start_matches('"')
                .parse::<usize>()
                .ok(),
            Some(n)
        );
    }
    // What is kept for it is bounded.
    assert!(text.stats()?["used"] - before < 102 * 34_000);
    // Subscriptions take memory themselves.
    drop(deaf);
    drop(good);
    until(|| Ok(text.stats()?["used"] <= before))
}

fn many_queues(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let count = Rounds {
        debug: 1000,
        // Nearly half of what there may be, a user's share: a few more, and their memory would be too much.
        slim: 7000,
        soak: 7000,
    }
    .count();
    let before = text.stats()?["queues"];
    let all = |command: &str| -> Vec<u8> {
        (0..count)
            .flat_map(|n| format!("{command} t.many.{n}\n").into_bytes())
            .collect()
    };
    for command in ["create", "pub", "delete"] {
        let mut wire = text.wire.0.try_clone()?;
        let lines = all(command);
        let writer = thread::spawn(move || io::Write::write_all(&mut wire, &lines));
        for _ in 0..count {
            let reply = pushed(&mut text)?;
            assert!(!reply.starts_with("ERR"), "{command}: {reply}");
        }
        writer.join().expect("no panic")?;
        if command == "pub" {
            assert_eq!(text.stats()?["queues"], before + count as u64);
            assert!(text.ask("queues")?.len() > 10_000);
        }
    }
    assert_eq!(text.stats()?["queues"], before);
    Ok(())
}
