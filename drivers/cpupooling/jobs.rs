// SPDX-License-Identifier: GPL-2.0

//! The calls that programs of this node have made and whose results nobody has taken yet.

use crate::{
    budgets::{
        refusal,
        JobAccounts, //
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
    bytes::Fill,
    crypto,
    deadline::Deadline,
    wait::WaitQueue, //
};
use virgo_proto::{
    clone::{
        self,
        state, //
    },
    vuid::NodeId, //
};
use virgo_utils::budget::{
    Account,
    Charge, //
};

/// How long the result of a call is kept that nobody asks for, after its deadline.
const KEEP_MS: u32 = 600_000;

/// How long after a call's deadline its result is waited for, in milliseconds: the node that runs it
/// ends it at the deadline, and then says so, with the output so far.
pub(crate) const GRACE_MS: u32 = 2000;

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
    pub(crate) deadline: Deadline,
    batch: Arc<Batch>,
    /// The node that it went to, 0 before.
    node: Atomic<u32>,
    #[pin]
    received: SpinLock<Received>,
    ended: Atomic<bool>,
    /// Its node has it: it must not go anywhere else.
    delivered: Atomic<bool>,
    /// This node runs it.
    here: Atomic<bool>,
    /// Nobody waits for it now: its result is kept.
    kept: Atomic<bool>,
    /// The last wait that has named it.
    wait: Atomic<u64>,
    /// For the output.
    bytes: Account,
    _charge: Charge,
}

/// What has come of a call's result.
struct Received {
    outcome: Option<Outcome>,
    /// Standard error that has come before the rest.
    errors: KVVec<u8>,
    errors_charge: Option<Charge>,
}

/// The table of calls. A job is in it from its start until its result is taken.
#[pin_data]
pub(crate) struct Jobs {
    #[pin]
    table: SpinLock<Table>,
    /// Number of the next wait.
    waits: Atomic<u64>,
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

    /// This node runs it.
    pub(crate) fn runs_here(&self) {
        self.here.store(true, Relaxed);
    }

    /// Whether this node runs it.
    pub(crate) fn is_here(&self) -> bool {
        self.here.load(Relaxed)
    }

    /// Its result is kept for who asks later.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Relaxed);
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Relaxed)
    }

    /// Whether `wait`, a number of [`Jobs::next_wait`], has named it before. That others wait for it at
    /// the same time may hide this.
    pub(crate) fn is_waited_for_twice(&self, wait: u64) -> bool {
        self.wait.xchg(wait, Relaxed) == wait
    }

    /// Whether another node has it, and it has not ended as far as is known.
    pub(crate) fn runs_elsewhere(&self) -> bool {
        self.delivered.load(Relaxed) && !self.is_here() && !self.has_ended()
    }

    /// Shows the outcome; a call that has not ended shows that it runs.
    pub(crate) fn with_outcome<T>(&self, see: impl FnOnce(Option<&Outcome>) -> T) -> T {
        see(self.received.lock().outcome.as_ref())
    }

    /// One of [`state`], as far as is known.
    pub(crate) fn state(&self) -> u32 {
        self.with_outcome(|outcome| outcome.map_or(state::RUNNING, |outcome| outcome.state))
    }

    /// The outcome; `None` if it has not ended, or if it was taken before.
    pub(crate) fn take(&self) -> Option<Outcome> {
        self.received.lock().outcome.take()
    }

    /// Undoes [`Self::take`].
    pub(crate) fn put_back(&self, outcome: Outcome) {
        self.received.lock().outcome = Some(outcome);
    }
}

impl Jobs {
    pub(crate) fn new() -> impl PinInit<Self> {
        let table = Table {
            jobs: RBTree::new(),
            len: 0,
            next: crypto::random_u64() >> 1,
        };
        pin_init!(Self {
            table <- kernel::new_spinlock!(table, "virgo_jobs"),
            waits: Atomic::new(1),
            ended <- linux::new_wait_queue!("virgo_jobs"),
        })
    }

    /// A new call of user `uid`, charged to `accounts`, which are his. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if he has too many, [`EAGAIN`] if there are too many; [`ENOMEM`].
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
        let nothing = Received {
            outcome: None,
            errors: KVVec::new(),
            errors_charge: None,
        };
        let job = Arc::pin_init(
            pin_init!(Job {
                id,
                uid,
                deadline,
                batch: batch.clone(),
                node: Atomic::new(0),
                received <- kernel::new_spinlock!(nothing, "virgo_job"),
                ended: Atomic::new(false),
                delivered: Atomic::new(false),
                here: Atomic::new(false),
                kept: Atomic::new(false),
                wait: Atomic::new(0),
                bytes: accounts.bytes.clone(),
                _charge: charge,
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let node = RBTreeNode::new(id, job.clone(), GFP_KERNEL_ACCOUNT)?;
        let mut table = self.table.lock();
        table.len += 1;
        let replaced = table.jobs.insert(node);
        drop(table);
        // Ids are never used twice.
        drop(replaced);
        Ok(job)
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
    fn running(&self, id: u64, node: NodeId) -> Option<Arc<Job>> {
        self.get(id)
            .filter(|job| job.node() == node && !job.has_ended())
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
        if let Some(job) = self.running(id, from) {
            self.end_job(&job, outcome.charged(&job.bytes));
        }
    }

    /// As [`Self::end`], with the outcome as it came over the wire. May sleep.
    pub(crate) fn receive(&self, from: NodeId, header: &clone::Outcome, output: &[u8]) {
        let Some(job) = self.running(header.key.get(), from) else {
            return;
        };
        let (errors, charge) = {
            let mut received = job.received.lock();
            let errors = core::mem::take(&mut received.errors);
            (errors, received.errors_charge.take())
        };
        drop(charge);
        let outcome = Outcome::received(header, output, &errors, &job.bytes);
        self.end_job(&job, outcome);
    }

    /// The standard error of call `id`, whose result follows from node `from`. May sleep.
    pub(crate) fn receive_errors(&self, id: u64, from: NodeId, errors: &[u8]) {
        let Some(job) = self.running(id, from) else {
            return;
        };
        let mut copy = KVVec::new();
        let (Ok(charge), Ok(())) = (
            job.bytes.charge(errors.len() as u64),
            copy.put_bytes(errors, GFP_KERNEL),
        ) else {
            return;
        };
        let mut received = job.received.lock();
        let old = core::mem::replace(&mut received.errors, copy);
        let old_charge = received.errors_charge.replace(charge);
        drop(received);
        drop((old, old_charge));
    }

    /// As [`Self::end`], for who has the job.
    pub(crate) fn end_job(&self, job: &Job, outcome: Outcome) {
        let mut received = job.received.lock();
        if job.ended.load(Relaxed) {
            drop(received);
            drop(outcome);
            return;
        }
        received.outcome = Some(outcome);
        let errors = core::mem::take(&mut received.errors);
        let charge = received.errors_charge.take();
        job.ended.store(true, Relaxed);
        drop(received);
        drop((errors, charge));
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
