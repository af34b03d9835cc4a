// SPDX-License-Identifier: GPL-2.0

//! virgo_cloudsync: locks that all nodes share.
//!
//! ```text
//! syscalls   what programs of this node call        handle, session, events: who has locks
//! commands   what people and programs say by text   list: who has which
//! functions  what other nodes call to list locks
//! locks      locks of this node's programs
//! ops        what other nodes ask                   reader: answers, at once or from the inbox
//! beater     speaks to another node about the view; teller: about locks
//! cluster    this node's membership, and the clock
//! remote     requests to other nodes
//! views      what a change of view does to names    recovery: what is waited for then
//! names      all names that this node knows         name, items; messages: what is said of them
//! lease      until when they may be used            outbox: what nodes are to be told
//! sweep      what names do to many of them a few at a time: those that nobody uses are given back
//! waits      ends waits at their deadlines          expiry: the deadlines, in their order
//! storage    what this node has promised, on disk
//! bakery     locks for threads of this machine alone, which know each other by number; bakery_c_api: for modules in C
//! ```
//!
//! What all this means is in [`virgo_proto::cloudsync`]: these files bring messages, time and memory.

pub mod bakery;
mod bakery_c_api;
mod beater;
mod cluster;
mod commands;
mod events;
mod expiry;
mod functions;
mod handle;
mod inbox;
mod items;
mod lease;
mod list;
mod locks;
mod messages;
mod name;
mod names;
mod ops;
mod outbox;
mod reader;
mod recovery;
mod remote;
mod service;
mod session;
mod storage;
mod sweep;
mod syscalls;
mod teller;
mod views;
mod waits;

use crate::{
    bakery_c_api::PublishedBakery,
    beater::Beater,
    cluster::{
        Clock,
        Cluster,
        Installer,
        Lapse,
        Sweeper, //
    },
    lease::Lease,
    locks::Locks,
    names::Names,
    reader::Reader,
    service::Cloudsync,
    syscalls::Calls,
    teller::Teller,
    waits::Expirer, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};
use linux::{
    crypto::random_u64,
    descriptor::FdType,
    work::{
        Task,
        WorkQueue, //
    }, //
};
use virgo_abi::calls::CloudsyncRegistration;
use virgo_proto::{
    bakery::MAX_PARTICIPANTS,
    cloudsync::{
        self,
        membership::Timing, //
    }, //
};
use virgo_utils::{
    functions::Registration,
    Client,
    Command,
    Failure,
    Operation,
    Reply,
    Server,
    Service,
    Stats, //
};

module! {
    type: Module,
    name: "virgo_cloudsync",
    authors: ["The VIRGO developers"],
    description: "VIRGO: locks that all nodes share",
    license: "GPL",
    params: {
        beat_ms: u32 {
            default: 150,
            description: "Between two heartbeats while somebody here uses locks, in ms (10 to 10000)",
        },
        dead_ms: u32 {
            default: 800,
            description: "A node that is silent for so long is taken for dead, in ms (50 to 60000)",
        },
        lease_ms: u32 {
            default: 600,
            description: "How long a node may use locks without hearing of a majority, in ms (50 to 60000)",
        },
        margin_ms: u32 {
            default: 50,
            description: "Waited longer than a lease and an eighth before what a lost node had is granted, in ms (1 to 10000)",
        },
        max_names: u32 {
            default: 262144,
            description: "Names of locks that this node knows (16 to 4194304); a user other than root may have user_share of them",
        },
        max_locks: u32 {
            default: 262144,
            description: "Locks that programs of this node have or wait for (16 to 4194304)",
        },
        bakery_participants: u16 {
            default: 16,
            description: "Participants of the bakery lock that modules in C share (1 to 64)",
        },
    },
}

