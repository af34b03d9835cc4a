// SPDX-License-Identifier: GPL-2.0

//! What nodes ask of a pool, at and beyond the bounds of its objects.

use super::{Suite, suite};
use crate::{
    memory::{OTHER, ROOT, TEXT, all_allocated, used},
    node::{MEMPOOL, Node},
    peer::{Answer, Peer},
    text::Text,
};
use std::io;
use virgo_proto::{
    errno::Errno,
    mempool::{
        EVERYBODY, ListReply, Listed, LookupReply, MAP, MAX_DATA, MAX_MANY, MAX_MANY_BYTES, PIECE,
        SHARED, most_at_once, op,
    },
    vuid::with_check,
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
    root_frees_what_belongs_to_others,
    many_objects_in_one_request,
    as_many_objects_as_fit,
    requests_for_many_that_are_none_are_refused,
    reading_many_is_all_or_nothing,
    writing_many_ends_at_the_first_that_fails,
    freeing_many_frees_what_can_be_freed,
    users_are_listed_their_own_and_root_everything,
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

/// Ids whose check value is right, of objects that are not: such as a former life of the node issued.
fn well_made_ids_of_nothing_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    for bit in 16..56 {
        for answer in all_with(&mut peer, with_check(id ^ (1 << bit)))? {
            assert_eq!(answer, Err(Errno::ESTALE), "bit {bit} is another");
        }
    }
    for other in [id ^ (0x40 << 56), id & (u64::MAX >> 8)] {
        for answer in all_with(&mut peer, with_check(other))? {
            assert_eq!(answer, Err(Errno::EINVAL), "another node");
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

fn root_frees_what_belongs_to_others(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let id = peer.alloc(10, PIECE)?;
    for (op, body) in [
        (op::GET, ROOT.get(id, 0, 1)),
        (op::SET, ROOT.set(id, 0, b"x")),
    ] {
        assert_eq!(peer.ask(op, &body)?, Err(Errno::EPERM), "operation {op}");
    }
    assert_eq!(peer.ask(op::FREE, &ROOT.free(id, 0))?, Ok(vec![]));
    assert_eq!(peer.get(id, 0, 1)?, Err(Errno::ESTALE));
    Ok(())
}

fn many_objects_in_one_request(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let count = most_at_once(100) as u32;
    let (left, ids) = all_allocated(peer.ask(op::ALLOC_MANY, &TEXT.alloc_many(100, count, PIECE))?);
    assert_eq!(ids.len(), MAX_MANY);
    assert!(left.own <= left.free, "{left:?}");
    let (half, rest) = ids.split_at(128);
    for (n, &id) in half.iter().enumerate() {
        peer.set(id, 50, &[n as u8])?.expect("set");
    }
    let datas: Vec<_> = (128..=255u8).map(|n| [n]).collect();
    let set: Vec<_> = rest
        .iter()
        .zip(&datas)
        .map(|(&id, data)| (id, 50, &data[..]))
        .collect();
    let answer = peer.ask(op::SET_MANY, &TEXT.set_many(&set))?;
    assert_eq!(answer, Ok(vec![]));
    let parts: Vec<_> = ids.iter().map(|&id| (id, 50, 2)).collect();
    let got = peer
        .ask(op::GET_MANY, &TEXT.get_many(&parts))?
        .expect("the bytes");
    let expected: Vec<u8> = (0..=255).flat_map(|n| [n, 0]).collect();
    assert!(got == expected, "{} other bytes", got.len());
    let freed = peer.ask(op::FREE_MANY, &TEXT.free_many(&ids))?;
    assert_eq!(freed, Ok(vec![]));
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

/// A user's share ends in the middle of a request.
fn as_many_objects_as_fit(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    let size = MAX_MANY_BYTES / 2;
    let mut all = Vec::new();
    let end = loop {
        match peer.ask(op::ALLOC_MANY, &TEXT.alloc_many(size, 2, PIECE))? {
            Ok(body) => {
                let (left, ids) = all_allocated(Ok(body));
                assert!(ids.len() == 2 || left.own < size, "{ids:?} {left:?}");
                all.extend(ids);
            }
            Err(errno) => break errno,
        }
    };
    assert_eq!(end, Errno::EDQUOT);
    assert!(!all.is_empty());
    for ids in all.chunks(MAX_MANY) {
        peer.ask(op::FREE_MANY, &TEXT.free_many(ids))?
            .expect("freed");
    }
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

fn requests_for_many_that_are_none_are_refused(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let before = used(node)?;
    for (size, count, flags) in [
        (0, 1, 0),
        (1, 0, 0),
        (1, MAX_MANY as u32 + 1, 0),
        (1, u32::MAX, 0),
        (MAX_MANY_BYTES, 2, 0),
        (u64::MAX, 2, 0),
        (1, 1, 4),
    ] {
        let answer = peer.ask(op::ALLOC_MANY, &TEXT.alloc_many(size, count, flags))?;
        assert_eq!(
            answer,
            Err(Errno::EINVAL),
            "{count} of {size}, flags {flags}"
        );
    }
    let id = peer.alloc(10, PIECE)?;
    let ids = vec![id; MAX_MANY + 1];
    let parts = vec![(id, 0, 1); MAX_MANY + 1];
    let mut bodies = vec![
        (op::FREE_MANY, TEXT.free_many(&[])),
        (op::FREE_MANY, TEXT.free_many(&ids)),
        (op::GET_MANY, TEXT.get_many(&[])),
        (op::GET_MANY, TEXT.get_many(&parts)),
        (op::SET_MANY, TEXT.set_many(&[])),
        (
            op::SET_MANY,
            TEXT.set_many(&vec![(id, 0, &b"x"[..]); MAX_MANY + 1]),
        ),
    ];
    for (op, whole) in [
        (op::ALLOC_MANY, TEXT.alloc_many(1, 1, PIECE)),
        (op::FREE_MANY, TEXT.free_many(&[id])),
        (op::GET_MANY, TEXT.get_many(&[(id, 0, 1)])),
        (op::SET_MANY, TEXT.set_many(&[(id, 0, b"x")])),
    ] {
        bodies.extend((0..whole.len()).map(|len| (op, whole[..len].to_vec())));
        bodies.push((op, [&whole[..], b"x"].concat()));
    }
    for (op, body) in bodies {
        let answer = peer.ask(op, &body)?;
        assert_eq!(
            answer,
            Err(Errno::EINVAL),
            "operation {op}, {} bytes",
            body.len()
        );
    }
    for len in [MAX_DATA as u32, u32::MAX] {
        let answer = peer.ask(op::GET_MANY, &TEXT.get_many(&[(id, 0, 1), (id, 0, len)]))?;
        assert_eq!(answer, Err(Errno::EMSGSIZE), "{len} bytes");
    }
    assert_eq!(peer.get(id, 0, 1)?, Ok(vec![0]), "the object");
    peer.free(id)?.expect("freed");
    assert_eq!(used(node)?, before, "bytes used");
    Ok(())
}

fn reading_many_is_all_or_nothing(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let good = peer.alloc(10, PIECE)?;
    let gone = peer.alloc(10, PIECE)?;
    peer.free(gone)?.expect("freed");
    let foreign = all_allocated(peer.ask(op::ALLOC_MANY, &OTHER.alloc_many(10, 1, PIECE))?).1[0];
    for (bad, errno) in [
        ((gone, 0, 1), Errno::ESTALE),
        ((foreign, 0, 1), Errno::EPERM),
        ((good, 0, 11), Errno::EFBIG),
        ((good, u64::MAX, 1), Errno::EFBIG),
        ((good ^ 1, 0, 1), Errno::EINVAL),
    ] {
        for parts in [[bad, (good, 0, 1)], [(good, 0, 1), bad]] {
            let answer = peer.ask(op::GET_MANY, &TEXT.get_many(&parts))?;
            assert_eq!(answer, Err(errno), "{parts:x?}");
        }
    }
    Ok(())
}

fn writing_many_ends_at_the_first_that_fails(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let good = peer.alloc(10, PIECE)?;
    let gone = peer.alloc(10, PIECE)?;
    peer.free(gone)?.expect("freed");
    let foreign = all_allocated(peer.ask(op::ALLOC_MANY, &OTHER.alloc_many(10, 1, PIECE))?).1[0];
    for (bad, errno) in [
        ((gone, 0, &b"x"[..]), Errno::ESTALE),
        ((foreign, 0, b"x"), Errno::EPERM),
        ((good, 0, b"eleven bytes"), Errno::EFBIG),
        ((good, u64::MAX, b"x"), Errno::EFBIG),
        ((good ^ 1, 0, b"x"), Errno::EINVAL),
    ] {
        let parts = [(good, 1, &b"y"[..]), bad, (good, 2, b"z")];
        let answer = peer.ask(op::SET_MANY, &TEXT.set_many(&parts))?;
        assert_eq!(answer, Err(errno), "{parts:x?}");
        assert_eq!(peer.get(good, 0, 3)?, Ok(b"\0y\0".to_vec()));
    }
    let long = vec![b'x'; MAX_DATA];
    let parts = [(good, 0, &b"x"[..]), (good, 0, &long)];
    let answer = peer.ask(op::SET_MANY, &TEXT.set_many(&parts))?;
    assert_eq!(
        answer,
        Err(Errno::EINVAL),
        "more bytes than a request may have"
    );
    peer.free(good)?.expect("freed");
    Ok(())
}

fn freeing_many_frees_what_can_be_freed(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let foreign = all_allocated(peer.ask(op::ALLOC_MANY, &OTHER.alloc_many(10, 1, PIECE))?).1[0];
    let (_, ids) = all_allocated(peer.ask(op::ALLOC_MANY, &TEXT.alloc_many(10, 2, PIECE))?);
    let asked = [ids[0], foreign, ids[0] ^ 1, ids[1]];
    let answer = peer.ask(op::FREE_MANY, &TEXT.free_many(&asked))?;
    assert_eq!(answer, Err(Errno::EPERM), "the first error");
    for id in ids {
        assert_eq!(peer.get(id, 0, 1)?, Err(Errno::ESTALE));
    }
    let answer = peer.ask(op::GET, &OTHER.get(foreign, 0, 1))?;
    assert_eq!(answer, Ok(vec![0]), "another user's");
    // What is gone is no error.
    let answer = peer.ask(op::FREE_MANY, &ROOT.free_many(&[foreign, foreign]))?;
    assert_eq!(answer, Ok(vec![]));
    Ok(())
}

fn users_are_listed_their_own_and_root_everything(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open(node)?;
    let own = peer.alloc(10, PIECE | SHARED)?;
    let foreign = all_allocated(peer.ask(op::ALLOC_MANY, &OTHER.alloc_many(20, 3, PIECE))?).1;
    let mut listed = |body: Vec<u8>| -> io::Result<Vec<Listed>> {
        let body = peer.ask(op::LIST, &body)?.expect("a list");
        let (_, objects) = ListReply::read_from_prefix(&body).expect("where to go on");
        let objects = <[Listed]>::ref_from_bytes(objects).expect("whole objects");
        Ok(objects.to_vec())
    };
    let of_text = listed(TEXT.list(EVERYBODY, 0))?;
    assert!(
        of_text.iter().all(|object| object.uid == 65534),
        "{of_text:?}"
    );
    let found: Vec<_> = of_text.iter().filter(|object| object.id == own).collect();
    assert_eq!(
        (found.len(), found[0].size.get(), found[0].flags.get()),
        (1, 10, PIECE | SHARED)
    );
    let of_other = listed(ROOT.list(1000, 0))?;
    for id in &foreign {
        assert!(
            of_other.iter().any(|object| object.id == *id),
            "{of_other:?}"
        );
    }
    let of_all = listed(ROOT.list(EVERYBODY, 0))?;
    assert!(of_all.len() >= of_text.len() + of_other.len());
    assert_eq!(listed(ROOT.list(EVERYBODY, u32::MAX))?.len(), 0);
    assert_eq!(peer.ask(op::LIST, &TEXT.list(1000, 0))?, Err(Errno::EPERM));
    let whole = ROOT.list(EVERYBODY, 0);
    for body in [&whole[1..], &[&whole[..], b"x"].concat()] {
        assert_eq!(peer.ask(op::LIST, body)?, Err(Errno::EINVAL));
    }
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
