// SPDX-License-Identifier: GPL-2.0

//! Making calls, and waiting for the results.

use crate::{
    job::{
        Batch,
        Job, //
    },
    jobs::GRACE_MS,
    pool::Cpupool,
    request::CallRequest, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::deadline::Deadline;
use virgo_utils::User;

/// Calls that were made together. When dropped, those that have not ended are ended and all are
/// forgotten, unless they are kept.
pub(crate) struct Started<'a> {
    pool: &'a Cpupool,
    batch: Arc<Batch>,
    pub(crate) jobs: KVVec<Arc<Job>>,
    keep: bool,
}

impl Started<'_> {
    /// Sleeps until all have ended, killably. Their nodes end them at the deadline, and say what their
    /// output was so far; those of which nothing is heard [`GRACE_MS`] later are ended here.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub(crate) fn wait(&self, deadline: Deadline) -> Result {
        if !self.batch.wait(deadline.later(GRACE_MS))? {
            for job in &self.jobs {
                self.pool.executor.give_up(job, ETIMEDOUT);
            }
        }
        for outcome in self.jobs.iter().filter_map(|job| job.outcome()) {
            outcome.cause.waited_for();
        }
        Ok(())
    }

    /// Keeps them for who asks for the results later.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
        self.jobs.iter().for_each(|job| job.keep());
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for job in &self.jobs {
            self.pool.executor.give_up(job, ECANCELED);
            self.pool.jobs.remove(job.id);
        }
    }
}

impl Cpupool {
    /// Makes `calls` for `user`: at most [`virgo_abi::args::MAX_CALLS`]. Calls for one node are there when
    /// this returns, or have failed; those for several are on their way, to all at once, so that a
    /// node that does not answer holds up its own only. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if the user has too many calls, [`EAGAIN`] if there are too many; [`ESHUTDOWN`];
    /// [`ENOMEM`]. What goes wrong with one call is its outcome.
    pub(crate) fn start(&self, user: &User<'_>, calls: &[CallRequest<'_>]) -> Result<Started<'_>> {
        let mut started = Started {
            pool: self,
            batch: Batch::new(calls.len() as u32)?,
            jobs: KVVec::with_capacity(calls.len(), GFP_KERNEL_ACCOUNT)?,
            keep: false,
        };
        let accounts = self.budgets.of_jobs(user.uid)?;
        for _ in calls {
            let job = self
                .jobs
                .add(&accounts, &started.batch, user.uid, user.deadline)?;
            started.jobs.push(job, GFP_KERNEL_ACCOUNT)?;
        }
        let nodes = user.config.used;
        let targets = self.choose(user, calls, &started.jobs, nodes)?;
        match targets.is_power_of_two() {
            true => self.place(user, calls, &started.jobs, nodes, targets)?,
            false => self.send_all(user, calls, &started.jobs, targets)?,
        }
        Ok(started)
    }
}
