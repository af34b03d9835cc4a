// SPDX-License-Identifier: GPL-2.0

//! Bringing calls to nodes: if the one that was chosen is not reached, to another.

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
use virgo_proto::vuid::{
    bit,
    NodeSetIter, //
};
use virgo_utils::User;

impl PoolContext {
    /// Sends `calls` to `targets`, the nodes that are chosen for them, and as long as some of these turn
    /// out not to be reachable on to others of `nodes`.
    pub(crate) fn place(
        &self,
        user: &User<'_>,
        calls: &[CallRequest<'_>],
        jobs: &[Arc<Job>],
        mut nodes: u64,
        mut targets: u64,
    ) -> Result {
        while targets != 0 {
            for node in NodeSetIter(targets) {
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
                        Placement::Policy(_) if elsewhere => job.goes_to(0),
                        _ => job.end(Outcome::failed(e)),
                    }
                }
            }
            targets = self.choose(user, calls, jobs, nodes)?;
        }
        Ok(())
    }
}
