// SPDX-License-Identifier: GPL-2.0

//! What this node has to tell the others about calls: results of those that ran here, the ends of
//! those there that nobody waits for any more, and the question whether they still have the others.
//!
//! Each node has an outbox with a worker of its own, so that one that is out of reach holds up
//! nothing but its own. What cannot be told is kept, tried again with growing pauses and as soon as
//! the node is heard of, and dropped when nobody can want it any more. Nobody waits for an outbox.
//!
//! Results are charged to the user whose call it was, and there are at most some thousand for a node. A
//! caller asks for its calls now and then; so it finds out what has been dropped.

use crate::{
    invocation::Invocation,
    jobs::Jobs,
    outcome::Outcome,
    untold::{
        KeptResult,
        OutboxMessage,
        Untold, //
    }, //
};
use kernel::{
    prelude::*,
    rbtree::RBTreeNode,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    work::{
        Task,
        WorkQueue, //
    }, //
};
use virgo_proto::{
    clone::Load,
    config::{
        MAX_DEADLINE_MS,
        MAX_NODES, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    Client,
    Data,
    Peer,
    ReplyDeadline,
    Request, //
};

/// Longest time for one attempt, in milliseconds.
const ATTEMPT_MS: u32 = 2000;

/// Pause after a failed attempt, in milliseconds; it doubles with each up to [`MAX_PAUSE_MS`].
const PAUSE_MS: u32 = 500;

const MAX_PAUSE_MS: u32 = 4000;

/// After so many failed attempts in a row the calls of a node count as lost.
const LOST_AFTER: u32 = 2;

/// Pause between the attempts to ask a node for its calls, in milliseconds.
const PROBE_PAUSE_MS: u32 = 1000;

/// The outboxes of all nodes.
pub(crate) struct Outboxes(KVec<Pin<KBox<Task<NodeOutbox>>>>);

/// What one node has to be told.
#[pin_data]
pub(crate) struct NodeOutbox {
    node: NodeId,
    client: Arc<Client>,
    jobs: Arc<Jobs>,
    /// The last attempt has failed, and there is something to tell.
    stalled: Atomic<bool>,
    #[pin]
    untold: Mutex<Untold>,
}

impl Outboxes {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(client: &Arc<Client>, jobs: &Arc<Jobs>) -> Result<Arc<Self>> {
        // Of an attempt's time most is waiting.
        let queue = WorkQueue::unbound(c"virgo_outbox", MAX_NODES as c_int)?;
        let mut all = KVec::with_capacity(MAX_NODES, GFP_KERNEL)?;
        for node in 1..=MAX_NODES as NodeId {
            let outbox = NodeOutbox::new(node, client.clone(), jobs.clone());
            let task = linux::new_task!(queue.clone(), outbox, "virgo_outbox");
            all.push(KBox::pin_init(task, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Arc::new(Outboxes(all), GFP_KERNEL)?)
    }

    fn of(&self, node: NodeId) -> Option<&Task<NodeOutbox>> {
        let index = usize::from(node).checked_sub(1)?;
        self.0.get(index).map(|task| &**task)
    }

    /// Takes the result of a call that `peer` has made. May sleep, but not for the peer.
    pub(crate) fn result(&self, peer: Peer, run: &Invocation, outcome: Outcome) {
        let Some(task) = self.of(peer.node) else {
            return;
        };
        let kept = KeptResult::new(outcome, peer.boot, run.deadline, run.take_result_charge());
        let Ok(result) = RBTreeNode::new(run.name, kept, GFP_KERNEL) else {
            // The caller finds out when it asks.
            return;
        };
        let mut untold = task.untold.lock();
        let dropped = untold.add_result(result);
        let stalled = untold.failures > 0;
        drop(untold);
        if dropped.is_some() {
            pr_debug!("node {}: a result is dropped\n", peer.node);
        }
        drop(dropped);
        if !stalled {
            task.schedule();
        }
    }

    /// The call that this node calls `key` is to end on node `node`; it does by itself at `deadline`.
    /// May sleep, but not for the node.
    pub(crate) fn cancel(&self, node: NodeId, key: u64, deadline: Deadline) {
        let Some(task) = self.of(node) else {
            return;
        };
        let mut untold = task.untold.lock();
        untold.add_cancel(key, deadline);
        let stalled = untold.failures > 0;
        drop(untold);
        if !stalled {
            task.schedule();
        }
    }

    /// Asks node `node` for calls of this node, unless it is being asked. Those that it does not have
    /// end, and all do if it cannot be reached. May sleep, but not for the node.
    pub(crate) fn probe(&self, node: NodeId, keys: KVVec<u64>) {
        let Some(task) = self.of(node) else {
            return;
        };
        let set = task.untold.lock().set_probes(keys);
        if set.is_ok() {
            task.schedule_now();
        }
    }

    /// Tells node `node` how loaded this one is, unless it could not be told lately. May sleep, but not
    /// for the node.
    pub(crate) fn tell(&self, node: NodeId, load: Load) {
        let Some(task) = self.of(node) else {
            return;
        };
        if !task.stalled.load(Relaxed) {
            task.untold.lock().set_load(load);
            task.schedule();
        }
    }

    /// Whether the result of the call that node `node` calls `key` is kept for it. May sleep.
    pub(crate) fn has(&self, node: NodeId, key: u64) -> bool {
        self.of(node)
            .is_some_and(|task| task.untold.lock().has_result(key))
    }

    /// Node `node` has said something: what waits for it is tried at once.
    pub(crate) fn heard(&self, node: NodeId) {
        if let Some(task) = self.of(node) {
            if task.stalled.load(Relaxed) {
                task.stalled.store(false, Relaxed);
                task.schedule_now();
            }
        }
    }

    /// Drops results for `gone`, an incarnation of a node that is over. May sleep.
    pub(crate) fn forget_gone(&self, gone: Peer) {
        if let Some(task) = self.of(gone.node) {
            task.drop_results(|kept| kept.boot == gone.boot);
        }
    }

    /// Results that were not delivered.
    pub(crate) fn len(&self) -> usize {
        let counts = self.0.iter().map(|task| task.untold.lock().count());
        counts.sum()
    }
}

impl NodeOutbox {
    fn new(node: NodeId, client: Arc<Client>, jobs: Arc<Jobs>) -> impl PinInit<Self> {
        pin_init!(Self {
            node,
            client,
            jobs,
            stalled: Atomic::new(false),
            untold <- linux::new_mutex!(Untold::new(), "virgo_outbox_calls"),
        })
    }

    fn drop_results(&self, unwanted: impl Fn(&KeptResult) -> bool) {
        let mut next = Some(0);
        while let Some(first) = next {
            let removed = self.untold.lock().remove_if(first, &unwanted);
            next = removed.and_then(|(key, _)| key.checked_add(1));
        }
    }

    /// Sends one request. Returns what the node answers, a byte for each key of a Probe.
    ///
    /// # Errors
    ///
    /// It does not answer.
    fn send(&self, message: &OutboxMessage, answer: &mut [u8]) -> Result<Result<usize>> {
        let _entered = message.cause().enter();
        let (op, data) = message.request();
        let request = Request {
            op,
            args: b"",
            data: Data::Bytes(data),
            uid: 0,
            retry_after_restart: true,
            reply_deadline: ReplyDeadline::Soon,
            brief: None,
        };
        self.client
            .ask(self.node, &request, answer, Deadline::after_ms(ATTEMPT_MS))
    }

    /// The node knows what `message` says; of a Probe `answer` says which calls it has.
    fn delivered(&self, message: OutboxMessage, answer: &[u8]) {
        let mut untold = self.untold.lock();
        untold.failures = 0;
        match message {
            OutboxMessage::Cancel(_, count) => untold.cancels_are_told(count),
            OutboxMessage::Part(_, key, _) => untold.part_is_told(key),
            OutboxMessage::Load(_) => (),
            OutboxMessage::Done(_, keys, _) => {
                drop(untold);
                for key in keys {
                    let removed = self.untold.lock().remove_result(key);
                    drop(removed);
                }
            }
            OutboxMessage::Probe(_, keys) => {
                drop(untold);
                for (&key, &known) in keys.iter().zip(answer) {
                    if known == 0 {
                        self.lose(key, "the node does not have this call any more");
                    }
                }
            }
        }
    }

    /// Nobody will ever know what came of a call there.
    fn lose(&self, key: u64, reason: &str) {
        self.jobs
            .end(key, self.node, Outcome::refused(ECONNRESET, reason));
    }

    /// There was no memory to tell it: that is done later. Returns how long to wait before, in milliseconds.
    fn put_back(&self, message: OutboxMessage) -> u32 {
        if let OutboxMessage::Probe(_, keys) = message {
            let unused = self.untold.lock().set_probes(keys);
            drop(unused);
        }
        PAUSE_MS
    }

    /// An attempt has failed. Returns how long to wait before the next, in milliseconds.
    fn failed(&self, message: OutboxMessage) -> u32 {
        let mut untold = self.untold.lock();
        let keys = match message {
            // The next one says it better.
            OutboxMessage::Load(_) => return PAUSE_MS,
            OutboxMessage::Probe(_, keys) => keys,
            _ => KVVec::new(),
        };
        untold.failures = untold.failures.saturating_add(1);
        let failures = untold.failures;
        if !keys.is_empty() {
            if failures < LOST_AFTER {
                let unused = untold.set_probes(keys);
                drop(untold);
                drop(unused);
                return PROBE_PAUSE_MS;
            }
            drop(untold);
            for &key in &keys {
                self.lose(
                    key,
                    "its node cannot be reached any more; nobody knows whether it has ended",
                );
            }
            // If the node lives after all, the calls there are for nobody.
            let mut untold = self.untold.lock();
            for key in keys {
                untold.add_cancel(key, Deadline::after_ms(MAX_DEADLINE_MS));
            }
        }
        PAUSE_MS
            .saturating_mul(1 << failures.saturating_sub(1).min(8))
            .min(MAX_PAUSE_MS)
    }
}

impl linux::work::Run for NodeOutbox {
    fn run(task: &Task<Self>) {
        let mut answer = KVVec::new();
        loop {
            let next = task.untold.lock().next();
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) => return task.stalled.store(false, Relaxed),
                Err(_) => return task.reschedule_after_ms(PAUSE_MS),
            };
            answer.clear();
            if answer.put_zeros(message.answer_len(), GFP_KERNEL).is_err() {
                // Nobody is lost for want of memory here: they are asked for again.
                let pause = task.put_back(message);
                return task.schedule_after_ms(pause);
            }
            match task.send(&message, &mut answer) {
                Ok(Ok(len)) => task.delivered(message, answer.get(..len).unwrap_or(&answer)),
                // It does not want to know.
                Ok(Err(EINVAL | EOPNOTSUPP)) => task.delivered(message, &[]),
                // That tells nothing of the other node.
                Ok(Err(ENOMEM)) | Err(ENOMEM) => {
                    let pause = task.put_back(message);
                    return task.schedule_after_ms(pause);
                }
                Ok(Err(_)) | Err(_) => {
                    let pause = task.failed(message);
                    task.stalled.store(true, Relaxed);
                    return task.schedule_after_ms(pause);
                }
            }
        }
    }
}
