// SPDX-License-Identifier: GPL-2.0

//! Another node, as a server knows it.

use virgo_proto::vuid::NodeId;

/// Another node, authenticated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub node: NodeId,
    /// Random number of its present incarnation.
    pub boot: u64,
}
