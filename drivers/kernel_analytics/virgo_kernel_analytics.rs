// SPDX-License-Identifier: GPL-2.0

//! virgo_kernel_analytics: sets the variables that steer this node's modules, from a file, from the
//! stream of a host, and for people; keeps a history of what was set by whom.

mod audit;
mod commands;
mod control;
mod file;
mod functions;
mod history;
mod limits;
mod local;
mod observers;
mod ops;
mod rights;
mod rollouts;
mod stream;
mod stream_input;
mod stream_status;
mod watch;

use crate::{
    audit::{
        AuditTrail,
        AuditWriter, //
    },
    control::AnalyticsControl,
    history::ChangeHistory,
    limits::AnalyticsLimits,
    local::Analytics,
    observers::Observers,
    rollouts::{
        control::RolloutControl,
        workers::RolloutWorkers,
        Rollouts, //
    },
    stream::Streaming, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
};
use linux::debugfs::DebugFile;
use virgo_utils::{
    functions::Registration,
    variables::{
        Setter,
        Variable, //
    },
    Client,
    Command,
    Failure,
    Operation,
    Reply,
    Server,
    Service,
    Stats,
    Stop, //
};

module! {
    type: Module,
    name: "virgo_kernel_analytics",
    authors: ["The VIRGO developers"],
    description: "VIRGO: variables that are learnt outside and steer the kernel",
    license: "GPL",
    params: {
        max_keys: u32 {
            default: 4096,
            description: "Variables that no module has declared (1 to 65536)",
        },
        max_bytes: u64 {
            default: 4194304,
            description: "Bytes of all values (from 65536)",
        },
        max_file_bytes: u32 {
            default: 1048576,
            description: "Bytes of /etc/virgo_kernel_analytics.conf (0 to 16777216)",
        },
        history: u32 {
            default: 1024,
            description: "Changes that are remembered (16 to 65536)",
        },
        stream_lines: u32 {
            default: 2000,
            description: "Values a second that are taken from the stream; a line without counts as one (1 to 100000)",
        },
        audit_bytes: u64 {
            default: 4194304,
            description: "Bytes of /var/log/virgo_analytics/audit before it is put aside (from 65536)",
        },
        rollout_lease_ms: u32 {
            default: 5000,
            description: "How long a node is ready for a roll-out, or tries it, without hearing of who coordinates it, in ms (200 to 60000)",
        },
    },
}

impl Service for Analytics {
    const NAME: &'static CStr = c"kernel_analytics";
    // Between the ports of the memory pool and of the files. 64000 is that of the stream, on whose host
    // a program listens, and that may be this machine.
    const PORT: u16 = 40000;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;
    const OPERATIONS: &'static [Operation<Self>] = ops::OPERATIONS;

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        let (used, limit) = self.setter.used();
        reply.field("used", used)?;
        reply.field("limit", limit)?;
        self.stream.stats(reply)?;
        self.audit.stats(reply)
    }

    fn client(&self) -> Option<&Client> {
        Some(&self.rollouts.client)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.show(f)
    }
}

/// Fields are dropped in order: first nobody waits for other nodes any more, then nobody can set anything, then
/// roll-outs and the stream end, then the variables get their defaults, and the last changes are written.
#[pin_data]
struct Module {
    _stop: Stop<Analytics>,
    _functions: Registration,
    #[pin]
    _server: Server<Analytics>,
    #[pin]
    _control: DebugFile<AnalyticsControl>,
    #[pin]
    _rollout_control: DebugFile<RolloutControl>,
    _variables: [Variable; 2],
    _workers: RolloutWorkers,
    _streaming: Streaming,
    _analytics: Arc<Analytics>,
    _audit: AuditWriter,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let limits = AnalyticsLimits::of_parameters();
            let node = virgo_config::node()?;
            let client = Arc::pin_init(Client::new(node.clone(), Analytics::PORT), GFP_KERNEL)?;
            let history = ChangeHistory::new(&limits)?;
            let audit = AuditTrail::new(node.clone(), limits.audit_bytes)?;
            let audit_writer = AuditWriter::new(&audit)?;
            let observers = Observers::new(history.clone(), audit.clone())?;
            let setter = Setter::new(observers, limits.budget()?, limits.max_keys)?;
            let setter = Arc::new(setter, GFP_KERNEL)?;
            let rollouts = Rollouts::new(node.clone(), client, setter.clone(), limits.rollouts)?;
            let workers = RolloutWorkers::new(&rollouts)?;
            let streaming = Streaming::new(setter.clone(), limits.stream_lines)?;
            let status = streaming.status();
            let analytics =
                Analytics::new(setter, history, status, audit, rollouts.clone(), limits)?;
            let variables = streaming.declare()?;
            analytics.load();
            let stats = Stats::new::<Analytics>()?;
            let control = AnalyticsControl(analytics.clone());
            let dir = node.debugfs().clone();
            let rollout_control = RolloutControl::new(rollouts)?;
            // In the reverse order of the fields, so that they are dropped in theirs if one fails.
            Ok(try_pin_init!(Self {
                _audit: audit_writer,
                _analytics: analytics.clone(),
                _streaming: streaming,
                _workers: workers,
                _variables: variables,
                _rollout_control <- DebugFile::new(module, &dir, c"rollouts", rollout_control),
                _control <- DebugFile::new(module, &dir, c"analytics", control),
                _server <- Server::new(module, analytics.clone(), stats),
                _functions: Registration::with_state(
                    module,
                    functions::FUNCTIONS,
                    analytics.clone(),
                )?,
                _stop: Stop::new(&analytics),
            }? Error))
        })
    }
}
