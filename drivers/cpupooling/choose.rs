// SPDX-License-Identifier: GPL-2.0

//! Choosing the nodes that calls run on: as the registry says, or as this node sees the others.

use crate::{
    job::Job,
    outcome::Outcome,
    pool::PoolContext,
    request::{
        CallRequest,
        Placement, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::bytes::Fill;
use virgo_proto::{
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
    Attempt,
    Data,
    ReplyDeadline,
    Request,
    User, //
};

/// Longest time to ask the registry, in milliseconds.
const PICK_MS: u32 = 500;

impl PoolContext {
    /// Chooses a node for each job that has none. Returns the nodes that jobs are to be sent to.
    pub(crate) fn choose(
        &self,
        user: &User<'_>,
        calls: &[CallRequest<'_>],
        jobs: &[Arc<Job>],
        nodes: u64,
    ) -> Result<u64> {
        let mut targets = 0;
        let picked = self.ask_registry(user, calls, jobs, nodes)?;
        let mut picked = picked.iter().flatten().copied();
        if calls
            .iter()
            .any(|call| matches!(call.place, Placement::Policy(_)))
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
                Placement::Node(node) => user.config.nodes.address(node).map(|_| node),
                Placement::Policy(policy) => match picked.next() {
                    Some(node) if nodes & bit(node) != 0 => Some(node),
                    _ => self.view.choose(policy, nodes),
                },
            };
            match chosen {
                Some(node) => {
                    job.goes_to(node);
                    targets |= bit(node);
                }
                None => job.end(Outcome::failed(ENODEV)),
            }
        }
        Ok(targets)
    }

    /// What the registry says about the calls that are placed by a policy; nothing if there is
    /// no registry, or if it does not answer: then this node chooses for itself.
    fn ask_registry(
        &self,
        user: &User<'_>,
        calls: &[CallRequest<'_>],
        jobs: &[Arc<Job>],
        nodes: u64,
    ) -> Result<Option<KVec<NodeId>>> {
        let registry = match user.config.registry {
            // One that did not answer lately would cost each call the same time again.
            Some(node) if node != user.config.me && !self.view.is_down(node) => node,
            _ => return Ok(None),
        };
        let mut policies =
            calls
                .iter()
                .zip(jobs)
                .filter_map(|(call, job)| match (call.place, job.node()) {
                    (Placement::Policy(policy), 0) => Some(policy),
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
            brief: None,
        };
        let mut answer = KVec::new();
        answer.put_zeros(count, GFP_KERNEL_ACCOUNT)?;
        let attempt = Attempt::within(user, PICK_MS);
        let deadline = attempt.user.deadline;
        match self.client.ask(registry, &request, &mut answer, deadline) {
            Ok(Ok(n)) => {
                answer.truncate(n);
                Ok(Some(answer))
            }
            Ok(Err(_)) => Ok(None),
            Err(EINTR) => Err(EINTR),
            Err(e) => {
                if attempt.is_nodes_fault(&self.client, registry, e) {
                    self.view.lost(registry);
                }
                Ok(None)
            }
        }
    }
}
