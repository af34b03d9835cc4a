// SPDX-License-Identifier: GPL-2.0

//! Requests as datagrams: what good clients get, and that nothing else gets an answer.

use super::{Suite, suite};
use crate::{
    datagrams::{Datagrams, signed},
    memory::{OTHER, TEXT},
    node::{MEMPOOL, Node},
    peer::{Number, Peer},
};
use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};
use virgo_proto::{
    datagram::{DatagramHeader, DatagramKind, HEADER_LEN, MAX_BODY, MAX_LEN},
    errno::Errno,
    frame::NO_OPERATION,
    mempool::{PIECE, op},
};
use virgo_test_support::rounds::Rounds;

pub(super) const SUITE: Suite = suite![
    gets_and_sets_are_answered,
    errors_are_those_of_the_connection,
    an_operation_that_no_service_has_is_answered,
    probes_are_echoed,
    what_may_take_long_is_declined_and_not_done,
    what_does_not_fit_is_declined,
    what_tells_of_a_request_given_up_is_declined,
    a_request_that_goes_both_ways_is_done_once,
    a_repeated_datagram_gets_one_answer,
    a_repeated_request_is_done_once,
    old_numbers_are_refused,
    datagrams_come_in_any_order,
    old_datagrams_are_dropped,
    datagrams_of_every_length_are_dropped,
    truncated_datagrams_are_dropped,
    every_changed_bit_is_noticed,
    keys_are_good_for_one_direction,
    answers_sent_back_are_dropped,
    keys_of_a_former_connection_are_void,
    keys_of_an_ended_connection_are_void,
    keys_of_another_service_are_void,
    other_addresses_are_dropped,
    unknown_nodes_and_sessions_are_dropped,
    a_node_that_takes_none_gets_none,
    forged_ones_keep_nobody_from_being_served,
];

fn open(node: &Node) -> io::Result<(Peer, Datagrams)> {
    Peer::open_with_datagrams(node, MEMPOOL, fastrand::u64(..))
}

/// An object of `size` bytes, and a slot that no other request uses.
fn object(node: &Node, size: u64) -> io::Result<(Peer, Datagrams, u64, Number)> {
    let (mut peer, datagrams) = open(node)?;
    let id = peer.alloc(size, PIECE)?;
    let number = peer.number(7);
    Ok((peer, datagrams, id, number))
}

/// Checks that the node answers none of what was sent: the next thing that comes is the answer to a probe.
fn assert_unanswered(datagrams: &Datagrams) -> io::Result<()> {
    let mark = fastrand::u32(..);
    let probe = DatagramHeader {
        word: mark,
        ..datagrams.header(DatagramKind::Probe)
    };
    datagrams.send(&signed(&datagrams.keys.to_server, &probe, b""))?;
    let (header, _) = datagrams.receive()?;
    assert_eq!(
        (header.kind, header.word),
        (DatagramKind::Echo, mark),
        "{header:?}"
    );
    Ok(())
}

fn gets_and_sets_are_answered(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, first) = object(node, 1000)?;
    let set = TEXT.set(id, 3, b"datagram");
    assert_eq!(datagrams.ask(first, op::SET, &set)?, Some(Ok(vec![])));
    let second = first.next();
    let get = TEXT.get(id, 3, 8);
    let got = datagrams.ask(second, op::GET, &get)?;
    assert_eq!(got, Some(Ok(b"datagram".to_vec())));
    assert_eq!(peer.get(id, 3, 8)?, Ok(b"datagram".to_vec()));
    // At the end there are fewer bytes.
    let got = datagrams.ask(second.next(), op::GET, &TEXT.get(id, 995, 100))?;
    assert_eq!(got, Some(Ok(vec![0; 5])));
    Ok(())
}

fn errors_are_those_of_the_connection(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, number) = object(node, 10)?;
    let freed = peer.alloc(10, PIECE)?;
    assert_eq!(peer.ask(op::FREE, &TEXT.free(freed, 0))?, Ok(vec![]));
    let long = [&TEXT.get(id, 0, 7)[..], b"abc"].concat();
    let requests = [
        (op::GET, OTHER.get(id, 0, 1), Errno::EPERM),
        (op::SET, OTHER.set(id, 0, b"x"), Errno::EPERM),
        (op::GET, TEXT.get(freed, 0, 1), Errno::ESTALE),
        (op::GET, TEXT.get(id ^ 1, 0, 1), Errno::EINVAL),
        (op::GET, TEXT.get(id, 0, u32::MAX), Errno::EMSGSIZE),
        (op::GET, b"short".to_vec(), Errno::EINVAL),
        (op::SET, b"".to_vec(), Errno::EINVAL),
        (op::SET, long, Errno::EINVAL),
        (op::SET, TEXT.set(id, 8, b"too long"), Errno::EFBIG),
        (op::SET, TEXT.set(id, u64::MAX, b"x"), Errno::EFBIG),
    ];
    let mut number = number;
    for (op, body, expected) in requests {
        let by_datagram = datagrams.ask(number, op, &body)?;
        assert_eq!(by_datagram, Some(Err(expected)), "{op} {body:?}");
        assert_eq!(peer.ask(op, &body)?, Err(expected), "{op} {body:?}");
        number = number.next();
    }
    Ok(())
}

