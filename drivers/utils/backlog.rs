// SPDX-License-Identifier: GPL-2.0

//! What has to be said to other nodes some time, though nobody waits for it and they may be out of
//! reach. Each node has work of its own, which tries again as often as it takes: one that does not
//! answer delays nothing that others are to be told.
//!
//! # Locking
//!
//! The items of a node have a mutex, which is not held while the node is asked.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce, //
    }, //
};
use linux::work::{
    Run,
    Task,
    WorkQueue, //
};
use virgo_proto::{
    config::MAX_NODES,
    vuid::NodeId, //
};

/// Time until a node is tried again, in milliseconds: doubled with each failure in a row, up to the
/// second. That is short enough for nobody to have to say that the node is back.
const RETRY_MS: u32 = 5000;
const MAX_RETRY_MS: u32 = 30_000;

/// What is to be done with each item.
pub trait RetryWork: Send + Sync + 'static {
    /// What it is done with.
    type Item: Send + 'static;

    /// Most items of one node that wait without a [`Reservation`] of their own; more are forgotten. What
    /// waits for one node takes no room from the others.
    const MAX: usize;

    /// Most items of one attempt.
    const AT_ONCE: usize;

    /// The node that it concerns.
    fn node(item: &Self::Item) -> NodeId;

    /// Tries to do it with items of one node, at least one. May sleep.
    ///
    /// The answer of the node, whatever it is, is the end of these items, and no error: see
    /// [`Client::ask`](crate::Client::ask).
    ///
    /// # Errors
    ///
    /// The node has not answered: it is tried again later with all of these items. [`ENODEV`] if there
    /// is no such node any more: that is the end of them, too.
    fn attempt(&self, node: NodeId, items: &[Self::Item]) -> Result;
}

/// Room for an item: who has it can always leave one.
pub struct Reservation<T>(KBox<Entry<T>>);

struct Entry<T> {
    item: Option<T>,
    next: Option<KBox<Entry<T>>>,
    /// It has no place of its own, and counts for [`RetryWork::MAX`].
    is_counted: bool,
}

impl<T> Reservation<T> {
    /// Takes memory for an item. With `GFP_KERNEL_ACCOUNT` it is the running program's. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(flags: kernel::alloc::Flags) -> Result<Self> {
        let entry = Entry {
            item: None,
            next: None,
            is_counted: false,
        };
        Ok(Reservation(KBox::new(entry, flags)?))
    }
}

/// Items that wait, the one that has come last first.
struct Stack<T> {
    first: Option<KBox<Entry<T>>>,
    len: usize,
}

impl<T> Stack<T> {
    const fn new() -> Self {
        Stack {
            first: None,
            len: 0,
        }
    }

