// SPDX-License-Identifier: GPL-2.0

//! What nodes ask of a pool, at and beyond the bounds of its objects.

use super::{Suite, suite};
use crate::{
    memory::{OTHER, TEXT, check_key, used},
    node::{MEMPOOL, Node},
    peer::{Answer, Peer},
    text::Text,
};
use std::io;
use virgo_proto::{
    errno::Errno,
    mempool::{LookupReply, MAP, MAX_DATA, PIECE, SHARED, op},
    vuid::{MAX_SLOTS, Vuid},
};
use zerocopy::FromBytes as _;

pub(super) const SUITE: Suite = suite![
    sixty_four_kibibytes_in_one_request,
    more_than_the_limit_in_one_request_is_refused,
    reading_at_and_beyond_the_end,
    writing_at_and_beyond_the_end,
    a_terminator_goes_where_there_is_room,
    sizes_and_flags_that_are_none_are_refused,
    objects_begin_as_zeros,
    every_forged_bit_is_noticed,
    well_made_ids_of_nothing_are_refused,
    freed_objects_are_stale,
    other_users_are_refused,
    the_map_of_a_split_allocation,
];

fn sixty_four_kibibytes_in_one_request(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(MAX_DATA as u64, PIECE)?;
    let data: Vec<u8> = (0..MAX_DATA).map(|i| (i * 7 + i / 256) as u8).collect();
    assert_eq!(peer.set(id, 0, &data)?, Ok(vec![]));
    let got = peer.get(id, 0, MAX_DATA as u32)?.expect("the data");
    assert!(got == data, "{} bytes came back, not the same", got.len());
    Ok(())
}

fn more_than_the_limit_in_one_request_is_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(MAX_DATA as u64 * 2, PIECE)?;
    for len in [MAX_DATA as u32 + 1, MAX_DATA as u32 * 2, 1 << 31, u32::MAX] {
        assert_eq!(
            peer.get(id, 0, len)?,
            Err(Errno::EMSGSIZE),
            "get {len} bytes"
        );
    }
    let data = vec![1; MAX_DATA + 1];
    assert_eq!(
        peer.set(id, 0, &data)?,
        Err(Errno::EMSGSIZE),
        "set {} bytes",
        data.len()
    );
    assert_eq!(
        peer.get(id, 0, 1)?,
        Ok(vec![0]),
        "what the refused Set has left"
    );
    Ok(())
}

fn reading_at_and_beyond_the_end(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    peer.set(id, 0, b"0123456789")?.expect("set");
    for (offset, len, expected) in [
        (0, 10, "0123456789"),
        (0, 11, "0123456789"),
        (0, MAX_DATA as u32, "0123456789"),
        (0, 0, ""),
        (9, 1, "9"),
        (9, 2, "9"),
        (10, 0, ""),
        (10, 1, ""),
        (11, 1, ""),
        (1 << 32, 1, ""),
        (1 << 63, 1, ""),
        (u64::MAX, 1, ""),
        (u64::MAX, MAX_DATA as u32, ""),
    ] {
        let got = peer.get(id, offset, len)?;
        assert_eq!(got, Ok(expected.into()), "{len} bytes from {offset}");
    }
    Ok(())
}

fn writing_at_and_beyond_the_end(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    for (offset, data, expected) in [
        (0, "0123456789", Ok(vec![])),
        (9, "9", Ok(vec![])),
        (10, "", Ok(vec![])),
        (0, "0123456789a", Err(Errno::EFBIG)),
        (9, "9a", Err(Errno::EFBIG)),
        (10, "a", Err(Errno::EFBIG)),
        (11, "", Err(Errno::EFBIG)),
        (1 << 32, "a", Err(Errno::EFBIG)),
        (u64::MAX, "a", Err(Errno::EFBIG)),
        (u64::MAX - 3, "abcd", Err(Errno::EFBIG)),
    ] {
        let answer = peer.set(id, offset, data.as_bytes())?;
        assert_eq!(answer, expected, "'{data}' at {offset}");
    }
    assert_eq!(peer.get(id, 0, 10)?, Ok(b"0123456789".to_vec()));
    Ok(())
}

