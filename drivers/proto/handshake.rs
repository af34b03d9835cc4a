// SPDX-License-Identifier: GPL-2.0

//! How two nodes prove to each other that they know the cluster's key.
//!
//! ```text
//! client                                server
//!   Hello     node, boot, nonce     ->
//!                                   <-  Challenge  node, boot, nonce
//!   Proof     MAC as client         ->
//!                                   <-  Ready      MAC as server
//! ```
//!
//! Each MAC is HMAC-SHA256 under the key over a label that names the side, then the Hello and
//! the Challenge as sent. Fresh nonces of both sides make recorded proofs worthless, the label
//! keeps one side's proof from serving as the other's, and the node numbers and the port are
//! covered, so a proof is good for one pair of nodes and one service. The client proves itself
//! first: an unauthenticated peer gets no MAC to work on.
//!
//! With `auth none` both MACs are sent as zeros and not looked at.

use zerocopy::{
    little_endian::{U16, U64},
    FromBytes as _, IntoBytes as _,
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a [`Hello`].
pub const HELLO_LEN: usize = 32;

/// Bytes of a [`Mac`].
pub const MAC_LEN: usize = 32;

/// Bytes that are authenticated: label, Hello, Challenge.
pub const TRANSCRIPT_LEN: usize = 16 + 2 * HELLO_LEN;

/// A message authentication code.
pub type Mac = [u8; MAC_LEN];

/// Body of a Hello or Challenge: one side presents itself.
#[derive(
    FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, PartialEq, Eq,
)]
#[repr(C)]
pub struct Hello {
    /// Number of the node in the configuration.
    pub node: U16,
    /// TCP port of the service.
    pub port: U16,
    /// Must be 0.
    pub reserved: [u8; 4],
    /// Random number of this incarnation of the client or server: another value means that it has
    /// restarted and forgotten everything.
    pub boot: U64,
    /// Random bytes, never used twice.
    pub nonce: [u8; 16],
}

const _: () = assert!(core::mem::size_of::<Hello>() == HELLO_LEN);

/// Which side a MAC speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who connected.
    Client,
    /// Who listens.
    Server,
}

impl Hello {
    /// The Hello in a frame's body; `None` if it is of the wrong size or uses reserved bytes.
    pub fn parse(body: &[u8]) -> Option<Hello> {
        let hello = Hello::read_from_bytes(body).ok()?;
        (hello.reserved == [0; 4]).then_some(hello)
    }
}

/// The bytes whose MAC proves that `side` knows the key.
pub fn transcript(side: Side, hello: &Hello, challenge: &Hello) -> [u8; TRANSCRIPT_LEN] {
    #[derive(IntoBytes, Immutable)]
    #[repr(C)]
    struct Transcript {
        label: [u8; 16],
        hello: Hello,
        challenge: Hello,
    }
    zerocopy::transmute!(Transcript {
        label: match side {
            Side::Client => *b"virgo 1 client\0\0",
            Side::Server => *b"virgo 1 server\0\0",
        },
        hello: *hello,
        challenge: *challenge,
    })
}

/// The bytes of a Hello.
pub fn hello_bytes(hello: &Hello) -> &[u8] {
    hello.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: u16, nonce: u8) -> Hello {
        Hello {
            node: node.into(),
            port: 30000.into(),
            reserved: [0; 4],
            boot: 9.into(),
            nonce: [nonce; 16],
        }
    }

    #[test]
    fn hello_survives_the_wire_and_is_judged() {
        let h = hello(2, 3);
        assert_eq!(Hello::parse(hello_bytes(&h)), Some(h));
        assert_eq!(Hello::parse(&hello_bytes(&h)[..31]), None);
        assert_eq!(Hello::parse(&[0; 33]), None);
        let mut bytes = [0; HELLO_LEN];
        bytes[5] = 1;
        assert_eq!(Hello::parse(&bytes), None);
    }

    #[test]
    fn transcripts_differ_in_side_order_and_nonce() {
        let (a, b) = (hello(1, 1), hello(2, 2));
        let t = transcript(Side::Client, &a, &b);
        assert_ne!(t, transcript(Side::Server, &a, &b));
        assert_ne!(t, transcript(Side::Client, &b, &a));
        assert_ne!(t, transcript(Side::Client, &hello(1, 7), &b));
        assert!(t.starts_with(b"virgo 1 client"));
    }
}
