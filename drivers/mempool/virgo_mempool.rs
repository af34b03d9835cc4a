// SPDX-License-Identifier: GPL-2.0

//! virgo_mempool: memory of all nodes, used by id from any of them.

mod brief;
mod candidates;
mod cluster;
mod commands;
mod data;
mod extents;
mod guard;
mod list;
mod local;
mod maps;
mod object;
mod ops;
mod orphans;
mod placement;
mod release;
mod remote;
mod split;
mod syscalls;
mod target;

use crate::{
    cluster::Mempool,
    syscalls::MempoolSyscalls, //
};
use core::mem::size_of;
use kernel::{
    fmt,
    prelude::*, //
};
use virgo_abi::calls::MempoolRegistration;
use virgo_proto::mempool::{
    op,
    AllocManyReply,
    AllocReply, //
};
use virgo_utils::{
    diversion,
    BriefOperation,
    Caller,
    Client,
    Command,
    Failure,
    Operation,
    Peer,
    Reply,
    Server,
    Service,
    Stats,
    Stop, //
};

module! {
    type: Module,
    name: "virgo_mempool",
    authors: ["The VIRGO developers"],
    description: "VIRGO: memory of all nodes, used by id from any of them",
    license: "GPL",
    params: {
        pool_bytes: u64 {
            default: 67108864,
            description: "Bytes of this node's memory that the pool may take",
        },
        chunk_bytes: u64 {
            default: 65536,
            description: "Bytes of an allocation that stay together on one node (4096 to 1048576)",
        },
        loopback: u8 {
            default: 0,
            description: "1: reach this node's own memory over the network too (for measurements)",
        },
    },
}

impl Service for Mempool {
    const NAME: &'static CStr = c"mempool";
    const PORT: u16 = 30000;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;
    const OPERATIONS: &'static [Operation<Self>] = ops::OPERATIONS;
    const BRIEF: &'static [BriefOperation<Self>] = brief::BRIEF;
    const CALLS: &'static [&'static str] = syscalls::NAMES;

    fn other(
        &self,
        caller: &Caller<'_>,
        line: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        match caller.config.use_as_kingcobra_service {
            true => diversion::divert(caller, line, reply),
            false => Err(Failure::UNKNOWN),
        }
    }

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        reply.field("used", self.pool.budget().used())?;
        reply.field("limit", self.pool.budget().limit())?;
        reply.field("objects", self.pool.len() as u64)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list::show(self, f)
    }

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn undo(&self, op: u16, reply: &[u8]) {
        match op {
            op::ALLOC => self.undo_alloc(reply),
            op::ALLOC_MANY => self.undo_alloc_many(reply),
            _ => (),
        }
    }

    fn peer_gone(&self, gone: Peer) {
        let freed = self.pool.free_orphans(gone);
        if freed > 0 && self.log.pass() {
            pr_info!("node {} has restarted: {freed} pieces freed\n", gone.node);
        }
    }
}

impl Mempool {
    /// Frees what a peer has allocated without ever learning the id.
    fn undo_alloc(&self, reply: &[u8]) {
        if let Ok(reply) = AllocReply::read_from_bytes(reply) {
            self.free_unknown(reply.id.get());
        }
    }

    /// As [`Self::undo_alloc`], of many.
    fn undo_alloc_many(&self, reply: &[u8]) {
        let ids = reply.get(size_of::<AllocManyReply>()..).unwrap_or_default();
        for id in ids.chunks_exact(8) {
            self.free_unknown(u64::from_le_bytes(id.try_into().unwrap_or_default()));
        }
    }

    fn free_unknown(&self, id: u64) {
        if let Ok(place) = ops::own(self, id) {
            let _ = self.pool.free(place);
        }
    }
}

/// Fields are dropped in order: first nobody waits for other nodes any more, who may be out of reach;
/// then no program and no peer can call; then the state goes.
#[pin_data]
struct Module {
    _stop: Stop<Mempool>,
    #[pin]
    _calls: MempoolRegistration<MempoolSyscalls>,
    #[pin]
    _server: Server<Mempool>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = virgo_config::node()?;
            let chunk = module_parameters::chunk_bytes.value().clamp(4096, 1 << 20);
            let loopback = module_parameters::loopback.value() != 0;
            let limit = module_parameters::pool_bytes.value();
            let mempool = Mempool::new(node, Mempool::PORT, limit, chunk, loopback)?;
            let stats = Stats::new::<Mempool>()?;
            let calls = MempoolSyscalls {
                mempool: mempool.clone(),
                stats: stats.clone(),
            };
            Ok(try_pin_init!(Self {
                _stop: Stop::new(&mempool),
                _server <- Server::new(module, mempool, stats),
                _calls <- MempoolRegistration::new(module, calls),
            }? Error))
        })
    }
}
