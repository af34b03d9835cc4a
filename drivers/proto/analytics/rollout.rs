// SPDX-License-Identifier: GPL-2.0

//! Roll-outs: variables that are set on all nodes, or on none.
//!
//! Two-phase commit with presumed abort (Mohan, Lindsay, Obermarck: Transaction management in the R*
//! distributed database management system, ACM TODS 11(4), 1986). No I/O: who uses these machines brings
//! messages, time, the disk and the variables.
//!
//! [`coordinator`] is at the node where somebody rolls out; [`participant`] at every node, that one
//! included; [`node`] is both, and what a node remembers of roll-outs that have ended; [`wire`] is how
//! nodes say it.
//!
//! ```text
//! coordinator                         participant
//!   Preparing  --- Prepare -------->  checks, takes memory, holds the new values ready
//!      | all hold                       Held, for a lease
//!   Trying     --- Try (canary) --->  new values, for the lease
//!      | it has them
//!   Ready      --- Keep, Try ------>  the lease begins anew
//!      | its owner wants it
//!   Deciding       (the decision goes to the disk)
//!      |
//!   Committed  --- Commit --------->  new values
//! ```
//!
//! At each arrow the coordinator may give up: then it says Abort. A participant whose lease ends without a
//! word has its old values, is in **doubt**, and asks the coordinator and the others for the outcome.
//!
//! What holds, and is checked by a model (`tests/models`):
//!
//! - Of one roll-out no node ends with the new values while another one ends with the old ones, whatever
//!   messages are lost, late or doubled, and whoever restarts. The coordinator's disk decides: what it has
//!   not is not decided.
//! - While a node is in doubt it has its old values. It learns the outcome when it reaches the coordinator's
//!   node, or one that knows it.
//! - If the coordinator's node is taken out of the configuration, and all others that are left are in doubt
//!   as well, they end with the old values. Should the coordinator have decided otherwise, and told only
//!   nodes that have restarted since, these have lost the new values, too.

pub mod coordinator;
pub mod node;
pub mod participant;
#[cfg(test)]
mod tests;
pub mod wire;

use crate::vuid::NodeId;

/// Which roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RolloutId {
    /// Random: no two have the same.
    pub number: u64,
    /// The node that coordinates it.
    pub coordinator: NodeId,
}

/// What a node says about a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RolloutAsk {
    /// Be ready to have the new values.
    Prepare(RolloutPlan),
    /// Be ready for as long again.
    Keep {
        /// How long that is, in milliseconds.
        lease_ms: u32,
    },
    /// Have the new values, for so long.
    Try {
        /// How long that is, in milliseconds.
        lease_ms: u32,
    },
    /// Have the new values: it is decided.
    Commit,
    /// Have the old values: it has ended.
    Abort,
    /// What has become of it?
    Outcome,
}

/// What a node has to say to another: to which roll-out it belongs, and what.
pub type RolloutMessage = (RolloutId, RolloutAsk);

/// Who takes part in a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RolloutPlan {
    /// All nodes that do, as bits: see [`crate::vuid::bit`].
    pub nodes: u64,
    /// How long each is ready, in milliseconds, unless it is asked again.
    pub lease_ms: u32,
}

/// What a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RolloutAnswer {
    /// It is ready, or has the new values on trial; until the end of the lease.
    Held,
    /// It is decided: new values.
    Committed,
    /// It has ended: old values.
    Aborted,
    /// It is not decided yet, and who decides is at work.
    Undecided,
    /// This node does not know, and has the old values.
    Doubt,
}

/// Times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RolloutTiming {
    /// How long a participant is ready without hearing of its coordinator.
    pub lease_ms: u32,
    /// Between two renewals, and between two questions of a participant in doubt, at first.
    pub keep_ms: u32,
    /// Nothing is decided unless all leases go on for so long at least.
    pub margin_ms: u32,
    /// How long the coordinator waits for its owner, who has said nothing.
    pub owner_ms: u32,
}
