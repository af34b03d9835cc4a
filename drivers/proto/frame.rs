// SPDX-License-Identifier: GPL-2.0

//! Frames between nodes: a fixed header, then at most [`MAX_BODY`] bytes.
//!
//! All integers are little-endian, so nodes of either byte order understand each other. A header
//! is judged before memory is taken for its body.

use crate::{
    clock::Hybrid,
    errno::Errno,
    eventnet::MAX_CONTEXT, //
};
use zerocopy::{
    little_endian::{U16, U32, U64},
    FromBytes as _,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of every frame. The first one is no character of a text command in ASCII or
/// UTF-8, which is how a port tells the two kinds of peer apart.
pub const MAGIC: [u8; 4] = [0xf6, b'V', b'G', b'O'];

/// Version of the frame layout that this crate speaks.
pub const VERSION: u8 = 5;

/// Bytes of a [`FrameHeader`].
pub const HEADER_LEN: usize = 40;

/// Largest body of a request or reply, in bytes: a data chunk of 64 KiB and its arguments.
pub const MAX_BODY: usize = 64 * 1024 + 256;

/// Largest body before the peer is authenticated, in bytes.
pub const MAX_BODY_UNAUTHENTICATED: usize = 64;

/// Set in the byte of the [`FrameKind`] of a request or reply whose body begins with a
/// [`TraceContext`](crate::eventnet::TraceContext).
const TRACED: u8 = 0x80;

/// Number of an operation that no service has. A request for it is answered by `EOPNOTSUPP`: so a
/// client learns whether a connection on which nothing was heard for some time is still good.
pub const NO_OPERATION: u16 = 0;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Client to server: who I am. Body: [`crate::handshake::Hello`].
    Hello,
    /// Server to client: who I am. Body: [`crate::handshake::Hello`].
    Challenge,
    /// Client to server: I know the key. Body: [`crate::handshake::Mac`].
    Proof,
    /// Server to client: so do I; go ahead. Body: [`crate::handshake::Mac`].
    Ready,
    /// Server to client: no; the connection closes. Empty body, the reason in `word`.
    Refuse,
    /// Client to server: do `op`. `word` is the time left, in milliseconds.
    Request,
    /// Server to client: what came of the request with this id. `word` is 0 or an error number.
    Reply,
}

impl FrameKind {
    const ALL: [FrameKind; 7] = [
        FrameKind::Hello,
        FrameKind::Challenge,
        FrameKind::Proof,
        FrameKind::Ready,
        FrameKind::Refuse,
        FrameKind::Request,
        FrameKind::Reply,
    ];

    /// Only requests and replies are traced.
    fn from_wire(value: u8) -> Option<(FrameKind, bool)> {
        let traced = value & TRACED != 0;
        let kind = FrameKind::ALL.get(usize::from(value & !TRACED)).copied()?;
        let may_be_traced = matches!(kind, FrameKind::Request | FrameKind::Reply);
        (may_be_traced || !traced).then_some((kind, traced))
    }

    fn to_wire(self, traced: bool) -> u8 {
        self as u8 | if traced { TRACED } else { 0 }
    }
}

/// A request's identity: the slot of the client that it occupies, and a number that grows with
/// every new request in that slot. See [`crate::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// Slot: one of [`crate::slots::SLOTS`].
    pub slot: u8,
    /// Sequence number within the slot, from 1, below 2^56.
    pub seq: u64,
}

impl RequestId {
    /// The reverse of [`Self::to_wire`].
    pub fn from_wire(value: u64) -> Self {
        let [slot, seq @ ..] = value.to_le_bytes();
        let [a, b, c, d, e, f, g] = seq;
        RequestId {
            slot,
            seq: u64::from_le_bytes([a, b, c, d, e, f, g, 0]),
        }
    }

    /// The id as a number, as it crosses the wire.
    pub fn to_wire(self) -> u64 {
        (self.seq << 8) | u64::from(self.slot)
    }
}

/// A frame's header, as a node reads and writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub kind: FrameKind,
    /// The service's operation; 0 outside requests and replies.
    pub op: u16,
    /// Bytes of body that follow.
    pub len: u32,
    /// Milliseconds left (requests), error number (replies and refusals), otherwise 0.
    pub word: u32,
    /// Which request.
    pub id: RequestId,
    /// In a request: the last number in the same slot whose reply the client has taken; the
    /// server undoes what it did for a later one that the client gave up. Otherwise 0.
    pub taken: u64,
    /// The sender's hybrid logical clock; 0 says nothing.
    pub stamp: Hybrid,
    /// Whether the body begins with a trace context, which `len` includes. Of requests and replies only.
    pub traced: bool,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Wire {
    magic: [u8; 4],
    version: u8,
    kind: u8,
    op: U16,
    len: U32,
    word: U32,
    id: U64,
    taken: U64,
    stamp: U64,
}

const _: () = assert!(core::mem::size_of::<Wire>() == HEADER_LEN);

/// Why bytes are not an acceptable header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// Another version of the layout.
    Version(u8),
    /// No known kind of frame.
    Kind(u8),
    /// A body longer than the receiver takes.
    Length(u32),
}

