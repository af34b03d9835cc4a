// SPDX-License-Identifier: GPL-2.0

//! A call that a program of this node has made: where it is, what has come of it, and who waits for it.

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
        SetOnce,
        SpinLock, //
    }, //
};
use linux::{
    bytes::{
        memory_of,
        Fill, //
    },
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
use virgo_utils::{
    budget::{
        Account,
        Charge, //
    },
    eventnet::Origin, //
};

/// Calls that are made together: who has made them waits for all of them here.
#[pin_data]
pub(crate) struct Batch {
    left: Atomic<u32>,
    #[pin]
    done: WaitQueue,
}

/// A task that waits until one of several calls has ended.
#[pin_data]
pub(crate) struct Waiter {
    woken: Atomic<bool>,
    #[pin]
    queue: WaitQueue,
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
    /// What has come of it. Read without a lock, as often as somebody wants it.
    outcome: SetOnce<Outcome>,
    #[pin]
    progress: SpinLock<Progress>,
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

/// What a [`Job`] is made of.
pub(crate) struct NewJob<'a> {
    pub(crate) id: u64,
    pub(crate) uid: u32,
    pub(crate) deadline: Deadline,
    pub(crate) batch: &'a Arc<Batch>,
    /// For the output.
    pub(crate) bytes: &'a Account,
    /// For the job itself.
    pub(crate) charge: Charge,
}

struct Progress {
    /// Standard error that has come before the rest of the result.
    errors: KVVec<u8>,
    errors_charge: Option<Charge>,
    /// There was standard error for which there was no room.
    errors_lost: bool,
    /// Who waits, by the numbers of the waits.
    waiters: RBTree<u64, Arc<Waiter>>,
}

impl Batch {
    pub(crate) fn new(calls: u32) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                left: Atomic::new(calls),
                done <- linux::new_wait_queue!("virgo_batch"),
            }),
            GFP_KERNEL_ACCOUNT,
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

impl Waiter {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                woken: Atomic::new(false),
                queue <- linux::new_wait_queue!("virgo_waiter"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Sleeps until a call has ended at which this waits, killably. False at the deadline.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<bool> {
        let woken = self
            .queue
            .wait(deadline, || self.woken.load(Relaxed).then_some(()))?;
        Ok(woken.is_some())
    }

    fn wake(&self) {
        self.woken.store(true, Relaxed);
        self.queue.wake_all();
    }
}

impl Job {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(new: NewJob<'_>) -> Result<Arc<Self>> {
        let progress = Progress {
            errors: KVVec::new(),
            errors_charge: None,
            errors_lost: false,
            waiters: RBTree::new(),
        };
        Arc::pin_init(
            pin_init!(Self {
                id: new.id,
                uid: new.uid,
                deadline: new.deadline,
                batch: new.batch.clone(),
                node: Atomic::new(0),
                outcome: SetOnce::new(),
                progress <- kernel::new_spinlock!(progress, "virgo_job"),
                delivered: Atomic::new(false),
                here: Atomic::new(false),
                kept: Atomic::new(false),
                wait: Atomic::new(0),
                bytes: new.bytes.clone(),
                _charge: new.charge,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

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
        self.outcome().is_some()
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

    /// Whether `wait`, a number of [`next_wait`](crate::jobs::Jobs::next_wait), has named it before.
    /// That others wait for it at the same time may hide this.
    pub(crate) fn is_waited_for_twice(&self, wait: u64) -> bool {
        self.wait.xchg(wait, Relaxed) == wait
    }

    /// Whether another node has it, and it has not ended as far as is known.
    pub(crate) fn runs_elsewhere(&self) -> bool {
        self.delivered.load(Relaxed) && !self.is_here() && !self.has_ended()
    }

    /// What has come of it; `None` if it has not ended.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// One of [`state`], as far as is known.
    pub(crate) fn state(&self) -> u32 {
        self.outcome()
            .map_or(state::RUNNING, |outcome| outcome.state)
    }

    /// It has ended; `outcome` is lost if it had before. What there is of output is charged to its
    /// user. May sleep.
    ///
    /// Each task that waits for it is woken by itself, without a lock: there may be any number.
    pub(crate) fn end(&self, outcome: Outcome) {
        let mut outcome = outcome.charged(&self.bytes);
        outcome.cause = Origin::here();
        if !self.outcome.populate(outcome) {
            return;
        }
        while let Some(waiter) = self.settle() {
            waiter.wake();
        }
        if self.batch.left.fetch_sub(1, Relaxed) == 1 {
            self.batch.done.wake_all();
        }
    }

    /// As [`Self::end`], with the result as it came over the wire.
    pub(crate) fn receive(&self, header: &clone::OutcomeHeader, output: &[u8]) {
        let (errors, charge, lost) = self.take_errors();
        drop(charge);
        let mut outcome = Outcome::received(header, output, &errors, &self.bytes);
        outcome.truncated |= lost;
        self.end(outcome);
    }

    /// The standard error, whose result follows; it may come again. If there is no room for it, the
    /// result is one that was truncated. May sleep.
    pub(crate) fn receive_errors(&self, errors: &[u8]) {
        let mut copy = KVVec::new();
        let charge = self.bytes.charge(memory_of(errors.len()) as u64);
        let copied = charge.and_then(|charge| {
            copy.put_bytes(errors, GFP_KERNEL)?;
            Ok(charge)
        });
        let mut progress = self.progress.lock();
        let Ok(charge) = copied else {
            progress.errors_lost = progress.errors.is_empty();
            return;
        };
        let old = core::mem::replace(&mut progress.errors, copy);
        let old_charge = progress.errors_charge.replace(charge);
        progress.errors_lost = false;
        drop(progress);
        drop((old, old_charge));
    }

    fn take_errors(&self) -> (KVVec<u8>, Option<Charge>, bool) {
        let mut progress = self.progress.lock();
        let errors = core::mem::take(&mut progress.errors);
        (errors, progress.errors_charge.take(), progress.errors_lost)
    }

    /// Drops what is not wanted after the end. Returns one that waits for it.
    fn settle(&self) -> Option<Arc<Waiter>> {
        let mut progress = self.progress.lock();
        let errors = core::mem::take(&mut progress.errors);
        let charge = progress.errors_charge.take();
        let first = progress.waiters.iter().next().map(|(&wait, _)| wait);
        let node = first.and_then(|first| progress.waiters.remove_node(&first));
        drop(progress);
        drop((errors, charge));
        let (_, waiter) = node?.to_key_value();
        Some(waiter)
    }

    /// Has `waiter`, with the number `wait`, woken when this has ended. False if it has already. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn await_end(&self, wait: u64, waiter: &Arc<Waiter>) -> Result<bool> {
        let node = RBTreeNode::new(wait, waiter.clone(), GFP_KERNEL_ACCOUNT)?;
        let mut progress = self.progress.lock();
        if self.has_ended() {
            drop(progress);
            drop(node);
            return Ok(false);
        }
        let replaced = progress.waiters.insert(node);
        drop(progress);
        // Numbers of waits are never used twice.
        drop(replaced);
        Ok(true)
    }

    /// Undoes [`Self::await_end`].
    pub(crate) fn forget_wait(&self, wait: u64) {
        let removed = self.progress.lock().waiters.remove_node(&wait);
        drop(removed);
    }
}
