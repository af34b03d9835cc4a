// SPDX-License-Identifier: GPL-2.0

//! The client's side of what nodes say to each other.

use crate::{
    node::{MEMPOOL, Node},
    wire::Wire,
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::io;
use virgo_proto::{
    clock::Hybrid,
    errno::Errno,
    frame::{FrameHeader, FrameKind, HEADER_LEN, MAX_BODY, RequestId},
    handshake::{HELLO_LEN, Hello, Mac, Side, hello_bytes, transcript},
    slots::SLOTS,
};

/// A frame that is no request.
pub(crate) fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        kind,
        op: 0,
        len: body.len() as u32,
        word: 0,
        id: RequestId { slot: 0, seq: 0 },
        taken: 0,
        stamp: Hybrid::default(),
        traced: false,
    };
    [&header.to_bytes(), body].concat()
}

/// A request as its client numbers it.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    pub(crate) slot: u8,
    pub(crate) seq: u64,
    pub(crate) taken: u64,
}

impl Number {
    /// The first request of slot 0.
    pub(crate) const FIRST: Number = Number {
        slot: 0,
        seq: 1,
        taken: 0,
    };

    /// The next request in the same slot, all replies before it being taken.
    pub(crate) fn next(self) -> Number {
        Number {
            seq: self.seq + 1,
            taken: self.seq,
            ..self
        }
    }
}

/// A request.
pub(crate) fn request(number: Number, op: u16, body: &[u8]) -> Vec<u8> {
    request_within(5000, number, op, body)
}

/// A request that is given up after `ms` milliseconds.
pub(crate) fn request_within(ms: u32, number: Number, op: u16, body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        kind: FrameKind::Request,
        op,
        len: body.len() as u32,
        word: ms,
        id: RequestId {
            slot: number.slot,
            seq: number.seq,
        },
        taken: number.taken,
        stamp: Hybrid::default(),
        traced: false,
    };
    [&header.to_bytes(), body].concat()
}

/// A Hello of the node that we speak for, in a life of ours with the number `boot`.
pub(crate) fn hello(node: &Node, port: u16, boot: u64) -> Hello {
    Hello {
        node: node.own.into(),
        port: port.into(),
        features: 0.into(),
        boot: boot.into(),
        nonce: fastrand::u128(..).to_le_bytes(),
    }
}

/// HMAC-SHA256.
pub(crate) fn hmac(key: &[u8], data: &[u8]) -> Mac {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length are taken");
    hmac.update(data);
    hmac.finalize().into_bytes().into()
}

/// The proof that `side` knows the key.
pub(crate) fn proof(node: &Node, side: Side, hello: &Hello, challenge: &Hello) -> Mac {
    hmac(&node.key, &transcript(side, hello, challenge))
}

impl Wire {
    /// The next frame.
    pub(crate) fn frame(&mut self) -> io::Result<(FrameHeader, Vec<u8>)> {
        let mut header = [0; HEADER_LEN];
        self.receive(&mut header)?;
        let header = match FrameHeader::parse(&header, MAX_BODY) {
            Some(Ok(header)) => header,
            bad => return Err(io::Error::other(format!("not a frame: {bad:?}"))),
        };
        let mut body = vec![0; header.len as usize];
        self.receive(&mut body)?;
        Ok((header, body))
    }

    /// Says Hello and returns the Challenge.
    pub(crate) fn challenge(&mut self, hello: &Hello) -> io::Result<Hello> {
        self.send(&frame(FrameKind::Hello, hello_bytes(hello)))?;
        let (header, body) = self.frame()?;
        assert_eq!(
            header.kind,
            FrameKind::Challenge,
            "answer to Hello: {header:?}"
        );
        assert_eq!(body.len(), HELLO_LEN, "bytes of a Challenge");
        Ok(Hello::parse(&body).expect("a Challenge has no unknown features"))
    }

    /// The error that the node refuses us with; then it must end the connection.
    pub(crate) fn refusal(&mut self) -> io::Result<Errno> {
        let (header, body) = self.frame()?;
        assert_eq!(header.kind, FrameKind::Refuse, "a refusal: {header:?}");
        assert_eq!(body, b"", "body of a refusal");
        assert_eq!(self.rest()?, b"", "what follows a refusal");
        Ok(Errno::from_wire(header.word))
    }
}

/// A connection on which we have said who we are, and were told how to prove it.
pub(crate) struct Handshake {
    pub(crate) wire: Wire,
    hello: Hello,
    pub(crate) challenge: Hello,
}