    fn push(&mut self, mut entry: KBox<Entry<T>>) {
        entry.next = self.first.take();
        self.first = Some(entry);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<KBox<Entry<T>>> {
        let mut entry = self.first.take()?;
        self.first = entry.next.take();
        self.len -= 1;
        Some(entry)
    }
}

/// Not by recursion, which a long list has too many steps for.
impl<T> Drop for Stack<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// Items that wait. Dropping it ends the work.
#[pin_data]
pub struct Backlog<C: RetryWork> {
    queue: Arc<WorkQueue>,
    retry_work: Arc<C>,
    /// Made when they are needed.
    nodes: [SetOnce<NodeTask<C>>; MAX_NODES],
    /// Held while one is made.
    #[pin]
    making: Mutex<()>,
}

/// The work of one node.
type NodeTask<C> = Pin<KBox<Task<NodeBacklog<C>>>>;

/// The items of one node.
#[pin_data]
struct NodeBacklog<C: RetryWork> {
    node: NodeId,
    retry_work: Arc<C>,
    /// Items without a place of their own.
    counted: Atomic<u64>,
    #[pin]
    state: Mutex<State<C::Item>>,
    /// Room for the items of an attempt, which only the work uses.
    #[pin]
    batch: Mutex<KVVec<C::Item>>,
}

struct State<T> {
    waiting: Stack<T>,
    /// The node did not answer, and is not tried before the timer runs the work.
    is_paused: bool,
    /// Until then, the next time.
    retry_ms: u32,
}

impl<C: RetryWork> Backlog<C> {
    /// Nothing to do yet. The work of all nodes runs on a queue of this name. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new(name: &CStr, retry_work: C) -> Result<Pin<KBox<Self>>> {
        let queue = WorkQueue::unbound(name, MAX_NODES as c_int)?;
        let retry_work = Arc::new(retry_work, GFP_KERNEL)?;
        KBox::pin_init(
            pin_init!(Self {
                queue,
                retry_work,
                nodes: [const { SetOnce::new() }; MAX_NODES],
                making <- linux::new_mutex!((), "virgo_backlog_making"),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes `item` over. Without memory, or if too many of its node wait, it is forgotten. May sleep, but
    /// not for a node.
    pub fn add(&self, item: C::Item) {
        // Without memory for the node's own state it is forgotten, too: that is made with its first item,
        // once.
        let Ok(task) = self.node_backlog(C::node(&item)) else {
            return;
        };
        if task.counted.fetch_add(1, Relaxed) < C::MAX as u64 {
            if let Ok(mut place) = Reservation::new(GFP_KERNEL) {
                place.0.is_counted = true;
                return NodeBacklog::add(task, place, item);
            }
        }
        task.counted.fetch_sub(1, Relaxed);
    }

    /// Takes `item` over, for which there is a place. May sleep, but not for a node.
    pub fn add_at(&self, place: Reservation<C::Item>, item: C::Item) {
        // See [`Self::prepare`].
        if let Ok(task) = self.node_backlog(C::node(&item)) {
            NodeBacklog::add(task, place, item);
        }
    }

    /// Makes sure that items of this node can be left. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENODEV`] if there can be no such node.
    pub fn prepare(&self, node: NodeId) -> Result {
        self.node_backlog(node).map(drop)
    }

    fn node_backlog(&self, node: NodeId) -> Result<&Task<NodeBacklog<C>>> {
        let index = usize::from(node).checked_sub(1).ok_or(ENODEV)?;
        let place = self.nodes.get(index).ok_or(ENODEV)?;
        if let Some(task) = place.as_ref() {
            return Ok(task);
        }
        let making = self.making.lock();
        if place.as_ref().is_none() {
            let node_backlog = NodeBacklog::new(node, self.retry_work.clone())?;
            let task = linux::new_task!(self.queue.clone(), node_backlog, "virgo_backlog");
            place.populate(KBox::pin_init(task, GFP_KERNEL)?);
        }
        drop(making);
        Ok(place.as_ref().ok_or(ENODEV)?)
    }
}

impl<C: RetryWork> NodeBacklog<C> {
    fn new(node: NodeId, retry_work: Arc<C>) -> Result<impl PinInit<Self>> {
        let batch = KVVec::with_capacity(C::AT_ONCE, GFP_KERNEL)?;
        let state = State {
            waiting: Stack::new(),
            is_paused: false,
            retry_ms: RETRY_MS,
        };
        Ok(pin_init!(Self {
            node,
            retry_work,
            counted: Atomic::new(0),
            state <- linux::new_mutex!(state, "virgo_backlog"),
            batch <- linux::new_mutex!(batch, "virgo_backlog_batch"),
        }))
    }

    fn add(task: &Task<Self>, Reservation(mut entry): Reservation<C::Item>, item: C::Item) {
        entry.item = Some(item);
        let mut state = task.state.lock();
        state.waiting.push(entry);
        if !state.is_paused {
            task.schedule();
        }
    }

    /// Moves items into `batch`, and their empty places into what it returns.
    fn take(&self, batch: &mut KVVec<C::Item>) -> Stack<C::Item> {
        let mut places = Stack::new();
        let mut state = self.state.lock();
        while batch.len() < C::AT_ONCE {
            let Some(mut entry) = state.waiting.pop() else {
                break;
            };
            if let Some(item) = entry.item.take() {
                // There is room.
                let _ = batch.push_within_capacity(item);
            }
            places.push(entry);
        }
        places
    }

    /// Puts the items of an attempt back into their places, to be tried again later.
    fn put_back(task: &Task<Self>, batch: &mut KVVec<C::Item>, mut places: Stack<C::Item>) {
        let mut state = task.state.lock();
        while let (Some(item), Some(mut entry)) = (batch.pop(), places.pop()) {
            entry.item = Some(item);
            state.waiting.push(entry);
        }
        state.is_paused = true;
        // Under the lock, so that nobody adds an item in between. One that was added during the attempt
        // waits, too.
        task.reschedule_after_ms(state.retry_ms);
        state.retry_ms = (2 * state.retry_ms).min(MAX_RETRY_MS);
    }
}

impl<C: RetryWork> Run for NodeBacklog<C> {
    fn run(task: &Task<Self>) {
        task.state.lock().is_paused = false;
        let mut batch = task.batch.lock();
        loop {
            let mut places = task.take(&mut batch);
            if batch.is_empty() {
                return;
            }
            match task.retry_work.attempt(task.node, &batch) {
                Ok(()) | Err(ENODEV) => (),
                Err(_) => return Self::put_back(task, &mut batch, places),
            }
            task.state.lock().retry_ms = RETRY_MS;
            batch.clear();
            while let Some(place) = places.pop() {
                if place.is_counted {
                    task.counted.fetch_sub(1, Relaxed);
                }
            }
        }
    }
}
