// SPDX-License-Identifier: GPL-2.0

//! Whatever the network repeats, delays and loses: no request is done twice, and nothing stays
//! that nobody knows of.

use super::{Suite, suite};
use crate::{
    memory::{ROOT, TEXT, all_allocated, allocated, used},
    node::{Node, PATIENCE},
    peer::{Handshake, Number, Peer, request},
};
use std::io;
use virgo_proto::{
    errno::Errno,
    frame::{FrameKind, NO_OPERATION},
    mempool::{AllocReply, MAX_MANY, PIECE, op},
};
use zerocopy::FromBytes as _;

pub(super) const SUITE: Suite = suite![
    a_repeated_malloc_is_done_once,
    a_repeated_set_is_done_once,
    a_repeated_free_gets_the_same_answer,
    a_repeated_failure_stays_one,
    a_repeated_get_is_done_again,
    a_malloc_repeated_on_a_new_connection_is_done_once,
    two_connections_of_one_life_share_their_memory,
    what_comes_late_by_an_earlier_connection_is_not_done,
    old_numbers_are_refused,
    numbers_may_be_skipped,
    slots_count_for_themselves,
    an_operation_that_no_service_has_changes_nothing,
    a_malloc_given_up_is_undone,
    a_malloc_given_up_is_undone_across_connections,
    a_malloc_of_many_is_done_once_and_undone,
    a_malloc_that_was_taken_stays,
    a_failed_malloc_given_up_undoes_nothing,
    a_new_life_has_no_memory_of_numbers,
    a_new_life_frees_the_pieces_of_the_old_one,
    a_late_request_of_the_old_life_leaves_nothing,
    a_life_keeps_its_pieces_while_earlier_ones_end,
];

/// A size that stands out in the bytes used, and that the kernel does not round up.
const SIZE: u64 = 65_536;

/// Checks that `count` objects of [`SIZE`] have come since `before` bytes were used.
fn assert_objects(node: &Node, before: u64, count: u64) -> io::Result<()> {
    let used = used(node)?;
    // An object costs a little more than its bytes.
    let expected = before + count * SIZE..before + count * SIZE + SIZE / 2;
    assert!(
        expected.contains(&used),
        "{used} bytes used, {before} before, expected {count} objects of {SIZE} more"
    );
    Ok(())
}

/// A request for an object of [`SIZE`] bytes, a piece: it goes with our next life.
fn alloc() -> Vec<u8> {
    TEXT.alloc(SIZE, PIECE)
}

fn a_repeated_malloc_is_done_once(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let number = Number::FIRST;
    let bytes = request(number, op::ALLOC, &alloc());
    // In one segment, and once more.
    peer.wire.send(&[&bytes[..], &bytes, &bytes].concat())?;
    let first = peer.answer(number, op::ALLOC)?;
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(peer.answer(number, op::ALLOC)?, first);
    assert_eq!(peer.answer(number, op::ALLOC)?, first);
    assert_eq!(peer.ask_numbered(number, op::ALLOC, &alloc())?, first);
    assert_objects(node, before, 1)
}

fn a_repeated_set_is_done_once(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    let (early, late) = (peer.number(1), peer.number(2));
    let body = TEXT.set(id, 0, b"early");
    assert_eq!(peer.ask_numbered(early, op::SET, &body)?, Ok(vec![]));
    peer.ask_numbered(late, op::SET, &TEXT.set(id, 0, b"late!"))?
        .expect("set");
    assert_eq!(peer.ask_numbered(early, op::SET, &body)?, Ok(vec![]));
    assert_eq!(peer.get(id, 0, 5)?, Ok(b"late!".to_vec()));
    Ok(())
}

fn a_repeated_free_gets_the_same_answer(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    let number = peer.number(0);
    for _ in 0..3 {
        let answer = peer.ask_numbered(number, op::FREE, &TEXT.free(id, 0))?;
        assert_eq!(answer, Ok(vec![]));
    }
    assert_eq!(
        peer.free(id)?,
        Err(Errno::ESTALE),
        "free under a new number"
    );
    Ok(())
}

