// SPDX-License-Identifier: GPL-2.0

//! The calls that programs of this node have made and whose results nobody has taken yet.

use crate::{
    budgets::{
        refusal,
        JobAccounts, //
    },
    job::{
        Batch,
        Job,
        NewJob,
        Waiter, //
    },
    outcome::Outcome, //
};
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    }, //
};
use linux::{
    crypto,
    deadline::Deadline, //
};
use virgo_proto::vuid::NodeId;

/// How long the result of a call is kept that nobody asks for, after its deadline.
const KEEP_MS: u32 = 600_000;

/// How long after a call's deadline its result is waited for, in milliseconds: the node that runs it
/// ends it at the deadline, and then says so, with the output so far.
pub(crate) const GRACE_MS: u32 = 2000;

/// The table of calls. A job is in it from its start until its result is taken.
#[pin_data]
pub(crate) struct Jobs {
    #[pin]
    table: SpinLock<Table>,
    /// Number of the next wait.
    waits: Atomic<u64>,
}

struct Table {
    jobs: RBTree<u64, Arc<Job>>,
    len: usize,
    /// Random at first, so that results of a former incarnation are for nobody.
    next: u64,
    /// No calls are taken.
    stopped: bool,
}

/// The calls that a task waits for; it waits no more when this is dropped.
struct Awaited<'a> {
    wait: u64,
    jobs: &'a [Option<Arc<Job>>],
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        for job in self.jobs.iter().flatten() {
            job.forget_wait(self.wait);
        }
    }
}

impl Jobs {
    pub(crate) fn new() -> impl PinInit<Self> {
        let table = Table {
            jobs: RBTree::new(),
            len: 0,
            next: crypto::random_u64() >> 1,
            stopped: false,
        };
        pin_init!(Self {
            table <- kernel::new_spinlock!(table, "virgo_jobs"),
            waits: Atomic::new(1),
        })
    }

    /// A new call of user `uid`, charged to `accounts`, which are his. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if he has too many, [`EAGAIN`] if there are too many; [`ESHUTDOWN`]; [`ENOMEM`].
    pub(crate) fn add(
        &self,
        accounts: &JobAccounts,
        batch: &Arc<Batch>,
        uid: u32,
        deadline: Deadline,
    ) -> Result<Arc<Job>> {
        let charge = accounts.jobs.charge(1).or_else(|_| {
            self.forget_old();
            accounts.jobs.charge(1)
        });
        let charge = charge.map_err(refusal)?;
        let id = {
            let mut table = self.table.lock();
            table.next += 1;
            table.next
        };
        let job = Job::new(NewJob {
            id,
            uid,
            deadline,
            batch,
            bytes: &accounts.bytes,
            charge,
        })?;
        let node = RBTreeNode::new(id, job.clone(), GFP_KERNEL_ACCOUNT)?;
        let mut table = self.table.lock();
        if table.stopped {
            drop(table);
            drop(node);
            return Err(ESHUTDOWN);
        }
        table.len += 1;
        let replaced = table.jobs.insert(node);
        drop(table);
        // Ids are never used twice.
        drop(replaced);
        Ok(job)
    }

    /// Has no calls taken any more, or has them taken again.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.table.lock().stopped = stopped;
    }

    /// A number for a wait for several calls.
    pub(crate) fn next_wait(&self) -> u64 {
        self.waits.fetch_add(1, Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().len
    }

    /// The call of this id, if user `uid` made it or is root.
    ///
    /// # Errors
    ///
    /// [`ESRCH`] if there is none, [`EPERM`].
    pub(crate) fn find(&self, id: u64, uid: u32) -> Result<Arc<Job>> {
        let job = self.get(id).ok_or(ESRCH)?;
        match uid == 0 || job.uid == uid {
            true => Ok(job),
            false => Err(EPERM),
        }
    }

    fn get(&self, id: u64) -> Option<Arc<Job>> {
        self.table.lock().jobs.get(&id).cloned()
    }

    /// The call of this id that has not ended, if it went to node `node`.
    pub(crate) fn running(&self, id: u64, node: NodeId) -> Option<Arc<Job>> {
        self.get(id)
            .filter(|job| job.node() == node && !job.has_ended())
    }

    /// Takes the call of this id out of the table. False if somebody else has: of several who are told
    /// the result of a call at the same time one has it.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut table = self.table.lock();
        let removed = table.jobs.remove_node(&id);
        table.len -= usize::from(removed.is_some());
        drop(table);
        // Freed outside of the spinlock.
        removed.is_some()
    }

    /// Call `id` has ended, as node `from` says. Does nothing if nobody knows it, if it had ended
    /// before, or if it does not run there. May sleep.
    pub(crate) fn end(&self, id: u64, from: NodeId, outcome: Outcome) {
        if let Some(job) = self.running(id, from) {
            job.end(outcome);
        }
    }

    /// Sleeps until one of `jobs` has ended, killably. False at the deadline.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ENOMEM`].
    pub(crate) fn wait_any(&self, jobs: &[Option<Arc<Job>>], deadline: Deadline) -> Result<bool> {
        if jobs.iter().flatten().any(|job| job.has_ended()) {
            return Ok(true);
        }
        let waiter = Waiter::new()?;
        let awaited = Awaited {
            wait: self.next_wait(),
            jobs,
        };
        for job in jobs.iter().flatten() {
            if !job.await_end(awaited.wait, &waiter)? {
                return Ok(true);
            }
        }
        waiter.wait(deadline)
    }

    /// Shows `see` each call of the table, the oldest first. The table is locked for one at a
    /// time only.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&Job)) {
        self.for_each_from(0, |job| {
            see(job);
            true
        });
    }

    /// As [`Self::for_each`], from this id on, until `see` says false.
    pub(crate) fn for_each_from(&self, first: u64, mut see: impl FnMut(&Job) -> bool) {
        let mut next = Some(first);
        while let Some(job) = next.and_then(|next| self.from(next)) {
            next = match see(&job) {
                true => job.id.checked_add(1),
                false => None,
            };
        }
    }

    /// The first call with this id or a later one.
    fn from(&self, id: u64) -> Option<Arc<Job>> {
        let table = self.table.lock();
        let cursor = table.jobs.cursor_lower_bound(&id)?;
        let (_, job) = cursor.current();
        Some(job.clone())
    }

    /// Makes room: throws away what nobody has asked for in a long time.
    fn forget_old(&self) {
        self.for_each(|job| {
            if job.deadline.later(KEEP_MS).passed() {
                self.remove(job.id);
            }
        });
    }
}
