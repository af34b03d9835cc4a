// SPDX-License-Identifier: GPL-2.0

//! Workers that send calls to several nodes at a time. Each node has its own: what waits for one that does
//! not answer is in nobody else's way.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    }, //
};
use linux::work::Queue;
use virgo_proto::{
    config::MAX_NODES,
    vuid::NodeId, //
};

/// Most workers that send to one node: of sending most is waiting.
const MAX: c_int = 16;

/// See the module. Dropping it waits for the work that has begun.
pub(crate) struct Senders {
    /// Made when they are needed.
    queues: [SetOnce<Arc<Queue>>; MAX_NODES],
}

impl Senders {
    pub(crate) const fn new() -> Self {
        Senders {
            queues: [const { SetOnce::new() }; MAX_NODES],
        }
    }

    /// Has `work` done by a worker of node `node`. May sleep, not for a node.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENODEV`] if there can be no such node.
    pub(crate) fn spawn(&self, node: NodeId, work: impl FnOnce() + Send + 'static) -> Result {
        let index = usize::from(node).checked_sub(1).ok_or(ENODEV)?;
        let place = self.queues.get(index).ok_or(ENODEV)?;
        if place.as_ref().is_none() {
            // Of two who make it at a time one is the first.
            place.populate(Queue::unbound(c"virgo_send", MAX)?);
        }
        let queue = place.as_ref().ok_or(ENOMEM)?;
        Ok(queue.spawn(work)?)
    }
}
