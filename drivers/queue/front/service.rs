// SPDX-License-Identifier: GPL-2.0

//! The state of the service.

use crate::{
    bandwidth::Bandwidth,
    forgets::Forgets,
    peer_jobs::PeerJobs,
    pulls::Pulls,
    queues::Queues, //
};
use core::net::Ipv4Addr;
use kernel::sync::{
    atomic::Atomic,
    Arc, //
};
use linux::work::Task;
use virgo_utils::Client;

/// See the module.
pub(crate) struct QueueService {
    pub(crate) pulls: Arc<Task<Pulls>>,
    pub(crate) peer_jobs: Arc<Task<PeerJobs>>,
    /// Apart from the others, which may wait for the disk.
    pub(crate) purges: Arc<Task<PeerJobs>>,
    pub(crate) forgets: Forgets,
    pub(crate) queues: Arc<Queues>,
    pub(crate) client: Arc<Client>,
    /// How fast messages go to other nodes.
    pub(crate) bandwidth: Bandwidth,
    /// This node is reached like another, for measurements.
    pub(crate) loopback: bool,
    /// Requests are work of the kernel's work queue.
    pub(crate) pushes_work: bool,
    /// Number of the last pull of another node's queue.
    pub(crate) last_pull: Atomic<u32>,
}

impl QueueService {
    /// This node, as others reach it.
    pub(crate) fn own_address(&self) -> Ipv4Addr {
        let config = self.queues.node.config();
        let own = config.nodes.address(config.me);
        own.unwrap_or(Ipv4Addr::LOCALHOST)
    }
}
