// SPDX-License-Identifier: GPL-2.0

//! Where an allocation is to go.

use virgo_proto::{
    balance::Policy,
    vuid::NodeId, //
};

/// Where an allocation is to go.
#[derive(Clone, Copy)]
pub(crate) enum AllocTarget {
    /// Where the policy says.
    Policy(Policy),
    /// To this node.
    Node(NodeId),
}
