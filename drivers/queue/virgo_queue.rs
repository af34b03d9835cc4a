// SPDX-License-Identifier: GPL-2.0

//! virgo_queue: queues and topics in the kernel, for programs, people and other modules.

mod batch;
mod calls;
mod channel;
mod chunks;
mod commands;
mod handle;
mod log;
mod log_status;
mod log_worker;
mod message;
mod peer;
mod pending;
mod publish;
mod pulls;
mod push;
mod queues;
mod recovery;
mod remote;
mod requests;
mod service;
mod subscriber;

use crate::{
    calls::Calls,
    log::Log,
    log_worker::LogWorker,
    pulls::Pulls,
    queues::{
        Bounds,
        Queues,
        Undertaker, //
    },
    requests::{
        Drain,
        Requests, //
    },
    service::QueueService, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};
use linux::{
    calls::QueueRegistration as CallsRegistration,
    descriptor::Kind,
    work::{
        Queue as WorkQueue,
        Task, //
    }, //
};
use virgo_utils::{
    functions,
    requests::QueueRegistration,
    Client,
    Server,
    Service,
    Stats, //
};

module! {
    type: Module,
    name: "virgo_queue",
    authors: ["The VIRGO developers"],
    description: "VIRGO: queues and topics",
    license: "GPL",
    params: {
        use_workqueue: u8 {
            default: 0,
            description: "1: requests are work of the kernel's work queue, not messages of ours",
        },
        reactor: u8 {
            default: 1,
            description: "0: do not listen at port 60000, serve other modules only",
        },
        max_queues: u32 {
            default: 16384,
            description: "Queues, topics and subscriptions (1 to 65536)",
        },
        max_bytes: u64 {
            default: 67108864,
            description: "Bytes of all messages together",
        },
        max_log_bytes: u64 {
            default: 1073741824,
            description: "Bytes of a file of the log of durable queues (1 MiB at least)",
        },
        loopback: u8 {
            default: 0,
            description: "1: reach this node like another, for measurements",
        },
    },
}

/// Deletes all channels when dropped: their clocks, and who waits at them, must end before the
/// module does.
struct Contents(Arc<Queues>);

impl Drop for Contents {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Brings the log to disk when dropped.
struct OpenLog(Arc<Log>);

impl Drop for OpenLog {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Fields are dropped in order: first nobody can come in, then requests under way end, then the log
/// is brought to disk, and its worker and the channels go.
#[pin_data]
struct Module {
    #[pin]
    _calls: CallsRegistration<Calls>,
    _server: Option<Pin<KBox<Server<QueueService>>>>,
    _functions: functions::Registration,
    _registration: QueueRegistration,
    _work: Option<Arc<WorkQueue>>,
    _drain: Arc<Task<Drain>>,
    _undertaker: Arc<Task<Undertaker>>,
    _log: OpenLog,
    _log_worker: Arc<Task<LogWorker>>,
    _contents: Contents,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let node = virgo_config::node()?;
            let bounds = Bounds {
                channels: module_parameters::max_queues.value().clamp(1, 65536) as usize,
                bytes: module_parameters::max_bytes.value(),
            };
            let queues = Queues::new(node.clone(), bounds)?;
            let contents = Contents(queues.clone());
            let undertaker = Undertaker(queues.clone());
            let undertaker = Arc::pin_init(
                linux::new_task!(queues.work.clone(), undertaker, "virgo_undertaker"),
                GFP_KERNEL,
            )?;
            queues.set_undertaker(undertaker.handle()?);
            let log = Log::new()?;
            let max_log_bytes = module_parameters::max_log_bytes.value();
            let max_log_bytes = max_log_bytes.clamp(1 << 20, 1 << 40);
            let log_worker = LogWorker::new(queues.clone(), log.clone(), max_log_bytes)?;
            queues.set_log(log.clone());
            log.start(log_worker.handle()?)?;
            let work = match module_parameters::use_workqueue.value() {
                0 => None,
                _ => Some(WorkQueue::urgent(c"virgo_kernel_workqueue", 2)?),
            };
            let client = Arc::pin_init(Client::new(node, QueueService::PORT), GFP_KERNEL)?;
            let service = QueueService {
                pulls: Pulls::new(&queues.work)?,
                queues,
                client,
                loopback: module_parameters::loopback.value() != 0,
                pushes_work: work.is_some(),
                last_pull: Atomic::new(0),
            };
            let service = Arc::new(service, GFP_KERNEL)?;
            let (requests, drain) = Requests::new(service.clone(), work.clone())?;
            let registration = QueueRegistration::new(module, requests)?;
            let functions = functions::Registration::new(module, push::FUNCTIONS)?;
            let stats = Stats::new::<QueueService>()?;
            let calls = Calls {
                service: service.clone(),
                stats: stats.clone(),
                handles: KBox::pin_init(Kind::pollable(module, c"[virgo_queue]"), GFP_KERNEL)?,
            };
            let server = match module_parameters::reactor.value() {
                0 => None,
                _ => Some(KBox::pin_init(
                    Server::new(module, service, stats),
                    GFP_KERNEL,
                )?),
            };
            Ok(try_pin_init!(Self {
                _server: server,
                _functions: functions,
                _registration: registration,
                _work: work,
                _drain: drain,
                _undertaker: undertaker,
                _log: OpenLog(log),
                _log_worker: log_worker,
                _contents: contents,
                _calls <- CallsRegistration::new(module, calls),
            }? Error))
        })
    }
}
