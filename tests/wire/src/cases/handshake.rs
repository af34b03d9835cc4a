// SPDX-License-Identifier: GPL-2.0

//! Who may speak in frames.

use super::{Suite, suite};
use crate::{
    memory::TEXT,
    node::{ECHO, MEMPOOL, Node, PATIENCE},
    peer::{Number, Peer, frame, hello, proof, request},
    wire::Wire,
};
use std::io;
use virgo_proto::{
    errno::Errno,
    frame::{FrameKind, HEADER_LEN, MAX_BODY, VERSION},
    handshake::{Hello, Side, hello_bytes},
    mempool::{PIECE, op},
};

pub(super) const SUITE: Suite = suite![
    the_node_proves_itself,
    a_handshake_in_one_byte_segments,
    the_first_request_may_follow_the_proof_at_once,
    text_after_the_first_byte_is_refused,
    another_version_is_refused,
    unknown_kinds_are_refused,
    bodies_of_wrong_length_are_refused,
    bodies_beyond_the_limit_are_refused_unseen,
    steps_out_of_order_are_refused,
    other_nodes_are_refused,
    other_ports_are_refused,
    unknown_features_are_refused,
    wrong_proofs_are_refused,
    a_recorded_proof_is_worthless,
    the_proof_of_one_service_is_worthless_at_another,
    a_proof_that_comes_late_changes_nothing,
    half_close_in_a_handshake_ends_it,
];

fn stranger(node: &Node) -> io::Result<Wire> {
    Ok(Wire(node.connect(MEMPOOL)?))
}

/// Bytes of a good Hello's frame, to be spoilt.
fn hello_frame(node: &Node) -> Vec<u8> {
    frame(FrameKind::Hello, hello_bytes(&hello(node, MEMPOOL, 1)))
}

/// Checks that the memory pool answers `bytes` of a stranger by refusing it with `errno`.
fn assert_refused(node: &Node, bytes: &[u8], errno: Errno, what: &str) -> io::Result<()> {
    let mut wire = stranger(node)?;
    wire.send(bytes)?;
    assert_eq!(wire.refusal()?, errno, "{what}");
    Ok(())
}

fn the_node_proves_itself(node: &Node) -> io::Result<()> {
    let hello = hello(node, MEMPOOL, 1);
    let challenge = stranger(node)?.challenge(&hello)?;
    let again = stranger(node)?.challenge(&hello)?;
    assert_eq!(challenge.port, MEMPOOL, "port of the Challenge");
    assert_ne!(challenge.node, 0, "node of the Challenge");
    assert_ne!(challenge.nonce, again.nonce, "nonces of two Challenges");
    assert_eq!(challenge.boot, again.boot, "the node's life");
    // Its proof is checked here.
    Peer::open(node)?;
    Ok(())
}

fn a_handshake_in_one_byte_segments(node: &Node) -> io::Result<()> {
    let mut wire = stranger(node)?;
    let hello = hello(node, MEMPOOL, 1);
    wire.send_in_single_bytes(&frame(FrameKind::Hello, hello_bytes(&hello)))?;
    let (_, body) = wire.frame()?;
    let challenge = Hello::parse(&body).expect("a Challenge");
    let ours = proof(node, Side::Client, &hello, &challenge);
    wire.send_in_single_bytes(&frame(FrameKind::Proof, &ours))?;
    assert_eq!(wire.frame()?.0.kind, FrameKind::Ready);
    Ok(())
}

fn the_first_request_may_follow_the_proof_at_once(node: &Node) -> io::Result<()> {
    let mut wire = stranger(node)?;
    let hello = hello(node, MEMPOOL, fastrand::u64(..));
    let challenge = wire.challenge(&hello)?;
    let proof = frame(
        FrameKind::Proof,
        &proof(node, Side::Client, &hello, &challenge),
    );
    let get = request(Number::FIRST, op::GET, &TEXT.get(1, 0, 1));
    wire.send(&[proof, get].concat())?;
    assert_eq!(wire.frame()?.0.kind, FrameKind::Ready);
    let (header, _) = wire.frame()?;
    assert_eq!(header.kind, FrameKind::Reply);
    assert_eq!(header.word, Errno::EINVAL.to_wire(), "get of no id");
    Ok(())
}

fn text_after_the_first_byte_is_refused(node: &Node) -> io::Result<()> {
    for at in 1..4 {
        let mut bytes = hello_frame(node);
        bytes[at] ^= 0x20;
        assert_refused(
            node,
            &bytes,
            Errno::EPROTO,
            &format!("byte {at} of the magic"),
        )?;
    }
    let text = b"\xf6echo(thirty-two bytes, no frame at all)\n";
    assert_refused(node, text, Errno::EPROTO, "text")
}

