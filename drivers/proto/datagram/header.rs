// SPDX-License-Identifier: GPL-2.0

//! The layout of a datagram: header, body, tag. All integers are little-endian.

use crate::{clock::Hybrid, frame::RequestId, vuid::NodeId};
use zerocopy::{
    little_endian::{U16, U32, U64},
    FromBytes as _,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Version of the layout that this crate speaks.
const VERSION: u8 = 1;

/// Bytes of a [`DatagramHeader`].
pub const HEADER_LEN: usize = 48;

/// Bytes of the tag at the end: SipHash-2-4 of all before it, under the key of the direction.
pub const TAG_LEN: usize = 8;

/// Most bytes of a datagram: with the headers of UDP and IP as many as every network takes by which
/// IPv6 may go.
pub const MAX_LEN: usize = 1232;

/// Most bytes of a body.
pub const MAX_BODY: usize = MAX_LEN - HEADER_LEN - TAG_LEN;

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramKind {
    /// Client to server: do `op`. `word` is the time left, in milliseconds.
    Request,
    /// Server to client: what came of the request with this id. `word` is 0 or an error number.
    Reply,
    /// Server to client: the request with this id was not looked at; ask by the connection.
    Decline,
    /// Client to server: do datagrams get through? `word` is up to the client.
    Probe,
    /// Server to client: they do. `word` is that of the probe.
    Echo,
}

impl DatagramKind {
    const ALL: [DatagramKind; 5] = [
        DatagramKind::Request,
        DatagramKind::Reply,
        DatagramKind::Decline,
        DatagramKind::Probe,
        DatagramKind::Echo,
    ];

    /// Whether a client sends it, to a server.
    pub fn is_for_server(self) -> bool {
        matches!(self, DatagramKind::Request | DatagramKind::Probe)
    }
}

/// A datagram's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramHeader {
    /// What it is for.
    pub kind: DatagramKind,
    /// The service's operation; 0 outside requests and replies.
    pub op: u16,
    /// Names the keys: see [`super::Keys::session`].
    pub session: u32,
    /// Grows with every datagram that is sent under one key.
    pub counter: u64,
    /// Which request.
    pub id: RequestId,
    /// As in [`crate::frame::FrameHeader::taken`].
    pub taken: u64,
    /// The sender's hybrid logical clock; 0 says nothing.
    pub stamp: Hybrid,
    /// Milliseconds left (requests), error number (replies), what the client wants (probes).
    pub word: u32,
    /// The node that has sent it.
    pub node: NodeId,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Wire {
    version: u8,
    kind: u8,
    op: U16,
    session: U32,
    counter: U64,
    id: U64,
    taken: U64,
    stamp: U64,
    word: U32,
    node: u8,
    reserved: [u8; 3],
}

const _: () = assert!(core::mem::size_of::<Wire>() == HEADER_LEN);

/// The bytes of a datagram that its tag covers, and the tag. `None` if it is too short for header and
/// tag, or too long.
pub fn signed_part(datagram: &[u8]) -> Option<(&[u8], u64)> {
    if datagram.len() > MAX_LEN {
        return None;
    }
    let (signed, tag) = datagram.split_last_chunk::<TAG_LEN>()?;
    (signed.len() >= HEADER_LEN).then_some((signed, u64::from_le_bytes(*tag)))
}

impl DatagramHeader {
    /// The header at the start of the bytes that a tag covers, and the body. `None` if it is none.
    pub fn parse(signed: &[u8]) -> Option<(DatagramHeader, &[u8])> {
        let (wire, body) = Wire::read_from_prefix(signed).ok()?;
        if wire.version != VERSION || wire.reserved != [0; 3] {
            return None;
        }
        let kind = DatagramKind::ALL.get(usize::from(wire.kind)).copied()?;
        let header = DatagramHeader {
            kind,
            op: wire.op.get(),
            session: wire.session.get(),
            counter: wire.counter.get(),
            id: RequestId::from_wire(wire.id.get()),
            taken: wire.taken.get(),
            stamp: Hybrid::from_wire(wire.stamp.get()),
            word: wire.word.get(),
            node: wire.node,
        };
        Some((header, body))
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        zerocopy::transmute!(Wire {
            version: VERSION,
            kind: self.kind as u8,
            op: self.op.into(),
            session: self.session.into(),
            counter: self.counter.into(),
            id: self.id.to_wire().into(),
            taken: self.taken.into(),
            stamp: self.stamp.to_wire().into(),
            word: self.word.into(),
            node: self.node,
            reserved: [0; 3],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn header() -> impl Strategy<Value = DatagramHeader> {
        (
            (
                0..DatagramKind::ALL.len(),
                any::<u16>(),
                any::<u32>(),
                any::<u64>(),
            ),
            (any::<u8>(), 0..1u64 << 56, any::<u64>()),
            (any::<u64>(), any::<u32>(), any::<u8>()),
        )
            .prop_map(
                |((kind, op, session, counter), (slot, seq, taken), (stamp, word, node))| {
                    DatagramHeader {
                        kind: DatagramKind::ALL[kind],
                        op,
                        session,
                        counter,
                        id: RequestId { slot, seq },
                        taken,
                        stamp: Hybrid::from_wire(stamp),
                        word,
                        node,
                    }
                },
            )
    }

    #[test]
    fn datagrams_of_every_length_are_judged() {
        for len in 0..2 * MAX_LEN {
            let bytes = std::vec![0; len];
            let fits = (HEADER_LEN + TAG_LEN..=MAX_LEN).contains(&len);
            assert_eq!(signed_part(&bytes).is_some(), fits, "{len}");
        }
    }

    #[test]
    fn other_versions_kinds_and_reserved_bytes_are_refused() {
        let mut good = [0; HEADER_LEN];
        good[0] = VERSION;
        assert!(DatagramHeader::parse(&good).is_some());
        for (at, value) in [
            (0, 0),
            (0, VERSION + 1),
            (1, 5),
            (1, 0x80),
            (45, 1),
            (47, 1),
        ] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(DatagramHeader::parse(&bad), None, "{at} {value}");
        }
        assert_eq!(DatagramHeader::parse(&good[1..]), None);
    }

    proptest! {
        #[test]
        fn header_survives_the_wire(header in header(), body in any::<Vec<u8>>()) {
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend(&body);
            prop_assert_eq!(DatagramHeader::parse(&bytes), Some((header, &body[..])));
        }

        #[test]
        fn what_is_no_header_is_refused(bytes in any::<Vec<u8>>()) {
            if let Some((header, body)) = DatagramHeader::parse(&bytes) {
                let mut again = header.to_bytes().to_vec();
                again.extend(body);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