fn a_repeated_failure_stays_one(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let number = peer.number(0);
    let answer = peer.ask_numbered(number, op::ALLOC, &TEXT.alloc(u64::MAX, PIECE))?;
    assert_eq!(answer, Err(Errno::ENOMEM));
    // Another request under the same number cannot be.
    let answer = peer.ask_numbered(number, op::ALLOC, &alloc())?;
    assert_eq!(answer, Err(Errno::ENOMEM));
    assert_objects(node, before, 0)
}

fn a_repeated_get_is_done_again(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    let number = peer.number(5);
    for data in ["one", "two"] {
        peer.set(id, 0, data.as_bytes())?.expect("set");
        let answer = peer.ask_numbered(number, op::GET, &TEXT.get(id, 0, 3))?;
        assert_eq!(answer, Ok(data.into()));
    }
    Ok(())
}

fn a_malloc_repeated_on_a_new_connection_is_done_once(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    let number = Number::FIRST;
    let mut peer = Peer::open_in_life(node, boot)?;
    let before = used(node)?;
    let first = peer.ask_numbered(number, op::ALLOC, &alloc())?;
    assert!(first.is_ok(), "{first:?}");
    drop(peer);
    for _ in 0..3 {
        let mut peer = Peer::open_in_life(node, boot)?;
        assert_eq!(peer.ask_numbered(number, op::ALLOC, &alloc())?, first);
    }
    // The first answer may also have been lost on its way.
    let number = number.next();
    let mut peer = Peer::open_in_life(node, boot)?;
    peer.wire.send(&request(number, op::ALLOC, &alloc()))?;
    drop(peer);
    let mut peer = Peer::open_in_life(node, boot)?;
    allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?);
    assert_objects(node, before, 2)
}

fn two_connections_of_one_life_share_their_memory(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    let mut one = Peer::open_in_life(node, boot)?;
    let number = Number::FIRST;
    let first = one.ask_numbered(number, op::ALLOC, &alloc())?;
    assert!(first.is_ok(), "{first:?}");
    let mut two = Peer::open_in_life(node, boot)?;
    assert_eq!(two.ask_numbered(number, op::ALLOC, &alloc())?, first);
    let next = number.next();
    two.ask_numbered(next, op::ALLOC, &alloc())?
        .expect("allocated");
    let answer = two.ask_numbered(number, op::ALLOC, &alloc())?;
    assert_eq!(answer, Err(Errno::EALREADY), "an old number");
    Ok(())
}

/// The client may have given it up, and what it asked for since is done.
fn what_comes_late_by_an_earlier_connection_is_not_done(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    let mut earlier = Peer::open_in_life(node, boot)?;
    let id = earlier.alloc(10, PIECE)?;
    let given_up = earlier.number(7);
    let mut present = Peer::open_in_life(node, boot)?;
    let number = Number {
        slot: 8,
        ..Number::FIRST
    };
    present
        .ask_numbered(number, op::SET, &TEXT.set(id, 0, b"present"))?
        .expect("set");
    let set = TEXT.set(id, 0, b"earlier");
    earlier.wire.send(&request(given_up, op::SET, &set))?;
    earlier.wire.end_within(PATIENCE)?;
    let get = TEXT.get(id, 0, 7);
    let answer = present.ask_numbered(number.next(), op::GET, &get)?;
    assert_eq!(answer, Ok(b"present".to_vec()));
    Ok(())
}

fn old_numbers_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let late = Number {
        seq: 5,
        ..Number::FIRST
    };
    allocated(peer.ask_numbered(late, op::ALLOC, &alloc())?);
    for seq in [4, 3, 1] {
        let early = Number {
            seq,
            ..Number::FIRST
        };
        for (op, body) in [
            (op::ALLOC, alloc()),
            (op::GET, TEXT.get(1, 0, 1)),
            (99, vec![]),
        ] {
            let answer = peer.ask_numbered(early, op, &body)?;
            assert_eq!(answer, Err(Errno::EALREADY), "number {seq} after 5");
        }
    }
    assert_objects(node, before, 1)
}

