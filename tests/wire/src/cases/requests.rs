// SPDX-License-Identifier: GPL-2.0

//! Frames of a known node: those that are none, those that nobody understands, and many at once.

use super::{Suite, suite};
use crate::{
    memory::{TEXT, used},
    node::{MEMPOOL, Node},
    peer::{Number, Peer, frame, request},
};
use std::{io, iter};
use virgo_proto::{
    errno::Errno,
    frame::{FrameKind, MAX_BODY, VERSION},
    handshake::HELLO_LEN,
    mempool::{PIECE, op},
};

pub(super) const SUITE: Suite = suite![
    bad_headers_end_the_session,
    frames_that_are_no_requests_end_the_session,
    requests_before_a_bad_frame_are_answered,
    unknown_operations_are_refused,
    bodies_of_wrong_length_are_refused,
    random_bodies_are_refused,
    the_longest_body_is_read_and_the_session_goes_on,
    every_slot_that_an_id_can_name_is_there,
    the_number_zero_is_refused,
    pipelined_requests_are_all_answered,
    requests_in_one_byte_segments,
    half_close_gets_all_answers,
];

/// All operations of the pool, with the length of the arguments that each takes.
const OPERATIONS: [(u16, usize); 5] = [
    (op::ALLOC, 16),
    (op::SET, 24),
    (op::GET, 24),
    (op::FREE, 16),
    (op::LOOKUP, 16),
];

fn bad_headers_end_the_session(node: &Node) -> io::Result<()> {
    let too_long = MAX_BODY as u32 + 1;
    let spoils: [(usize, &[u8], Errno); 9] = [
        (0, b"e", Errno::EPROTO),
        (1, b"v", Errno::EPROTO),
        (3, b"\0", Errno::EPROTO),
        (4, &[VERSION + 1], Errno::EPROTONOSUPPORT),
        (5, &[7], Errno::EPROTO),
        (5, &[255], Errno::EPROTO),
        (8, &too_long.to_le_bytes(), Errno::EMSGSIZE),
        (8, &(1u32 << 31).to_le_bytes(), Errno::EMSGSIZE),
        (8, &u32::MAX.to_le_bytes(), Errno::EMSGSIZE),
    ];
    let before = used(node)?;
    for (at, bytes, errno) in spoils {
        let mut peer = Peer::open(node)?;
        let mut bad = request(Number::FIRST, op::ALLOC, &TEXT.alloc(1, 0));
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        peer.wire.send(&bad)?;
        assert_eq!(peer.wire.refusal()?, errno, "{bytes:?} at {at}");
    }
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

fn frames_that_are_no_requests_end_the_session(node: &Node) -> io::Result<()> {
    for kind in [
        FrameKind::Hello,
        FrameKind::Challenge,
        FrameKind::Proof,
        FrameKind::Ready,
        FrameKind::Refuse,
        FrameKind::Reply,
    ] {
        let mut peer = Peer::open(node)?;
        peer.wire.send(&frame(kind, &[0; HELLO_LEN]))?;
        assert_eq!(peer.wire.refusal()?, Errno::EPROTO, "{kind:?}");
    }
    Ok(())
}

fn requests_before_a_bad_frame_are_answered(node: &Node) -> io::Result<()> {
    // Of one life: those of another would be cut off by it.
    let life = fastrand::u64(..);
    let mut peer = Peer::open_in_life(node, life)?;
    let number = Number::FIRST;
    let alloc = request(number, op::ALLOC, &TEXT.alloc(1, PIECE));
    peer.wire.send(&[&alloc[..], &[0; 32], &alloc].concat())?;
    peer.answer(number, op::ALLOC)?.expect("allocated");
    assert_eq!(peer.wire.refusal()?, Errno::EPROTO);
    // What one connection does is not the next one's business.
    let mut next = Peer::open_in_life(node, life)?;
    next.wire
        .send(&request(number.next(), op::ALLOC, &TEXT.alloc(1, PIECE)))?;
    next.answer(number.next(), op::ALLOC)?.expect("allocated");
    Ok(())
}

fn unknown_operations_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    for op in [0, op::FENCED_FREE + 1, 256 + op::ALLOC, u16::MAX] {
        for body in [&[][..], &[0; 16]] {
            let answer = peer.ask(op, body)?;
            assert_eq!(answer, Err(Errno::EOPNOTSUPP), "operation {op}");
        }
    }
    Ok(())
}

