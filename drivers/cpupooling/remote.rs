// SPDX-License-Identifier: GPL-2.0

//! Sending calls to the node that was chosen for them, and taking short results.

use crate::{
    invocation::CallOrigin,
    job::Job,
    outcome::Outcome,
    pool::PoolContext,
    request::CallRequest, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc, //
};
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
    vuid::NodeId, //
};
use virgo_utils::{
    Attempt,
    Data,
    ReplyDeadline,
    Request,
    User, //
};

impl PoolContext {
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
        calls: &[CallRequest<'_>],
        jobs: &[Arc<Job>],
    ) -> Result {
        let of_node = |job: &Job| job.node() == node && job.is_unsent();
        if self.is_here(user.config, node) {
            for (call, job) in calls.iter().zip(jobs).filter(|(_, job)| of_node(job)) {
                job.runs_here();
                job.is_delivered();
                match self.accept(user, CallOrigin::Here, job.id, call.argv) {
                    Some(outcome) => job.end(outcome),
                    // Cancelled before it was there.
                    None if job.has_ended() => self.executor.cancel(CallOrigin::Here, job.id),
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
            brief: None,
        };
        let mut taken = None;
        let mut take = |answer: &[u8]| taken = self.results(node, answer, frame.count, jobs);
        // It answers at once, however long the calls take.
        let attempt = Attempt::within(user, user.config.deadline_ms);
        let answered = self
            .client
            .ask_with(node, &request, attempt.user.deadline, &mut take);
        if let Err(e @ (EHOSTDOWN | EKEYREJECTED | EPERM)) = answered {
            return Err(e);
        }
        let sent = || {
            jobs.iter()
                .filter(|job| job.node() == node && frame.has(job.id))
        };
        sent().for_each(|job| job.is_delivered());
        let failed = match answered {
            Ok(Ok(())) => taken.is_none().then_some(EPROTO),
            Ok(Err(e)) => Some(e),
            Err(e) => {
                // Nobody knows about these calls, but later ones have a choice.
                if attempt.is_nodes_fault(&self.client, node, e) {
                    self.view.lost(node);
                }
                Some(e)
            }
        };
        if let Some(e) = failed {
            for job in sent() {
                job.end(Outcome::failed(e));
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
                job.receive(&header, output);
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
    /// Their keys, which grow. Others between them may have gone there before.
    keys: KVVec<u64>,
}

impl Frame {
    fn new() -> Self {
        Frame {
            calls: KVVec::new(),
            count: 0,
            keys: KVVec::new(),
        }
    }

    fn has(&self, key: u64) -> bool {
        self.keys.binary_search(&key).is_ok()
    }

    fn has_room(&self, argv: &[u8]) -> bool {
        let size = self.calls.len() + argv.len() + size_of::<clone::CallHeader>();
        (self.count as usize) < MAX_CALLS && size + size_of::<RunArgs>() <= MAX_BODY - 32
    }

    fn add(&mut self, key: u64, argv: &[u8]) -> Result {
        let call = clone::CallHeader {
            key: key.into(),
            len: (argv.len() as u32).into(),
            reserved: 0.into(),
        };
        // Once for the first one, which often is the only one.
        let size = size_of::<clone::CallHeader>() + argv.len();
        self.calls.reserve(size, GFP_KERNEL_ACCOUNT)?;
        self.keys.push(key, GFP_KERNEL_ACCOUNT)?;
        self.calls
            .extend_from_slice(call.as_bytes(), GFP_KERNEL_ACCOUNT)?;
        self.calls.extend_from_slice(argv, GFP_KERNEL_ACCOUNT)?;
        self.count += 1;
        Ok(())
    }
}
