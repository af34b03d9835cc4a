// SPDX-License-Identifier: GPL-2.0

//! virgo_cpupooling: functions, programs and library functions, run on any node.

mod args;
mod budgets;
mod builtins;
mod choose;
mod commands;
mod executor;
mod function;
mod invocation;
mod job;
mod jobs;
mod learnt;
mod load;
mod load_reporter;
mod local;
mod ops;
mod outbox;
mod outcome;
mod parcel;
mod place;
mod pool;
mod program;
mod remote;
mod request;
mod schedule;
mod senders;
mod show;
mod submit;
mod syscalls;
mod target;
mod untold;
mod view;
mod watch;

use crate::{
    budgets::PoolLimits,
    pool::Cpupool,
    syscalls::CpupoolSyscalls, //
};
use kernel::{
    fmt,
    prelude::*, //
};
use virgo_abi::calls::CpupoolRegistration;
use virgo_utils::{
    functions,
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
    name: "virgo_cpupooling",
    authors: ["The VIRGO developers"],
    description: "VIRGO: calls that run on any node",
    license: "GPL",
    params: {
        max_running: u32 {
            default: 32,
            description: "Calls that run here at a time (1 to 1024); quick functions do not count",
        },
        max_waiting: u32 {
            default: 4096,
            description: "Calls that wait to run here (1 to 65536)",
        },
        max_jobs: u32 {
            default: 8192,
            description: "Calls made here whose results were not taken (1 to 65536)",
        },
        max_bytes: u64 {
            default: 67108864,
            description: "Bytes of arguments and output that calls may keep here",
        },
        loopback: u8 {
            default: 0,
            description: "1: reach this node like another, for measurements",
        },
    },
}

impl Service for Cpupool {
    const NAME: &'static CStr = c"cpupooling";
    const PORT: u16 = virgo_proto::clone::PORT;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;
    const OPERATIONS: &'static [Operation<Self>] = ops::OPERATIONS;
    const CALLS: &'static [&'static str] = syscalls::NAMES;

    fn other(
        &self,
        caller: &Caller<'_>,
        line: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        commands::bare(self, caller, line, reply)
    }

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        reply.field("jobs", self.jobs.len() as u64)?;
        reply.field("here", self.executor.len() as u64)?;
        reply.field("bytes", self.budgets.bytes())?;
        reply.field("undelivered", self.outboxes.len() as u64)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show::show(self, f)
    }

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn set_stopped(&self, stopped: bool) {
        match stopped {
            true => self.stop(),
            false => self.resume(),
        }
    }

    fn peer_gone(&self, gone: Peer) {
        self.executor.cancel_gone(gone);
        self.outboxes.forget_gone(gone);
    }
}

/// Fields are dropped in order: first nobody waits for calls any more; then no program and no peer can
/// call; then the state goes, and with it all calls that run here, which may be of functions of this
/// module.
#[pin_data]
struct Module {
    _stop: Stop<Cpupool>,
    #[pin]
    _calls: CpupoolRegistration<CpupoolSyscalls>,
    #[pin]
    _server: Server<Cpupool>,
    _functions: functions::Registration,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = virgo_config::node()?;
            let limits = PoolLimits {
                running: module_parameters::max_running.value().clamp(1, 1024) as usize,
                waiting: module_parameters::max_waiting.value().clamp(1, 65536) as usize,
                jobs: module_parameters::max_jobs.value().clamp(1, 65536) as usize,
                bytes: module_parameters::max_bytes.value(),
            };
            let loopback = module_parameters::loopback.value() != 0;
            let pool = Cpupool::new(node, Cpupool::PORT, &limits, loopback)?;
            let stats = Stats::new::<Cpupool>()?;
            let functions_state: functions::FunctionState = pool.shared.clone();
            let calls = CpupoolSyscalls {
                pool: pool.clone(),
                stats: stats.clone(),
            };
            Ok(try_pin_init!(Self {
                _stop: Stop::new(&pool),
                _server <- Server::new(module, pool, stats),
                _functions: functions::Registration::with_state(
                    module,
                    builtins::FUNCTIONS,
                    functions_state,
                )?,
                _calls <- CpupoolRegistration::new(module, calls),
            }? Error))
        })
    }
}
