// SPDX-License-Identifier: GPL-2.0

//! What has to be said to other nodes some time, though nobody waits for it and they may be out of
//! reach: work of our own does it, as often as it takes.

use kernel::{
    prelude::*,
    sync::Mutex, //
};
use linux::work::{
    Run,
    Task, //
};
use virgo_proto::vuid::{
    bit,
    NodeId, //
};

/// Time between attempts, in milliseconds.
const RETRY_MS: u32 = 5000;

/// What is to be done with each item.
pub trait RetryWork: Send + Sync + 'static {
    /// What it is done with.
    type Item: Send;

    /// Most items that wait; more are forgotten.
    const MAX: usize;

    /// Most items of one attempt.
    const AT_ONCE: usize;

    /// The node that it concerns.
    fn node(item: &Self::Item) -> NodeId;

    /// Tries to do it with items of one node, at least one. May sleep.
    ///
    /// # Errors
    ///
    /// [`EHOSTDOWN`], [`ETIMEDOUT`], [`ECONNRESET`] and [`ENOMEM`] have the node tried again later,
    /// with all of these items; others mean that there is nothing to be done.
    fn attempt(&self, node: NodeId, items: &[Self::Item]) -> Result;
}

/// Items that wait. Its user holds it as a `Task<Backlog<_>>`; dropping that ends the work.
#[pin_data]
pub struct Backlog<C: RetryWork> {
    chore: C,
    #[pin]
    waiting: Mutex<KVVec<C::Item>>,
}

impl<C: RetryWork> Backlog<C> {
    /// Nothing to do yet.
    pub fn new(chore: C) -> impl PinInit<Self> {
        pin_init!(Self {
            chore,
            waiting <- linux::new_mutex!(KVVec::new(), "virgo_backlog"),
        })
    }

    /// Takes `item` over. Without memory it is forgotten. May sleep, but not for a node.
    pub fn add(task: &Task<Self>, item: C::Item) {
        let mut waiting = task.waiting.lock();
        if waiting.len() < C::MAX && waiting.push(item, GFP_KERNEL).is_ok() {
            drop(waiting);
            task.schedule_now();
        }
    }
}

impl<C: RetryWork> Run for Backlog<C> {
    fn run(task: &Task<Self>) {
        // Taken out, so that those that come meanwhile find the list unlocked.
        let mut items = core::mem::take(&mut *task.waiting.lock());
        let (mut from, mut kept, mut lost) = (0, 0, 0);
        while let Some((node, batch)) = items.get_mut(from..).and_then(of_one_node::<C>) {
            let count = batch.len();
            // None for the rest of a node that does not answer.
            let attempt = match lost & bit(node) {
                0 => task.chore.attempt(node, batch),
                _ => Err(EHOSTDOWN),
            };
            if let Err(EHOSTDOWN | ETIMEDOUT | ECONNRESET | ENOMEM) = attempt {
                lost |= bit(node);
                for at in from..from + count {
                    items.swap(kept, at);
                    kept += 1;
                }
            }
            from += count;
        }
        items.truncate(kept);
        if items.is_empty() {
            return;
        }
        let mut waiting = task.waiting.lock();
        for item in core::mem::take(&mut *waiting) {
            if items.len() >= C::MAX || items.push(item, GFP_KERNEL).is_err() {
                break;
            }
        }
        *waiting = items;
        drop(waiting);
        task.schedule_after_ms(RETRY_MS);
    }
}

/// Brings items of one node to the front, as many as go into one attempt.
fn of_one_node<C: RetryWork>(items: &mut [C::Item]) -> Option<(NodeId, &[C::Item])> {
    let node = C::node(items.first()?);
    let mut count = 1;
    for at in 1..items.len() {
        if count == C::AT_ONCE {
            break;
        }
        if items.get(at).is_some_and(|item| C::node(item) == node) {
            items.swap(count, at);
            count += 1;
        }
    }
    Some((node, items.get(..count)?))
}
