// SPDX-License-Identifier: GPL-2.0

//! Until when locks are waited for by programs that are told of them by an event. Each local lock has one deadline
//! at most, which goes with it, so there are no more of them than locks, which are charged.

use kernel::{
    prelude::*,
    rbtree::RBTree, //
};
use linux::work::WorkHandle;

/// Deadlines, in the order in which they pass, in milliseconds of this node's clock: each with the place of the
/// name and the number of the session.
pub(crate) struct Expiries {
    order: RBTree<(u64, u32, u64), ()>,
    worker: Option<WorkHandle>,
}

impl Expiries {
    pub(crate) fn new() -> Self {
        Expiries {
            order: RBTree::new(),
            worker: None,
        }
    }

    /// Who looks at what has passed.
    pub(crate) fn set_worker(&mut self, worker: WorkHandle) {
        self.worker = Some(worker);
    }

    /// Adds one. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn add(&mut self, until: u64, at: usize, session: u64) -> Result {
        let key = (until, at as u32, session);
        self.order.try_create_and_insert(key, (), GFP_KERNEL)?;
        if self.first() == Some(key) {
            if let Some(worker) = &self.worker {
                worker.wake_now();
            }
        }
        Ok(())
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, until: u64, at: usize, session: u64) {
        self.order.remove(&(until, at as u32, session));
    }

    /// The one that passes next.
    pub(crate) fn first(&self) -> Option<(u64, u32, u64)> {
        self.order.cursor_front().map(|cursor| *cursor.current().0)
    }
}
