// SPDX-License-Identifier: GPL-2.0

//! Which call runs next. Users take turns, whoever has how many calls waiting; a user's own calls
//! run in the order in which they came.
//!
//! Nothing here takes longer with more calls than a search in a balanced tree; a user who may not
//! run more calls now is passed over, and there are at most as many of those as calls that run.

use crate::invocation::{
    Invocation,
    InvocationKey,
    QueuePosition, //
};
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::Arc, //
};
use virgo_utils::budget::Charge;

/// The calls that run or wait to run.
pub(crate) struct Schedule {
    all: RBTree<InvocationKey, Arc<Invocation>>,
    waiting: RBTree<QueuePosition, Arc<Invocation>>,
    len: usize,
    /// The user whose call has begun last.
    last: u32,
}

/// A call that is to be added, with the memory for that.
pub(crate) struct ScheduleEntry {
    known: RBTreeNode<InvocationKey, Arc<Invocation>>,
    waiting: RBTreeNode<QueuePosition, Arc<Invocation>>,
}

/// What was taken out of a [`Schedule`], to be dropped without its lock.
pub(crate) type RemovedInvocation = Option<RBTreeNode<InvocationKey, Arc<Invocation>>>;

impl ScheduleEntry {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(run: Arc<Invocation>) -> Result<Self> {
        Ok(ScheduleEntry {
            known: RBTreeNode::new(run.key(), run.clone(), GFP_KERNEL_ACCOUNT)?,
            waiting: RBTreeNode::new(run.turn(), run, GFP_KERNEL_ACCOUNT)?,
        })
    }
}

impl Schedule {
    pub(crate) fn new() -> Self {
        Schedule {
            all: RBTree::new(),
            waiting: RBTree::new(),
            len: 0,
            last: 0,
        }
    }

    /// Calls that run or wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: InvocationKey) -> Option<&Arc<Invocation>> {
        self.all.get(&key)
    }

    /// The first call with this key or a later one.
    pub(crate) fn from(&self, key: InvocationKey) -> Option<&Arc<Invocation>> {
        let cursor = self.all.cursor_lower_bound(&key)?;
        let (_, run) = cursor.current();
        self.all.get(&run.key())
    }

    /// Adds a call that waits.
    ///
    /// # Errors
    ///
    /// The call, if its caller has another one of the same name.
    pub(crate) fn add(
        &mut self,
        run: &Invocation,
        entry: ScheduleEntry,
    ) -> Result<(), ScheduleEntry> {
        if self.all.get(&run.key()).is_some() {
            return Err(entry);
        }
        // The keys are new, so nothing is replaced.
        self.all.insert(entry.known);
        self.waiting.insert(entry.waiting);
        self.len += 1;
        Ok(())
    }

    /// The next call to run, which does not wait any more; [`Charge`] lets it run. The node is to be
    /// dropped without the lock.
    pub(crate) fn next(&mut self) -> Option<(RBTreeNode<QueuePosition, Arc<Invocation>>, Charge)> {
        let behind = self.last.checked_add(1);
        let (turn, charge) = behind
            .and_then(|first| self.find(first, u32::MAX))
            .or_else(|| self.find(0, self.last))?;
        self.last = turn.0;
        Some((self.waiting.remove_node(&turn)?, charge))
    }

    /// The first call of the first user from `first` to `last` who may run one more.
    fn find(&self, first: u32, last: u32) -> Option<(QueuePosition, Charge)> {
        let mut uid = first;
        loop {
            let cursor = self.waiting.cursor_lower_bound(&(uid, 0))?;
            let (&turn, run) = cursor.current();
            if turn.0 > last {
                return None;
            }
            if let Ok(charge) = run.accounts.running.charge(1) {
                return Some((turn, charge));
            }
            uid = turn.0.checked_add(1)?;
        }
    }

    /// Ends the waiting of a call. `None` if it does not wait.
    pub(crate) fn withdraw(
        &mut self,
        turn: QueuePosition,
    ) -> Option<RBTreeNode<QueuePosition, Arc<Invocation>>> {
        self.waiting.remove_node(&turn)
    }

    /// Removes a call that does not wait.
    pub(crate) fn remove(&mut self, key: InvocationKey) -> RemovedInvocation {
        let removed = self.all.remove_node(&key);
        self.len -= usize::from(removed.is_some());
        removed
    }
}
