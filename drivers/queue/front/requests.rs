// SPDX-License-Identifier: GPL-2.0

//! The queue of requests that other modules push, and bare lines: in one of two ways, chosen when
//! the module is loaded.
//!
//! - native: they lie in the queue `requests`, until the handler takes them, or whoever else takes
//!   from that queue;
//! - workqueue: each is a piece of work of the kernel's own work queue; what no handler takes goes to
//!   the queue `requests`.

use crate::{
    channel::{
        Channel,
        ChannelRef,
        PublishOptions, //
    },
    consumer::HANDLER,
    message::{
        Message,
        Parts,
        ReplyTo, //
    },
    publish_target::Publisher,
    service::QueueService,
    table::REQUESTS, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
};
use linux::{
    bytes::copy,
    deadline::Deadline,
    work::{
        Run,
        Task,
        WorkHandle,
        WorkQueue, //
    }, //
};
use virgo_proto::{
    eventnet::event::EventKind,
    queue::{
        access::AccessMode,
        options::Options, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    budget::{
        Account,
        Budget,
        Charge, //
    },
    requests::{
        self,
        QueueRequest,
        RequestQueue, //
    }, //
};

/// Requests handed to the handler in a row before other work gets its turn.
const BUDGET: usize = 64;

/// A request that its handler could not do, or could not be given, is tried again after so long, in
/// milliseconds.
const AGAIN_MS: u32 = 1000;

/// See the module.
pub(crate) struct Requests {
    pub(crate) channel: ChannelRef,
    service: Arc<QueueService>,
    drain: WorkHandle,
    /// The other way, if it was chosen.
    work: Option<Arc<WorkQueue>>,
    /// Pieces of work that wait, by user.
    waiting: Pin<KBox<Budget>>,
}

impl Requests {
    /// Its queue is made in `queues`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        service: Arc<QueueService>,
        work: Option<Arc<WorkQueue>>,
    ) -> Result<(Arc<Self>, Arc<Task<Drain>>)> {
        let queues = &service.queues;
        // All may make requests; what they say is for root.
        let options = Options {
            mode: AccessMode::DROP_BOX,
            ..Options::DEFAULT
        };
        // The log may have brought more than there may be.
        let waiting = Budget::new(options.limits.messages.into())?;
        let channel = queues.create_own(REQUESTS, &options)?;
        let drain = Arc::pin_init(
            linux::new_task!(
                queues.work.clone(),
                Drain(channel.clone()),
                "virgo_requests"
            ),
            GFP_KERNEL,
        )?;
        let this = Requests {
            channel,
            drain: drain.handle()?,
            work,
            waiting,
            service,
        };
        this.drain.wake();
        Ok((Arc::new(this, GFP_KERNEL)?, drain))
    }
}

/// Whose rights modules have: they ask on behalf of others, may use every queue, and bound themselves
/// what users can have them ask for. Whose a request is goes with it, and that user pays for it.
const MODULES: u32 = 0;

impl Requests {
    /// The account of who makes a request. Any context if that is root; otherwise it may sleep.
    fn payer(&self, request: &QueueRequest<'_>) -> Result<Account> {
        self.service.queues.budget.account(request.uid)
    }
}

impl RequestQueue for Requests {
    fn publish(
        &self,
        node: NodeId,
        subject: &[u8],
        request: &QueueRequest<'_>,
        deadline: Deadline,
    ) -> Result {
        let payer = self.payer(request)?;
        let parts = parts(subject, request);
        let by = (MODULES, &payer);
        let lsn = self
            .service
            .publish_on(node, by, &parts, PublishOptions::PLAIN, deadline)?;
        self.service.queues.commit(lsn, deadline)
    }

    fn ask(&self, name: &[u8], request: &QueueRequest<'_>, deadline: Deadline) -> Result<KVec<u8>> {
        let by = (Publisher::without_lock(MODULES), self.payer(request)?);
        self.service
            .request_on(0, by, &parts(name, request), deadline)
    }

    fn answer(&self, to: ReplyTo, data: &[u8]) -> Result {
        self.service.queues.pending.answer(to, data)
    }

