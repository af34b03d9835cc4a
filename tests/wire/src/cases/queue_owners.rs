// SPDX-License-Identifier: GPL-2.0

//! Whose queues and topics are, and what others may do with them. Text sessions act as one user,
//! requests of another node are here those of a second one.

use super::{
    Suite,
    queue::{fresh, number, pushed, subscriber},
    suite,
};
use crate::{
    memory::{OTHER, TEXT},
    node::{Node, QUEUE},
    peer::Peer,
    text::Text,
};
use std::io;
use virgo_proto::{
    errno::Errno,
    queue::{
        MAX_MESSAGE,
        wire::{AskArgs, NameHeader, PublishedMessage, PullArgs, op},
    },
};
use zerocopy::IntoBytes as _;

pub(super) const SUITE: Suite = suite![
    a_queue_is_its_owners,
    a_mode_gives_rights_to_others,
    who_owns_a_name_decides_who_hears_it,
    a_group_is_its_users,
    only_root_gives_away_and_takes_reserved_names,
    one_user_does_not_take_the_memory_of_all,
    one_user_does_not_take_all_queues,
];

const NAME: &str = "t.owned";

fn named(uid: u32, name: &str) -> Vec<u8> {
    let head = NameHeader {
        name_len: (name.len() as u16).into(),
        reserved: 0.into(),
        uid: uid.into(),
    };
    [head.as_bytes(), name.as_bytes()].concat()
}

fn publish(uid: u32, name: &str, data: &[u8]) -> Vec<u8> {
    let item = PublishedMessage {
        data_len: (data.len() as u32).into(),
        delay_ms: 0.into(),
        priority: 4,
        reserved: [0; 3],
    };
    [&named(uid, name), item.as_bytes(), data].concat()
}

fn pull(uid: u32, name: &str) -> Vec<u8> {
    let args = PullArgs {
        count: 1.into(),
        bytes: 1000.into(),
        wait_ms: 0.into(),
        uid: uid.into(),
        number: 0.into(),
    };
    [args.as_bytes(), name.as_bytes()].concat()
}

fn create(uid: u32, name: &str, options: &str) -> Vec<u8> {
    [&named(uid, name)[..], options.as_bytes()].concat()
}

fn ask(uid: u32, name: &str) -> Vec<u8> {
    let args = AskArgs {
        timeout_ms: 5000.into(),
        name_len: (name.len() as u16).into(),
        reserved: 0.into(),
        uid: uid.into(),
    };
    [args.as_bytes(), name.as_bytes()].concat()
}

fn setup(node: &Node, options: &str) -> io::Result<(Text, Peer)> {
    let text = fresh(node, NAME, options)?;
    Ok((text, Peer::open_at(node, QUEUE, fastrand::u64(..))?))
}

/// What this user gets for publishing to the queue, for taking from it and for deleting it.
fn tries(peer: &mut Peer, uid: u32) -> io::Result<[Option<Errno>; 3]> {
    let published = peer.ask(op::PUBLISH, &publish(uid, NAME, b"x"))?;
    let taken = peer.ask(op::PULL, &pull(uid, NAME))?;
    let deleted = peer.ask(op::DELETE, &named(uid, NAME))?;
    Ok([published.err(), taken.err(), deleted.err()])
}

fn a_queue_is_its_owners(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = setup(node, "")?;
    let denied = Some(Errno::EACCES);
    assert_eq!(tries(&mut peer, OTHER.0)?, [denied; 3]);
    let asked = peer.ask(op::ASK, &ask(OTHER.0, NAME))?;
    assert_eq!(asked, Err(Errno::EACCES));
    let queue = text.ask(format!("queue {NAME}"))?;
    assert!(
        queue.contains(&format!("owner={} mode=\"70\"", TEXT.0)),
        "{queue}"
    );
    assert_eq!(tries(&mut peer, TEXT.0)?, [None; 3]);
    text.ask(format!("create {NAME}"))?;
    assert_eq!(tries(&mut peer, 0)?, [None; 3], "root");
    Ok(())
}

fn a_mode_gives_rights_to_others(node: &Node) -> io::Result<()> {
    let denied = Some(Errno::EACCES);
    for (mode, expected) in [
        ("72", [None, denied, denied]),
        ("74", [denied, None, denied]),
        ("76", [None, None, denied]),
        ("77", [None, None, None]),
    ] {
        let (mut text, mut peer) = setup(node, &format!("mode={mode}"))?;
        assert_eq!(tries(&mut peer, OTHER.0)?, expected, "{mode}");
        text.ask(format!("delete {NAME}"))?;
    }
    // What the owner has no right to, others may have.
    let (_, mut peer) = setup(node, "mode=17")?;
    assert_eq!(tries(&mut peer, TEXT.0)?, [denied, denied, None]);
    Text::open(node, QUEUE)?.ask_in_vain(format!("create {NAME} mode=9"), "EINVAL")
}

