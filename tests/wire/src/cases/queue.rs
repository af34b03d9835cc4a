// SPDX-License-Identifier: GPL-2.0

//! Queues and topics by text.

use super::{Suite, suite};
use crate::{
    node::{Node, QUEUE},
    text::Text,
};
use std::{
    io, thread,
    time::{Duration, Instant},
};

pub(super) const SUITE: Suite = suite![
    a_bare_line_is_queued,
    messages_go_to_those_who_take_them,
    subscribers_to_a_topic_all_get_it,
    a_group_shares,
    groups_and_names_are_told_apart,
    priorities_and_delays,
    what_is_not_acknowledged_comes_again,
    what_a_session_leaves_others_get,
    who_takes_for_good_does_not_wait_for_acknowledgements,
    too_many_deliveries_make_a_dead_letter,
    requests_are_replied_to,
    topics_are_replayed_from_a_position,
    queues_are_replayed,
    any_bytes_in_json,
    a_queue_in_use_is_deleted,
    an_ended_session_publishes_nothing_later,
    an_ended_session_waits_for_no_reply,
    help_and_stats,
];

/// A session, and a queue made anew.
pub(super) fn fresh(node: &Node, name: &str, options: &str) -> io::Result<Text> {
    let mut text = Text::open(node, QUEUE)?;
    text.ask(format!("delete {name}"))?;
    let made = text.ask(format!("create {name} {options}"))?;
    assert_eq!(made, "OK", "create {name} {options}");
    Ok(text)
}

pub(super) fn subscriber(node: &Node, what: &str) -> io::Result<Text> {
    let mut text = Text::open(node, QUEUE)?;
    let reply = text.ask(format!("sub {what}"))?;
    assert!(reply.starts_with("subscribed="), "sub {what}: {reply}");
    Ok(text)
}

/// The next line, which nobody has asked for.
pub(super) fn pushed(text: &mut Text) -> io::Result<String> {
    String::from_utf8(text.line()?).map_err(io::Error::other)
}

/// The value of a field of a line.
pub(super) fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let value = found.unwrap_or_else(|| panic!("no {name} in '{line}'"));
    value.trim_matches('"')
}

pub(super) fn number(line: &str, name: &str) -> u64 {
    field(line, name).parse().expect("a number")
}

/// What a queue says of itself.
pub(super) fn figure(text: &mut Text, queue: &str, name: &str) -> io::Result<u64> {
    Ok(number(&text.ask(format!("queue {queue}"))?, name))
}

fn a_bare_line_is_queued(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let before = figure(&mut text, "requests", "pushed")?;
    for line in ["KingCobra_17August2015", "some words, (and) #signs#"] {
        assert_eq!(text.ask(line)?, "queued");
    }
    assert_eq!(figure(&mut text, "requests", "pushed")?, before + 2);
    text.ask_in_vain("delete requests", "EBUSY")
}

fn messages_go_to_those_who_take_them(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.fifo", "")?;
    for n in 1..=3 {
        let reply = text.ask(format!("pub t.fifo number {n}"))?;
        assert_eq!(reply, format!("position={n} channels=1"));
    }
    let mut first = subscriber(node, "t.fifo")?;
    for n in 1..=3 {
        let line = pushed(&mut first)?;
        let expected = format!("message={n} subject=\"t.fifo\" position={n} data=\"number {n}\"");
        assert_eq!(line, expected);
    }
    // And one that comes while it waits.
    text.ask("pub(t.fifo,late, but (here))")?;
    assert!(pushed(&mut first)?.ends_with("data=\"late, but (here)\""));
    assert_eq!(first.ask("unsub t.fifo")?, "OK");
    text.ask("pub t.fifo stays")?;
    assert_eq!(figure(&mut text, "t.fifo", "ready")?, 1);
    assert_eq!(text.ask("delete t.fifo")?, "OK");
    text.ask_in_vain("pub t.fifo x", "ENOENT")
}