    fn push(&self, request: &QueueRequest<'_>) -> Result {
        let payer = self.payer(request)?;
        let parts = parts(REQUESTS, request);
        let message = match request.uid {
            0 => Message::new(&payer, &parts, GFP_ATOMIC)?,
            _ => Message::new(&payer, &parts, GFP_KERNEL)?,
        };
        match &self.work {
            None => Channel::push(&self.channel, &message, PublishOptions::PLAIN).map(drop),
            Some(work) => {
                let waits = self.waiting.charge(request.uid, 1).map_err(|e| match e {
                    ENOMEM => ENOBUFS,
                    e => e,
                })?;
                work.enqueue(Piece::new(message, self.channel.clone(), waits)?);
                Ok(())
            }
        }
    }

    fn pop(&self) -> Option<KVec<u8>> {
        let taken = Channel::take(&self.channel, HANDLER, false).ok()??;
        let Ok(data) = copy(taken.item.data(), GFP_ATOMIC) else {
            // It stays for who has memory.
            let _ = Channel::untake(&self.channel, HANDLER, taken.id);
            return None;
        };
        // If its time was over another has it, too.
        let _ = Channel::ack(&self.channel, HANDLER, taken.id);
        Some(data)
    }

    fn handler_changed(&self) {
        self.drain.wake();
    }
}

fn parts<'a>(subject: &'a [u8], request: &QueueRequest<'a>) -> Parts<'a> {
    Parts {
        subject,
        data: request.data,
        reply: request.reply,
        from: request.from,
        uid: request.uid,
    }
}

fn handle(message: &Message) -> Option<Result> {
    let about = message.position.load(Relaxed);
    let work = message
        .origin()
        .work(EventKind::Request, about, b"request handled");
    let result = requests::handle(&QueueRequest {
        data: message.data(),
        from: message.from,
        uid: message.uid,
        reply: message.reply,
    });
    if let (Some(work), Some(result)) = (work, &result) {
        work.has_ended(result);
    }
    result
}

/// Takes requests out of the queue for the handler, while there is one.
pub(crate) struct Drain(ChannelRef);

impl Run for Drain {
    fn run(task: &Task<Self>) {
        let channel = &task.0;
        for _ in 0..BUDGET {
            let Ok(waker) = task.handle() else {
                return;
            };
            // With none it is called when there is one.
            if !requests::has_handler() {
                channel.forget_waker(&waker);
                return;
            }
            let taken = match Channel::take_or_wake(channel, HANDLER, false, &waker) {
                Ok(Some(taken)) => taken,
                // There is no memory to be woken by.
                Err(ENOMEM) => return task.schedule_after_ms(AGAIN_MS),
                Ok(None) | Err(_) => return,
            };
            // It may have been too long, and another has it.
            let _ = match handle(&taken.item) {
                Some(Ok(())) => Channel::ack(channel, HANDLER, taken.id),
                Some(Err(_)) => Channel::give_back(channel, HANDLER, taken.id, AGAIN_MS),
                // The module of the handler is being loaded or unloaded: that is no delivery.
                None => {
                    let _ = Channel::untake(channel, HANDLER, taken.id);
                    return task.schedule_after_ms(AGAIN_MS);
                }
            };
        }
        task.schedule();
    }
}

/// A request as a piece of work.
#[pin_data]
struct Piece {
    message: Arc<Message>,
    channel: ChannelRef,
    _waits: Charge,
    #[pin]
    work: Work<Piece>,
}

impl_has_work! {
    impl HasWork<Self> for Piece { self.work }
}

impl Piece {
    fn new(message: Arc<Message>, channel: ChannelRef, waits: Charge) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Piece {
                message,
                channel,
                _waits: waits,
                work <- new_work!("virgo_request"),
            }),
            GFP_ATOMIC,
        )
    }
}

impl WorkItem for Piece {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        if !matches!(handle(&this.message), Some(Ok(()))) {
            // The queue counts what it refuses.
            let _ = Channel::push(&this.channel, &this.message, PublishOptions::PLAIN);
        }
    }
}