impl Service for Cloudsync {
    const NAME: &'static CStr = c"cloudsync";
    const PORT: u16 = cloudsync::PORT;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;
    const OPERATIONS: &'static [Operation<Self>] = ops::OPERATIONS;
    const CALLS: &'static [&'static str] = syscalls::NAMES;

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        let names = self.locks.cluster.names.lock();
        reply.field("names", names.len() as u64)?;
        reply.field("view", names.view().number)?;
        reply.field("used", self.locks.budget().used())?;
        reply.field("limit", self.locks.budget().limit())
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.locks.cluster.show(f)?;
        writeln!(f, "# name held wanted token uid session since_ms master")?;
        let shown = list::each(&self.locks.cluster, 0, |line| {
            let line = core::str::from_utf8(line).unwrap_or_default();
            Ok(writeln!(f, "lock {line}").is_ok())
        });
        shown.map_err(|_| fmt::Error)
    }

    fn client(&self) -> Option<&Client> {
        Some(&self.locks.cluster.client)
    }

    fn set_stopped(&self, stopped: bool) {
        let client = &self.locks.cluster.client;
        match stopped {
            true => client.stop(),
            false => client.start(),
        }
        self.locks.set_stopped(stopped);
    }
}

/// Ends what this node asks others when it is dropped.
struct Stop(Arc<Client>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The work of the module. Dropped, it has ended.
struct Workers {
    clock: Arc<Task<Clock>>,
    lapse: Arc<Task<Lapse>>,
    installer: Arc<Task<Installer>>,
    beaters: KVec<Arc<Task<Beater>>>,
    tellers: KVec<Arc<Task<Teller>>>,
    readers: KVec<Arc<Task<Reader>>>,
    sweeper: Arc<Task<Sweeper>>,
    expirer: Arc<Task<Expirer>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.clock.stop();
        self.lapse.stop();
        self.installer.stop();
        for beater in &self.beaters {
            beater.stop();
        }
        for teller in &self.tellers {
            teller.stop();
        }
        for reader in &self.readers {
            reader.stop();
        }
        self.sweeper.stop();
        self.expirer.stop();
    }
}

impl Workers {
    /// Work for `cluster`: one that looks at the clock, one at the lease, one at views, one at many names, one at
    /// deadlines, and three for each node that there may be.
    fn new(cluster: &Arc<Cluster>) -> Result<Self> {
        let queue = WorkQueue::unbound(c"virgo_cloudsync", 3 * cloudsync::MAX_NODES as c_int + 5)?;
        let clock = Clock(cluster.clone());
        let lapse = Lapse(cluster.clone());
        let installer = Installer(cluster.clone());
        let sweeper = Sweeper(cluster.clone());
        let expirer = Expirer(cluster.clone());
        let mut workers = Workers {
            clock: Arc::pin_init(
                linux::new_task!(queue.clone(), clock, "virgo_lock_clock"),
                GFP_KERNEL,
            )?,
            lapse: Arc::pin_init(
                linux::new_task!(queue.clone(), lapse, "virgo_lock_lapse"),
                GFP_KERNEL,
            )?,
            installer: Arc::pin_init(
                linux::new_task!(queue.clone(), installer, "virgo_lock_installer"),
                GFP_KERNEL,
            )?,
            beaters: KVec::new(),
            tellers: KVec::new(),
            readers: KVec::new(),
            sweeper: Arc::pin_init(
                linux::new_task!(queue.clone(), sweeper, "virgo_lock_sweeper"),
                GFP_KERNEL,
            )?,
            expirer: Arc::pin_init(
                linux::new_task!(queue.clone(), expirer, "virgo_lock_expirer"),
                GFP_KERNEL,
            )?,
        };
        let mut beating = KVec::new();
        let mut telling = KVec::new();
        let mut reading = KVec::new();
        for node in 1..=cloudsync::MAX_NODES as u8 {
            let cluster = cluster.clone();
            let beater = Beater {
                cluster: cluster.clone(),
                node,
            };
            let beater = Arc::pin_init(
                linux::new_task!(queue.clone(), beater, "virgo_lock_beater"),
                GFP_KERNEL,
            )?;
            let reader = Reader {
                cluster: cluster.clone(),
                node,
            };
            let reader = Arc::pin_init(
                linux::new_task!(queue.clone(), reader, "virgo_lock_reader"),
                GFP_KERNEL,
            )?;
            let teller = Teller {
                cluster,
                node,
                failures: Atomic::new(0),
            };
            let teller = Arc::pin_init(
                linux::new_task!(queue.clone(), teller, "virgo_lock_teller"),
                GFP_KERNEL,
            )?;
            beating.push(beater.handle()?, GFP_KERNEL)?;
            telling.push(teller.handle()?, GFP_KERNEL)?;
            reading.push(reader.handle()?, GFP_KERNEL)?;
            workers.readers.push(reader, GFP_KERNEL)?;
            workers.beaters.push(beater, GFP_KERNEL)?;
            workers.tellers.push(teller, GFP_KERNEL)?;
        }
        cluster.set_workers(
            workers.clock.handle()?,
            workers.lapse.handle()?,
            workers.installer.handle()?,
            beating,
            reading,
        );
        let sweeper = workers.sweeper.handle()?;
        let expirer = workers.expirer.handle()?;
        let mut names = cluster.names.lock();
        names.set_workers(telling, sweeper, expirer);
        drop(names);
        Ok(workers)
    }
}

