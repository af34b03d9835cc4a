// SPDX-License-Identifier: GPL-2.0

//! Sending calls to several nodes at a time, each by a worker.

use crate::{
    budgets::refusal,
    job::Job,
    outcome::Outcome,
    pool::{
        Cpupool,
        PoolContext, //
    },
    request::{
        CallRequest,
        Placement, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    bytes::memory_of,
    deadline::Deadline, //
};
use virgo_proto::vuid::{
    bit,
    NodeSetIter, //
};
use virgo_utils::{
    budget::Charge,
    eventnet::Origin,
    User, //
};

/// Calls for one node, to be sent by a worker.
struct Parcel {
    shared: Arc<PoolContext>,
    uid: u32,
    deadline: Deadline,
    /// The node's bit.
    target: u64,
    /// Nodes to choose from if it is not reached.
    nodes: u64,
    jobs: KVVec<Arc<Job>>,
    places: KVVec<Placement>,
    /// Names and arguments, one behind the other, and the length of each.
    argv: KVVec<u8>,
    lens: KVVec<usize>,
    /// Who sends it, for EventNet.
    cause: Origin,
    /// For these.
    _charge: Charge,
}

impl Parcel {
    fn add(&mut self, call: &CallRequest<'_>, job: &Arc<Job>) -> Result {
        self.argv.extend_from_slice(call.argv, GFP_KERNEL_ACCOUNT)?;
        self.lens.push(call.argv.len(), GFP_KERNEL_ACCOUNT)?;
        self.places.push(call.place, GFP_KERNEL_ACCOUNT)?;
        Ok(self.jobs.push(job.clone(), GFP_KERNEL_ACCOUNT)?)
    }

    fn send(&self) {
        let _entered = self.cause.enter();
        if let Err(e) = self.try_send() {
            for job in self.jobs.iter().filter(|job| job.is_unsent()) {
                job.end(Outcome::failed(e));
            }
        }
    }

    fn try_send(&self) -> Result {
        let config = self.shared.node.config();
        let user = User {
            uid: self.uid,
            deadline: self.deadline,
            config: &config,
            claim: None,
        };
        let mut calls = KVVec::with_capacity(self.lens.len(), GFP_KERNEL)?;
        let mut rest = self.argv.as_slice();
        for (&len, &place) in self.lens.iter().zip(&self.places) {
            let (argv, behind) = rest.split_at_checked(len).ok_or(EIO)?;
            calls.push(CallRequest { argv, place }, GFP_KERNEL)?;
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
    /// [`EDQUOT`] if the user has too many bytes of calls on their way, [`EAGAIN`] if there are too many;
    /// [`ENOMEM`].
    pub(crate) fn send_all(
        &self,
        user: &User<'_>,
        calls: &[CallRequest<'_>],
        jobs: &[Arc<Job>],
        targets: u64,
    ) -> Result {
        let here = bit(user.config.me) & targets;
        let accounts = self.budgets.of_jobs(user.uid)?;
        for node in NodeSetIter(targets) {
            if self.is_here(user.config, node) {
                continue;
            }
            let of_node = || {
                let all = calls.iter().zip(jobs);
                all.filter(move |(_, job)| job.node() == node)
            };
            let size: usize = of_node().map(|(call, _)| call.argv.len()).sum();
            let charge = accounts.bytes.charge(memory_of(size) as u64);
            let mut parcel = Parcel {
                _charge: charge.map_err(refusal)?,
                shared: self.shared.clone(),
                uid: user.uid,
                deadline: user.deadline,
                target: bit(node),
                nodes: user.config.used,
                jobs: KVVec::new(),
                places: KVVec::new(),
                argv: KVVec::with_capacity(size, GFP_KERNEL_ACCOUNT)?,
                lens: KVVec::new(),
                cause: Origin::here(),
            };
            for (call, job) in of_node() {
                parcel.add(call, job)?;
            }
            self.senders.spawn(node, user.uid, move || parcel.send())?;
        }
        match here != 0 && self.is_here(user.config, user.config.me) {
            true => self.send_to(user, user.config.me, calls, jobs),
            false => Ok(()),
        }
    }
}
