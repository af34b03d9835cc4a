// SPDX-License-Identifier: GPL-2.0

//! Datagrams to a node, beside an authenticated connection.

use crate::{
    node::{Node, PATIENCE},
    peer::{Answer, Handshake, Number, Peer, hello, hmac},
};
use siphasher::sip::SipHasher24;
use std::{
    cell::Cell,
    hash::Hasher as _,
    io::{self, ErrorKind},
    net::{IpAddr, UdpSocket},
    time::Duration,
};
use virgo_proto::{
    clock::Hybrid,
    datagram::{DatagramHeader, DatagramKind, KEY_LEN, Keys, MAX_LEN, signed_part},
    errno::Errno,
    frame::RequestId,
    handshake::{DATAGRAMS, Hello},
};

fn tag(key: &[u8; KEY_LEN], bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    hasher.finish()
}

/// A datagram signed with `key`.
pub(crate) fn signed(key: &[u8; KEY_LEN], header: &DatagramHeader, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&header.to_bytes(), body].concat();
    bytes.extend(tag(key, &bytes).to_le_bytes());
    bytes
}

/// What may be sent and received under the keys of one connection.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    pub(crate) keys: Keys,
    own: u8,
    counter: Cell<u64>,
}

impl Peer {
    /// Connects to the service at `port` in the life with the number `boot`, and says that we take
    /// datagrams.
    pub(crate) fn open_with_datagrams(
        node: &Node,
        port: u16,
        boot: u64,
    ) -> io::Result<(Peer, Datagrams)> {
        let hello = Hello {
            features: DATAGRAMS.into(),
            ..hello(node, port, boot)
        };
        let mut handshake = Handshake::begin_as(node, hello)?;
        handshake.prove(node)?;
        let challenge = handshake.challenge;
        let peer = handshake.end(node)?;
        assert!(challenge.takes_datagrams(), "the node takes datagrams");
        let from = peer.wire.0.local_addr()?.ip();
        let to = peer.wire.0.peer_addr()?;
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut keys = Keys::none();
        keys.derive(hmac, |_| (), &node.key, &hello, &challenge);
        let datagrams = Datagrams {
            socket,
            keys,
            own: u8::try_from(node.own).expect("a node's number"),
            counter: Cell::new(0),
        };
        Ok((peer, datagrams))
    }
}

impl Datagrams {
    /// The header of the next datagram.
    pub(crate) fn header(&self, kind: DatagramKind) -> DatagramHeader {
        let counter = self.counter.get();
        self.counter.set(counter + 1);
        DatagramHeader {
            kind,
            op: 0,
            session: self.keys.session,
            counter,
            id: RequestId { slot: 0, seq: 0 },
            taken: 0,
            stamp: Hybrid::default(),
            word: 0,
            node: self.own,
        }
    }

    /// The header of a request.
    pub(crate) fn request_header(&self, number: Number, op: u16) -> DatagramHeader {
        DatagramHeader {
            op,
            id: RequestId {
                slot: number.slot,
                seq: number.seq,
            },
            taken: number.taken,
            word: 5000,
            ..self.header(DatagramKind::Request)
        }
    }

    /// A request.
    pub(crate) fn request(&self, number: Number, op: u16, body: &[u8]) -> Vec<u8> {
        signed(&self.keys.to_server, &self.request_header(number, op), body)
    }

    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.socket.send(datagram).map(drop)
    }

    /// Sends from another address of this machine.
    pub(crate) fn send_from(&self, address: IpAddr, datagram: &[u8]) -> io::Result<()> {
        let other = UdpSocket::bind((address, 0))?;
        other.send_to(datagram, self.socket.peer_addr()?).map(drop)
    }

    /// The next datagram that comes, which must be signed.
    pub(crate) fn receive(&self) -> io::Result<(DatagramHeader, Vec<u8>)> {
        let mut bytes = [0; MAX_LEN + 1];
        let len = self.socket.recv(&mut bytes)?;
        let (signed, given) = signed_part(&bytes[..len]).expect("bytes of a datagram");
        assert_eq!(given, tag(&self.keys.to_client, signed), "the tag");
        let (header, body) = DatagramHeader::parse(signed).expect("a header");
        assert_eq!(header.session, self.keys.session, "the session");
        Ok((header, body.to_vec()))
    }

    /// The bytes of the next datagram that comes.
    pub(crate) fn receive_raw(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; MAX_LEN + 1];
        let len = self.socket.recv(&mut bytes)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Checks that nothing comes for `time`.
    pub(crate) fn is_silent_for(&self, time: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(time))?;
        let result = self.socket.recv(&mut [0; MAX_LEN]);
        self.socket.set_read_timeout(Some(PATIENCE))?;
        match result {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
            Err(e) => Err(e),
            Ok(len) => Err(io::Error::other(format!("{len} bytes came, unexpected"))),
        }
    }

    /// The next datagram, which must be the answer to this request; `None` if the node declines.
    pub(crate) fn answer(&self, number: Number, op: u16) -> io::Result<Option<Answer>> {
        let (header, body) = self.receive()?;
        assert_eq!(
            (header.id.slot, header.id.seq, header.op),
            (number.slot, number.seq, op),
            "which request is answered: {header:?}"
        );
        match (header.kind, header.word) {
            (DatagramKind::Decline, 0) => {
                assert_eq!(body, b"", "body when declined");
                Ok(None)
            }
            (DatagramKind::Reply, 0) => Ok(Some(Ok(body))),
            (DatagramKind::Reply, error) => {
                assert_eq!(body, b"", "body of a failed request");
                Ok(Some(Err(Errno::from_wire(error))))
            }
            _ => panic!("no answer: {header:?}"),
        }
    }

    /// Makes a request and waits for the answer.
    pub(crate) fn ask(&self, number: Number, op: u16, body: &[u8]) -> io::Result<Option<Answer>> {
        self.send(&self.request(number, op, body))?;
        self.answer(number, op)
    }
}
