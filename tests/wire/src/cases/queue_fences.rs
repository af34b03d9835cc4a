// SPDX-License-Identifier: GPL-2.0

//! Queues that a lock guards, by text and by requests of another node.

use super::{
    Suite,
    queue::{figure, fresh},
    suite,
};
use crate::{
    memory::{OTHER, TEXT, User},
    node::{Node, QUEUE},
    peer::{Number, Peer, request},
    text::Text,
};
use std::io;
use virgo_proto::{
    errno::Errno,
    fence::{FenceClaim, FenceToken},
    queue::wire::{AskArgs, NameHeader, PublishReply, PublishedMessage, PurgeReply, op},
};
use zerocopy::{FromBytes as _, IntoBytes as _};

pub(super) const SUITE: Suite = suite![
    text_sessions_have_locks,
    bad_text_is_refused,
    requests_have_locks,
    a_repeated_request_is_answered_as_before,
    a_name_without_a_queue_takes_no_lock,
    what_is_torn_raises_nothing,
    unknown_operations_are_refused,
];

const NAME: &str = "t.fenced";

/// A token of the lock `ledger`, as a request begins.
fn token(token: u64) -> Vec<u8> {
    let claim = FenceClaim::new(b"ledger", token).expect("a lock");
    claim.to_wire().as_bytes().to_vec()
}

fn named(User(uid): User, name: &str) -> Vec<u8> {
    let head = NameHeader {
        name_len: (name.len() as u16).into(),
        reserved: 0.into(),
        uid: uid.into(),
    };
    [head.as_bytes(), name.as_bytes()].concat()
}

/// A Publish of one message.
fn publish(user: User, name: &str) -> Vec<u8> {
    let item = PublishedMessage {
        data_len: 1.into(),
        delay_ms: 0.into(),
        priority: 4,
        reserved: [0; 3],
    };
    [&named(user, name), item.as_bytes(), b"x"].concat()
}

fn ask(User(uid): User, name: &str) -> Vec<u8> {
    let args = AskArgs {
        timeout_ms: 300.into(),
        name_len: (name.len() as u16).into(),
        reserved: 0.into(),
        uid: uid.into(),
    };
    [args.as_bytes(), name.as_bytes(), b"question"].concat()
}

fn published(answer: Result<Vec<u8>, Errno>) -> Result<u32, Errno> {
    Ok(PublishReply::read_from_bytes(&answer?)
        .expect("a reply")
        .published
        .get())
}

fn text_sessions_have_locks(node: &Node) -> io::Result<()> {
    for options in ["", "durable", "topic"] {
        let mut text = fresh(node, NAME, options)?;
        assert_eq!(figure(&mut text, NAME, "token")?, 0);
        let reply = text.ask(format!("publish_fenced({NAME},ledger,6,9,0,with, commas)"))?;
        assert!(reply.starts_with("position=1 channels=1"), "{reply}");
        assert_eq!(figure(&mut text, NAME, "token")?, 6);
        text.ask_in_vain(format!("publish_fenced({NAME},ledger,5,4,0,x)"), "ESTALE")?;
        text.ask_in_vain(format!("publish_fenced({NAME},other,9,4,0,x)"), "ENOLCK")?;
        text.ask_in_vain(format!("publish({NAME},4,0,x)"), "ENOLCK")?;
        text.ask_in_vain(format!("pub {NAME} x"), "ENOLCK")?;
        text.ask_in_vain(format!("req {NAME} x"), "ENOLCK")?;
        text.ask_in_vain(format!("purge {NAME}"), "ENOLCK")?;
        text.ask_in_vain(format!("purge_fenced({NAME},ledger,5)"), "ESTALE")?;
        let there = u64::from(options != "topic");
        let purged = text.ask(format!("purge_fenced({NAME},ledger,7)"))?;
        assert_eq!(purged, format!("purged={there}"));
        assert_eq!(figure(&mut text, NAME, "token")?, 7);
        text.ask_in_vain(format!("delete_fenced({NAME},ledger,6)"), "ESTALE")?;
        assert_eq!(text.ask(format!("delete_fenced({NAME},ledger,7)"))?, "OK");
        text.ask_in_vain(format!("purge_fenced({NAME},ledger,7)"), "ENOENT")?;
    }
    Ok(())
}

fn bad_text_is_refused(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, NAME, "")?;
    for bad in [
        format!("publish_fenced({NAME},ledger,0,4,0,x)"),
        format!("publish_fenced({NAME},ledger,seven,4,0,x)"),
        format!("publish_fenced({NAME},,7,4,0,x)"),
        format!("publish_fenced({NAME},{},7,4,0,x)", "l".repeat(256)),
        format!("publish_fenced({NAME},ledger,7,10,0,x)"),
        format!("publish_fenced({NAME},ledger,7,4,0)"),
        format!("purge_fenced({NAME},ledger)"),
        format!("purge_fenced({NAME},ledger,18446744073709551616)"),
        format!("delete_fenced({NAME},ledger,7,8)"),
    ] {
        text.ask_in_vain(&bad, "EINVAL")?;
    }
    assert_eq!(figure(&mut text, NAME, "token")?, 0);
    assert_eq!(text.ask(format!("delete {NAME}"))?, "OK");
    Ok(())
}

