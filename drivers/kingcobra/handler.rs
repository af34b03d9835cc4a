// SPDX-License-Identifier: GPL-2.0

//! Takes requests from the queue, and has them done in turns of their users, of whom each but root has a share of
//! those that are being done.

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
use virgo_utils::{
    budget::user_share,
    requests::{
        Handler,
        QueueRequest, //
    }, //
};

/// Requests that wait to be done.
struct Waiting {
    /// In the order in which they came.
    jobs: KVec<KBox<RequestJob>>,
    /// Whose turn was last.
    last: u32,
    /// Whose requests are being done. There is room for as many as may be at a time.
    running: KVec<u32>,
}

/// Requests, and what it takes to do them.
#[pin_data]
struct Turns {
    service: Arc<KingcobraService>,
    /// So many of one user other than root are done at a time.
    share: usize,
    #[pin]
    waiting: Mutex<Waiting>,
}

/// See the module. Not the work's to hold: with it goes the queue that the work runs on.
pub(crate) struct RequestHandler {
    turns: Arc<Turns>,
    work: Arc<WorkQueue>,
}

impl RequestHandler {
    /// Does up to `most` requests at a time on `work`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn make(
        service: Arc<KingcobraService>,
        work: Arc<WorkQueue>,
        most: usize,
    ) -> Result<Arc<dyn Handler>> {
        let waiting = Waiting {
            jobs: KVec::new(),
            last: 0,
            running: KVec::with_capacity(most, GFP_KERNEL)?,
        };
        let turns = pin_init!(Turns {
            service,
            share: (most * user_share() as usize / 100).max(1),
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

/// The right to do requests while there are some that may be done: there are as many as requests that wait.
/// Who is kept waiting by the share of a user has others of that user under way, which go on with it.
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
        let Waiting {
            jobs,
            last,
            running,
        } = &mut *waiting;
        let may_begin = |uid| {
            let own = running.iter().filter(|&&other| other == uid);
            uid == 0 || own.count() < self.share
        };
        let at = next_turn(jobs.iter().map(|job| job.uid()), *last, may_begin)?;
        let job = jobs.remove(at).ok()?;
        *last = job.uid();
        // There is room: no more are done at a time.
        let _ = running.push_within_capacity(job.uid());
        Some(job)
    }

    fn done(&self, uid: u32) {
        let mut waiting = self.waiting.lock();
        if let Some(at) = waiting.running.iter().position(|&other| other == uid) {
            let _ = waiting.running.remove(at);
        }
    }
}

impl WorkItem for Turn {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        while let Some(job) = this.turns.next() {
            let uid = job.uid();
            job.run(&this.turns.service);
            drop(job);
            this.turns.done(uid);
        }
    }
}