fn who_owns_a_name_decides_who_hears_it(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let mut peer = Peer::open_at(node, QUEUE, fastrand::u64(..))?;
    let _ = peer.ask(op::DELETE, &named(OTHER.0, "t.private"))?;
    let made = peer.ask(op::CREATE, &create(OTHER.0, "t.private", "topic keep=5"))?;
    assert_eq!(made, Ok(vec![]));
    text.ask_in_vain("sub t.private", "EACCES")?;
    text.ask_in_vain("pub t.private x", "EACCES")?;
    text.ask_in_vain("delete t.private", "EACCES")?;
    let mut all = subscriber(node, "t.> from=0")?;
    let _ = text.ask("delete t.eavesdropper")?;
    assert_eq!(text.ask("create t.eavesdropper bind=t.>")?, "OK");
    let told = peer.ask(op::PUBLISH, &publish(OTHER.0, "t.private", b"secret"))?;
    assert!(told.is_ok(), "{told:?}");
    // A name that nobody owns is heard by all.
    let told = peer.ask(op::PUBLISH, &publish(OTHER.0, "t.open", b"open"))?;
    assert!(told.is_ok(), "{told:?}");
    let line = pushed(&mut all)?;
    assert!(line.ends_with("data=\"open\""), "{line}");
    let queue = text.ask("queue t.eavesdropper")?;
    assert_eq!(number(&queue, "ready"), 1, "{queue}");
    text.ask("delete t.eavesdropper")?;
    let deleted = peer.ask(op::DELETE, &named(OTHER.0, "t.private"))?;
    assert_eq!(deleted, Ok(vec![]));
    Ok(())
}

/// Another user's group of the same name is another group; this one's name says so.
fn a_group_is_its_users(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let reply = text.ask("sub t.shared group=g")?;
    let expected = format!("subscribed=\"_group.{}.1.g.t.shared\"", TEXT.0);
    assert_eq!(reply, expected);
    Ok(())
}

fn only_root_gives_away_and_takes_reserved_names(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    text.ask_in_vain(format!("create {NAME} owner=0"), "EPERM")?;
    for name in ["_sub.7", "_group.0.1.g.x", "kingcobra.service"] {
        text.ask_in_vain(format!("create {name}"), "EACCES")?;
    }
    text.ask_in_vain("sub t.x owner=5", "EINVAL")?;
    text.ask_in_vain("sub requests", "EACCES")?;
    text.ask_in_vain("sub requests group=g", "EACCES")
}

fn one_user_does_not_take_the_memory_of_all(node: &Node) -> io::Result<()> {
    let (mut text, mut peer) = setup(node, "mode=72 messages=100000 bytes=1000000000")?;
    let large = publish(OTHER.0, NAME, &vec![7; MAX_MESSAGE - 100]);
    let limit = text.stats()?["limit"];
    let most = limit / MAX_MESSAGE as u64;
    let mut refused = None;
    for _ in 0..=most {
        if let Err(errno) = peer.ask(op::PUBLISH, &large)? {
            refused = Some(errno);
            break;
        }
    }
    assert_eq!(refused, Some(Errno::EDQUOT));
    assert!(text.stats()?["used"] <= limit / 2 + limit / 10, "its share");
    // Others publish all the same.
    let reply = text.ask(format!("pub {NAME} small"))?;
    assert!(reply.starts_with("position="), "{reply}");
    assert_eq!(text.ask(format!("delete {NAME}"))?, "OK");
    let told = peer.ask(op::PUBLISH, &publish(OTHER.0, NAME, b"x"))?;
    assert_eq!(told, Err(Errno::ENOENT));
    assert!(text.stats()?["used"] < limit / 10, "all is given back");
    Ok(())
}

fn one_user_does_not_take_all_queues(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let mut peer = Peer::open_at(node, QUEUE, fastrand::u64(..))?;
    // As many as there may be, by default, all together.
    let mut made = 0;
    let refused = loop {
        let name = format!("t.many.{made}");
        match peer.ask(op::CREATE, &create(OTHER.0, &name, ""))? {
            Ok(_) => made += 1,
            Err(errno) => break errno,
        }
        assert!(made <= 16384, "no end");
    };
    let reply = text.ask(format!("create {NAME}.other"))?;
    for number in 0..made {
        let name = format!("t.many.{number}");
        assert_eq!(peer.ask(op::DELETE, &named(OTHER.0, &name))?, Ok(vec![]));
    }
    assert_eq!((refused, reply.as_str()), (Errno::EDQUOT, "OK"));
    text.ask(format!("delete {NAME}.other"))?;
    Ok(())
}
