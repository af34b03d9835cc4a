// SPDX-License-Identifier: GPL-2.0

//! Workers that send calls to several nodes at a time. Each node has its own: what waits for one that does
//! not answer is in nobody else's way. Of the workers of a node no user has all, since what they send may
//! wait in the user's own line for the node.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    }, //
};
use virgo_proto::{
    config::MAX_NODES,
    vuid::NodeId,
    worker_shares::WorkOwner, //
};
use virgo_utils::workers::{
    ReplyInterest,
    Workers, //
};

/// Most workers that send to one node: of sending most is waiting.
const MAX: usize = 16;

/// See the module. Dropping it waits for the work that has begun.
pub(crate) struct Senders {
    /// Made when they are needed.
    nodes: [SetOnce<Arc<Workers<MAX>>>; MAX_NODES],
}

impl Senders {
    pub(crate) const fn new() -> Self {
        Senders {
            nodes: [const { SetOnce::new() }; MAX_NODES],
        }
    }

    /// Has `work` of user `uid` done by a worker of node `node`. May sleep, not for a node.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENODEV`] if there can be no such node.
    pub(crate) fn spawn(
        &self,
        node: NodeId,
        uid: u32,
        work: impl FnOnce() + Send + 'static,
    ) -> Result {
        let index = usize::from(node).checked_sub(1).ok_or(ENODEV)?;
        let place = self.nodes.get(index).ok_or(ENODEV)?;
        if place.as_ref().is_none() {
            // Of two who make them at a time one is the first.
            place.populate(Arc::new(Workers::new(c"virgo_send")?, GFP_KERNEL)?);
        }
        let workers = place.as_ref().ok_or(ENOMEM)?;
        // Of a user as of a device: that bounds all that is his.
        let owner = WorkOwner {
            device: uid,
            user: uid.into(),
        };
        // What it fails with when it is late is the outcome of its calls.
        workers.lines().submit(owner, ReplyInterest::always(), work)
    }
}
