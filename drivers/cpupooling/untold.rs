// SPDX-License-Identifier: GPL-2.0

//! What one node has to be told and does not know yet, and in which order it is told.

use crate::outcome::Outcome;
use core::mem::size_of;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    }, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    clone::{
        self,
        op,
        Load,
        MAX_DONE_OUTPUT,
        MAX_KEYS,
        PART, //
    },
    frame::MAX_BODY, //
};
use virgo_utils::{
    budget::Charge,
    eventnet::Origin, //
};

/// How long a result is kept after its call's deadline, in milliseconds: the caller does not wait
/// longer.
const KEEP_MS: u32 = 5000;

/// Results that are kept for one node.
const MAX_RESULTS: usize = 4096;

/// Calls that are to end, of one node. More than that end by their deadlines.
const MAX_CANCELS: usize = 16384;

/// See the module. Its user keeps it under a lock; what is dropped is handed out, where that may take
/// time.
pub(crate) struct Untold {
    results: RBTree<u64, KeptResult>,
    count: usize,
    /// Calls that are to end, and when they do by themselves.
    cancels: KVVec<(u64, Deadline)>,
    /// Cancels were told last, so results come first.
    results_first: bool,
    /// Calls to ask for.
    probes: KVVec<u64>,
    /// How loaded this node is, if the other is to know.
    load: Option<Load>,
    /// Attempts that have failed in a row.
    pub(crate) failures: u32,
}

/// A result that was not delivered.
pub(crate) struct KeptResult {
    outcome: Outcome,
    pub(crate) boot: u64,
    until: Deadline,
    /// The standard error was delivered, so the rest follows.
    is_rest: bool,
    /// What led to it, for EventNet.
    cause: Origin,
    /// For itself, and for its output if that is short.
    _charge: Option<Charge>,
}

/// What was taken out, to be dropped without the lock.
pub(crate) type RemovedResult = Option<RBTreeNode<u64, KeptResult>>;

/// One request to the node, and what it is about.
pub(crate) enum OutboxMessage {
    Cancel(KVVec<u8>, usize),
    /// Results, and what led to the last of them.
    Done(KVVec<u8>, KVVec<u64>, Origin),
    /// The standard error of a result.
    Part(KVVec<u8>, u64, Origin),
    Probe(KVVec<u8>, KVVec<u64>),
    Load(Load),
}

impl KeptResult {
    /// Of a call that has the deadline `until`, made by the node's incarnation `boot`.
    pub(crate) fn new(
        outcome: Outcome,
        boot: u64,
        until: Deadline,
        charge: Option<Charge>,
    ) -> Self {
        KeptResult {
            outcome,
            boot,
            until: until.later(KEEP_MS),
            is_rest: false,
            cause: Origin::here(),
            _charge: charge,
        }
    }
}

impl OutboxMessage {
    /// Operation and body of the request.
    pub(crate) fn request(&self) -> (u16, &[u8]) {
        match self {
            OutboxMessage::Cancel(data, _) => (op::CANCEL, data),
            OutboxMessage::Done(data, ..) | OutboxMessage::Part(data, ..) => (op::DONE, data),
            OutboxMessage::Probe(data, _) => (op::PROBE, data),
            OutboxMessage::Load(load) => (op::TELL, load.as_bytes()),
        }
    }

    /// What led to it, for EventNet, if that is known.
    pub(crate) fn cause(&self) -> Origin {
        match self {
            OutboxMessage::Done(.., cause) | OutboxMessage::Part(.., cause) => *cause,
            _ => Origin::NONE,
        }
    }

    /// Bytes of the answer: one for each call that is asked for.
    pub(crate) fn answer_len(&self) -> usize {
        match self {
            OutboxMessage::Probe(_, keys) => keys.len(),
            _ => 0,
        }
    }
}

impl Untold {
    pub(crate) fn new() -> Self {
        Untold {
            results: RBTree::new(),
            count: 0,
            cancels: KVVec::new(),
            probes: KVVec::new(),
            load: None,
            results_first: false,
            failures: 0,
        }
    }

