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
        How, //
    },
    message::{
        Message,
        Parts,
        ReplyTo, //
    },
    queues::{
        Shared,
        HANDLER, //
    },
    service::QueueService, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
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
    deadline::Deadline,
    work::WorkHandle,
    work::{
        Queue as WorkQueue,
        Run,
        Task, //
    }, //
};
use virgo_proto::{
    queue::{
        access::Mode,
        options::Options, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    budget::Account,
    requests::{
        self,
        Request,
        RequestQueue, //
    }, //
};

/// Name of the queue.
pub(crate) const NAME: &[u8] = b"requests";

/// Requests handed to the handler in a row before other work gets its turn.
const BUDGET: usize = 64;

/// A request that its handler could not do is tried again after so long, in milliseconds.
const AGAIN_MS: u32 = 1000;

/// See the module.
pub(crate) struct Requests {
    pub(crate) channel: Shared,
    service: Arc<QueueService>,
    drain: WorkHandle,
    /// The other way, if it was chosen.
    work: Option<Arc<WorkQueue>>,
    /// Pieces of work under way.
    waiting: Arc<Atomic<u32>>,
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
            mode: Mode::DROP_BOX,
            ..Options::DEFAULT
        };
        // The log may have brought more than there may be.
        let channel = queues.create_own(NAME, &options)?;
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
            waiting: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            service,
        };
        this.drain.wake();
        Ok((Arc::new(this, GFP_KERNEL)?, drain))
    }
}

impl Requests {
    /// That of modules, which ask on behalf of others: they may use every queue, and bound themselves
    /// what users can have them ask for. Whose the request is goes with it.
    fn account(&self) -> Account {
        self.service.queues.budget.root()
    }
}

impl RequestQueue for Requests {
    fn publish(
        &self,
        node: NodeId,
        subject: &[u8],
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result {
        let parts = parts(subject, request);
        let account = self.account();
        let place = self
            .service
            .publish_on(node, &account, &parts, How::PLAIN, deadline)?;
        self.service.queues.commit(place)
    }

    fn ask(&self, name: &[u8], request: &Request<'_>, deadline: Deadline) -> Result<KVec<u8>> {
        self.service
            .request_on(0, self.account(), &parts(name, request), deadline)
    }

    fn answer(&self, to: ReplyTo, data: &[u8]) -> Result {
        self.service.queues.pending.answer(to, data)
    }

    fn push(&self, request: &Request<'_>) -> Result {
        let budget = &self.service.queues.budget;
        let message = Message::atomic(budget, &parts(NAME, request))?;
        match &self.work {
            None => Channel::push(&self.channel, &message, How::PLAIN).map(drop),
            Some(work) => {
                let count = self.waiting.fetch_add(1, Relaxed);
                if count >= self.channel.figures().limits.messages {
                    self.waiting.fetch_sub(1, Relaxed);
                    return Err(ENOBUFS);
                }
                let piece = Piece::new(message, self.channel.clone(), self.waiting.clone());
                let piece = piece.inspect_err(|_| {
                    self.waiting.fetch_sub(1, Relaxed);
                })?;
                work.enqueue(piece);
                Ok(())
            }
        }
    }

    fn pop(&self) -> Option<KVec<u8>> {
        let taken = Channel::take(&self.channel, HANDLER, true).ok()??;
        let mut data = KVec::with_capacity(taken.item.data().len(), GFP_ATOMIC).ok()?;
        data.extend_from_slice(taken.item.data(), GFP_ATOMIC).ok()?;
        Some(data)
    }

    fn handler_changed(&self) {
        self.drain.wake();
    }
}

fn parts<'a>(subject: &'a [u8], request: &Request<'a>) -> Parts<'a> {
    Parts {
        subject,
        data: request.data,
        reply: request.reply,
        from: request.from,
        uid: request.uid,
    }
}

fn handle(message: &Message) -> Option<Result> {
    requests::handle(&Request {
        data: message.data(),
        from: message.from,
        uid: message.uid,
        reply: message.reply,
    })
}

/// Takes requests out of the queue for the handler, while there is one.
pub(crate) struct Drain(Shared);

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
            let Ok(Some(taken)) = Channel::take_or_wake(channel, HANDLER, false, &waker) else {
                return;
            };
            // It may have been too long, and another has it.
            let _ = match handle(&taken.item) {
                Some(Ok(())) => Channel::ack(channel, HANDLER, taken.id),
                _ => Channel::give_back(channel, HANDLER, taken.id, AGAIN_MS),
            };
        }
        task.schedule();
    }
}

/// A request as a piece of work.
#[pin_data]
struct Piece {
    message: Arc<Message>,
    channel: Shared,
    waiting: Arc<Atomic<u32>>,
    #[pin]
    work: Work<Piece>,
}

impl_has_work! {
    impl HasWork<Self> for Piece { self.work }
}

impl Piece {
    fn new(
        message: Arc<Message>,
        channel: Shared,
        waiting: Arc<Atomic<u32>>,
    ) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Piece {
                message,
                channel,
                waiting,
                work <- new_work!("virgo_request"),
            }),
            GFP_ATOMIC,
        )
    }
}

impl WorkItem for Piece {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        this.waiting.fetch_sub(1, Relaxed);
        if !matches!(handle(&this.message), Some(Ok(()))) {
            // The queue counts what it refuses.
            let _ = Channel::push(&this.channel, &this.message, How::PLAIN);
        }
    }
}
