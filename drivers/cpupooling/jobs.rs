// SPDX-License-Identifier: GPL-2.0

//! The calls that programs of this node have made and whose results nobody has taken yet.

use crate::outcome::Outcome;
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
    deadline::Deadline,
    wait::WaitQueue, //
};
use virgo_proto::{
    clone::state,
    vuid::NodeId, //
};

/// How long the result of a call is kept that nobody asks for, after its deadline.
const KEEP_MS: u32 = 600_000;

/// Calls that are made together: whoever waits for them waits here.
#[pin_data]
pub(crate) struct Batch {
    left: Atomic<u32>,
    #[pin]
    done: WaitQueue,
}

/// A call.
#[pin_data]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) uid: u32,
    batch: Arc<Batch>,
    forgotten: Deadline,
    /// The node that it went to, 0 before.
    node: Atomic<u32>,
    #[pin]
    outcome: SpinLock<Option<Outcome>>,
    ended: Atomic<bool>,
    /// Its node has it: it must not go anywhere else.
    delivered: Atomic<bool>,
}

/// The table of calls. A job is in it from its start until its result is taken.
#[pin_data]
pub(crate) struct Jobs {
    #[pin]
    table: SpinLock<Table>,
    max: usize,
    /// Woken when a call has ended.
    #[pin]
    ended: WaitQueue,
}

struct Table {
    jobs: RBTree<u64, Arc<Job>>,
    len: usize,
    /// Random at first, so that results of a former life are for nobody.
    next: u64,
}

impl Batch {
    pub(crate) fn new(calls: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                left: Atomic::new(calls),
                done <- linux::new_wait_queue!("virgo_batch"),
            }),
            GFP_KERNEL,
        )
    }

    /// Sleeps until all calls have ended, killably. False at the deadline.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool> {
        let all = self
            .done
            .wait(deadline, || (self.left.load(Relaxed) == 0).then_some(()))?;
        Ok(all.is_some())
    }
}

impl Job {
    /// The node that it went to; 0 if it went nowhere yet.
    pub(crate) fn node(&self) -> NodeId {
        self.node.load(Relaxed) as NodeId
    }

    pub(crate) fn goes_to(&self, node: NodeId) {
        self.node.store(node.into(), Relaxed);
    }

    /// Its node may have begun it.
    pub(crate) fn is_delivered(&self) {
        self.delivered.store(true, Relaxed);
    }

    /// Whether it has still to be sent, to the node that is chosen or to any.
    pub(crate) fn is_unsent(&self) -> bool {
        !self.delivered.load(Relaxed) && !self.has_ended()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Shows the outcome; a call that has not ended shows that it runs.
    pub(crate) fn with_outcome<T>(&self, see: impl FnOnce(Option<&Outcome>) -> T) -> T {
        see(self.outcome.lock().as_ref())
    }

    /// The outcome; `None` if it has not ended, or if it was taken before.
    pub(crate) fn take(&self) -> Option<Outcome> {
        self.outcome.lock().take()
    }

    /// Undoes [`Self::take`].
    pub(crate) fn put_back(&self, outcome: Outcome) {
        *self.outcome.lock() = Some(outcome);
    }
}

impl Jobs {
    pub(crate) fn new(max: usize) -> impl PinInit<Self> {
        let table = Table {
            jobs: RBTree::new(),
            len: 0,
            next: crypto::random_u64() >> 1,
        };
        pin_init!(Self {
            table <- kernel::new_spinlock!(table, "virgo_jobs"),
            max,
            ended <- linux::new_wait_queue!("virgo_jobs"),
        })
    }

    /// A new call of user `uid`.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if there are too many, [`ENOMEM`].
    pub(crate) fn add(&self, batch: &Arc<Batch>, uid: u32, deadline: Deadline) -> Result<Arc<Job>> {
        let (id, len) = {
            let mut table = self.table.lock();
            table.next += 1;
            (table.next, table.len)
        };
        let job = Arc::pin_init(
            pin_init!(Job {
                id,
                uid,
                batch: batch.clone(),
                forgotten: deadline.later(KEEP_MS),
                node: Atomic::new(0),
                outcome <- kernel::new_spinlock!(None, "virgo_job"),
                ended: Atomic::new(false),
                delivered: Atomic::new(false),
            }),
            GFP_KERNEL,
        )?;
        let node = RBTreeNode::new(id, job.clone(), GFP_KERNEL)?;
        if len >= self.max {
            self.forget_old();
        }
        let mut table = self.table.lock();
        if table.len >= self.max {
            return Err(EAGAIN);
        }
        table.len += 1;
        let replaced = table.jobs.insert(node);
        drop(table);
        // Ids are never used twice.
        drop(replaced);
        Ok(job)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().len
    }

    /// The call of this id, if user `uid` made it.
    ///
    /// # Errors
    ///
    /// [`ESRCH`] if there is none, [`EPERM`].
    pub(crate) fn find(&self, id: u64, uid: u32) -> Result<Arc<Job>> {
        let job = self.table.lock().jobs.get(&id).cloned().ok_or(ESRCH)?;
        match job.uid == uid {
            true => Ok(job),
            false => Err(EPERM),
        }
    }

    /// Takes the call of this id out of the table.
    pub(crate) fn remove(&self, id: u64) {
        let mut table = self.table.lock();
        let removed = table.jobs.remove_node(&id);
        table.len -= usize::from(removed.is_some());
        drop(table);
        // Freed outside of the spinlock.
        drop(removed);
    }

    /// Call `id` has ended, as node `from` says. Does nothing if nobody knows it, if it had ended
    /// before, or if it does not run there.
    pub(crate) fn end(&self, id: u64, from: NodeId, outcome: Outcome) {
        let job = self.table.lock().jobs.get(&id).cloned();
        if let Some(job) = job.filter(|job| job.node() == from) {
            self.end_job(&job, outcome);
        }
    }

    /// As [`Self::end`], for who has the job.
    pub(crate) fn end_job(&self, job: &Job, outcome: Outcome) {
        let mut place = job.outcome.lock();
        if job.ended.load(Relaxed) {
            drop(place);
            drop(outcome);
            return;
        }
        *place = Some(outcome);
        job.ended.store(true, Relaxed);
        drop(place);
        if job.batch.left.fetch_sub(1, Relaxed) == 1 {
            job.batch.done.wake_all();
        }
        self.ended.wake_all();
    }

    /// Sleeps until one of `jobs` has ended, killably. False at the deadline.
    pub(crate) fn wait_any(&self, jobs: &[Option<Arc<Job>>], deadline: Deadline) -> Result<bool> {
        let any = self.ended.wait(deadline, || {
            let mut jobs = jobs.iter().flatten();
            jobs.any(|job| job.has_ended()).then_some(())
        })?;
        Ok(any.is_some())
    }

    /// Shows `see` each call of the table, the oldest first. The table is locked for one at a
    /// time only.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&Job)) {
        let mut next = 0;
        while let Some(job) = self.from(next) {
            see(&job);
            next = job.id.wrapping_add(1);
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
            if job.forgotten.passed() {
                self.remove(job.id);
            }
        });
    }
}

/// What `virgo jobs` shows of a state.
pub(crate) fn state_name(state: u32) -> &'static str {
    match state {
        state::RUNNING => "running",
        state::RETURNED => "returned",
        state::EXITED => "exited",
        state::KILLED => "killed",
        _ => "failed",
    }
}
