// SPDX-License-Identifier: GPL-2.0

//! virgo_queue: queues and topics in the kernel, for programs, people and other modules.

#[path = "core/binding_index.rs"]
mod binding_index;
#[path = "core/channel.rs"]
mod channel;
#[path = "core/chunks.rs"]
mod chunks;
#[path = "core/consumer.rs"]
mod consumer;
#[path = "core/dead_letters.rs"]
mod dead_letters;
#[path = "core/history.rs"]
mod history;
#[path = "core/local.rs"]
mod local;
#[path = "core/message.rs"]
mod message;
#[path = "core/pending.rs"]
mod pending;
#[path = "core/publish.rs"]
mod publish;
#[path = "core/publish_one.rs"]
mod publish_one;
#[path = "core/publish_target.rs"]
mod publish_target;
#[path = "core/queues.rs"]
mod queues;
#[path = "core/subscribe.rs"]
mod subscribe;
#[path = "core/table.rs"]
mod table;

#[path = "durable/commits.rs"]
mod commits;
#[path = "durable/disk.rs"]
mod disk;
#[path = "durable/log.rs"]
mod log;
#[path = "durable/log_status.rs"]
mod log_status;
#[path = "durable/log_worker.rs"]
mod log_worker;
#[path = "durable/recovery.rs"]
mod recovery;

#[path = "front/admin.rs"]
mod admin;
#[path = "front/bandwidth.rs"]
mod bandwidth;
#[path = "front/batch.rs"]
mod batch;
#[path = "front/command_args.rs"]
mod command_args;
#[path = "front/commands.rs"]
mod commands;
#[path = "front/forgets.rs"]
mod forgets;
#[path = "front/handle.rs"]
mod handle;
#[path = "front/open_messages.rs"]
mod open_messages;
#[path = "front/ops.rs"]
mod ops;
#[path = "front/peer_jobs.rs"]
mod peer_jobs;
#[path = "front/pulls.rs"]
mod pulls;
#[path = "front/push.rs"]
mod push;
#[path = "front/remote.rs"]
mod remote;
#[path = "front/requests.rs"]
mod requests;
#[path = "front/service.rs"]
mod service;
#[path = "front/subscriber.rs"]
mod subscriber;
#[path = "front/syscalls.rs"]
mod syscalls;

use crate::{
    bandwidth::Bandwidth,
    channel::Channel,
    dead_letters::DeadLetterWork,
    forgets::Forgets,
    log::Log,
    log_worker::LogWorker,
    peer_jobs::PeerJobs,
    pulls::Pulls,
    queues::{
        Bounds,
        Queues, //
    },
    requests::{
        Drain,
        Requests, //
    },
    service::QueueService,
    syscalls::QueueSyscalls, //
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
    descriptor::FdType,
    work::{
        Task,
        WorkQueue, //
    }, //
};
use virgo_abi::calls::QueueRegistration;
use virgo_utils::{
    functions,
    requests::RequestQueueRegistration,
    Caller,
    Client,
    Command,
    Failure,
    Operation,
    Peer,
    Reply,
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
        max_bound: u32 {
            default: 2048,
            description: "Subscriptions and bound queues among them (1 to 65536)",
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

impl Service for QueueService {
    const NAME: &'static CStr = c"queue";
    const PORT: u16 = virgo_proto::queue::PORT;
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
            let g = channel.stats();
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

    fn peer_gone(&self, gone: Peer) {
        self.pulls.forget_gone();
        self.queues.pending.forget_late();
        // The next incarnation knows nothing of what this one had. Consumers do not tell the two apart: what
        // the next one has taken by now may come a second time.
        self.queues.for_each(|channel| {
            Channel::give_all_back(channel, true, |consumer| {
                consumer::is_of(consumer, gone.node)
            });
            true
        });
    }
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
    _calls: QueueRegistration<QueueSyscalls>,
    _server: Option<Pin<KBox<Server<QueueService>>>>,
    _functions: functions::Registration,
    _registration: RequestQueueRegistration,
    _work: Option<Arc<WorkQueue>>,
    _drain: Arc<Task<Drain>>,
    _dead_letters: Arc<Task<DeadLetterWork>>,
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
                bound: module_parameters::max_bound.value().clamp(1, 65536) as usize,
                bytes: module_parameters::max_bytes.value(),
            };
            let queues = Queues::new(node.clone(), bounds)?;
            let contents = Contents(queues.clone());
            let dead_letters = DeadLetterWork(queues.clone());
            let dead_letters = Arc::pin_init(
                linux::new_task!(queues.work.clone(), dead_letters, "virgo_dead_letters"),
                GFP_KERNEL,
            )?;
            queues.set_dead_letters(dead_letters.handle()?);
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
                peer_jobs: PeerJobs::new(queues.clone())?,
                purges: PeerJobs::new(queues.clone())?,
                forgets: Forgets::new(client.clone())?,
                queues,
                client,
                bandwidth: Bandwidth::new()?,
                loopback: module_parameters::loopback.value() != 0,
                pushes_work: work.is_some(),
                last_pull: Atomic::new(0),
            };
            let service = Arc::new(service, GFP_KERNEL)?;
            let (requests, drain) = Requests::new(service.clone(), work.clone())?;
            let stats = Stats::new::<QueueService>()?;
            let calls = QueueSyscalls {
                service: service.clone(),
                stats: stats.clone(),
                handles: KBox::pin_init(FdType::pollable(module, c"[virgo_queue]"), GFP_KERNEL)?,
            };
            let server = move || {
                Ok::<_, Error>(match module_parameters::reactor.value() {
                    0 => None,
                    _ => Some(KBox::pin_init(
                        Server::new(module, service, stats),
                        GFP_KERNEL,
                    )?),
                })
            };
            // In the reverse order of the fields, so that they are dropped in theirs if one fails; others
            // find this module through the last ones.
            Ok(try_pin_init!(Self {
                _contents: contents,
                _log_worker: log_worker,
                _log: OpenLog(log),
                _dead_letters: dead_letters,
                _drain: drain,
                _work: work,
                _registration: RequestQueueRegistration::new(module, requests)?,
                _functions: functions::Registration::new(module, push::FUNCTIONS)?,
                _server: server()?,
                _calls <- QueueRegistration::new(module, calls),
            }? Error))
        })
    }
}
