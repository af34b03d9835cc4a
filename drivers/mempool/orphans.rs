// SPDX-License-Identifier: GPL-2.0

//! Pieces that were allocated for nothing: the rest of the allocation failed.
//!
//! Their nodes may be out of reach just then, and the caller may be out of time or dying, so they
//! are freed by work of our own, as often as it takes.

use crate::{
    ask::free_remote,
    pool::Pool, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::{
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_config::Node;
use virgo_proto::vuid::Vuid;
use virgo_utils::Client;

/// Time between attempts, in milliseconds.
const RETRY_MS: u32 = 5000;

/// Pieces that wait at most; more than that are left to the next restart of this node, after
/// which others free what belonged to it.
const MAX: usize = 1 << 16;

/// A piece that nobody knows of, and who would have owned it.
#[derive(Clone, Copy)]
struct Orphan {
    id: u64,
    uid: u32,
}

/// Pieces to be freed.
#[pin_data]
pub(crate) struct Orphans {
    node: Arc<Node>,
    pool: Arc<Pool>,
    client: Arc<Client>,
    #[pin]
    waiting: Mutex<KVVec<Orphan>>,
}

impl Orphans {
    pub(crate) fn new(node: Arc<Node>, pool: Arc<Pool>, client: Arc<Client>) -> impl PinInit<Self> {
        pin_init!(Self {
            node,
            pool,
            client,
            waiting <- kernel::new_mutex!(KVVec::new(), "virgo_orphans"),
        })
    }

    /// Takes pieces of user `uid` over.
    pub(crate) fn adopt(task: &Task<Self>, uid: u32, ids: &[u64]) {
        let mut waiting = task.waiting.lock();
        for &id in ids {
            if waiting.len() >= MAX || waiting.push(Orphan { id, uid }, GFP_KERNEL).is_err() {
                break;
            }
        }
        drop(waiting);
        task.schedule_now();
    }

    /// Frees a piece. False if it has to be tried again.
    fn free(&self, orphan: Orphan) -> bool {
        let config = self.node.config();
        let deadline = Deadline::after_ms(config.deadline_ms);
        let Orphan { id, uid } = orphan;
        let freed = match Vuid::open(id, &config.check) {
            Some(vuid) if vuid.node == config.me => self.pool.free(vuid),
            Some(vuid) => free_remote(&self.client, vuid.node, id, uid, 0, deadline),
            None => Ok(()),
        };
        !matches!(freed, Err(EHOSTDOWN | ETIMEDOUT | ECONNRESET | ENOMEM))
    }
}

impl Run for Orphans {
    fn run(task: &Task<Self>) {
        // One at a time, so that those that are adopted meanwhile find the list unlocked.
        loop {
            let Some(orphan) = task.waiting.lock().pop() else {
                return;
            };
            if !task.free(orphan) {
                // It goes behind the others only if there is memory for it, which there was.
                let _ = task.waiting.lock().push(orphan, GFP_KERNEL);
                task.schedule_after_ms(RETRY_MS);
                return;
            }
        }
    }
}
