// SPDX-License-Identifier: GPL-2.0

//! Looks after calls that were made here and have not ended: at their deadlines, and when the node
//! that runs them dies or has lost them. While there is no such call, it does nothing.

use crate::{
    executor::{
        Executor,
        Origin, //
    },
    jobs::{
        Jobs,
        GRACE_MS, //
    },
    outbox::Outboxes,
    outcome::Outcome,
    view::View, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::{
    Run,
    Task, //
};
use virgo_proto::{
    clone::MAX_KEYS,
    vuid::{
        bit,
        NodeId, //
    }, //
};

/// Time between two looks, in milliseconds.
pub(crate) const LOOK_MS: u32 = 1000;

/// See the module.
pub(crate) struct Watch {
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) view: Arc<View>,
    pub(crate) outboxes: Arc<Outboxes>,
    pub(crate) executor: Arc<Executor>,
}

impl Watch {
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
            self.jobs.end_job(job, Outcome::failed(ETIMEDOUT));
            match job.node() {
                0 => (),
                _ if job.is_here() => self.executor.cancel(Origin::Here, job.id),
                node => self.outboxes.cancel(node, job.id, job.deadline),
            }
        });
        left
    }

    /// Asks the nodes that run calls for this one and have said nothing lately: a node that runs calls
    /// of another tells it how loaded it is, and so that it lives.
    fn ask(&self) {
        let mut silent = 0;
        self.jobs.for_each(|job| {
            if job.runs_elsewhere() && !self.view.is_heard(job.node()) {
                silent |= bit(job.node());
            }
        });
        while silent != 0 {
            let node = silent.trailing_zeros() as NodeId + 1;
            silent &= silent - 1;
            let mut keys = KVVec::new();
            self.jobs.for_each(|job| {
                if job.node() == node && job.runs_elsewhere() && keys.len() < MAX_KEYS {
                    // One that is left out is asked for the next time.
                    let _ = keys.push(job.id, GFP_KERNEL);
                }
            });
            if !keys.is_empty() {
                self.outboxes.probe(node, keys);
            }
        }
    }
}

impl Run for Watch {
    fn run(task: &Task<Self>) {
        if !task.end_late() {
            return;
        }
        task.ask();
        task.schedule_after_ms(LOOK_MS);
    }
}
