// SPDX-License-Identifier: GPL-2.0

//! Making calls: choosing nodes, and waiting for the results.

use crate::{
    jobs::{
        Batch,
        Job,
        GRACE_MS, //
    },
    outcome::Outcome,
    pool::{
        Cpupool,
        Shared, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    balance::Policy,
    clone::{
        op,
        PickArgs, //
    },
    vuid::{
        bit,
        NodeId, //
    }, //
};
use virgo_utils::{
    Caller,
    Data,
    ReplyDeadline,
    Request,
    User, //
};

/// Longest time to ask the registry, in milliseconds.
const PICK_MS: u32 = 500;

/// Where a call is to run.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Where the policy says.
    Policy(Policy),
    /// On this node.
    Node(NodeId),
}

/// A call to be made.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Name and arguments, a NUL after each.
    pub(crate) argv: &'a [u8],
    pub(crate) place: Place,
}

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
        self.waited(self.batch.wait(deadline.later(GRACE_MS))?);
        Ok(())
    }

    /// As [`Self::wait`], for a text session, and not beyond its end.
    ///
    /// # Errors
    ///
    /// [`ECANCELED`] when the session is over.
    pub(crate) fn wait_for_text(&self, caller: &Caller<'_>, deadline: Deadline) -> Result {
        let until = deadline.later(GRACE_MS);
        self.waited(caller.wait(until, |until| self.batch.wait(until))?);
        Ok(())
    }

    fn waited(&self, all_have_ended: bool) {
        if !all_have_ended {
            for job in &self.jobs {
                self.pool.give_up(job, ETIMEDOUT);
            }
        }
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
            self.pool.give_up(job, ECANCELED);
            self.pool.jobs.remove(job.id);
        }
    }
}

impl Cpupool {
    /// Makes `calls` for `user`: at most [`linux::user::MAX_CALLS`]. Calls for one node are there when
    /// this returns, or have failed; those for several are on their way, to all at once, so that a
    /// node that does not answer holds up its own only. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if the user has too many calls, [`EAGAIN`] if there are too many; [`ENOMEM`]. What
    /// goes wrong with one call is its outcome.
    pub(crate) fn start(&self, user: &User<'_>, calls: &[Call<'_>]) -> Result<Started<'_>> {
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

impl Shared {
    /// Sends `calls` to `targets`, the nodes that are chosen for them, and as long as some of these turn
    /// out not to be reachable on to others of `nodes`.
    pub(crate) fn place(
        &self,
        user: &User<'_>,
        calls: &[Call<'_>],
        jobs: &[Arc<Job>],
        mut nodes: u64,
        mut targets: u64,
    ) -> Result {
        while targets != 0 {
            while targets != 0 {
                let node = targets.trailing_zeros() as NodeId + 1;
                targets &= targets - 1;
                let Err(e) = self.send_to(user, node, calls, jobs) else {
                    continue;
                };
                let unreached = matches!(e, EHOSTDOWN | EKEYREJECTED | EPERM);
                if unreached {
                    self.view.lost(node);
                    nodes &= !bit(node);
                }
                let elsewhere = unreached && nodes != 0 && !user.deadline.passed();
                for (call, job) in calls.iter().zip(jobs) {
                    if job.node() != node || !job.is_unsent() {
                        continue;
                    }
                    match call.place {
                        Place::Policy(_) if elsewhere => job.goes_to(0),
                        _ => self.jobs.end_job(job, Outcome::failed(e)),
                    }
                }
            }
            targets = self.choose(user, calls, jobs, nodes)?;
        }
        Ok(())
    }

    /// Chooses a node for each job that has none. Returns the nodes that jobs are to be sent to.
    pub(crate) fn choose(
        &self,
        user: &User<'_>,
        calls: &[Call<'_>],
        jobs: &[Arc<Job>],
        nodes: u64,
    ) -> Result<u64> {
        let mut targets = 0;
        let picked = self.ask_registry(user, calls, jobs, nodes)?;
        let mut picked = picked.iter().flatten().copied();
        if calls
            .iter()
            .any(|call| matches!(call.place, Place::Policy(_)))
        {
            // Nobody else says how loaded this node is.
            self.view.heard(user.config.me, self.load());
        }
        for (call, job) in calls.iter().zip(jobs) {
            if !job.is_unsent() {
                continue;
            }
            if job.node() != 0 {
                targets |= bit(job.node());
                continue;
            }
            let chosen = match call.place {
                Place::Node(node) => user.config.nodes.address(node).map(|_| node),
                Place::Policy(policy) => match picked.next() {
                    Some(node) if nodes & bit(node) != 0 => Some(node),
                    _ => self.view.choose(policy, nodes),
                },
            };
            match chosen {
                Some(node) => {
                    job.goes_to(node);
                    targets |= bit(node);
                }
                None => self.jobs.end_job(job, Outcome::failed(ENODEV)),
            }
        }
        Ok(targets)
    }

    /// What the registry says about the calls that are placed by a policy; nothing if there is
    /// no registry, or if it does not answer: then this node chooses for itself.
    fn ask_registry(
        &self,
        user: &User<'_>,
        calls: &[Call<'_>],
        jobs: &[Arc<Job>],
        nodes: u64,
    ) -> Result<Option<KVec<NodeId>>> {
        let registry = match user.config.registry {
            Some(node) if node != user.config.me => node,
            _ => return Ok(None),
        };
        let mut policies =
            calls
                .iter()
                .zip(jobs)
                .filter_map(|(call, job)| match (call.place, job.node()) {
                    (Place::Policy(policy), 0) => Some(policy),
                    _ => None,
                });
        let Some(policy) = policies.next() else {
            return Ok(None);
        };
        let count = 1 + policies.count();
        let args = PickArgs {
            nodes: nodes.into(),
            count: (count as u32).into(),
            policy: policy.to_wire().into(),
        };
        let request = Request {
            op: op::PICK,
            args: args.as_bytes(),
            data: Data::Bytes(b""),
            uid: user.uid,
            retry_after_restart: true,
            reply_deadline: ReplyDeadline::Soon,
        };
        let mut answer = KVec::new();
        answer.put_zeros(count, GFP_KERNEL)?;
        let deadline = user.deadline.min(Deadline::after_ms(PICK_MS));
        match self.client.call(registry, &request, &mut answer, deadline) {
            Ok(n) => {
                answer.truncate(n);
                Ok(Some(answer))
            }
            Err(EINTR) => Err(EINTR),
            Err(_) => {
                self.view.lost(registry);
                Ok(None)
            }
        }
    }
}