fn numbers_may_be_skipped(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let last = (1 << 56) - 1;
    for seq in [7, 1 << 32, last - 1, last] {
        let number = Number {
            seq,
            ..Number::FIRST
        };
        let answer = peer.ask_numbered(number, op::GET, &TEXT.get(1, 0, 1))?;
        assert_eq!(answer, Err(Errno::EINVAL), "number {seq}");
    }
    Ok(())
}

fn slots_count_for_themselves(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let mut ids = Vec::new();
    for slot in (0..=u8::MAX).step_by(5) {
        let number = Number {
            slot,
            ..Number::FIRST
        };
        ids.push(allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "different objects");
    // The overheads of the objects add up.
    let (grown, count) = (used(node)? - before, count as u64);
    let expected = count * SIZE..(count + 1) * SIZE + count * SIZE / 100;
    assert!(expected.contains(&grown), "{grown} bytes");
    Ok(())
}

/// As a client does to find out whether the server is still there.
fn an_operation_that_no_service_has_changes_nothing(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let number = Number::FIRST;
    allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?);
    let next = number.next();
    for _ in 0..2 {
        let answer = peer.ask_numbered(next, NO_OPERATION, b"")?;
        assert_eq!(answer, Err(Errno::EOPNOTSUPP));
    }
    assert_objects(node, before, 1)
}

fn a_malloc_given_up_is_undone(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let number = Number::FIRST;
    let given_up = allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?);
    assert_objects(node, before, 1)?;
    // Any next request will do; it says that the first answer was not taken.
    let next = Number { seq: 2, ..number };
    let answer = peer.ask_numbered(next, op::GET, &TEXT.get(given_up, 0, 1))?;
    assert_eq!(answer, Err(Errno::ESTALE), "what was given up");
    assert_objects(node, before, 0)
}

fn a_malloc_given_up_is_undone_across_connections(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    let mut peer = Peer::open_in_life(node, boot)?;
    let before = used(node)?;
    let number = Number::FIRST;
    allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?);
    drop(peer);
    let mut peer = Peer::open_in_life(node, boot)?;
    let next = Number { seq: 2, ..number };
    allocated(peer.ask_numbered(next, op::ALLOC, &alloc())?);
    assert_objects(node, before, 1)?;
    // Undone once: the second one is taken, and stays.
    let third = next.next();
    peer.ask_numbered(third, op::GET, &TEXT.get(1, 0, 1))?
        .expect_err("get of no id");
    assert_objects(node, before, 1)
}

fn a_malloc_that_was_taken_stays(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let number = Number::FIRST;
    let taken = allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?);
    // A request given up after it is no reason to undo it.
    for (seq, said) in [(2, 1), (3, 1), (4, 3)] {
        let next = Number {
            seq,
            taken: said,
            ..number
        };
        let answer = peer.ask_numbered(next, op::GET, &TEXT.get(taken, 0, 1))?;
        assert_eq!(answer, Ok(vec![0]));
    }
    assert_objects(node, before, 1)
}

fn a_malloc_of_many_is_done_once_and_undone(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let number = Number::FIRST;
    let body = TEXT.alloc_many(SIZE, 3, PIECE);
    let first = peer.ask_numbered(number, op::ALLOC_MANY, &body)?;
    assert_eq!(peer.ask_numbered(number, op::ALLOC_MANY, &body)?, first);
    let (_, ids) = all_allocated(first);
    assert_objects(node, before, 3)?;
    // The next request in the slot does not say that the reply was taken.
    let next = Number {
        taken: number.taken,
        ..number.next()
    };
    let answer = peer.ask_numbered(next, op::GET, &TEXT.get(ids[2], 0, 1))?;
    assert_eq!(answer, Err(Errno::ESTALE), "what was given up");
    assert_objects(node, before, 0)
}

