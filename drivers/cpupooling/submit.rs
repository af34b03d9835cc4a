// SPDX-License-Identifier: GPL-2.0

//! Making calls: choosing nodes, sending, and taking short results.

use crate::{
    executor::Origin,
    jobs::{
        Batch,
        Job, //
    },
    outcome::Outcome,
    pool::Cpupool, //
};
use core::mem::size_of;
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
        self,
        next_outcome,
        op,
        state,
        Load,
        PickArgs,
        RunArgs,
        MAX_CALLS, //
    },
    frame::MAX_BODY,
    vuid::{
        bit,
        NodeId, //
    }, //
};
use virgo_utils::{
    Data,
    Expect,
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
    /// Sleeps until all have ended, killably. At the deadline those that have not are ended.
    ///
    /// # Errors
    ///
    /// [`EINTR`].
    pub(crate) fn wait(&self, deadline: Deadline) -> Result {
        if !self.batch.wait(deadline)? {
            for job in &self.jobs {
                self.pool.give_up(job, ETIMEDOUT);
            }
        }
        Ok(())
    }

    /// Keeps them for who asks for the results later.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
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
    /// Makes `calls` for `user`: at most [`linux::user::MAX_CALLS`]. Returns when all are on
    /// their nodes or have failed. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if there are too many calls, [`ENOMEM`]. What goes wrong with one call is its
    /// outcome.
    pub(crate) fn start(&self, user: &User<'_>, calls: &[Call<'_>]) -> Result<Started<'_>> {
        let mut started = Started {
            pool: self,
            batch: Batch::new(calls.len() as u32)?,
            jobs: KVVec::with_capacity(calls.len(), GFP_KERNEL)?,
            keep: false,
        };
        for _ in calls {
            let job = self.jobs.add(&started.batch, user.uid, user.deadline)?;
            started.jobs.push(job, GFP_KERNEL)?;
        }
        self.place(user, calls, &started.jobs, user.config.used)?;
        Ok(started)
    }

    /// Sends `calls` to `nodes` and, as long as some of these turn out not to be reachable, on to
    /// the others.
    fn place(
        &self,
        user: &User<'_>,
        calls: &[Call<'_>],
        jobs: &[Arc<Job>],
        mut nodes: u64,
    ) -> Result {
        loop {
            let mut targets = self.choose(user, calls, jobs, nodes)?;
            if targets == 0 {
                return Ok(());
            }
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
        }
    }

    /// Chooses a node for each job that has none. Returns the set of nodes chosen.
    fn choose(
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
            if job.node() != 0 || job.has_ended() {
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
            again: true,
            expect: Expect::Soon,
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

    /// Sends the calls for `node` there.
    ///
    /// # Errors
    ///
    /// Why those that are still unsent then were not sent. What goes wrong with the others is their
    /// outcome.
    fn send_to(
        &self,
        user: &User<'_>,
        node: NodeId,
        calls: &[Call<'_>],
        jobs: &[Arc<Job>],
    ) -> Result {
        let of_node = |job: &Job| job.node() == node && job.is_unsent();
        if self.is_here(user.config, node) {
            for (call, job) in calls.iter().zip(jobs).filter(|(_, job)| of_node(job)) {
                job.is_delivered();
                if let Some(outcome) = self.accept(user, Origin::Here, job.id, call.argv) {
                    self.jobs.end_job(job, outcome);
                }
            }
            return Ok(());
        }
        let mut frame = Frame::new();
        for (call, job) in calls.iter().zip(jobs).filter(|(_, job)| of_node(job)) {
            if !frame.has_room(call.argv) {
                self.send(
                    user,
                    node,
                    core::mem::replace(&mut frame, Frame::new()),
                    jobs,
                )?;
            }
            frame.add(job.id, call.argv)?;
        }
        match frame.count {
            0 => Ok(()),
            _ => self.send(user, node, frame, jobs),
        }
    }

    fn send(&self, user: &User<'_>, node: NodeId, frame: Frame, jobs: &[Arc<Job>]) -> Result {
        let args = RunArgs {
            uid: user.uid.into(),
            timeout_ms: user.deadline.left_ms().max(1).into(),
            count: frame.count.into(),
            reserved: 0.into(),
        };
        let request = Request {
            op: op::RUN,
            args: args.as_bytes(),
            data: Data::Bytes(&frame.calls),
            again: false,
            expect: Expect::Soon,
        };
        let mut taken = None;
        let mut take = |answer: &[u8]| taken = self.results(node, answer, frame.count, jobs);
        let answered = self
            .client
            .call_with(node, &request, user.deadline, &mut take);
        if let Err(e @ (EHOSTDOWN | EKEYREJECTED | EPERM)) = answered {
            return Err(e);
        }
        // Others of this node between them have ended, and do not mind.
        let sent = || {
            jobs.iter()
                .filter(|job| job.node() == node && frame.has(job.id))
        };
        sent().for_each(|job| job.is_delivered());
        let failed = match answered {
            Ok(()) => taken.is_none().then_some(EPROTO),
            Err(e) => {
                if e != EINTR {
                    // Nobody knows about these calls, but later ones have a choice.
                    self.view.lost(node);
                }
                Some(e)
            }
        };
        if let Some(e) = failed {
            sent().for_each(|job| self.jobs.end_job(job, Outcome::failed(e)));
        }
        Ok(())
    }

    /// Takes the reply of a Run with so many of `jobs`. `None` if it is none.
    fn results(&self, node: NodeId, answer: &[u8], count: u32, jobs: &[Arc<Job>]) -> Option<()> {
        let (load, mut rest) = Load::read_from_prefix(answer).ok()?;
        self.view.heard(node, load);
        // In the reply they follow each other as in `jobs`.
        let mut jobs = jobs.iter().filter(|job| job.node() == node);
        for _ in 0..count {
            let (header, output) = next_outcome(&mut rest)?;
            let job = jobs.find(|job| job.id == header.key.get())?;
            if header.state.get() != state::RUNNING {
                let outcome = Outcome::with_output(&header, output);
                self.jobs.end_job(job, outcome);
            }
        }
        Some(())
    }
}

/// Calls for one Run.
struct Frame {
    calls: KVVec<u8>,
    count: u32,
    /// The first and last of their keys, which grow.
    keys: (u64, u64),
}

impl Frame {
    fn new() -> Self {
        Frame {
            calls: KVVec::new(),
            count: 0,
            keys: (u64::MAX, 0),
        }
    }

    fn has(&self, key: u64) -> bool {
        (self.keys.0..=self.keys.1).contains(&key)
    }

    fn has_room(&self, argv: &[u8]) -> bool {
        let size = self.calls.len() + argv.len() + size_of::<clone::Call>();
        (self.count as usize) < MAX_CALLS && size + size_of::<RunArgs>() <= MAX_BODY - 32
    }

    fn add(&mut self, key: u64, argv: &[u8]) -> Result {
        let call = clone::Call {
            key: key.into(),
            len: (argv.len() as u32).into(),
            reserved: 0.into(),
        };
        // Once for the first one, which often is the only one.
        let size = size_of::<clone::Call>() + argv.len();
        self.calls.reserve(size, GFP_KERNEL)?;
        self.calls.extend_from_slice(call.as_bytes(), GFP_KERNEL)?;
        self.calls.extend_from_slice(argv, GFP_KERNEL)?;
        self.count += 1;
        self.keys = (self.keys.0.min(key), key);
        Ok(())
    }
}
