// SPDX-License-Identifier: GPL-2.0

//! virgo_eventnet: what happened before what.
//!
//! ```text
//! service    the state of the service
//! commands   what people and programs say by text
//! functions  what other nodes call: to read this node's events, to switch recording on and off
//! events     reading this node's events, switching
//! pending    messages that wait to be written
//! writer     the work that writes them
//! vertices   the contents of the file of vertices
//! ```
//!
//! The events themselves are recorded by virgo_utils.

mod commands;
mod events;
mod functions;
mod pending;
mod service;
mod vertices;
mod writer;

use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
};
use linux::work::WorkQueue;
use pending::PendingLines;
use service::EventNet;
use virgo_proto::eventnet;
use virgo_utils::{
    eventnet::SinkRegistration,
    functions::Registration,
    Caller,
    Command,
    Failure,
    Reply,
    Server,
    Service,
    Stats, //
};
use writer::{
    GraphWriter,
    WriterStop,
    EDGES_TIMES, //
};

module! {
    type: Module,
    name: "virgo_eventnet",
    authors: ["The VIRGO developers"],
    description: "VIRGO: what happened before what",
    license: "GPL",
    params: {
        pending_kb: u32 {
            default: 256,
            description: "Messages that wait to be written to each file, in KiB (64 to 65536)",
        },
        max_file_mb: u32 {
            default: 16,
            description: "The file of vertices, in MiB (1 to 1024); the file of edges may have 64 times that",
        },
    },
}

impl Service for EventNet {
    const NAME: &'static CStr = c"eventnet";
    const PORT: u16 = eventnet::PORT;
    const COMMANDS: &'static [Command<Self>] = commands::COMMANDS;

    fn other(
        &self,
        caller: &Caller<'_>,
        line: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        commands::message(self, caller, line, reply)
    }

    fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        commands::stats(self, reply)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        events::show(f)?;
        self.pending.show(f)
    }
}

/// Fields are dropped in order: first nothing is said any more, then what was said is written.
#[pin_data]
struct Module {
    #[pin]
    _server: Server<EventNet>,
    _functions: Registration,
    _sink: SinkRegistration,
    _stop: WriterStop,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let bytes = module_parameters::pending_kb.value().clamp(64, 1 << 16) as usize * 1024;
            let max_mb = module_parameters::max_file_mb.value().clamp(1, 1024);
            let max = u64::from(max_mb) << 20;
            let pending = PendingLines::new(bytes, max.saturating_mul(EDGES_TIMES), max)?;
            let queue = WorkQueue::unbound(c"virgo_eventnet", 1)?;
            let writer = GraphWriter::new(pending.clone(), bytes, max)?;
            let writer = Arc::pin_init(
                linux::new_task!(queue, writer, "virgo_eventnet_writer"),
                GFP_KERNEL,
            )?;
            let service = EventNet {
                pending: pending.clone(),
            };
            let service = Arc::new(service, GFP_KERNEL)?;
            pending.wake(writer.handle()?);
            Ok(try_pin_init!(Self {
                _stop: WriterStop(writer),
                _sink: SinkRegistration::new(module, pending)?,
                _functions: Registration::new(module, functions::FUNCTIONS)?,
                _server <- Server::new(module, service, Stats::new::<EventNet>()?),
            }? Error))
        })
    }
}
