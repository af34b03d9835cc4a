// SPDX-License-Identifier: GPL-2.0

//! Good sessions with random faults: whatever is sent, the next good client is served.

use super::{Suite, suite};
use crate::{
    memory::TEXT,
    node::{ECHO, MEMPOOL, Node},
    peer::{Number, Peer, frame, hello, proof, request},
    text::Text,
    wire::Wire,
};
use fastrand::Rng;
use std::{
    env,
    io::{self, Read as _},
    time::{Duration, Instant},
};
use virgo_proto::{
    frame::{FrameHeader, FrameKind, HEADER_LEN, MAX_BODY},
    handshake::{Side, hello_bytes},
    mempool::{AllocReply, PIECE, SHARED, op},
};
use zerocopy::FromBytes as _;

pub(super) const SUITE: Suite = suite![random_mutations_do_no_harm,];

fn random_mutations_do_no_harm(node: &Node) -> io::Result<()> {
    let seconds = number_from_env("VIRGO_FUZZ_SECONDS").unwrap_or(5);
    let seed = number_from_env("VIRGO_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut rng = Rng::with_seed(seed);
    let start = Instant::now();
    let mut sessions = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        session(node, &mut rng)
            .and_then(|()| match sessions % 50 {
                0 => good_client(node),
                _ => Ok(()),
            })
            .map_err(|e| {
                let text = format!("session {sessions} with VIRGO_FUZZ_SEED={seed}: {e}");
                io::Error::new(e.kind(), text)
            })?;
        sessions += 1;
        if sessions % 50 == 0 && is_half_full(node)? {
            println!("# enough: half of the pool is full of what nobody can free");
            break;
        }
    }
    println!("# {sessions} sessions with VIRGO_FUZZ_SEED={seed}");
    good_client(node)
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// Does a little of everything that good clients do.
fn good_client(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(100, PIECE)?;
    peer.set(id, 0, b"good")?.expect("set");
    let mut text = Text::open(node, MEMPOOL)?;
    assert_eq!(text.ask(format!("virgo_cloud_get({id:x})"))?, "good");
    peer.free(id)?.expect("freed");
    assert_eq!(Text::open(node, ECHO)?.ask("echo(good)")?, "good");
    Ok(())
}

/// One session with faults.
fn session(node: &Node, rng: &mut Rng) -> io::Result<()> {
    let port = if rng.bool() { MEMPOOL } else { ECHO };
    match rng.u8(..5) {
        0 => {
            let replies = exchange(node.connect(port)?, rng, commands(node))?;
            free(node, ids_in_text(&replies))?;
        }
        1 => {
            let mut hello = frame(
                FrameKind::Hello,
                hello_bytes(&hello(node, port, rng.u64(..))),
            );
            hello.extend_from_slice(&frame(FrameKind::Proof, &[0; 32]));
            exchange(node.connect(port)?, rng, hello)?;
        }
        2 => {
            let mut wire = Wire(node.connect(port)?);
            let hello = hello(node, port, rng.u64(..));
            let challenge = wire.challenge(&hello)?;
            let mut rest = frame(
                FrameKind::Proof,
                &proof(node, Side::Client, &hello, &challenge),
            );
            rest.extend_from_slice(&requests(1));
            let replies = exchange(wire.0, rng, rest)?;
            free(node, ids_in_frames(&replies))?;
        }
        _ => {
            let mut peer = Peer::open_in_life(node, rng.u64(..))?;
            let id = peer.alloc(100, PIECE)?;
            let replies = exchange(peer.wire.0, rng, requests(id))?;
            free(node, ids_in_frames(&replies))?;
        }
    }
    Ok(())
}

/// A good text session.
fn commands(node: &Node) -> Vec<u8> {
    let rest = "virgo_cloud_malloc(100)\nvirgo_malloc(70000)\r\nvirgo_cloud_set(\"00\",a,b)c)\n\
        virgo_cloud_get(0123456789abcdef)\nstats\njson on\nvirgo_cloud_malloc(5)\nhelp\nnonsense\n\
        echo(a b c)\njson off\nvirgo_cloud_free(0)\nquit\n";
    [b"auth ", &node.text_key[..], b"\n", rest.as_bytes()].concat()
}

/// A good session's requests.
fn requests(id: u64) -> Vec<u8> {
    let bodies = [
        (op::SET, TEXT.set(id, 0, b"data of a good client")),
        (op::GET, TEXT.get(id, 0, 100)),
        (op::ALLOC, TEXT.alloc(64, PIECE)),
        (op::LOOKUP, TEXT.lookup(id, 0)),
        (op::ALLOC, TEXT.alloc(5000, PIECE | SHARED)),
        (op::FREE, TEXT.free(id, 0)),
    ];
    let mut number = Number {
        seq: 10,
        ..Number::FIRST
    };
    let requests = bodies.iter().flat_map(|(op, body)| {
        number = number.next();
        request(number, *op, body)
    });
    requests.collect()
}

/// Sends `bytes` with some faults in pieces of any size, and returns what comes back.
fn exchange(stream: std::net::TcpStream, rng: &mut Rng, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    for _ in 0..rng.u8(0..6) {
        mutate(rng, &mut bytes);
    }
    let mut wire = Wire(stream);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let len = match rng.bool() {
            true => rest.len(),
            false => rng.usize(1..=rest.len()),
        };
        let (piece, behind) = rest.split_at(len);
        // The node may have heard enough.
        if wire.send(piece).is_err() {
            break;
        }
        rest = behind;
    }
    let _ = wire.finish();
    let mut replies = Vec::new();
    match wire.0.read_to_end(&mut replies) {
        Err(e) if !crate::wire::is_reset(&e) => Err(e),
        _ => Ok(replies),
    }
}