fn bodies_of_wrong_length_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    for (op, right) in OPERATIONS {
        for len in (0..right + 40).filter(|&len| len != right) {
            let answer = peer.ask(op, &vec![1; len])?;
            assert_eq!(answer, Err(Errno::EINVAL), "operation {op}, {len} bytes");
        }
    }
    // A Set whose length says something else than the data.
    let id = peer.alloc(100, PIECE)?;
    for len in [0, 3, 6, 100, u32::MAX] {
        let body = [&TEXT.get(id, 0, len), &b"four"[..]].concat();
        let answer = peer.ask(op::SET, &body)?;
        assert_eq!(answer, Err(Errno::EINVAL), "4 bytes said to be {len}");
    }
    assert_eq!(
        peer.get(id, 0, 10)?,
        Ok(vec![0; 10]),
        "what a bad Set has left"
    );
    peer.free(id)?.expect("freed");
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

fn random_bodies_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    for (op, right) in OPERATIONS {
        for len in [right, right, right, right + 1, right + 1000] {
            let body: Vec<u8> = iter::repeat_with(|| fastrand::u8(..)).take(len).collect();
            let answer = peer.ask(op, &body)?;
            assert!(answer.is_err(), "operation {op} with {body:?}: {answer:?}");
        }
    }
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

fn the_longest_body_is_read_and_the_session_goes_on(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    for (op, _) in OPERATIONS {
        let answer = peer.ask(op, &vec![0; MAX_BODY])?;
        assert_eq!(answer, Err(Errno::EINVAL), "operation {op}");
    }
    let id = peer.alloc(1, PIECE)?;
    peer.free(id)?.expect("freed");
    Ok(())
}

fn every_slot_that_an_id_can_name_is_there(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    for slot in [31, 32, 33, 128, 255] {
        let number = Number {
            slot,
            ..Number::FIRST
        };
        let first = peer.ask_numbered(number, op::ALLOC, &TEXT.alloc(9, PIECE))?;
        assert!(first.is_ok(), "slot {slot}: {first:?}");
        let again = peer.ask_numbered(number, op::ALLOC, &TEXT.alloc(9, PIECE))?;
        assert_eq!(again, first, "slot {slot}");
    }
    Ok(())
}

fn the_number_zero_is_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    for slot in 0..32 {
        let number = Number {
            slot,
            seq: 0,
            taken: 0,
        };
        let answer = peer.ask_numbered(number, op::ALLOC, &TEXT.alloc(9, PIECE))?;
        assert_eq!(answer, Err(Errno::EALREADY), "slot {slot}");
    }
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

fn pipelined_requests_are_all_answered(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(32, PIECE)?;
    for count in [16, 32] {
        let numbers: Vec<_> = (0..count).map(|slot| peer.number(slot)).collect();
        let set = |number: &Number| {
            let data = [number.slot];
            request(*number, op::SET, &TEXT.set(id, number.slot.into(), &data))
        };
        let segment: Vec<u8> = numbers.iter().flat_map(set).collect();
        peer.wire.send(&segment)?;
        for number in numbers {
            assert_eq!(peer.answer(number, op::SET)?, Ok(vec![]));
        }
        let numbers: Vec<_> = (0..count).map(|slot| peer.number(slot)).collect();
        let get = |number: &Number| request(*number, op::GET, &TEXT.get(id, number.slot.into(), 1));
        let segment: Vec<u8> = numbers.iter().flat_map(get).collect();
        peer.wire.send(&segment)?;
        for number in numbers {
            assert_eq!(peer.answer(number, op::GET)?, Ok(vec![number.slot]));
        }
    }
    Ok(())
}

fn requests_in_one_byte_segments(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    let (first, second) = (peer.number(3), peer.number(4));
    let bytes = [
        request(first, op::SET, &TEXT.set(id, 0, b"0123456789")),
        request(second, op::GET, &TEXT.get(id, 0, 10)),
    ];
    peer.wire.send_in_single_bytes(&bytes.concat())?;
    assert_eq!(peer.answer(first, op::SET)?, Ok(vec![]));
    assert_eq!(peer.answer(second, op::GET)?, Ok(b"0123456789".to_vec()));
    Ok(())
}

fn half_close_gets_all_answers(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(65536, PIECE)?;
    let numbers: Vec<_> = (0..32).map(|slot| peer.number(slot)).collect();
    let get = |number: &Number| request(*number, op::GET, &TEXT.get(id, 0, 65536));
    let segment: Vec<u8> = numbers.iter().flat_map(get).collect();
    peer.wire.send(&segment)?;
    peer.wire.finish()?;
    for number in numbers {
        assert_eq!(
            peer.answer(number, op::GET)?.map(|body| body.len()),
            Ok(65536)
        );
    }
    assert_eq!(peer.wire.rest()?, b"");
    // The port is as good as before.
    crate::text::Text::open(node, MEMPOOL)?.stats()?;
    Ok(())
}
