// SPDX-License-Identifier: GPL-2.0

//! What peers ask that may take long: making and deleting durable queues waits for the disk, and
//! emptying queues takes as long as they are.
//!
//! A peer's session must not wait, so a work of the module does these, one after the other. There are
//! as many at most as slots of all peers. A job whose peer does not wait any more is left out: it would
//! find another queue of that name, or messages that have come since.

use crate::{
    admin::told,
    publish_target::Publisher,
    queues::Queues, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    bytes::copy,
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_proto::queue::wire::PurgeReply;
use virgo_utils::Deferred;

/// What is done with a queue.
pub(crate) enum PeerJob {
    /// It is made, by these words.
    Create(KVec<u8>),
    /// It is deleted.
    Delete,
    /// It is emptied.
    Purge,
}

struct Waiting {
    by: Publisher,
    name: KVec<u8>,
    job: PeerJob,
    reply: Deferred,
    /// How long the peer waits.
    until: Deadline,
}

/// See the module.
#[pin_data]
pub(crate) struct PeerJobs {
    queues: Arc<Queues>,
    #[pin]
    waiting: Mutex<KVec<Waiting>>,
}

impl PeerJobs {
    /// None yet.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(queues: Arc<Queues>) -> Result<Arc<Task<Self>>> {
        let work = queues.work.clone();
        let jobs = pin_init!(Self {
            queues,
            waiting <- kernel::new_mutex!(KVec::new(), "virgo_peer_jobs"),
        });
        Arc::pin_init(linux::new_task!(work, jobs, "virgo_peer_jobs"), GFP_KERNEL)
    }

    /// Has a job done on behalf of `by`, unless it is later than `until` when its turn comes, and
    /// `reply` given then. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn add(
        task: &Task<Self>,
        by: Publisher,
        name: &[u8],
        job: PeerJob,
        reply: Deferred,
        until: Deadline,
    ) -> Result {
        let waiting = Waiting {
            by,
            name: copy(name, GFP_KERNEL)?,
            job,
            reply,
            until,
        };
        task.waiting.lock().push(waiting, GFP_KERNEL)?;
        task.schedule();
        Ok(())
    }
}

impl Run for PeerJobs {
    fn run(task: &Task<Self>) {
        loop {
            let mut waiting = task.waiting.lock();
            if waiting.is_empty() {
                return;
            }
            let Ok(next) = waiting.remove(0) else {
                return;
            };
            drop(waiting);
            let Waiting {
                by,
                name,
                job,
                reply,
                until,
            } = next;
            if until.passed() || !reply.is_wanted() {
                continue;
            }
            // The peer has the error if there is no memory for the reply.
            let done = match job {
                PeerJob::Create(words) => {
                    told(task.queues.create_for(by.uid, &name, &words, until))
                }
                PeerJob::Delete => told(task.queues.delete_for(by, &name, until)),
                PeerJob::Purge => match told(task.queues.purge_for(by, &name, until)) {
                    Ok(purged) => {
                        let purged = purged.into();
                        let _ = reply.answer(PurgeReply { purged }.as_bytes());
                        continue;
                    }
                    Err(e) => Err(e),
                },
            };
            match done {
                Ok(()) => drop(reply.answer(b"")),
                Err(e) => reply.fail(e),
            }
        }
    }
}
