// SPDX-License-Identifier: GPL-2.0

//! A call that is to be made.

use virgo_proto::{
    balance::Policy,
    vuid::NodeId, //
};

/// Where a call is to run.
#[derive(Clone, Copy)]
pub(crate) enum Placement {
    /// Where the policy says.
    Policy(Policy),
    /// On this node.
    Node(NodeId),
}

/// A call to be made.
#[derive(Clone, Copy)]
pub(crate) struct CallRequest<'a> {
    /// Name and arguments, a NUL after each.
    pub(crate) argv: &'a [u8],
    pub(crate) place: Placement,
}