fn a_terminator_goes_where_there_is_room(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(5, PIECE)?;
    for (offset, data, expected) in [
        (0, "xxxxx", "xxxxx"),
        (0, "ab", "ab\0xx"),
        (3, "cd", "ab\0cd"),
        (1, "", "a\0\0cd"),
        (5, "", "a\0\0cd"),
    ] {
        let length = data.len() as u32 + 1;
        let body = [&TEXT.get(id, offset, length), data.as_bytes()].concat();
        assert_eq!(
            peer.ask(op::SET, &body)?,
            Ok(vec![]),
            "'{data}' at {offset}"
        );
        assert_eq!(peer.get(id, 0, 5)?, Ok(expected.into()));
    }
    Ok(())
}

fn sizes_and_flags_that_are_none_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    for (size, flags, errno) in [
        (0, PIECE, Errno::EINVAL),
        (1, 4, Errno::EINVAL),
        (1, u32::MAX, Errno::EINVAL),
        (1 << 40, PIECE, Errno::ENOMEM),
        (1 << 63, PIECE, Errno::ENOMEM),
        (u64::MAX - 100, PIECE, Errno::ENOMEM),
        (u64::MAX, PIECE, Errno::ENOMEM),
    ] {
        let answer = peer.ask(op::ALLOC, &TEXT.alloc(size, flags))?;
        assert_eq!(answer, Err(errno), "size {size}, flags {flags:#x}");
    }
    assert_eq!(used(node)?, before, "bytes used");
    let id = peer.alloc(1, PIECE)?;
    for flags in [MAP, 2, u32::MAX] {
        let answer = peer.ask(op::FREE, &TEXT.free(id, flags))?;
        assert_eq!(answer, Err(Errno::EINVAL), "free with flags {flags:#x}");
    }
    Ok(())
}

fn objects_begin_as_zeros(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    for size in [8, 4096, 65536] {
        for _ in 0..5 {
            let id = peer.alloc(size, PIECE)?;
            let got = peer.get(id, 0, size as u32)?.expect("zeros");
            assert!(
                got == vec![0; size as usize],
                "a new object of {size} bytes"
            );
            peer.set(id, 0, &vec![0xaa; size as usize])?.expect("set");
            peer.free(id)?.expect("freed");
        }
    }
    Ok(())
}

/// The answers of all operations that take an id.
fn all_with(peer: &mut Peer, id: u64) -> io::Result<[Answer; 4]> {
    Ok([
        peer.get(id, 0, 1)?,
        peer.set(id, 0, b"x")?,
        peer.ask(op::LOOKUP, &TEXT.lookup(id, 0))?,
        peer.ask(op::FREE, &TEXT.free(id, 0))?,
    ])
}

fn every_forged_bit_is_noticed(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    for bit in 0..64 {
        for answer in all_with(&mut peer, id ^ (1 << bit))? {
            // One changed name in 65536 has the same check value.
            let lucky = bit >= 16 && answer == Err(Errno::ESTALE);
            assert!(
                lucky || answer == Err(Errno::EINVAL),
                "bit {bit}: {answer:?}"
            );
        }
    }
    assert_eq!(peer.get(id, 0, 1)?, Ok(vec![0]), "the real one");
    Ok(())
}