fn another_version_is_refused(node: &Node) -> io::Result<()> {
    for version in [0, 1, VERSION + 1, 255] {
        let mut bytes = hello_frame(node);
        bytes[4] = version;
        let what = format!("version {version}");
        assert_refused(node, &bytes, Errno::EPROTONOSUPPORT, &what)?;
    }
    Ok(())
}

fn unknown_kinds_are_refused(node: &Node) -> io::Result<()> {
    for kind in [7, 8, 255] {
        let mut bytes = hello_frame(node);
        bytes[5] = kind;
        assert_refused(node, &bytes, Errno::EPROTO, &format!("kind {kind}"))?;
    }
    Ok(())
}

fn bodies_of_wrong_length_are_refused(node: &Node) -> io::Result<()> {
    let hello = hello(node, MEMPOOL, 1);
    let body = [hello_bytes(&hello), &[0; 32]].concat();
    for len in [0, 1, 31, 33, 64] {
        let bytes = frame(FrameKind::Hello, &body[..len]);
        assert_refused(
            node,
            &bytes,
            Errno::EPROTO,
            &format!("Hello of {len} bytes"),
        )?;
    }
    for len in [0, 1, 31, 33, 64] {
        let mut wire = stranger(node)?;
        let challenge = wire.challenge(&hello)?;
        let mac = proof(node, Side::Client, &hello, &challenge);
        wire.send(&frame(FrameKind::Proof, &[mac, [0; 32]].concat()[..len]))?;
        assert_eq!(wire.refusal()?, Errno::EKEYREJECTED, "Proof of {len} bytes");
    }
    Ok(())
}

fn bodies_beyond_the_limit_are_refused_unseen(node: &Node) -> io::Result<()> {
    for len in [
        65,
        257,
        MAX_BODY as u32,
        MAX_BODY as u32 + 1,
        1 << 31,
        u32::MAX,
    ] {
        let mut bytes = hello_frame(node);
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        let what = format!("length {len}");
        // The header alone is enough.
        assert_refused(node, &bytes[..HEADER_LEN], Errno::EMSGSIZE, &what)?;
        assert_refused(node, &bytes, Errno::EMSGSIZE, &what)?;
    }
    let bytes = frame(FrameKind::Hello, &[0; 4096]);
    assert_refused(node, &bytes, Errno::EMSGSIZE, "4096 bytes")
}

fn steps_out_of_order_are_refused(node: &Node) -> io::Result<()> {
    let alloc = request(Number::FIRST, op::ALLOC, &TEXT.alloc(1, 0));
    assert_refused(node, &alloc, Errno::EPROTO, "request first")?;
    for kind in [
        FrameKind::Challenge,
        FrameKind::Proof,
        FrameKind::Ready,
        FrameKind::Refuse,
        FrameKind::Reply,
    ] {
        let bytes = frame(kind, &[0; 32]);
        assert_refused(node, &bytes, Errno::EPROTO, &format!("{kind:?} first"))?;
    }
    let hello = hello(node, MEMPOOL, 1);
    let hello_again = frame(FrameKind::Hello, hello_bytes(&hello));
    for (second, what) in [(hello_again, "Hello"), (alloc, "request")] {
        let mut wire = stranger(node)?;
        wire.challenge(&hello)?;
        wire.send(&second)?;
        assert_eq!(wire.refusal()?, Errno::EPROTO, "{what} instead of Proof");
    }
    Ok(())
}

fn other_nodes_are_refused(node: &Node) -> io::Result<()> {
    for number in [0, 63, 64, 65, 255, 256, 256 + node.own, u16::MAX] {
        let hello = Hello {
            node: number.into(),
            ..hello(node, MEMPOOL, 1)
        };
        let bytes = frame(FrameKind::Hello, hello_bytes(&hello));
        assert_refused(node, &bytes, Errno::EPERM, &format!("node {number}"))?;
    }
    Ok(())
}

fn other_ports_are_refused(node: &Node) -> io::Result<()> {
    for port in [0, ECHO, MEMPOOL + 1, u16::MAX] {
        let bytes = frame(FrameKind::Hello, hello_bytes(&hello(node, port, 1)));
        assert_refused(node, &bytes, Errno::EPERM, &format!("port {port}"))?;
    }
    Ok(())
}

fn unknown_features_are_refused(node: &Node) -> io::Result<()> {
    for bit in 1..32 {
        let mut hello = hello(node, MEMPOOL, 1);
        hello.features = (1u32 << bit).into();
        let bytes = frame(FrameKind::Hello, hello_bytes(&hello));
        assert_refused(node, &bytes, Errno::EPROTO, &format!("reserved bit {bit}"))?;
    }
    Ok(())
}

