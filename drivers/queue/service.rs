// SPDX-License-Identifier: GPL-2.0

//! The service on port 60000.

use crate::{
    calls,
    channel::Channel,
    commands,
    forgets::Forgets,
    log_status,
    peer,
    peer_jobs::PeerJobs,
    pulls::Pulls,
    queues::Queues, //
};
use core::net::Ipv4Addr;
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};
use linux::work::Task;
use virgo_utils::{
    Caller,
    Client,
    Command,
    Failure,
    Operation,
    Peer,
    Reply,
    Service, //
};

/// The state of the service.
pub(crate) struct QueueService {
    pub(crate) pulls: Arc<Task<Pulls>>,
    pub(crate) peer_jobs: Arc<Task<PeerJobs>>,
    pub(crate) forgets: Forgets,
    pub(crate) queues: Arc<Queues>,
    pub(crate) client: Arc<Client>,
    /// This node is reached like another, for measurements.
    pub(crate) loopback: bool,
    /// Requests are work of the kernel's work queue.
    pub(crate) pushes_work: bool,
    /// Number of the last pull of another node's queue.
    pub(crate) last_pull: Atomic<u32>,
}

impl Service for QueueService {
    const NAME: &'static CStr = c"queue";
    const PORT: u16 = 60000;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;
    const OPERATIONS: &'static [Operation<Self>] = peer::OPERATIONS;
    const CALLS: &'static [&'static str] = calls::NAMES;

    fn other(
        &self,
        caller: &Caller<'_>,
        line: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        commands::bare(self, caller, line, reply)
    }

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        reply.field("queues", self.queues.len() as u64)?;
        reply.field("used", self.queues.budget.used())?;
        reply.field("limit", self.queues.budget.limit())
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Ok(log) = self.queues.log() {
            log_status::show(log, f)?;
        }
        let mut result = writeln!(
            f,
            "# name ready delayed leased kept bytes dropped refused dead owner mode"
        );
        self.queues.for_each(|channel| {
            let g = channel.figures();
            result = write!(f, "{} ", channel.name.as_slice().escape_ascii()).and_then(|()| {
                let (owner, others) = channel.access.mode.digits();
                writeln!(
                    f,
                    "{} {} {} {} {} {} {} {} {} {owner}{others}",
                    g.ready,
                    g.delayed,
                    g.leased,
                    g.kept,
                    g.bytes,
                    g.counts.dropped,
                    g.counts.refused,
                    g.counts.dead,
                    channel.access.owner
                )
            });
            result.is_ok()
        });
        result
    }

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn peer_restarted(&self, peer: Peer) {
        self.pulls.forget_former();
        // Its present life knows nothing of what the former one had.
        self.queues.for_each(|channel| {
            Channel::give_all_back(channel, true, |holder| peer::is_of(holder, peer.node));
            true
        });
    }
}

impl QueueService {
    /// This node, as others reach it.
    pub(crate) fn own_address(&self) -> Ipv4Addr {
        let config = self.queues.node.config();
        let own = config.nodes.address(config.me);
        own.unwrap_or(Ipv4Addr::LOCALHOST)
    }
}
