// SPDX-License-Identifier: GPL-2.0

//! What this node has to tell the others about calls: results of those that ran here, the ends of
//! those there that nobody waits for any more, and the question whether they still have the others.
//!
//! Each node has an outbox with a worker of its own, so that one that is out of reach holds up
//! nothing but its own. What cannot be told is kept, tried again with growing pauses and as soon as
//! the node is heard of, and dropped when nobody can want it any more. Nobody waits for an outbox.
//!
//! Results are charged to the user whose call it was, and there are at most [`MAX_RESULTS`] for a
//! node. A caller asks for the calls of a node that it has not heard of; so it finds out what has
//! been dropped.

use crate::{
    executor::Run,
    jobs::Jobs,
    outcome::Outcome, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
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
        Queue,
        Task, //
    }, //
};
use virgo_proto::{
    clone::{
        self,
        op,
        MAX_DONE_OUTPUT,
        MAX_KEYS,
        PART, //
    },
    config::MAX_NODES,
    frame::MAX_BODY,
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

/// Results that are kept for one node.
const MAX_RESULTS: usize = 4096;

/// Calls that are to end, of one node. More than that end by their deadlines.
const MAX_CANCELS: usize = 16384;

/// How long a result is kept after its call's deadline, in milliseconds: the caller does not wait
/// longer.
const KEEP_MS: u32 = 5000;

/// The outboxes of all nodes.
pub(crate) struct Outboxes(KVec<Pin<KBox<Task<Outbox>>>>);

/// What one node has to be told.
#[pin_data]
pub(crate) struct Outbox {
    node: NodeId,
    client: Arc<Client>,
    jobs: Arc<Jobs>,
    /// The last attempt has failed, and there is something to tell.
    stalled: Atomic<bool>,
    #[pin]
    state: Mutex<State>,
}

struct State {
    results: RBTree<u64, Kept>,
    count: usize,
    /// Calls that are to end, and when they do by themselves.
    cancels: KVVec<(u64, Deadline)>,
    /// Calls to ask for.
    probes: KVVec<u64>,
    /// Attempts that have failed in a row.
    failures: u32,
}

/// A result that was not delivered.
struct Kept {
    outcome: Outcome,
    boot: u64,
    until: Deadline,
    /// The standard error was delivered, so the rest follows.
    is_rest: bool,
}

/// One request to the node, and what it is about.
enum Letter {
    Cancel(KVVec<u8>, usize),
    Done(KVVec<u8>, KVVec<u64>),
    /// The standard error of a result.
    Part(KVVec<u8>, u64),
    Probe(KVVec<u8>, KVVec<u64>),
}

impl Outboxes {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(client: &Arc<Client>, jobs: &Arc<Jobs>) -> Result<Arc<Self>> {
        // Of an attempt's time most is waiting.
        let queue = Queue::unbound(c"virgo_outbox", MAX_NODES as c_int)?;
        let mut all = KVec::with_capacity(MAX_NODES, GFP_KERNEL)?;
        for node in 1..=MAX_NODES as NodeId {
            let outbox = Outbox::new(node, client.clone(), jobs.clone());
            let task = linux::new_task!(queue.clone(), outbox, "virgo_outbox");
            all.push(KBox::pin_init(task, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Arc::new(Outboxes(all), GFP_KERNEL)?)
    }

    fn of(&self, node: NodeId) -> Option<&Task<Outbox>> {
        let index = usize::from(node).checked_sub(1)?;
        self.0.get(index).map(|task| &**task)
    }

    /// Takes the result of a call that `peer` has made. May sleep, but not for the peer.
    pub(crate) fn result(&self, peer: Peer, run: &Run, outcome: Outcome) {
        let Some(task) = self.of(peer.node) else {
            return;
        };
        let kept = Kept {
            outcome,
            boot: peer.boot,
            until: run.deadline.later(KEEP_MS),
            is_rest: false,
        };
        let Ok(node) = RBTreeNode::new(run.name, kept, GFP_KERNEL) else {
            // The caller finds out when it asks.
            return;
        };
        let mut state = task.state.lock();
        if state.count >= MAX_RESULTS {
            drop(state);
            pr_debug!("node {}: a result is dropped\n", peer.node);
            return;
        }
        let replaced = state.results.insert(node);
        state.count += usize::from(replaced.is_none());
        let stalled = state.failures > 0;
        drop(state);
        drop(replaced);
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
        let mut state = task.state.lock();
        let room = state.cancels.len() < MAX_CANCELS;
        // One too many ends by its deadline.
        let _ = match room {
            true => state.cancels.push((key, deadline), GFP_KERNEL),
            false => Ok(()),
        };
        let stalled = state.failures > 0;
        drop(state);
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
        let mut state = task.state.lock();
        let busy = !state.probes.is_empty();
        let unused = match busy {
            true => keys,
            false => core::mem::replace(&mut state.probes, keys),
        };
        drop(state);
        drop(unused);
        if !busy {
            task.schedule_now();
        }
    }

    /// Whether the result of the call that node `node` calls `key` is kept for it. May sleep.
    pub(crate) fn has(&self, node: NodeId, key: u64) -> bool {
        self.of(node)
            .is_some_and(|task| task.state.lock().results.get(&key).is_some())
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

    /// Drops results for former lives of `peer`. May sleep.
    pub(crate) fn forget_former(&self, peer: Peer) {
        if let Some(task) = self.of(peer.node) {
            task.drop_results(|kept| kept.boot != peer.boot);
        }
    }

    /// Results that were not delivered.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|task| task.state.lock().count).sum()
    }
}

impl Outbox {
    fn new(node: NodeId, client: Arc<Client>, jobs: Arc<Jobs>) -> impl PinInit<Self> {
        let state = State {
            results: RBTree::new(),
            count: 0,
            cancels: KVVec::new(),
            probes: KVVec::new(),
            failures: 0,
        };
        pin_init!(Self {
            node,
            client,
            jobs,
            stalled: Atomic::new(false),
            state <- linux::new_mutex!(state, "virgo_outbox_calls"),
        })
    }

    fn drop_results(&self, unwanted: impl Fn(&Kept) -> bool) {
        let mut next = Some(0);
        while let Some(first) = next {
            let mut state = self.state.lock();
            let Some(cursor) = state.results.cursor_lower_bound(&first) else {
                return;
            };
            let (&key, kept) = cursor.current();
            let removed = match unwanted(kept) {
                true => state.remove(key),
                false => None,
            };
            drop(state);
            drop(removed);
            next = key.checked_add(1);
        }
    }

    /// Sends one request. Returns what it was answered, a byte for each key of a Probe.
    fn send(&self, letter: &Letter, answer: &mut [u8]) -> Result<usize> {
        let (op, data) = match letter {
            Letter::Cancel(data, _) => (op::CANCEL, data),
            Letter::Done(data, _) | Letter::Part(data, _) => (op::DONE, data),
            Letter::Probe(data, _) => (op::PROBE, data),
        };
        let request = Request {
            op,
            args: b"",
            data: Data::Bytes(data),
            uid: 0,
            retry_after_restart: true,
            reply_deadline: ReplyDeadline::Soon,
        };
        self.client
            .call(self.node, &request, answer, Deadline::after_ms(ATTEMPT_MS))
    }

    /// The node knows what `letter` says; of a Probe `answer` says which calls it has.
    fn delivered(&self, letter: Letter, answer: &[u8]) {
        let mut state = self.state.lock();
        state.failures = 0;
        match letter {
            // They were the first ones, and others come behind them.
            Letter::Cancel(_, count) => {
                let mut left = count;
                state.cancels.retain(|_| {
                    let sent = left > 0;
                    left -= usize::from(sent);
                    !sent
                });
            }
            Letter::Done(_, keys) => {
                drop(state);
                for key in keys {
                    let removed = self.state.lock().remove(key);
                    drop(removed);
                }
            }
            Letter::Part(_, key) => {
                if let Some(kept) = state.results.get_mut(&key) {
                    kept.is_rest = true;
                }
            }
            Letter::Probe(_, keys) => {
                drop(state);
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

    /// An attempt has failed. Returns how long to wait before the next, in milliseconds.
    fn failed(&self, letter: Letter) -> u32 {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        let failures = state.failures;
        if let Letter::Probe(_, keys) = letter {
            if failures < LOST_AFTER {
                let old = core::mem::replace(&mut state.probes, keys);
                drop(state);
                drop(old);
                return PROBE_PAUSE_MS;
            }
            drop(state);
            for &key in &keys {
                self.lose(
                    key,
                    "its node cannot be reached any more; nobody knows whether it has ended",
                );
            }
            // If the node lives after all, the calls there are for nobody.
            let mut state = self.state.lock();
            for key in keys {
                if state.cancels.len() < MAX_CANCELS {
                    let until = Deadline::after_ms(virgo_proto::config::MAX_DEADLINE_MS);
                    let _ = state.cancels.push((key, until), GFP_KERNEL);
                }
            }
        }
        PAUSE_MS
            .saturating_mul(1 << failures.saturating_sub(1).min(8))
            .min(MAX_PAUSE_MS)
    }
}

impl State {
    fn remove(&mut self, key: u64) -> Option<RBTreeNode<u64, Kept>> {
        let removed = self.results.remove_node(&key);
        self.count -= usize::from(removed.is_some());
        removed
    }

    /// What is to be told next. Whether the node has calls is asked first: somebody waits for that.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    fn next(&mut self) -> Result<Option<Letter>> {
        if !self.probes.is_empty() {
            return self.next_probe().map(Some);
        }
        self.cancels.retain(|(_, until)| !until.passed());
        if !self.cancels.is_empty() {
            let mut data = KVVec::new();
            let sent = self.cancels.iter().take(MAX_KEYS);
            for (key, _) in sent.clone() {
                data.put_bytes(&key.to_le_bytes(), GFP_KERNEL)?;
            }
            return Ok(Some(Letter::Cancel(data, sent.count())));
        }
        let letter = self.next_results()?;
        if letter.is_none() {
            // In the same hold of the lock: who adds something now schedules the work.
            self.failures = 0;
        }
        Ok(letter)
    }

    fn next_probe(&mut self) -> Result<Letter> {
        let mut data = KVVec::new();
        for key in self.probes.iter().take(MAX_KEYS) {
            data.put_bytes(&key.to_le_bytes(), GFP_KERNEL)?;
        }
        // What does not fit is asked for the next time.
        Ok(Letter::Probe(data, core::mem::take(&mut self.probes)))
    }

    fn next_results(&mut self) -> Result<Option<Letter>> {
        let (mut data, mut keys) = (KVVec::new(), KVVec::new());
        let mut next = Some(0);
        while let Some(first) = next {
            let Some(cursor) = self.results.cursor_lower_bound(&first) else {
                break;
            };
            let (&key, kept) = cursor.current();
            next = key.checked_add(1);
            if kept.until.passed() {
                drop(self.remove(key));
                continue;
            }
            let mut header = kept.outcome.to_wire(key);
            let (out, err) = kept.outcome.streams();
            let mut body = kept.outcome.output.as_slice();
            if body.len() > MAX_DONE_OUTPUT {
                // The standard error goes first, and the rest of the result by itself.
                if !data.is_empty() {
                    break;
                }
                if !kept.is_rest {
                    header.out_len = 0.into();
                    header.flags = PART.into();
                    data.put_bytes(header.as_bytes(), GFP_KERNEL)?;
                    data.put_bytes(err, GFP_KERNEL)?;
                    return Ok(Some(Letter::Part(data, key)));
                }
                header.err_len = 0.into();
                body = out;
            }
            let size = size_of::<clone::Outcome>() + body.len();
            if data.len() + size > MAX_BODY || keys.len() >= MAX_KEYS {
                break;
            }
            data.put_bytes(header.as_bytes(), GFP_KERNEL)?;
            data.put_bytes(body, GFP_KERNEL)?;
            keys.push(key, GFP_KERNEL)?;
        }
        Ok((!keys.is_empty()).then_some(Letter::Done(data, keys)))
    }
}

impl linux::work::Run for Outbox {
    fn run(task: &Task<Self>) {
        let mut answer = KVVec::new();
        loop {
            let next = task.state.lock().next();
            let letter = match next {
                Ok(Some(letter)) => letter,
                Ok(None) => return task.stalled.store(false, Relaxed),
                Err(_) => return task.reschedule_after_ms(PAUSE_MS),
            };
            answer.clear();
            if let Letter::Probe(_, keys) = &letter {
                if answer
                    .put_zeros(keys.len().min(MAX_KEYS), GFP_KERNEL)
                    .is_err()
                {
                    // Nobody is lost for want of memory here: they are asked for again.
                    continue;
                }
            }
            match task.send(&letter, &mut answer) {
                Ok(len) => task.delivered(letter, answer.get(..len).unwrap_or(&answer)),
                // It does not want to know.
                Err(EINVAL | ENOSYS) => task.delivered(letter, &[]),
                Err(_) => {
                    let pause = task.failed(letter);
                    task.stalled.store(true, Relaxed);
                    return task.schedule_after_ms(pause);
                }
            }
        }
    }
}