fn a_failed_malloc_given_up_undoes_nothing(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let id = peer.alloc(SIZE, PIECE)?;
    let number = peer.number(1);
    let answer = peer.ask_numbered(number, op::ALLOC, &TEXT.alloc(u64::MAX, PIECE))?;
    assert_eq!(answer, Err(Errno::ENOMEM));
    let next = Number { seq: 2, ..number };
    let answer = peer.ask_numbered(next, op::GET, &TEXT.get(id, 0, 1))?;
    assert_eq!(answer, Ok(vec![0]));
    assert_objects(node, before, 1)
}

fn a_new_life_has_no_memory_of_numbers(node: &Node) -> io::Result<()> {
    let number = Number {
        seq: 9,
        ..Number::FIRST
    };
    let mut peer = Peer::open(node)?;
    let old = allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?);
    let mut peer = Peer::open(node)?;
    for number in [Number::FIRST, number] {
        let new = allocated(peer.ask_numbered(number, op::ALLOC, &alloc())?);
        assert_ne!(old, new, "an id of the old life");
    }
    Ok(())
}

fn a_new_life_frees_the_pieces_of_the_old_one(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    let mut peer = Peer::open_in_life(node, boot)?;
    let before = used(node)?;
    let whole = peer.alloc(SIZE, 0)?;
    for _ in 0..10 {
        peer.alloc(SIZE, PIECE)?;
    }
    assert_objects(node, before, 11)?;
    // A new connection is no new life.
    let peer = Peer::open_in_life(node, boot)?;
    assert_objects(node, before, 11)?;
    drop(peer);
    let mut peer = Peer::open(node)?;
    assert_objects(node, before, 1)?;
    peer.free(whole)?.expect("what is no piece stays");
    assert_objects(node, before, 0)
}

/// The connection of the old life may still carry a request when the new life begins.
fn a_late_request_of_the_old_life_leaves_nothing(node: &Node) -> io::Result<()> {
    let mut old = Peer::open(node)?;
    let before = used(node)?;
    let new = Peer::open(node)?;
    // Refused in whatever way, or done: but not for ever.
    let _ = old.ask(op::ALLOC, &alloc());
    drop(old);
    assert_objects(node, before, 0)?;
    drop(new);
    Ok(())
}

/// A life may end before all is freed that belonged to the one before it: the next one keeps what it has
/// made meanwhile.
fn a_life_keeps_its_pieces_while_earlier_ones_end(node: &Node) -> io::Result<()> {
    for _ in 0..5 {
        let mut first = Peer::open(node)?;
        let answer = first.ask(op::ALLOC, &ROOT.alloc(1, PIECE))?;
        let reply = AllocReply::read_from_bytes(&answer.expect("room")).expect("what is left");
        // To clear it takes a while.
        let large = (reply.free.get() / 4 * 3).min(40 << 20);
        allocated(first.ask(op::ALLOC, &ROOT.alloc(large, PIECE))?);
        let mut second = Handshake::begin(node)?;
        let mut third = Handshake::begin(node)?;
        second.prove(node)?;
        third.prove(node)?;
        let mut third = third.end(node)?;
        let mut ids = Vec::new();
        for _ in 0..8 {
            let body = ROOT.alloc_many(8, MAX_MANY as u32, PIECE);
            ids.push(all_allocated(third.ask(op::ALLOC_MANY, &body)?).1);
        }
        // It is told when the first life's end is dealt with, or that another life has begun.
        if let Ok((header, _)) = second.wire.frame() {
            assert_eq!(header.kind, FrameKind::Ready, "{header:?}");
        }
        for ids in ids {
            let parts: Vec<_> = ids.iter().map(|&id| (id, 0, 1)).collect();
            let read = third.ask(op::GET_MANY, &ROOT.get_many(&parts))?;
            assert_eq!(read.map(|bytes| bytes.len()), Ok(ids.len()));
        }
    }
    Ok(())
}
