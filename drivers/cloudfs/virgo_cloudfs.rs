// SPDX-License-Identifier: GPL-2.0

//! virgo_cloudfs: files of all nodes, used from any of them.

mod changes;
mod closing;
mod cluster;
mod commands;
mod fenced_file;
mod fences;
mod file;
mod held;
mod local;
mod opened;
mod ops;
mod paths;
mod remote;
mod session_files;
mod syncing;
mod syscalls;
mod window;
mod workers;

use crate::{
    closing::MAX_FILES,
    cluster::Cloudfs,
    opened::MAX_OPEN,
    syscalls::CloudfsSyscalls, //
};
use kernel::prelude::*;
use linux::descriptor::FdType;
use virgo_abi::calls::CloudfsRegistration;
use virgo_config::Subscription;
use virgo_utils::{
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
    name: "virgo_cloudfs",
    authors: ["The VIRGO developers"],
    description: "VIRGO: files of all nodes, used from any of them",
    license: "GPL",
    params: {
        max_files: u32 {
            default: 65536,
            description: "Files of all nodes that this one may have open (1 to 1048576)",
        },
        max_open: u32 {
            default: 4096,
            description: "Files that one other node may have open here (1 to 16384)",
        },
        loopback: u8 {
            default: 0,
            description: "1: reach this node's own files over the network too (for measurements)",
        },
    },
}

impl Service for Cloudfs {
    const NAME: &'static CStr = c"cloudfs";
    const PORT: u16 = 50000;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;
    const OPERATIONS: &'static [Operation<Self>] = ops::OPERATIONS;
    const CALLS: &'static [&'static str] = syscalls::NAMES;

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        reply.field("open", self.opened.len() as u64)?;
        reply.field("limit", self.opened.limit().into())
    }

    fn client(&self) -> Option<&Client> {
        Some(&self.others.client)
    }

    fn undo(&self, op: u16, reply: &[u8]) {
        ops::undo(self, op, reply);
    }

    fn peer_gone(&self, gone: Peer) {
        // The replies that it waited for are owed to its node: the next incarnation may wait for fewer.
        self.drop_given_up(gone.node);
        let closed = self.opened.close_gone(gone);
        if closed > 0 && self.log.pass() {
            pr_info!("node {} has restarted: {closed} files closed\n", gone.node);
        }
    }
}

/// Fields are dropped in order: first nobody waits for other nodes any more, who may be out of reach;
/// then no program and no peer can call; then the state goes. Descriptors of programs pin the module, so there are none.
#[pin_data]
struct Module {
    _stop: Stop<Cloudfs>,
    _reloads: Subscription,
    #[pin]
    _calls: CloudfsRegistration<CloudfsSyscalls>,
    #[pin]
    _server: Server<Cloudfs>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = virgo_config::node()?;
            let max_files = module_parameters::max_files.value().clamp(1, MAX_FILES);
            let max_open = module_parameters::max_open.value().clamp(1, MAX_OPEN);
            let loopback = module_parameters::loopback.value() != 0;
            let cloudfs = Cloudfs::new(node.clone(), Cloudfs::PORT, max_files, max_open, loopback)?;
            let opened = cloudfs.opened.clone();
            let stats = Stats::new::<Cloudfs>()?;
            let calls = CloudfsSyscalls {
                cloudfs: cloudfs.clone(),
                stats: stats.clone(),
                files: KBox::pin_init(FdType::new(module, c"[virgo]"), GFP_KERNEL)?,
            };
            Ok(try_pin_init!(Self {
                _stop: Stop::new(&cloudfs),
                _server <- Server::new(module, cloudfs, stats),
                // After the server's, which ends the sessions of nodes that are removed.
                _reloads: node.subscribe(opened)?,
                _calls <- CloudfsRegistration::new(module, calls),
            }? Error))
        })
    }
}