fn an_operation_that_no_service_has_is_answered(node: &Node) -> io::Result<()> {
    let (_peer, datagrams) = open(node)?;
    let answer = datagrams.ask(Number::FIRST, NO_OPERATION, b"")?;
    assert_eq!(answer, Some(Err(Errno::EOPNOTSUPP)));
    Ok(())
}

fn probes_are_echoed(node: &Node) -> io::Result<()> {
    let (_peer, datagrams) = open(node)?;
    for _ in 0..10 {
        assert_unanswered(&datagrams)?;
    }
    Ok(())
}

fn what_may_take_long_is_declined_and_not_done(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams) = open(node)?;
    let number = peer.number(3);
    let alloc = TEXT.alloc(10, PIECE);
    assert_eq!(datagrams.ask(number, op::ALLOC, &alloc)?, None);
    // It is new still when it comes by the connection.
    let answer = peer.ask_numbered(number, op::ALLOC, &alloc)?;
    assert_eq!(answer.map(|body| body.is_empty()), Ok(false));
    Ok(())
}

fn what_does_not_fit_is_declined(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, number) = object(node, 5000)?;
    let most = MAX_BODY as u32;
    let fits = datagrams.ask(number, op::GET, &TEXT.get(id, 0, most))?;
    assert_eq!(fits, Some(Ok(vec![0; MAX_BODY])));
    let number = number.next();
    let get = TEXT.get(id, 0, most + 1);
    assert_eq!(datagrams.ask(number, op::GET, &get)?, None);
    let answer = peer.ask_numbered(number, op::GET, &get)?;
    assert_eq!(answer, Ok(vec![0; MAX_BODY + 1]));
    Ok(())
}

fn what_tells_of_a_request_given_up_is_declined(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, first) = object(node, 10)?;
    assert_eq!(
        datagrams.ask(first, op::SET, &TEXT.set(id, 0, b"a"))?,
        Some(Ok(vec![]))
    );
    // As if we had not got that.
    let second = Number {
        seq: first.seq + 1,
        ..first
    };
    let set = TEXT.set(id, 0, b"b");
    assert_eq!(datagrams.ask(second, op::SET, &set)?, None);
    assert_eq!(peer.ask_numbered(second, op::SET, &set)?, Ok(vec![]));
    Ok(())
}

fn a_request_that_goes_both_ways_is_done_once(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, first) = object(node, 10)?;
    let (one, two) = (TEXT.set(id, 0, b"one"), TEXT.set(id, 0, b"two"));
    assert_eq!(datagrams.ask(first, op::SET, &one)?, Some(Ok(vec![])));
    // The number decides, not what is asked for.
    assert_eq!(peer.ask_numbered(first, op::SET, &two)?, Ok(vec![]));
    assert_eq!(peer.get(id, 0, 3)?, Ok(b"one".to_vec()));
    let second = first.next();
    assert_eq!(peer.ask_numbered(second, op::SET, &two)?, Ok(vec![]));
    assert_eq!(datagrams.ask(second, op::SET, &one)?, Some(Ok(vec![])));
    assert_eq!(peer.get(id, 0, 3)?, Ok(b"two".to_vec()));
    Ok(())
}

fn a_repeated_datagram_gets_one_answer(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, number) = object(node, 10)?;
    let get = datagrams.request(number, op::GET, &TEXT.get(id, 0, 1));
    for _ in 0..5 {
        datagrams.send(&get)?;
    }
    assert_eq!(datagrams.answer(number, op::GET)?, Some(Ok(vec![0])));
    assert_unanswered(&datagrams)
}

fn a_repeated_request_is_done_once(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, first) = object(node, 10)?;
    let set = TEXT.set(id, 0, b"x");
    assert_eq!(datagrams.ask(first, op::SET, &set)?, Some(Ok(vec![])));
    assert_eq!(peer.ask(op::SET, &TEXT.set(id, 0, b"y"))?, Ok(vec![]));
    // In another datagram, as if the answer had been lost.
    assert_eq!(datagrams.ask(first, op::SET, &set)?, Some(Ok(vec![])));
    assert_eq!(peer.get(id, 0, 1)?, Ok(b"y".to_vec()));
    Ok(())
}

