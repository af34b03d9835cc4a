// SPDX-License-Identifier: GPL-2.0

//! What tells another node what concerns the view, and hears its answer: one for each node.

use crate::{
    cluster::Cluster,
    remote, //
};
use kernel::sync::Arc;
use linux::{
    deadline::now_ms,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_proto::vuid::NodeId;

/// See the module.
pub(crate) struct Beater {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) node: NodeId,
}

impl Run for Beater {
    fn run(task: &Task<Self>) {
        loop {
            match task.cluster.poll(task.node) {
                Ok(ask) => {
                    let sent = now_ms();
                    let told = remote::member(&task.cluster, task.node, &ask);
                    let told = told.as_deref().map_err(|e| *e);
                    task.cluster.told(task.node, &ask, sent, told);
                }
                // Unless it was woken meanwhile.
                Err(Some(ms @ 1..)) => return task.schedule_after_ms(ms),
                // At once, but others get their turn.
                Err(Some(0)) => return task.schedule(),
                Err(None) => return,
            }
        }
    }
}