/// Ids as only a node can make them, of objects that are not.
fn well_made_ids_of_nothing_are_refused(node: &Node) -> io::Result<()> {
    let key = check_key(node);
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    let vuid = Vuid::open(id, &key).expect("made with this key");
    let generation = vuid.generation ^ 1;
    for (what, vuid, errno) in [
        ("generation", Vuid { generation, ..vuid }, Errno::ESTALE),
        (
            "slot",
            Vuid {
                slot: MAX_SLOTS - 1,
                ..vuid
            },
            Errno::ESTALE,
        ),
        (
            "node",
            Vuid {
                node: vuid.node ^ 0x40,
                ..vuid
            },
            Errno::EINVAL,
        ),
        ("no node", Vuid { node: 0, ..vuid }, Errno::EINVAL),
    ] {
        for answer in all_with(&mut peer, vuid.seal(&key))? {
            assert_eq!(answer, Err(errno), "another {what}");
        }
    }
    assert_eq!(peer.get(id, 0, 1)?, Ok(vec![0]), "the real one");
    Ok(())
}

fn freed_objects_are_stale(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    peer.free(id)?.expect("freed");
    // Its slot is used again.
    let next = peer.alloc(10, PIECE)?;
    for answer in all_with(&mut peer, id)? {
        assert_eq!(answer, Err(Errno::ESTALE));
    }
    assert_eq!(peer.get(next, 0, 1)?, Ok(vec![0]), "the next one");
    Ok(())
}

fn other_users_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    for (flags, expected) in [(PIECE, Err(Errno::EPERM)), (PIECE | SHARED, Ok(()))] {
        let id = peer.alloc(10, flags)?;
        for (op, body) in [
            (op::GET, OTHER.get(id, 0, 1)),
            (op::SET, OTHER.set(id, 0, b"x")),
            (op::FREE, OTHER.free(id, 0)),
        ] {
            let answer = peer.ask(op, &body)?.map(|_| ());
            assert_eq!(
                answer, expected,
                "operation {op} of another user, flags {flags}"
            );
        }
    }
    let id = peer.alloc(10, PIECE)?;
    let answer = peer.ask(op::LOOKUP, &OTHER.lookup(id, 0))?;
    assert_eq!(answer, Err(Errno::EPERM), "lookup of another user");
    Ok(())
}

fn the_map_of_a_split_allocation(node: &Node) -> io::Result<()> {
    let mut text = Text::open(node, MEMPOOL)?;
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let size = 1_000_000;
    let allocation = text.malloc(size)?;
    let id = allocation.number();

    assert_eq!(peer.get(id, 0, 1)?, Err(Errno::EXDEV), "get");
    assert_eq!(peer.set(id, 0, b"x")?, Err(Errno::EXDEV), "set");
    assert_eq!(peer.free(id)?, Err(Errno::EXDEV), "free");
    for flags in [2, u32::MAX] {
        let answer = peer.ask(op::FREE, &TEXT.free(id, flags))?;
        assert_eq!(answer, Err(Errno::EINVAL), "free with flags {flags:#x}");
    }
    let answer = peer.ask(op::FREE, &OTHER.free(id, MAP))?;
    assert_eq!(answer, Err(Errno::EPERM), "free of another user");

    let whole = peer.ask(op::LOOKUP, &TEXT.lookup(id, 0))?.expect("a map");
    let (reply, ids) = LookupReply::read_from_prefix(&whole).expect("size and chunk");
    let (chunk, count) = (reply.chunk.get(), ids.len() as u64 / 8);
    assert_eq!(reply.size, size, "bytes of the whole");
    assert_eq!(count, size.div_ceil(chunk), "pieces of {chunk} bytes");
    let answer = peer.ask(op::LOOKUP, &TEXT.lookup(id, count as u32 - 1))?;
    assert_eq!(
        answer.expect("a map")[16..],
        ids[ids.len() - 8..],
        "the last piece"
    );
    for first in [count as u32, count as u32 + 1, u32::MAX] {
        let answer = peer.ask(op::LOOKUP, &TEXT.lookup(id, first))?;
        assert_eq!(
            answer.map(|body| body.len()),
            Ok(16),
            "pieces from {first} on"
        );
    }
    let answer = peer.ask(op::LOOKUP, &OTHER.lookup(id, 0))?;
    assert_eq!(answer, Err(Errno::EPERM), "lookup of another user");

    text.free(allocation)?;
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}