fn old_numbers_are_refused(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, first) = object(node, 10)?;
    let second = first.next();
    let set = |byte: &[u8]| TEXT.set(id, 0, byte);
    assert_eq!(
        datagrams.ask(second, op::SET, &set(b"2"))?,
        Some(Ok(vec![]))
    );
    let late = datagrams.ask(first, op::SET, &set(b"1"))?;
    assert_eq!(late, Some(Err(Errno::EALREADY)));
    assert_eq!(peer.get(id, 0, 1)?, Ok(b"2".to_vec()));
    Ok(())
}

fn datagrams_come_in_any_order(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams, id, _) = object(node, 10)?;
    let get = TEXT.get(id, 0, 1);
    let numbers: Vec<_> = (10..60).map(|slot| peer.number(slot)).collect();
    let mut all: Vec<_> = numbers
        .iter()
        .map(|&number| (number, datagrams.request(number, op::GET, &get)))
        .collect();
    fastrand::shuffle(&mut all);
    for (number, request) in &all {
        datagrams.send(request)?;
        assert_eq!(datagrams.answer(*number, op::GET)?, Some(Ok(vec![0])));
    }
    for (_, request) in &all {
        datagrams.send(request)?;
    }
    assert_unanswered(&datagrams)
}

fn old_datagrams_are_dropped(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, number) = object(node, 10)?;
    let old = datagrams.request(number, op::GET, &TEXT.get(id, 0, 1));
    let mut ahead = datagrams.header(DatagramKind::Probe);
    ahead.counter += 1 << 20;
    datagrams.send(&signed(&datagrams.keys.to_server, &ahead, b""))?;
    assert_eq!(datagrams.receive()?.0.kind, DatagramKind::Echo);
    datagrams.send(&old)?;
    datagrams.is_silent_for(Duration::from_millis(300))
}

fn datagrams_of_every_length_are_dropped(node: &Node) -> io::Result<()> {
    let (_peer, datagrams) = open(node)?;
    for len in 0..MAX_LEN + 100 {
        let bytes: Vec<u8> = (0..len).map(|_| fastrand::u8(..)).collect();
        datagrams.send(&bytes)?;
    }
    for len in [2000, 10_000, 65_000] {
        // The network here may not take those.
        let _ = datagrams.send(&vec![0; len]);
    }
    assert_unanswered(&datagrams)
}

fn truncated_datagrams_are_dropped(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, number) = object(node, 10)?;
    let set = datagrams.request(number, op::SET, &TEXT.set(id, 0, b"abc"));
    for len in 0..set.len() {
        datagrams.send(&set[..len])?;
    }
    datagrams.send(&[&set[..], &[0]].concat())?;
    assert_unanswered(&datagrams)?;
    datagrams.send(&set)?;
    assert_eq!(datagrams.answer(number, op::SET)?, Some(Ok(vec![])));
    Ok(())
}

fn every_changed_bit_is_noticed(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, number) = object(node, 10)?;
    let set = datagrams.request(number, op::SET, &TEXT.set(id, 0, b"abc"));
    for bit in 0..8 * set.len() {
        let mut changed = set.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        datagrams.send(&changed)?;
    }
    assert_unanswered(&datagrams)
}

fn keys_are_good_for_one_direction(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, number) = object(node, 10)?;
    let header = datagrams.request_header(number, op::GET);
    let body = TEXT.get(id, 0, 1);
    datagrams.send(&signed(&datagrams.keys.to_client, &header, &body))?;
    assert_unanswered(&datagrams)
}

fn answers_sent_back_are_dropped(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, number) = object(node, 10)?;
    datagrams.send(&datagrams.request(number, op::GET, &TEXT.get(id, 0, 1)))?;
    let answer = datagrams.receive_raw()?;
    datagrams.send(&answer)?;
    // As a request, with the tag that it had.
    let mut request = answer.clone();
    request[1] = DatagramKind::Request as u8;
    datagrams.send(&request)?;
    // Answers that we sign for the node itself.
    for kind in [
        DatagramKind::Reply,
        DatagramKind::Decline,
        DatagramKind::Echo,
    ] {
        let header = datagrams.header(kind);
        datagrams.send(&signed(&datagrams.keys.to_server, &header, b""))?;
        datagrams.send(&signed(&datagrams.keys.to_client, &header, b""))?;
    }
    assert_unanswered(&datagrams)
}

