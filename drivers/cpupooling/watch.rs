// SPDX-License-Identifier: GPL-2.0

//! Looks after calls that were made here and have not ended: at their deadlines, and when the node
//! that runs them dies or has lost them. While there is no such call, it does nothing.

use crate::{
    executor::Executor,
    job::Job,
    jobs::{
        Jobs,
        GRACE_MS, //
    },
    outbox::Outboxes,
    view::LoadView, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};
use linux::{
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_proto::{
    clone::MAX_KEYS,
    config::MAX_NODES,
    vuid::NodeId, //
};

/// Time between two looks, in milliseconds.
pub(crate) const LOOK_MS: u32 = 1000;

/// Time between two questions for the calls of a node that is heard of, in milliseconds: it may have
/// lost a call, or dropped a result.
const ASK_ALL_MS: u32 = 5000;

/// See the module.
#[pin_data]
pub(crate) struct Watch {
    jobs: Arc<Jobs>,
    view: Arc<LoadView>,
    outboxes: Arc<Outboxes>,
    executor: Arc<Executor>,
    #[pin]
    asked: SpinLock<Asked>,
}

/// How far the watch has asked.
struct Asked {
    /// When all are asked for the next time.
    all: Deadline,
    /// The first call that did not fit into the last question.
    from: u64,
}

impl Watch {
    pub(crate) fn new(
        jobs: Arc<Jobs>,
        view: Arc<LoadView>,
        outboxes: Arc<Outboxes>,
        executor: Arc<Executor>,
    ) -> impl PinInit<Self> {
        let asked = Asked {
            all: Deadline::after_ms(ASK_ALL_MS),
            from: 0,
        };
        pin_init!(Self {
            jobs,
            view,
            outboxes,
            executor,
            asked <- kernel::new_spinlock!(asked, "virgo_watch_asked"),
        })
    }

    /// Ends the calls that have had their time. Returns whether others are left.
    fn end_late(&self) -> bool {
        let mut left = false;
        self.jobs.for_each(|job| {
            if job.has_ended() {
                return;
            }
            if !job.deadline.later(GRACE_MS).passed() {
                left = true;
                return;
            }
            self.executor.give_up(job, ETIMEDOUT);
        });
        left
    }

    /// Asks the nodes that run calls for this one: those that have said nothing lately each time (a node
    /// that runs calls of another tells it how loaded it is, and so that it lives), the others now and
    /// then.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn ask(&self) -> Result {
        let (all, from) = self.next_question();
        let mut keys = KVVec::<KVVec<u64>>::with_capacity(MAX_NODES, GFP_KERNEL)?;
        for _ in 0..MAX_NODES {
            keys.push(KVVec::new(), GFP_KERNEL)?;
        }
        let mut left_out = 0;
        let mut see = |job: &Job| {
            if !job.runs_elsewhere() || (!all && self.view.is_heard(job.node())) {
                return;
            }
            let index = usize::from(job.node()).checked_sub(1);
            let keys = index.and_then(|index| keys.get_mut(index));
            match keys.filter(|keys| keys.len() < MAX_KEYS) {
                Some(keys) => {
                    // One for which there is no memory is asked for the next time.
                    let _ = keys.push(job.id, GFP_KERNEL);
                }
                None if left_out == 0 => left_out = job.id,
                None => (),
            }
        };
        self.jobs.for_each_from(from, |job| {
            see(job);
            true
        });
        self.jobs.for_each_from(0, |job| {
            let before = job.id < from;
            if before {
                see(job);
            }
            before
        });
        self.asked.lock().from = left_out;
        for (node, keys) in (1..=MAX_NODES as NodeId).zip(keys) {
            if !keys.is_empty() {
                self.outboxes.probe(node, keys);
            }
        }
        Ok(())
    }

    /// Whether all are to be asked now, and from which call on.
    fn next_question(&self) -> (bool, u64) {
        let mut asked = self.asked.lock();
        let all = asked.all.passed();
        if all {
            asked.all = Deadline::after_ms(ASK_ALL_MS);
        }
        (all, asked.from)
    }
}

impl Run for Watch {
    fn run(task: &Task<Self>) {
        if !task.end_late() {
            return;
        }
        // Without memory they are asked the next time.
        let _ = task.ask();
        task.schedule_after_ms(LOOK_MS);
    }
}
