// SPDX-License-Identifier: GPL-2.0

//! Takes requests from the queue, and has them done in turns of their users.

use crate::{
    job::RequestJob,
    service::KingcobraService, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    workqueue::{
        impl_has_work,
        new_work,
        Work,
        WorkItem, //
    }, //
};
use linux::work::WorkQueue;
use virgo_proto::kingcobra::next_turn;
use virgo_utils::requests::{
    Handler,
    QueueRequest, //
};

/// Requests that wait to be done.
struct Waiting {
    /// In the order in which they came.
    jobs: KVec<KBox<RequestJob>>,
    /// Whose turn was last.
    last: u32,
}

/// Requests, and what it takes to do them.
#[pin_data]
struct Turns {
    service: Arc<KingcobraService>,
    #[pin]
    waiting: Mutex<Waiting>,
}

/// See the module. Not the work's to hold: with it goes the queue that the work runs on.
pub(crate) struct RequestHandler {
    turns: Arc<Turns>,
    work: Arc<WorkQueue>,
}

impl RequestHandler {
    /// Does requests on `work`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn make(
        service: Arc<KingcobraService>,
        work: Arc<WorkQueue>,
    ) -> Result<Arc<dyn Handler>> {
        let waiting = Waiting {
            jobs: KVec::new(),
            last: 0,
        };
        let turns = pin_init!(Turns {
            service,
            waiting <- kernel::new_mutex!(waiting, "virgo_kingcobra_turns"),
        });
        let turns = Arc::pin_init(turns, GFP_KERNEL)?;
        let handler: Arc<dyn Handler> = Arc::new(RequestHandler { turns, work }, GFP_KERNEL)?;
        Ok(handler)
    }
}

impl Handler for RequestHandler {
    fn handle(&self, request: &QueueRequest<'_>) -> Result {
        // Who has too many is refused; his requests come again, and those of others now.
        let charges = self.turns.service.charge(request.uid, request.data.len())?;
        let job = RequestJob::new(request, charges)?;
        let turn = Turn::new(self.turns.clone())?;
        self.turns.waiting.lock().jobs.push(job, GFP_KERNEL)?;
        self.work.enqueue(turn);
        Ok(())
    }
}

/// The right to do one request: there are as many as requests that wait.
#[pin_data]
struct Turn {
    turns: Arc<Turns>,
    #[pin]
    work: Work<Turn>,
}

impl_has_work! {
    impl HasWork<Self> for Turn { self.work }
}

impl Turn {
    fn new(turns: Arc<Turns>) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Turn {
                turns,
                work <- new_work!("virgo_kingcobra"),
            }),
            GFP_KERNEL,
        )
    }
}

impl Turns {
    fn next(&self) -> Option<KBox<RequestJob>> {
        let mut waiting = self.waiting.lock();
        let last = waiting.last;
        let at = next_turn(waiting.jobs.iter().map(|job| job.uid()), last)?;
        let job = waiting.jobs.remove(at).ok()?;
        waiting.last = job.uid();
        Some(job)
    }
}

impl WorkItem for Turn {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        if let Some(job) = this.turns.next() {
            job.run(&this.turns.service);
        }
    }
}
