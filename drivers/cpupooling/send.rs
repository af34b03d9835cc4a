// SPDX-License-Identifier: GPL-2.0

//! Sending calls to their nodes, and taking short results.

use crate::{
    executor::Origin,
    jobs::Job,
    outcome::Outcome,
    pool::{
        Cpupool,
        Shared, //
    },
    submit::{
        Call,
        Place, //
    }, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::deadline::Deadline;
use virgo_proto::{
    clone::{
        self,
        next_outcome,
        op,
        state,
        Load,
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
    ReplyDeadline,
    Request,
    User, //
};

/// Calls for one node, to be sent by a worker.
struct Parcel {
    shared: Arc<Shared>,
    uid: u32,
    deadline: Deadline,
    /// The node's bit.
    target: u64,
    /// Nodes to choose from if it is not reached.
    nodes: u64,
    jobs: KVVec<Arc<Job>>,
    places: KVVec<Place>,
    /// Names and arguments, one behind the other, and the length of each.
    argv: KVVec<u8>,
    lens: KVVec<usize>,
}

impl Parcel {
    fn add(&mut self, call: &Call<'_>, job: &Arc<Job>) -> Result {
        self.argv.extend_from_slice(call.argv, GFP_KERNEL_ACCOUNT)?;
        self.lens.push(call.argv.len(), GFP_KERNEL_ACCOUNT)?;
        self.places.push(call.place, GFP_KERNEL_ACCOUNT)?;
        Ok(self.jobs.push(job.clone(), GFP_KERNEL_ACCOUNT)?)
    }

    fn send(&self) {
        if let Err(e) = self.try_send() {
            for job in self.jobs.iter().filter(|job| job.is_unsent()) {
                self.shared.jobs.end_job(job, Outcome::failed(e));
            }
        }
    }

    fn try_send(&self) -> Result {
        let config = self.shared.node.config();
        let user = User {
            uid: self.uid,
            deadline: self.deadline,
            config: &config,
        };
        let mut calls = KVVec::with_capacity(self.lens.len(), GFP_KERNEL)?;
        let mut rest = self.argv.as_slice();
        for (&len, &place) in self.lens.iter().zip(&self.places) {
            let (argv, behind) = rest.split_at_checked(len).ok_or(EIO)?;
            calls.push(Call { argv, place }, GFP_KERNEL)?;
            rest = behind;
        }
        self.shared
            .place(&user, &calls, &self.jobs, self.nodes, self.target)
    }
}

impl Cpupool {
    /// Sends `calls` to the nodes that are chosen for them, all at once, and does not wait for those
    /// of other nodes.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn send_all(
        &self,
        user: &User<'_>,
        calls: &[Call<'_>],
        jobs: &[Arc<Job>],
        mut targets: u64,
    ) -> Result {
        let here = bit(user.config.me) & targets;
        while targets != 0 {
            let node = targets.trailing_zeros() as NodeId + 1;
            targets &= targets - 1;
            if self.is_here(user.config, node) {
                continue;
            }
            let mut parcel = Parcel {
                shared: self.shared.clone(),
                uid: user.uid,
                deadline: user.deadline,
                target: bit(node),
                nodes: user.config.used,
                jobs: KVVec::new(),
                places: KVVec::new(),
                argv: KVVec::new(),
                lens: KVVec::new(),
            };
            for (call, job) in calls.iter().zip(jobs).filter(|(_, job)| job.node() == node) {
                parcel.add(call, job)?;
            }
            self.senders.spawn(move || parcel.send())?;
        }
        match here != 0 && self.is_here(user.config, user.config.me) {
            true => self.send_to(user, user.config.me, calls, jobs),
            false => Ok(()),
        }
    }
}

impl Shared {
    /// Sends the calls for `node` there.
    ///
    /// # Errors
    ///
    /// Why those that are still unsent then were not sent. What goes wrong with the others is their
    /// outcome.
    pub(crate) fn send_to(
        &self,
        user: &User<'_>,
        node: NodeId,
        calls: &[Call<'_>],
        jobs: &[Arc<Job>],
    ) -> Result {
        let of_node = |job: &Job| job.node() == node && job.is_unsent();
        if self.is_here(user.config, node) {
            for (call, job) in calls.iter().zip(jobs).filter(|(_, job)| of_node(job)) {
                job.runs_here();
                job.is_delivered();
                match self.accept(user, Origin::Here, job.id, call.argv) {
                    Some(outcome) => self.jobs.end_job(job, outcome),
                    None => self.watch(),
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
            uid: user.uid,
            retry_after_restart: false,
            reply_deadline: ReplyDeadline::Soon,
        };
        let mut taken = None;
        let mut take = |answer: &[u8]| taken = self.results(node, answer, frame.count, jobs);
        // It answers at once, however long the calls take.
        let soon = Deadline::after_ms(user.config.deadline_ms);
        let answered = self
            .client
            .call_with(node, &request, user.deadline.min(soon), &mut take);
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
            for job in sent() {
                self.jobs.end_job(job, Outcome::failed(e));
                // It may run there.
                self.outboxes.cancel(node, job.id, job.deadline);
            }
        }
        Ok(())
    }

    /// Takes the reply of a Run with so many of `jobs`. `None` if it is none.
    fn results(&self, node: NodeId, answer: &[u8], count: u32, jobs: &[Arc<Job>]) -> Option<()> {
        let (load, mut rest) = Load::read_from_prefix(answer).ok()?;
        self.view.heard(node, load);
        // In the reply they follow each other as in `jobs`.
        let mut jobs = jobs.iter().filter(|job| job.node() == node);
        let mut runs = false;
        for _ in 0..count {
            let (header, output) = next_outcome(&mut rest)?;
            let job = jobs.find(|job| job.id == header.key.get())?;
            if header.state.get() != state::RUNNING {
                let outcome = Outcome::with_output(&header, output);
                self.jobs.end_job(job, outcome);
            } else if job.has_ended() {
                // Given up before it was there.
                self.outboxes.cancel(node, job.id, job.deadline);
            } else {
                runs = true;
            }
        }
        if runs {
            self.watch();
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