impl HeaderError {
    /// The error number for the peer and for callers.
    pub fn errno(self) -> Errno {
        match self {
            HeaderError::Magic | HeaderError::Kind(_) => Errno::EPROTO,
            HeaderError::Version(_) => Errno::EPROTONOSUPPORT,
            HeaderError::Length(_) => Errno::EMSGSIZE,
        }
    }
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`.
    ///
    /// Returns `None` while there are fewer than [`HEADER_LEN`] bytes. `max_body` is the most the
    /// receiver takes now.
    ///
    /// # Errors
    ///
    /// What makes the header unacceptable; nothing after it on the connection can be trusted.
    pub fn parse(bytes: &[u8], max_body: usize) -> Option<Result<FrameHeader, HeaderError>> {
        let (wire, _) = Wire::read_from_prefix(bytes).ok()?;
        Some(wire.check(max_body))
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        zerocopy::transmute!(Wire {
            magic: MAGIC,
            version: VERSION,
            kind: self.kind.to_wire(self.traced),
            op: self.op.into(),
            len: self.len.into(),
            word: self.word.into(),
            id: self.id.to_wire().into(),
            taken: self.taken.into(),
            stamp: self.stamp.to_wire().into(),
        })
    }
}

impl Wire {
    fn check(&self, max_body: usize) -> Result<FrameHeader, HeaderError> {
        if self.magic != MAGIC {
            return Err(HeaderError::Magic);
        }
        if self.version != VERSION {
            return Err(HeaderError::Version(self.version));
        }
        let len = self.len.get();
        let (kind, traced) = FrameKind::from_wire(self.kind).ok_or(HeaderError::Kind(self.kind))?;
        let max_body = match traced && max_body > MAX_BODY_UNAUTHENTICATED {
            true => max_body.saturating_add(MAX_CONTEXT),
            false => max_body,
        };
        if usize::try_from(len).map_or(true, |len| len > max_body) {
            return Err(HeaderError::Length(len));
        }
        Ok(FrameHeader {
            kind,
            op: self.op.get(),
            len,
            word: self.word.get(),
            id: RequestId::from_wire(self.id.get()),
            taken: self.taken.get(),
            stamp: Hybrid::from_wire(self.stamp.get()),
            traced,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = FrameHeader> {
        (
            prop::sample::select(&FrameKind::ALL[..]),
            any::<u16>(),
            0..=MAX_BODY as u32,
            any::<u32>(),
            any::<u8>(),
            0..1u64 << 56,
            any::<[u64; 2]>(),
            any::<bool>(),
        )
            .prop_map(|(kind, op, len, word, slot, seq, [taken, stamp], traced)| {
                FrameHeader {
                    kind,
                    op,
                    len,
                    word,
                    id: RequestId { slot, seq },
                    taken,
                    stamp: Hybrid::from_wire(stamp),
                    traced: traced && matches!(kind, FrameKind::Request | FrameKind::Reply),
                }
            })
    }

    proptest! {
        #[test]
        fn headers_survive_the_wire(h in header()) {
            prop_assert_eq!(FrameHeader::parse(&h.to_bytes(), MAX_BODY), Some(Ok(h)));
        }

        #[test]
        fn any_bytes_are_judged_and_never_exceed_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            max in 0..MAX_BODY,
        ) {
            match FrameHeader::parse(&bytes, max) {
                None => prop_assert!(bytes.len() < HEADER_LEN),
                Some(Ok(h)) => {
                    let context = if h.traced { MAX_CONTEXT } else { 0 };
                    prop_assert!(h.len as usize <= max + context);
                }
                Some(Err(_)) => (),
            }
        }
    }

    #[test]
    fn layout_is_the_documented_one() {
        let h = FrameHeader {
            kind: FrameKind::Reply,
            op: 0x0201,
            len: 0x0403,
            word: 5,
            id: RequestId { slot: 7, seq: 6 },
            taken: 5,
            stamp: Hybrid::from_wire(8),
            traced: false,
        };
        let mut expected = [
            0xf6, b'V', b'G', b'O', 5, 6, 1, 2, 3, 4, 0, 0, 5, 0, 0, 0, 7, 6, 0, 0, 0, 0, 0, 0, 5,
            0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(h.to_bytes(), expected);
        expected[5] = 0x86;
        assert_eq!(FrameHeader { traced: true, ..h }.to_bytes(), expected);
    }

    #[test]
    fn each_fault_has_its_name() {
        let good = FrameHeader {
            kind: FrameKind::Request,
            op: 1,
            len: 10,
            word: 0,
            id: RequestId { slot: 0, seq: 1 },
            taken: 0,
            stamp: Hybrid::default(),
            traced: false,
        }
        .to_bytes();
        let with = |at: usize, byte: u8| {
            let mut b = good;
            b[at] = byte;
            FrameHeader::parse(&b, MAX_BODY)
        };
        assert_eq!(FrameHeader::parse(&good[..39], MAX_BODY), None);
        assert_eq!(with(0, b'v'), Some(Err(HeaderError::Magic)));
        assert_eq!(with(4, 1), Some(Err(HeaderError::Version(1))));
        assert_eq!(with(5, 7), Some(Err(HeaderError::Kind(7))));
        // A handshake has no trace context.
        assert_eq!(with(5, 0x80), Some(Err(HeaderError::Kind(0x80))));
        assert_eq!(with(11, 0xff), Some(Err(HeaderError::Length(0xff00_000a))));
        assert_eq!(
            FrameHeader::parse(&good, 9),
            Some(Err(HeaderError::Length(10)))
        );
    }
}