    /// Results that were not delivered.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn has_result(&self, key: u64) -> bool {
        self.results.get(&key).is_some()
    }

    /// Keeps a result, unless there are too many: that is handed back.
    pub(crate) fn add_result(&mut self, result: RBTreeNode<u64, KeptResult>) -> RemovedResult {
        if self.count >= MAX_RESULTS {
            return Some(result);
        }
        let replaced = self.results.insert(result);
        self.count += usize::from(replaced.is_none());
        replaced
    }

    pub(crate) fn remove_result(&mut self, key: u64) -> RemovedResult {
        let removed = self.results.remove_node(&key);
        self.count -= usize::from(removed.is_some());
        removed
    }

    /// Removes the first result from `first` on, if it is `unwanted`. Returns it, and its key; `None` if
    /// there is none.
    pub(crate) fn remove_if(
        &mut self,
        first: u64,
        unwanted: impl Fn(&KeptResult) -> bool,
    ) -> Option<(u64, RemovedResult)> {
        let cursor = self.results.cursor_lower_bound(&first)?;
        let (&key, kept) = cursor.current();
        let removed = match unwanted(kept) {
            true => self.remove_result(key),
            false => None,
        };
        Some((key, removed))
    }

    /// The standard error of this result was delivered.
    pub(crate) fn part_is_told(&mut self, key: u64) {
        if let Some(kept) = self.results.get_mut(&key) {
            kept.is_rest = true;
        }
    }

    /// A call is to end, which does so by itself at `until`. One too many is left to that. May sleep.
    pub(crate) fn add_cancel(&mut self, key: u64, until: Deadline) {
        if self.cancels.len() < MAX_CANCELS {
            let _ = self.cancels.push((key, until), GFP_KERNEL);
        }
    }

    /// The first `count` cancels were delivered; others have come behind them.
    pub(crate) fn cancels_are_told(&mut self, count: usize) {
        let mut left = count;
        self.cancels.retain(|_| {
            let sent = left > 0;
            left -= usize::from(sent);
            !sent
        });
    }

    /// Calls to ask for, at most [`MAX_KEYS`]; handed back if there are others already.
    pub(crate) fn set_probes(&mut self, keys: KVVec<u64>) -> Result<(), KVVec<u64>> {
        match self.probes.is_empty() {
            true => {
                self.probes = keys;
                Ok(())
            }
            false => Err(keys),
        }
    }

    /// How loaded this node is.
    pub(crate) fn set_load(&mut self, load: Load) {
        self.load = Some(load);
    }

    /// What is to be told next. Whether the node has calls is asked first: somebody waits for that.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn next(&mut self) -> Result<Option<OutboxMessage>> {
        if !self.probes.is_empty() {
            return self.next_probe().map(Some);
        }
        if let Some(load) = self.load.take() {
            return Ok(Some(OutboxMessage::Load(load)));
        }
        // In turns: who cancels without pause delays no results, and results no cancels.
        let message = match self.results_first {
            true => self.next_results()?,
            false => self.next_cancels()?,
        };
        let message = match (message, self.results_first) {
            (None, true) => self.next_cancels()?,
            (None, false) => self.next_results()?,
            (message, _) => message,
        };
        self.results_first = matches!(message, Some(OutboxMessage::Cancel(..)));
        if message.is_none() {
            // In the same hold of the lock: who adds something now schedules the work.
            self.failures = 0;
        }
        Ok(message)
    }

    fn next_cancels(&mut self) -> Result<Option<OutboxMessage>> {
        self.cancels.retain(|(_, until)| !until.passed());
        if self.cancels.is_empty() {
            return Ok(None);
        }
        let mut data = KVVec::new();
        let sent = self.cancels.iter().take(MAX_KEYS);
        for (key, _) in sent.clone() {
            data.put_bytes(&key.to_le_bytes(), GFP_KERNEL)?;
        }
        Ok(Some(OutboxMessage::Cancel(data, sent.count())))
    }

    fn next_probe(&mut self) -> Result<OutboxMessage> {
        let mut data = KVVec::new();
        for key in &self.probes {
            data.put_bytes(&key.to_le_bytes(), GFP_KERNEL)?;
        }
        Ok(OutboxMessage::Probe(
            data,
            core::mem::take(&mut self.probes),
        ))
    }

    fn next_results(&mut self) -> Result<Option<OutboxMessage>> {
        let (mut data, mut keys, mut cause) = (KVVec::new(), KVVec::new(), Origin::NONE);
        let mut next = Some(0);
        while let Some(first) = next {
            let Some(cursor) = self.results.cursor_lower_bound(&first) else {
                break;
            };
            let (&key, kept) = cursor.current();
            next = key.checked_add(1);
            if kept.until.passed() {
                drop(self.remove_result(key));
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
                    return Ok(Some(OutboxMessage::Part(data, key, kept.cause)));
                }
                header.err_len = 0.into();
                body = out;
            }
            let size = size_of::<clone::OutcomeHeader>() + body.len();
            if data.len() + size > MAX_BODY || keys.len() >= MAX_KEYS {
                break;
            }
            data.put_bytes(header.as_bytes(), GFP_KERNEL)?;
            data.put_bytes(body, GFP_KERNEL)?;
            keys.push(key, GFP_KERNEL)?;
            cause = cause.later(kept.cause);
        }
        Ok((!keys.is_empty()).then_some(OutboxMessage::Done(data, keys, cause)))
    }
}