fn requests_have_locks(node: &Node) -> io::Result<()> {
    for options in ["mode=73", "mode=73 durable"] {
        let mut text = fresh(node, NAME, options)?;
        let mut peer = Peer::open_at(node, QUEUE, fastrand::u64(..))?;
        for user in [TEXT, OTHER] {
            let publish = publish(user, NAME);
            let mut fenced = |number| {
                let answer = peer.ask(
                    op::FENCED_PUBLISH,
                    &[token(number), publish.clone()].concat(),
                );
                answer.map(published)
            };
            let first = 10 * u64::from(user.0);
            assert_eq!(fenced(first + 7)?, Ok(1));
            assert_eq!(fenced(first + 8)?, Ok(1));
            assert_eq!(fenced(first + 7)?, Err(Errno::ESTALE));
            assert_eq!(
                published(peer.ask(op::PUBLISH, &publish)?),
                Err(Errno::ENOLCK)
            );
            let late = [token(first + 7), ask(user, NAME)].concat();
            assert_eq!(peer.ask(op::FENCED_ASK, &late)?, Err(Errno::ESTALE));
            assert_eq!(peer.ask(op::ASK, &ask(user, NAME))?, Err(Errno::ENOLCK));
            let named = named(user, NAME);
            assert_eq!(peer.ask(op::PURGE, &named)?, Err(Errno::ENOLCK));
            let late = [token(first + 6), named.clone()].concat();
            assert_eq!(peer.ask(op::FENCED_PURGE, &late)?, Err(Errno::ESTALE));
            assert_eq!(peer.ask(op::FENCED_DELETE, &late)?, Err(Errno::ESTALE));
            let next = [token(first + 9), named].concat();
            let purged = peer.ask(op::FENCED_PURGE, &next)?.expect("purged");
            let purged = PurgeReply::read_from_bytes(&purged).expect("a reply");
            assert_eq!(purged.purged.get(), 2);
            assert_eq!(figure(&mut text, NAME, "token")?, first + 9);
            text.ask(format!("delete {NAME}"))?;
            text.ask(format!("create {NAME} {options}"))?;
        }
        // Somebody else needs the lock to delete.
        let mut fenced = |number, op, body: Vec<u8>| peer.ask(op, &[token(number), body].concat());
        assert!(fenced(7, op::FENCED_PUBLISH, publish(OTHER, NAME))?.is_ok());
        let named = named(OTHER, NAME);
        assert_eq!(fenced(7, op::FENCED_DELETE, named.clone())?, Ok(vec![]));
        assert_eq!(fenced(7, op::FENCED_DELETE, named)?, Err(Errno::ENOENT));
    }
    Ok(())
}

fn a_repeated_request_is_answered_as_before(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, NAME, "")?;
    let mut peer = Peer::open_at(node, QUEUE, fastrand::u64(..))?;
    let body = [token(7), publish(TEXT, NAME)].concat();
    let bytes = request(Number::FIRST, op::FENCED_PUBLISH, &body);
    peer.wire.send(&bytes)?;
    let answer = peer.answer(Number::FIRST, op::FENCED_PUBLISH)?;
    assert_eq!(published(answer), Ok(1));
    let reply = text.ask(format!("publish_fenced({NAME},ledger,8,4,0,x)"))?;
    assert!(reply.starts_with("position=2"), "{reply}");
    // It was done, and is not done again, though its token is late by now.
    peer.wire.send(&bytes)?;
    let answer = peer.answer(Number::FIRST, op::FENCED_PUBLISH)?;
    assert_eq!(published(answer), Ok(1));
    assert_eq!(figure(&mut text, NAME, "pushed")?, 2);
    assert_eq!(text.ask(format!("delete {NAME}"))?, "OK");
    Ok(())
}

fn a_name_without_a_queue_takes_no_lock(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, QUEUE)?;
    let mut peer = Peer::open_at(node, QUEUE, fastrand::u64(..))?;
    text.ask("sub t.nobody")?;
    text.ask_in_vain("publish_fenced(t.nobody,ledger,7,4,0,x)", "ENOLCK")?;
    let body = [token(7), publish(TEXT, "t.nobody")].concat();
    assert_eq!(peer.ask(op::FENCED_PUBLISH, &body)?, Err(Errno::ENOLCK));
    let body = [token(7), publish(TEXT, "requests")].concat();
    assert_eq!(peer.ask(op::FENCED_PUBLISH, &body)?, Err(Errno::ENOLCK));
    Ok(())
}

fn what_is_torn_raises_nothing(node: &Node) -> io::Result<()> {
    let mut text = fresh(node, NAME, "")?;
    let mut peer = Peer::open_at(node, QUEUE, fastrand::u64(..))?;
    let whole = [token(7), publish(TEXT, NAME)].concat();
    let empty = size_of::<FenceToken>() + named(TEXT, NAME).len();
    for len in (0..whole.len()).filter(|&len| len != empty) {
        let answer = peer.ask(op::FENCED_PUBLISH, &whole[..len])?;
        assert_eq!(answer, Err(Errno::EINVAL), "{len} bytes");
    }
    let zero = [vec![0; size_of::<FenceToken>()], publish(TEXT, NAME)].concat();
    assert_eq!(peer.ask(op::FENCED_PUBLISH, &zero)?, Err(Errno::EINVAL));
    for op in [op::FENCED_PURGE, op::FENCED_DELETE, op::FENCED_ASK] {
        for len in 0..empty - NAME.len() {
            assert_eq!(
                peer.ask(op, &whole[..len])?,
                Err(Errno::EINVAL),
                "{len} bytes"
            );
        }
    }
    assert_eq!(figure(&mut text, NAME, "token")?, 0);
    assert_eq!(text.ask(format!("delete {NAME}"))?, "OK");
    Ok(())
}

fn unknown_operations_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_at(node, QUEUE, fastrand::u64(..))?;
    for op in [0, op::FENCED_ASK + 1] {
        assert_eq!(peer.ask(op, &token(7))?, Err(Errno::EOPNOTSUPP), "{op}");
    }
    Ok(())
}
