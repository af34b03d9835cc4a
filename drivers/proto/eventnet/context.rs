// SPDX-License-Identifier: GPL-2.0

//! The trace context of a request or reply: which event sent it, and what happened before that.
//!
//! It is the beginning of the body of a frame that is marked so:
//!
//! | bytes | |
//! |---|---|
//! | 0 | node of the event that sent the frame |
//! | 1 | nodes in the vector clock |
//! | 2–7 | zeros |
//! | 8–15 | number of the event |
//!
//! then the vector clock, 8 bytes a node from node 1 on. All numbers are little-endian.

use super::event::EventId;
use crate::{
    clock::Vector,
    config::MAX_NODES, //
};
use zerocopy::{
    little_endian::U64,
    FromBytes as _, //
};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before the clock.
const START: usize = 16;

/// Most bytes of a context.
pub const MAX_CONTEXT: usize = START + Vector::MAX_BYTES;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Start {
    node: u8,
    nodes: u8,
    reserved: [u8; 6],
    seq: U64,
}

const _: () = assert!(core::mem::size_of::<Start>() == START);

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext<'a> {
    /// The event that sent the frame.
    pub event: EventId,
    clock: &'a [u8],
}

impl<'a> TraceContext<'a> {
    /// Bytes of a context with a clock of `nodes` nodes.
    pub const fn size(nodes: u8) -> usize {
        START.saturating_add((nodes as usize).saturating_mul(8))
    }

    /// Takes the context off the start of a body. `None` if it does not begin with one, or not with
    /// all of it.
    pub fn split(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (start, rest) = Start::read_from_prefix(body).ok()?;
        let nodes = usize::from(start.nodes);
        if nodes > MAX_NODES || start.node == 0 || start.reserved != [0; 6] {
            return None;
        }
        let (clock, rest) = rest.split_at_checked(nodes.checked_mul(8)?)?;
        let event = EventId {
            node: start.node,
            seq: start.seq.get(),
        };
        Some((TraceContext { event, clock }, rest))
    }

    /// Splits the body of a frame into its context, if it is to have one since it `is_traced`, and what
    /// the frame says. `None` if that cannot be done.
    pub fn of_frame(is_traced: bool, body: &'a [u8]) -> Option<(Option<Self>, &'a [u8])> {
        if !is_traced {
            return Some((None, body));
        }
        let (context, rest) = Self::split(body)?;
        Some((Some(context), rest))
    }

    /// The start of the context of frames that `event` sends; the clock of `nodes` nodes follows.
    #[inline]
    pub fn start(event: EventId, nodes: u8) -> [U64; START / 8] {
        zerocopy::transmute!(Start {
            node: event.node,
            nodes,
            reserved: [0; 6],
            seq: event.seq.into(),
        })
    }

    /// The counts of the clock, from node 1 on.
    pub fn counts(&self) -> impl Iterator<Item = u64> + 'a {
        let counts = self.clock.chunks_exact(8);
        counts.map(|count| count.try_into().map_or(0, u64::from_le_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;
    use zerocopy::IntoBytes as _;

    proptest! {
        #[test]
        fn contexts_come_back(
            node in 1..=64u8,
            seq: u64,
            counts in prop::collection::vec(any::<u64>(), 0..=MAX_NODES),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let nodes = counts.len() as u8;
            let event = EventId { node, seq };
            let mut bytes = TraceContext::start(event, nodes).as_bytes().to_vec();
            bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
            prop_assert_eq!(bytes.len(), TraceContext::size(nodes));
            prop_assert!(TraceContext::split(&bytes[..bytes.len() - 1]).is_none());
            bytes.extend(&rest);
            let (context, left) = TraceContext::split(&bytes).unwrap();
            prop_assert_eq!(context.event, event);
            prop_assert_eq!(context.counts().collect::<Vec<_>>(), counts);
            prop_assert_eq!(left, rest);
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some((context, rest)) = TraceContext::split(&bytes) {
                prop_assert_eq!(16 + 8 * context.counts().count() + rest.len(), bytes.len());
            }
        }
    }
}