fn wrong_proofs_are_refused(node: &Node) -> io::Result<()> {
    let hello = hello(node, MEMPOOL, 1);
    for what in [
        "one bit",
        "zeros",
        "the server's label",
        "another boot",
        "another key",
    ] {
        let mut wire = stranger(node)?;
        let challenge = wire.challenge(&hello)?;
        let right = proof(node, Side::Client, &hello, &challenge);
        let wrong = match what {
            "one bit" => {
                let mut mac = right;
                mac[31] ^= 1;
                mac
            }
            "zeros" => [0; 32],
            "the server's label" => proof(node, Side::Server, &hello, &challenge),
            "another boot" => {
                let boot = 2.into();
                proof(node, Side::Client, &Hello { boot, ..hello }, &challenge)
            }
            _ => crate::peer::hmac(
                b"another key than this cluster's",
                &virgo_proto::handshake::transcript(Side::Client, &hello, &challenge),
            ),
        };
        wire.send(&frame(FrameKind::Proof, &wrong))?;
        assert_eq!(wire.refusal()?, Errno::EKEYREJECTED, "{what}");
    }
    Ok(())
}

fn a_recorded_proof_is_worthless(node: &Node) -> io::Result<()> {
    let hello = hello(node, MEMPOOL, 1);
    let mut wire = stranger(node)?;
    let challenge = wire.challenge(&hello)?;
    let recorded = frame(
        FrameKind::Proof,
        &proof(node, Side::Client, &hello, &challenge),
    );
    wire.send(&recorded)?;
    assert_eq!(
        wire.frame()?.0.kind,
        FrameKind::Ready,
        "the recorded session"
    );

    let mut wire = stranger(node)?;
    wire.challenge(&hello)?;
    wire.send(&recorded)?;
    assert_eq!(wire.refusal()?, Errno::EKEYREJECTED);
    Ok(())
}

fn the_proof_of_one_service_is_worthless_at_another(node: &Node) -> io::Result<()> {
    let at_pool = hello(node, MEMPOOL, 1);
    let at_echo = Hello {
        port: ECHO.into(),
        ..at_pool
    };
    let mut wire = Wire(node.connect(ECHO)?);
    let challenge = wire.challenge(&at_echo)?;
    let of_pool = proof(node, Side::Client, &at_pool, &challenge);
    wire.send(&frame(FrameKind::Proof, &of_pool))?;
    assert_eq!(wire.refusal()?, Errno::EKEYREJECTED);

    let mut wire = Wire(node.connect(ECHO)?);
    let challenge = wire.challenge(&at_echo)?;
    let of_echo = proof(node, Side::Client, &at_echo, &challenge);
    wire.send(&frame(FrameKind::Proof, &of_echo))?;
    assert_eq!(wire.frame()?.0.kind, FrameKind::Ready);
    wire.send(&request(Number::FIRST, op::ALLOC, &TEXT.alloc(1, 0)))?;
    let (header, _) = wire.frame()?;
    assert_eq!(
        header.word,
        Errno::EOPNOTSUPP.to_wire(),
        "a service without operations"
    );
    Ok(())
}

/// The node has begun another connection since, in the same life or in a new one.
fn a_proof_that_comes_late_changes_nothing(node: &Node) -> io::Result<()> {
    let boot = fastrand::u64(..);
    for late_boot in [boot, fastrand::u64(..)] {
        let hello = hello(node, MEMPOOL, late_boot);
        let mut late = Wire(node.connect(MEMPOOL)?);
        let challenge = late.challenge(&hello)?;
        let mut present = Peer::open_in_life(node, boot)?;
        let id = present.alloc(10, PIECE)?;
        late.send(&frame(
            FrameKind::Proof,
            &proof(node, Side::Client, &hello, &challenge),
        ))?;
        late.end_within(PATIENCE)?;
        assert_eq!(present.get(id, 0, 1)?, Ok(vec![0]));
        present.free(id)?.expect("it is still there");
        // Numbers begin anew with the next one.
        Peer::open(node)?;
    }
    Ok(())
}

fn half_close_in_a_handshake_ends_it(node: &Node) -> io::Result<()> {
    for len in [1, 31, 32, 63] {
        let mut wire = stranger(node)?;
        wire.send(&hello_frame(node)[..len])?;
        wire.finish()?;
        assert_eq!(wire.rest()?, b"", "after {len} bytes of Hello");
    }
    let mut wire = stranger(node)?;
    wire.challenge(&hello(node, MEMPOOL, 1))?;
    wire.finish()?;
    assert_eq!(wire.rest()?, b"", "after Hello");
    Ok(())
}