/// Puts one fault into `bytes`.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.usize(..bytes.len());
    let end = rng.usize(at..=bytes.len().min(at + 64));
    match rng.u8(..8) {
        0 => bytes[at] ^= 1 << rng.u8(..8),
        1 => bytes[at] = rng.u8(..),
        2 => bytes[at] = *rng.choice(b"\0\n\r (),\"\xf6\xff").unwrap_or(&0),
        3 => drop(bytes.drain(at..end)),
        4 => bytes.truncate(at),
        5 => {
            let copy = bytes[at..end].to_vec();
            let to = rng.usize(..=bytes.len());
            bytes.splice(to..to, copy);
        }
        6 => {
            let noise: Vec<u8> = (at..end).map(|_| rng.u8(..)).collect();
            bytes.splice(at..at, noise);
        }
        _ => {
            let limits = [
                0,
                1,
                0x7fff_ffff,
                0x8000_0000,
                u32::MAX,
                65536,
                65792,
                65793,
            ];
            let value = rng.choice(limits).unwrap_or(0).to_le_bytes();
            let len = value.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&value[..len]);
        }
    }
}

/// Frees allocations at once: a fault can turn 70000 bytes into 7 million, of which a few fill the
/// pool. Those that a fault made another user's, or whose answer was lost, stay.
fn free(node: &Node, ids: Vec<String>) -> io::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut text = Text::open(node, MEMPOOL)?;
    for id in ids {
        // Some are no ids, or freed, or pieces, which go with the life of their node.
        text.ask(format!("virgo_cloud_free({id})"))?;
    }
    Ok(())
}

fn is_half_full(node: &Node) -> io::Result<bool> {
    let stats = Text::open(node, MEMPOOL)?.stats()?;
    Ok(stats["used"] > stats["limit"] / 2)
}

/// What looks like an id in text.
fn ids_in_text(replies: &[u8]) -> Vec<String> {
    let words = replies.split(|byte| !byte.is_ascii_hexdigit());
    let ids = words.filter(|word| word.len() == 16);
    ids.map(|id| String::from_utf8_lossy(id).into_owned())
        .collect()
}

/// The ids in answers to requests to allocate.
fn ids_in_frames(mut replies: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(Ok(header)) = FrameHeader::parse(replies, MAX_BODY) {
        let end = HEADER_LEN + header.len as usize;
        let Some(body) = replies.get(HEADER_LEN..end) else {
            break;
        };
        if header.op == op::ALLOC {
            if let Ok(reply) = AllocReply::read_from_bytes(body) {
                ids.push(format!("{:016x}", reply.id.get()));
            }
        }
        replies = &replies[end..];
    }
    ids
}