impl Handshake {
    /// Begins one with the memory pool in a new life of the node that we speak for.
    pub(crate) fn begin(node: &Node) -> io::Result<Self> {
        Self::begin_at(node, MEMPOOL, fastrand::u64(..))
    }

    /// Begins one with the service at `port` in the life with the number `boot`.
    fn begin_at(node: &Node, port: u16, boot: u64) -> io::Result<Self> {
        Self::begin_as(node, hello(node, port, boot))
    }

    /// Begins one by this Hello.
    pub(crate) fn begin_as(node: &Node, hello: Hello) -> io::Result<Self> {
        let mut wire = Wire(node.connect(hello.port.get())?);
        let challenge = wire.challenge(&hello)?;
        Ok(Handshake {
            wire,
            hello,
            challenge,
        })
    }

    /// Proves who we are, without waiting for the answer.
    pub(crate) fn prove(&mut self, node: &Node) -> io::Result<()> {
        let ours = proof(node, Side::Client, &self.hello, &self.challenge);
        self.wire.send(&frame(FrameKind::Proof, &ours))
    }

    /// Waits for the node's proof.
    pub(crate) fn end(mut self, node: &Node) -> io::Result<Peer> {
        let (header, body) = self.wire.frame()?;
        assert_eq!(header.kind, FrameKind::Ready, "answer to Proof: {header:?}");
        assert_eq!(
            body,
            proof(node, Side::Server, &self.hello, &self.challenge),
            "the node's proof"
        );
        Ok(Peer {
            wire: self.wire,
            boot: self.hello.boot.get(),
            seq: [0; SLOTS],
        })
    }
}

/// The answer to a request: the body, or an error number.
pub(crate) type Answer = Result<Vec<u8>, Errno>;

/// An authenticated connection to a service.
pub(crate) struct Peer {
    pub(crate) wire: Wire,
    /// Names our life.
    boot: u64,
    /// The number last used in each slot.
    seq: [u64; SLOTS],
}

impl Peer {
    /// Connects to the memory pool in a new life of the node that we speak for.
    pub(crate) fn open(node: &Node) -> io::Result<Self> {
        Self::open_in_life(node, fastrand::u64(..))
    }

    /// Connects to the memory pool in the life with the number `boot`.
    pub(crate) fn open_in_life(node: &Node, boot: u64) -> io::Result<Self> {
        Self::open_at(node, MEMPOOL, boot)
    }

    /// Connects to the service at `port` in the life with the number `boot`.
    pub(crate) fn open_at(node: &Node, port: u16, boot: u64) -> io::Result<Self> {
        let mut handshake = Handshake::begin_at(node, port, boot)?;
        handshake.prove(node)?;
        handshake.end(node)
    }

    /// Connects once more in the same life.
    pub(crate) fn open_beside(&self, node: &Node) -> io::Result<Self> {
        Self::open_in_life(node, self.boot)
    }

    /// Makes a request in slot 0 and waits for the answer.
    pub(crate) fn ask(&mut self, op: u16, body: &[u8]) -> io::Result<Answer> {
        let number = self.number(0);
        self.ask_numbered(number, op, body)
    }

    /// The next number in `slot`, all replies before it being taken.
    pub(crate) fn number(&mut self, slot: u8) -> Number {
        let seq = &mut self.seq[usize::from(slot)];
        *seq += 1;
        Number {
            slot,
            seq: *seq,
            taken: *seq - 1,
        }
    }

    /// Makes the request with this number and waits for the answer.
    pub(crate) fn ask_numbered(
        &mut self,
        number: Number,
        op: u16,
        body: &[u8],
    ) -> io::Result<Answer> {
        self.wire.send(&request(number, op, body))?;
        self.answer(number, op)
    }

    /// The next answer, which must be the one to this request.
    pub(crate) fn answer(&mut self, number: Number, op: u16) -> io::Result<Answer> {
        let (header, body) = self.wire.frame()?;
        assert_eq!(header.kind, FrameKind::Reply, "an answer: {header:?}");
        assert_eq!(
            (header.id.slot, header.id.seq, header.op),
            (number.slot, number.seq, op),
            "which request is answered"
        );
        match header.word {
            0 => Ok(Ok(body)),
            error => {
                assert_eq!(body, b"", "body of a failed request");
                Ok(Err(Errno::from_wire(error)))
            }
        }
    }
}