/// Fields are dropped in order: first nobody waits for other nodes any more, then nobody can come in, then
/// the work ends.
#[pin_data]
struct Module {
    _stop: Stop,
    #[pin]
    _calls: CloudsyncRegistration<Calls>,
    _functions: Registration,
    #[pin]
    _server: Server<Cloudsync>,
    _workers: Workers,
    _bakery: PublishedBakery,
}

fn timing() -> Timing {
    let lease_ms = module_parameters::lease_ms.value().clamp(50, 60_000);
    let dead_ms = module_parameters::dead_ms.value().clamp(50, 60_000);
    Timing {
        // Several beats may be lost before either ends.
        beat_ms: module_parameters::beat_ms
            .value()
            .clamp(10, lease_ms.min(dead_ms) / 3),
        dead_ms,
        lease_ms,
        margin_ms: module_parameters::margin_ms.value().clamp(1, 10_000),
    }
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = virgo_config::node()?;
            let client = Arc::pin_init(Client::new(node.clone(), Cloudsync::PORT), GFP_KERNEL)?;
            let boot = random_u64().max(1);
            let max_names = module_parameters::max_names.value().clamp(16, 1 << 22);
            let max_locks = module_parameters::max_locks.value().clamp(16, 1 << 22);
            let lease = Arc::new(Lease::new(), GFP_KERNEL)?;
            let names = Names::new(node.config().me, boot, max_names.into(), lease)?;
            let cluster = Cluster::new(node, client.clone(), timing(), boot, names)?;
            let workers = Workers::new(&cluster)?;
            let locks = Arc::new(Locks::new(cluster, max_locks.into())?, GFP_KERNEL)?;
            let service = Cloudsync {
                locks: locks.clone(),
            };
            let service = Arc::new(service, GFP_KERNEL)?;
            let stats = Stats::new::<Cloudsync>()?;
            let calls = Calls {
                service: service.clone(),
                stats: stats.clone(),
                handles: KBox::pin_init(FdType::readable(module, c"[virgo_lock]"), GFP_KERNEL)?,
            };
            // In the reverse order of the fields, so that they are dropped in theirs if one fails.
            Ok(try_pin_init!(Self {
                _bakery: PublishedBakery::new(
                    module_parameters::bakery_participants.value().clamp(1, MAX_PARTICIPANTS),
                )?,
                _workers: workers,
                _server <- Server::new(module, service, stats),
                _functions: Registration::with_state(module, functions::FUNCTIONS, locks)?,
                _calls <- CloudsyncRegistration::new(module, calls),
                _stop: Stop(client),
            }? Error))
        })
    }
}
