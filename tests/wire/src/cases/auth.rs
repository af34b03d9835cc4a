// SPDX-License-Identifier: GPL-2.0

//! Who may use a text session.

use super::{Suite, suite};
use crate::{
    node::{ECHO, MEMPOOL, Node},
    peer::{frame, hello},
    text::Text,
    wire::{Wire, is_reset, is_timeout},
};
use std::{
    io::{self, Read as _},
    ops::RangeInclusive,
    thread,
    time::{Duration, Instant},
};
use virgo_proto::{frame::FrameKind, handshake::hello_bytes};

pub(super) const SUITE: Suite = suite![
    a_command_before_auth_ends_the_session,
    both_spellings_of_auth,
    a_wrong_key_ends_the_session,
    nothing_follows_a_wrong_key,
    a_long_line_before_auth_ends_the_session,
    a_flood_before_auth_is_cut_off,
    who_does_not_prove_the_key_is_cut_off_after_five_seconds,
];

/// One line a connection: whoever knows no key gets no second one.
fn a_command_before_auth_ends_the_session(node: &Node) -> io::Result<()> {
    for port in [ECHO, MEMPOOL] {
        for command in [
            "echo(a)",
            "help",
            "stats",
            "json on",
            "virgo_cloud_malloc(9)",
            "AUTH x",
        ] {
            let mut text = Text::stranger(node, port)?;
            let auth = [b"\nauth ", &node.text_key[..], b"\nstats"].concat();
            text.ask_in_vain([command.as_bytes(), &auth].concat(), "EACCES")?;
            assert_eq!(text.wire.rest()?, b"", "after {command}");
        }
    }
    Ok(())
}

fn both_spellings_of_auth(node: &Node) -> io::Result<()> {
    for (before, after) in [
        ("auth(", ")"),
        ("auth(", ""),
        (" auth  ", " "),
        ("auth\t", "\r"),
    ] {
        let mut text = Text::stranger(node, ECHO)?;
        let command = [before.as_bytes(), &node.text_key, after.as_bytes()].concat();
        assert_eq!(text.ask(command)?, "OK", "{before:?} KEY {after:?}");
        assert_eq!(text.ask("auth again")?, "OK", "one auth is enough");
    }
    Ok(())
}

/// Keys that are not the right one.
fn wrong_keys(node: &Node) -> Vec<Vec<u8>> {
    let mut last = node.text_key.clone();
    if let Some(byte) = last.last_mut() {
        *byte ^= 1;
    }
    vec![
        b"".to_vec(),
        b"wrong".to_vec(),
        node.text_key[..node.text_key.len() - 1].to_vec(),
        [&node.text_key[..], b"x"].concat(),
        [&node.text_key[..], b"\0"].concat(),
        last,
    ]
}

fn a_wrong_key_ends_the_session(node: &Node) -> io::Result<()> {
    for key in wrong_keys(node) {
        let mut text = Text::stranger(node, ECHO)?;
        text.ask_in_vain([b"auth ", &key[..]].concat(), "EKEYREJECTED")?;
        assert_eq!(text.wire.rest()?, b"", "after key {}", key.escape_ascii());
    }
    Ok(())
}

fn nothing_follows_a_wrong_key(node: &Node) -> io::Result<()> {
    let mut text = Text::stranger(node, ECHO)?;
    let lines = [b"auth wrong\nauth ", &node.text_key[..], b"\necho(a)\n"].concat();
    text.wire.send(&lines)?;
    let replies = String::from_utf8_lossy(&text.wire.rest()?).into_owned();
    assert!(replies.starts_with("ERR EKEYREJECTED "), "'{replies}'");
    assert_eq!(replies.lines().count(), 1, "'{replies}'");
    Ok(())
}

fn a_long_line_before_auth_ends_the_session(node: &Node) -> io::Result<()> {
    let mut text = Text::stranger(node, ECHO)?;
    text.wire.send(&[b'x'; 1024])?;
    let reply = String::from_utf8_lossy(&text.wire.rest()?).into_owned();
    assert!(reply.starts_with("ERR EMSGSIZE "), "'{reply}'");
    assert_eq!(reply.lines().count(), 1, "'{reply}'");
    Ok(())
}

/// A mebibyte without a line end gets the reply that it is too long, and then no ear for ever.
fn a_flood_before_auth_is_cut_off(node: &Node) -> io::Result<()> {
    let mut text = Text::stranger(node, ECHO)?;
    let mut other = Wire(text.wire.0.try_clone()?);
    let start = Instant::now();
    thread::scope(|scope| {
        let flood = scope.spawn(move || {
            let piece = [b'x'; 64 * 1024];
            while start.elapsed() < Duration::from_secs(30) {
                if other.send(&piece).is_err() {
                    return;
                }
            }
        });
        let reply = String::from_utf8_lossy(&text.line()?).into_owned();
        assert!(reply.starts_with("ERR EMSGSIZE "), "'{reply}'");
        flood.join().expect("the flood does not panic");
        let time = start.elapsed();
        assert!(time < Duration::from_secs(5), "listened to for {time:?}");
        Ok(())
    })
}

/// When strangers are cut off: after 5 s, and at most two looks of the reaper's later.
const CUT_OFF: RangeInclusive<f32> = 4.5..=8.0;

/// A kind of stranger: what it says at first, and what it repeats every half second.
type Stranger = (&'static str, Vec<u8>, &'static [u8]);

fn who_does_not_prove_the_key_is_cut_off_after_five_seconds(node: &Node) -> io::Result<()> {
    let kinds: [Stranger; 5] = [
        ("says nothing", vec![], b""),
        ("says half a line", b"auth 0".to_vec(), b""),
        ("sends blank lines", vec![], b"\n"),
        ("says the first byte of a frame", vec![0xf6], b""),
        (
            "says Hello and no more",
            frame(FrameKind::Hello, hello_bytes(&hello(node, MEMPOOL, 1))),
            b"",
        ),
    ];
    thread::scope(|scope| {
        let kinds = kinds.map(|kind| {
            let (name, first, again) = kind;
            (
                name,
                scope.spawn(move || time_of_stranger(node, &first, again)),
            )
        });
        let mut times = Vec::new();
        for (name, thread) in kinds {
            let time = thread.join().expect("a stranger does not panic")?;
            times.push((name, time.as_secs_f32()));
        }
        let in_time = times.iter().all(|(_, seconds)| CUT_OFF.contains(seconds));
        assert!(in_time, "seconds until who … is cut off: {times:?}");
        Ok(())
    })
}

/// How long the node listens to a stranger.
fn time_of_stranger(node: &Node, first: &[u8], again: &[u8]) -> io::Result<Duration> {
    let start = Instant::now();
    let mut wire = Wire(node.connect(MEMPOOL)?);
    wire.send(first)?;
    wire.0.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut waste = [0; 1024];
    while start.elapsed() < Duration::from_secs(20) {
        match wire.0.read(&mut waste) {
            Ok(0) => return Ok(start.elapsed()),
            Err(e) if is_reset(&e) => return Ok(start.elapsed()),
            Err(e) if is_timeout(&e) => match wire.send(again) {
                Err(e) if !is_reset(&e) => return Err(e),
                _ => (),
            },
            Err(e) => return Err(e),
            Ok(_) => (),
        }
    }
    Ok(start.elapsed())
}
