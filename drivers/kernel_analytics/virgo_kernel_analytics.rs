// SPDX-License-Identifier: GPL-2.0

//! virgo_kernel_analytics: sets the variables that steer this node's modules, from a file, from the
//! stream of a host, and for people; keeps a history of what was set by whom.

mod commands;
mod control;
mod file;
mod history;
mod limits;
mod local;
mod stream;
mod stream_input;
mod stream_status;
mod watch;

use crate::{
    control::AnalyticsControl,
    history::ChangeHistory,
    limits::AnalyticsLimits,
    local::Analytics,
    stream::Streaming, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
};
use linux::debugfs::DebugFile;
use virgo_utils::{
    variables::{
        Setter,
        Variable, //
    },
    Command,
    Failure,
    Reply,
    Server,
    Service,
    Stats, //
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
    },
}

impl Service for Analytics {
    const NAME: &'static CStr = c"kernel_analytics";
    // Between the ports of the memory pool and of the files. 64000 is that of the stream, on whose host
    // a program listens, and that may be this machine.
    const PORT: u16 = 40000;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        let (used, limit) = self.setter.used();
        reply.field("used", used)?;
        reply.field("limit", limit)?;
        self.stream.stats(reply)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.show(f)
    }
}

/// Fields are dropped in order: first nobody can set anything any more, then the stream ends, then the
/// variables get their defaults.
#[pin_data]
struct Module {
    #[pin]
    _server: Server<Analytics>,
    #[pin]
    _control: DebugFile<AnalyticsControl>,
    _variables: [Variable; 2],
    _streaming: Streaming,
    _analytics: Arc<Analytics>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let limits = AnalyticsLimits::of_parameters();
            let node = virgo_config::node()?;
            let history = ChangeHistory::new(&limits)?;
            let setter = Setter::new(history.clone(), limits.budget()?, limits.max_keys)?;
            let setter = Arc::new(setter, GFP_KERNEL)?;
            let streaming = Streaming::new(setter.clone(), limits.stream_lines)?;
            let analytics = Analytics::new(setter, history, streaming.status(), limits)?;
            let variables = streaming.declare()?;
            analytics.load();
            let stats = Stats::new::<Analytics>()?;
            let control = AnalyticsControl(analytics.clone());
            Ok(try_pin_init!(Self {
                _variables: variables,
                _streaming: streaming,
                _control <- DebugFile::new(module, node.debugfs(), c"analytics", control),
                _server <- Server::new(module, analytics.clone(), stats),
                _analytics: analytics,
            }? Error))
        })
    }
}