fn keys_of_a_former_connection_are_void(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    let (mut first, former) = Peer::open_with_datagrams(node, MEMPOOL, boot)?;
    assert_unanswered(&former)?;
    let id = first.alloc(10, PIECE)?;
    let number = first.number(9);
    let (_second, present) = Peer::open_with_datagrams(node, MEMPOOL, boot)?;
    former.send(&former.request(number, op::GET, &TEXT.get(id, 0, 1)))?;
    former.is_silent_for(Duration::from_millis(300))?;
    assert_unanswered(&present)
}

fn keys_of_an_ended_connection_are_void(node: &Node) -> io::Result<()> {
    let (mut peer, datagrams) = open(node)?;
    assert_unanswered(&datagrams)?;
    peer.wire.finish()?;
    peer.wire.rest()?;
    // The node has closed its side; what it knows of the connection goes at the same time.
    std::thread::sleep(Duration::from_millis(500));
    let probe = datagrams.header(DatagramKind::Probe);
    datagrams.send(&signed(&datagrams.keys.to_server, &probe, b""))?;
    datagrams.is_silent_for(Duration::from_millis(300))
}

fn keys_of_another_service_are_void(node: &Node) -> io::Result<()> {
    let (_echo, other) = Peer::open_with_datagrams(node, crate::node::CPUPOOLING, 1)?;
    let (_peer, datagrams) = open(node)?;
    let probe = datagrams.header(DatagramKind::Probe);
    datagrams.send(&signed(&other.keys.to_server, &probe, b""))?;
    let probe = other.header(DatagramKind::Probe);
    datagrams.send(&signed(&other.keys.to_server, &probe, b""))?;
    assert_unanswered(&datagrams)?;
    assert_unanswered(&other)
}

fn other_addresses_are_dropped(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, number) = object(node, 10)?;
    let get = datagrams.request(number, op::GET, &TEXT.get(id, 0, 1));
    // Not every machine lets us send from there to the node.
    let _ = datagrams.send_from(Ipv4Addr::new(127, 0, 0, 2).into(), &get);
    assert_unanswered(&datagrams)?;
    // It was not so much as looked at: from the right address it is the first.
    datagrams.send(&get)?;
    assert_eq!(datagrams.answer(number, op::GET)?, Some(Ok(vec![0])));
    Ok(())
}

fn unknown_nodes_and_sessions_are_dropped(node: &Node) -> io::Result<()> {
    let (_peer, datagrams) = open(node)?;
    for number in [0, 63, 64, 65, 255] {
        let header = DatagramHeader {
            node: number,
            ..datagrams.header(DatagramKind::Probe)
        };
        datagrams.send(&signed(&datagrams.keys.to_server, &header, b""))?;
    }
    let mut header = datagrams.header(DatagramKind::Probe);
    header.session ^= 1;
    datagrams.send(&signed(&datagrams.keys.to_server, &header, b""))?;
    assert_unanswered(&datagrams)
}

/// A connection whose Hello has not the feature has no keys, though they could be derived.
fn a_node_that_takes_none_gets_none(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    let (_first, datagrams) = Peer::open_with_datagrams(node, MEMPOOL, boot)?;
    assert_unanswered(&datagrams)?;
    let _second = Peer::open_in_life(node, boot)?;
    let probe = datagrams.header(DatagramKind::Probe);
    datagrams.send(&signed(&datagrams.keys.to_server, &probe, b""))?;
    datagrams.is_silent_for(Duration::from_millis(300))
}

fn forged_ones_keep_nobody_from_being_served(node: &Node) -> io::Result<()> {
    let (_peer, datagrams, id, first) = object(node, 10)?;
    let forged = {
        let mut bytes = datagrams.request(first, op::SET, &TEXT.set(id, 0, b"forged"));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes[HEADER_LEN] ^= 1;
        bytes
    };
    let mut number = first;
    let rounds = Rounds {
        debug: 20,
        slim: 100,
        soak: 1000,
    };
    for _ in 0..rounds.count() {
        for _ in 0..100 {
            datagrams.send(&forged)?;
        }
        let got = datagrams.ask(number, op::GET, &TEXT.get(id, 0, 6))?;
        assert_eq!(got, Some(Ok(vec![0; 6])));
        number = number.next();
    }
    Ok(())
}

/// Has the memory pool's UDP port of this machine for a minute, or until this program is ended.
pub(super) fn taken_port(_: &Node) -> io::Result<()> {
    let _socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, MEMPOOL))?;
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}