fn subscribers_to_a_topic_all_get_it(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.orders.eu", "topic")?;
    let mut all = [
        subscriber(node, "t.orders.eu")?,
        subscriber(node, "t.orders.*")?,
        subscriber(node, "t.>")?,
    ];
    let mut other = subscriber(node, "t.*")?;
    assert_eq!(text.ask("pub t.orders.eu a")?, "position=1 channels=4");
    for subscriber in &mut all {
        let line = pushed(subscriber)?;
        assert_eq!(field(&line, "subject"), "t.orders.eu", "{line}");
    }
    // A name that nobody has made is as good, if somebody listens.
    assert_eq!(text.ask("pub t.new b")?, "position=0 channels=2");
    assert_eq!(field(&pushed(&mut other)?, "subject"), "t.new");
    assert_eq!(field(&pushed(&mut all[2])?, "subject"), "t.new");
    drop(all);
    drop(other);
    text.ask("delete t.orders.eu")?;
    until(|| Ok(text.ask("pub t.new c")?.starts_with("ERR ENOENT")))
}

/// Tries until it holds.
pub(super) fn until(mut holds: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds()? {
        assert!(Instant::now() < end, "it does not come to hold");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn a_group_shares(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let mut members = [
        subscriber(node, "t.jobs group=workers ack")?,
        subscriber(node, "t.jobs group=workers ack")?,
    ];
    let mut alone = subscriber(node, "t.jobs")?;
    for n in 0..20 {
        assert_eq!(
            text.ask(format!("pub t.jobs {n}"))?,
            "position=0 channels=2"
        );
    }
    for n in 0..20 {
        assert_eq!(field(&pushed(&mut alone)?, "data"), n.to_string());
    }
    // Each has some, together they have all. None is acknowledged, so all can be had at once.
    let mut got = Vec::new();
    for member in &mut members {
        member
            .wire
            .0
            .set_read_timeout(Some(Duration::from_secs(1)))?;
        while let Ok(line) = pushed(member) {
            got.push(number(&line, "data"));
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
    Ok(())
}

fn groups_and_names_are_told_apart(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let mut first = subscriber(node, "t.eu.new group=t.a")?;
    let mut second = subscriber(node, "eu.new group=t.a.t")?;
    for name in ["t.eu.new", "eu.new"] {
        assert_eq!(
            text.ask(format!("pub {name} {name}"))?,
            "position=0 channels=1"
        );
    }
    assert_eq!(field(&pushed(&mut first)?, "data"), "t.eu.new");
    assert_eq!(field(&pushed(&mut second)?, "data"), "eu.new");
    // What stands for a wildcard in the name of a group's queue may be meant as such.
    let _first = subscriber(node, "t.* group=t.plus")?;
    let refused = Text::open(node, QUEUE)?.ask("sub t.+ group=t.plus")?;
    assert!(refused.starts_with("ERR EEXIST"), "{refused}");
    // Queues that have the names of the next subscriptions.
    let list = text.ask("queues")?;
    let last = list
        .split(' ')
        .filter_map(|queue| queue.strip_prefix("_sub.")?.split(':').next()?.parse().ok())
        .max()
        .unwrap_or(0u64);
    for number in last..last + 50 {
        text.ask(format!("create _sub.{number}"))?;
    }
    let mut third = subscriber(node, "t.third")?;
    text.ask("pub t.third x")?;
    assert_eq!(field(&pushed(&mut third)?, "data"), "x");
    for number in last..last + 50 {
        text.ask(format!("delete _sub.{number}"))?;
    }
    Ok(())
}

fn priorities_and_delays(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.prio", "")?;
    for (priority, delay, data) in [
        (0, 0, "last"),
        (9, 0, "first"),
        (4, 0, "middle"),
        (9, 700, "late"),
    ] {
        let reply = text.ask(format!("publish(t.prio,{priority},{delay},{data})"))?;
        assert!(reply.starts_with("position="), "{reply}");
    }
    assert_eq!(figure(&mut text, "t.prio", "delayed")?, 1);
    let start = Instant::now();
    let mut one = subscriber(node, "t.prio")?;
    for expected in ["first", "middle", "last", "late"] {
        assert_eq!(field(&pushed(&mut one)?, "data"), expected);
    }
    assert!(
        start.elapsed() > Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    text.ask("delete t.prio").map(drop)
}

fn what_is_not_acknowledged_comes_again(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.ack", "ack=500")?;
    let mut one = subscriber(node, "t.ack ack")?;
    text.ask("pub t.ack a")?;
    let first = pushed(&mut one)?;
    let again = pushed(&mut one)?;
    assert_eq!(field(&again, "deliveries"), "2", "{again}");
    let id = number(&first, "message");
    one.ask_in_vain(format!("ack {id}"), "ESTALE")?;
    let id = number(&again, "message");
    assert_eq!(one.ask(format!("ack {id}"))?, "OK");
    one.ask_in_vain(format!("ack {id}"), "ESTALE")?;
    assert_eq!(figure(&mut text, "t.ack", "acked")?, 1);
    // One that is given back comes at once, or when it is said.
    text.ask("pub t.ack b")?;
    let id = number(&pushed(&mut one)?, "message");
    assert_eq!(one.ask(format!("nack {id}"))?, "OK");
    let id = number(&pushed(&mut one)?, "message");
    let start = Instant::now();
    assert_eq!(one.ask(format!("nack({id},400)"))?, "OK");
    let id = number(&pushed(&mut one)?, "message");
    assert!(start.elapsed() > Duration::from_millis(350));
    assert_eq!(one.ask(format!("ack {id}"))?, "OK");
    text.ask("delete t.ack").map(drop)
}

fn what_a_session_leaves_others_get(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.left", "")?;
    for n in 0..5 {
        text.ask(format!("pub t.left {n}"))?;
    }
    let mut one = subscriber(node, "t.left ack")?;
    for n in 0..5 {
        assert_eq!(number(&pushed(&mut one)?, "data"), n);
    }
    drop(one);
    let mut two = subscriber(node, "t.left ack")?;
    for n in 0..5 {
        let line = pushed(&mut two)?;
        assert_eq!((number(&line, "data"), number(&line, "deliveries")), (n, 2));
    }
    text.ask("delete t.left").map(drop)
}

/// One has as many as may be out; the other gets what comes all the same, at once and when it is due.
fn who_takes_for_good_does_not_wait_for_acknowledgements(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.both", "unacked=1 ack=0")?;
    let mut slow = subscriber(node, "t.both ack")?;
    text.ask("pub t.both first")?;
    assert!(pushed(&mut slow)?.ends_with("data=\"first\""));
    let mut quick = subscriber(node, "t.both")?;
    for publish in ["pub t.both second", "publish(t.both,4,200,third)"] {
        text.ask(publish)?;
        let line = pushed(&mut quick)?;
        assert_eq!(field(&line, "subject"), "t.both", "{line}");
    }
    Ok(())
}

fn too_many_deliveries_make_a_dead_letter(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.dead", "")?;
    let mut text2 = fresh(node, "t.alive", "deliveries=2 dead=t.dead")?;
    text.ask("pub t.alive poison")?;
    let mut one = subscriber(node, "t.alive ack")?;
    for _ in 0..2 {
        let id = number(&pushed(&mut one)?, "message");
        assert_eq!(one.ask(format!("nack {id}"))?, "OK");
    }
    let mut dead = subscriber(node, "t.dead")?;
    let line = pushed(&mut dead)?;
    assert_eq!(field(&line, "subject"), "t.alive", "{line}");
    assert_eq!(field(&line, "data"), "poison", "{line}");
    assert_eq!(figure(&mut text, "t.alive", "dead")?, 1);
    text2.ask("delete t.alive")?;
    text.ask("delete t.dead").map(drop)
}

fn requests_are_replied_to(node: &Node) -> io::Result<()> {
    let mut client = fresh(node, "t.service", "")?;
    let mut service = subscriber(node, "t.service")?;
    let server = thread::spawn(move || -> io::Result<()> {
        for _ in 0..3 {
            let line = pushed(&mut service)?;
            let (id, data) = (number(&line, "request"), field(&line, "data"));
            assert_eq!(service.ask(format!("reply {id} you said {data}"))?, "OK");
        }
        // Nothing else can come between now.
        service.ask_in_vain("reply 1 again", "ESTALE")?;
        assert_eq!(service.ask("unsub t.service")?, "OK");
        Ok(())
    });
    for word in ["one", "two", "three"] {
        assert_eq!(
            client.ask(format!("req t.service {word}"))?,
            format!("you said {word}")
        );
    }
    server.join().expect("no panic")?;
    // Nobody answers, nobody is there.
    client.ask_in_vain("req t.service four", "ETIMEDOUT")?;
    client.ask_in_vain("req t.nobody four", "ENOENT")?;
    // A message that is no request has no reply.
    let mut service = subscriber(node, "t.service ack")?;
    pushed(&mut service)?;
    client.ask("pub t.service plain")?;
    let id = number(&pushed(&mut service)?, "message");
    service.ask_in_vain(format!("reply {id} x"), "EINVAL")?;
    client.ask("delete t.service").map(drop)
}

fn topics_are_replayed_from_a_position(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.log", "topic keep=5")?;
    for n in 1..=8 {
        assert_eq!(
            text.ask(format!("pub t.log {n}"))?,
            format!("position={n} channels=1")
        );
    }
    let mut late = subscriber(node, "t.log from=6")?;
    let mut all = subscriber(node, "t.* from=0")?;
    text.ask("pub t.log 9")?;
    for n in 6..=9 {
        let line = pushed(&mut late)?;
        assert_eq!((number(&line, "position"), number(&line, "data")), (n, n));
    }
    for n in 4..=9 {
        assert_eq!(number(&pushed(&mut all)?, "data"), n);
    }
    text.ask("delete t.log").map(drop)
}

fn queues_are_replayed(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.again", "keep=10")?;
    let mut one = subscriber(node, "t.again")?;
    for n in 1..=4 {
        text.ask(format!("pub t.again {n}"))?;
        assert_eq!(number(&pushed(&mut one)?, "data"), n);
    }
    assert_eq!(text.ask("replay t.again 3")?, "replayed=2");
    for n in 3..=4 {
        let line = pushed(&mut one)?;
        assert_eq!((number(&line, "data"), number(&line, "deliveries")), (n, 2));
    }
    text.ask("delete t.again").map(drop)
}

fn any_bytes_in_json(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.bytes", "")?;
    let mut one = subscriber(node, "t.bytes")?;
    text.ask_bytes(b"pub t.bytes \xff\x00\"\\")?;
    assert!(pushed(&mut one)?.ends_with("data_hex=\"ff00225c\""));
    assert_eq!(one.ask("json on")?, "OK");
    text.ask("pub t.bytes say \"hi\"")?;
    let line = pushed(&mut one)?;
    let expected = "{\"ok\":true,\"message\":2,\"subject\":\"t.bytes\",\"position\":2,\"data\":\"say \\\"hi\\\"\"}";
    assert_eq!(line, expected);
    text.ask("delete t.bytes").map(drop)
}

fn a_queue_in_use_is_deleted(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.gone", "messages=1 policy=block")?;
    let mut one = subscriber(node, "t.gone ack")?;
    text.ask("pub t.gone 1")?;
    let id = number(&pushed(&mut one)?, "message");
    let mut waiting = Text::open(node, QUEUE)?;
    let waiter = thread::spawn(move || waiting.ask_in_vain("pub t.gone 2", "ENOENT"));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(text.ask("delete t.gone")?, "OK");
    waiter.join().expect("no panic")?;
    assert_eq!(pushed(&mut one)?, "deleted=\"t.gone\"");
    one.ask_in_vain(format!("ack {id}"), "ESTALE")
}

fn help_and_stats(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.help", "")?;
    let help = text.ask("help")?;
    for command in ["pub ", "sub ", "ack(", "req ", "queues", "stats", "create "] {
        assert!(help.contains(command), "no {command} in {help}");
    }
    assert!(text.ask("queues")?.contains("t.help:queue:0:0:0"));
    assert!(text.stats()?["limit"] > 0);
    text.ask("delete t.help").map(drop)
}

/// Ends the session that was begun last, while it waits in a command.
fn end_last(text: &mut Text, mut waits: Text) -> io::Result<()> {
    thread::sleep(Duration::from_millis(500));
    let sessions = text.ask("sessions")?;
    let numbers = sessions
        .split(' ')
        .filter_map(|session| session.split(':').next()?.parse::<u64>().ok());
    let last = numbers.max().expect("sessions");
    assert_eq!(text.ask(format!("end_session({last})"))?, "ended");
    waits.wire.end_within(Duration::from_secs(3))?;
    // Its command ends soon.
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

fn an_ended_session_publishes_nothing_later(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.full", "messages=1 policy=block")?;
    text.ask("pub t.full one")?;
    let mut waits = Text::open(node, QUEUE)?;
    waits.wire.send(b"pub t.full late\n")?;
    end_last(&mut text, waits)?;
    assert_eq!(text.ask("purge t.full")?, "purged=1");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(figure(&mut text, "t.full", "pushed")?, 1);
    Ok(())
}

fn an_ended_session_waits_for_no_reply(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, "t.asked", "")?;
    let mut service = subscriber(node, "t.asked")?;
    let mut waits = Text::open(node, QUEUE)?;
    waits.wire.send(b"req t.asked question\n")?;
    let request = number(&pushed(&mut service)?, "request");
    end_last(&mut text, waits)?;
    service.ask_in_vain(format!("reply {request} late"), "ESRCH")
}
