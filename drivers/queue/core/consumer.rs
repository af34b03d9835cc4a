// SPDX-License-Identifier: GPL-2.0

//! Consumers: the numbers by which channels know who has a message.
//!
//! The programs that take by name are one consumer for each user and node. A session or descriptor is
//! one of its own. In some bits the pulls of other nodes are told apart.

use virgo_proto::{
    queue::{
        state::TAKE_BITS,
        wire::PULLS, //
    },
    vuid::NodeId, //
};
use virgo_utils::Peer;

/// Bit of a consumer that is not a user of some node: a session or a descriptor.
pub(crate) const SESSION: u64 = 1 << 63;

/// Who has what the handler of requests has taken.
pub(crate) const HANDLER: u64 = SESSION;

/// Who has what `uid` of a node has taken.
pub(crate) const fn consumer(node: NodeId, uid: u32) -> u64 {
    (node as u64) << 32 | uid as u64
}

/// The same, of one pull.
pub(crate) fn consumer_of_pull(peer: Peer, uid: u32, number: u32) -> u64 {
    // In the bits by which takes are told apart.
    consumer(peer.node, uid) | u64::from(number % PULLS) << TAKE_BITS.trailing_zeros()
}

/// Whether a consumer is a user of this node.
pub(crate) const fn is_of(who: u64, node: NodeId) -> bool {
    (who & !TAKE_BITS) >> 32 == node as u64
}

/// Who has what programs of this node, of the same user, have taken by name.
pub(crate) const fn programs(uid: u32) -> u64 {
    consumer(0, uid)
}
