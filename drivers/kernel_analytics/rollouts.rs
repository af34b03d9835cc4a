// SPDX-License-Identifier: GPL-2.0

//! Roll-outs of variables to all nodes. What they mean is in [`virgo_proto::analytics::rollout`]; here are
//! messages, time, the disk and the variables.
//!
//! ```text
//! control    what root reads and writes
//! owner      who begins, decides and gives up roll-outs at this node
//! workers    speaks to each node; looks at the clock; writes decisions
//! report     why one has failed, and what this node has, for people
//! rollouts   this node's machines, and the values that they hold
//! remote     requests to other nodes          storage  what is decided, on disk
//! record     what is remembered of roll-outs
//! ```
//!
//! # Locking
//!
//! The state has a mutex, under which variables are set (the registry's mutex), so that no answer is given
//! before the variables are as it says. The disk and the network are not waited for under it, but once: when
//! the decisions of a former load are read.

pub(crate) mod control;
pub(crate) mod owner;
pub(crate) mod record;
mod remote;
mod report;
mod storage;
pub(crate) mod workers;

use crate::rights;
use kernel::{
    fmt,
    prelude::*,
    str::CString,
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
use linux::{
    deadline::now_ms,
    wait::WaitQueue,
    work::WorkHandle, //
};
use record::{
    wall_ms,
    BegunRollout,
    EndedRollout,
    HeldRollout,
    MAX_RECORDS, //
};
use remote::Said;
use virgo_config::Node;
use virgo_proto::{
    analytics::{
        rollout::{
            coordinator::RolloutPhase,
            node::{
                RolloutAdmission,
                RolloutNode, //
            },
            participant::{
                RolloutEffect,
                RolloutStage, //
            },
            wire::{
                RolloutReply,
                RolloutRequest, //
            },
            RolloutAnswer,
            RolloutAsk,
            RolloutId,
            RolloutMessage,
            RolloutTiming, //
        },
        source::ValueSource, //
    },
    config::MAX_NODES,
    errno::Errno,
    vuid::{
        bit,
        NodeId,
        NodeSetIter, //
    }, //
};
use virgo_utils::{
    to_wire,
    variables::{
        Refused,
        Setter,
        ValueOrigin, //
    },
    Client, //
};

/// How far the roll-out has come that this node coordinates: later ones are larger, up to the outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nodes are asked.
    Begun = 1,
    /// All are ready, and the canary has the values.
    Ready = 2,
    /// It is on its way to the disk.
    Deciding = 3,
    /// All are to have the new values.
    Committed = 4,
    /// All have them that answer.
    Known = 5,
    /// All are to have the old values.
    Aborted = 6,
    /// All have them that answer.
    Returned = 7,
}

/// What this node has of roll-outs.
#[pin_data]
pub(crate) struct Rollouts {
    pub(crate) node: Arc<Node>,
    pub(crate) client: Arc<Client>,
    timing: RolloutTiming,
    /// Of the roll-out that this node coordinates: its number, and its [`Progress`], for those who wait.
    current: Atomic<u64>,
    progress: Atomic<u32>,
    #[pin]
    changed: WaitQueue,
    speakers: SetOnce<KVec<WorkHandle>>,
    clock: SetOnce<WorkHandle>,
    decider: SetOnce<WorkHandle>,
    #[pin]
    state: Mutex<State>,
    setter: Arc<Setter>,
}

struct State {
    /// In a box, so that the state may be moved to its place.
    machine: KBox<RolloutNode<MAX_NODES>>,
    /// What the disk has decided before is known.
    is_restored: bool,
    begun: Option<BegunRollout>,
    held: Option<HeldRollout>,
    /// The oldest first.
    ended: KVec<EndedRollout>,
}

impl Rollouts {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        node: Arc<Node>,
        client: Arc<Client>,
        setter: Arc<Setter>,
        timing: RolloutTiming,
    ) -> Result<Arc<Self>> {
        let me = node.config().me;
        let state = State {
            machine: KBox::new(RolloutNode::new(me, timing), GFP_KERNEL)?,
            is_restored: false,
            begun: None,
            held: None,
            ended: KVec::with_capacity(MAX_RECORDS, GFP_KERNEL)?,
        };
        Arc::pin_init(
            pin_init!(Self {
                node,
                client,
                timing,
                current: Atomic::new(0),
                progress: Atomic::new(0),
                changed <- linux::new_wait_queue!("virgo_rollout"),
                speakers: SetOnce::new(),
                clock: SetOnce::new(),
                decider: SetOnce::new(),
                state <- kernel::new_mutex!(state, "virgo_rollouts"),
                setter,
            }),
            GFP_KERNEL,
        )
    }

    /// Who speaks to each node, by number from 1, looks at the clock, and writes decisions.
    pub(crate) fn set_workers(
        &self,
        speakers: KVec<WorkHandle>,
        clock: WorkHandle,
        decider: WorkHandle,
    ) {
        self.speakers.populate(speakers);
        self.clock.populate(clock);
        self.decider.populate(decider);
    }

    /// The nodes of the configuration, as bits.
    fn nodes(&self) -> u64 {
        let config = self.node.config();
        config
            .nodes
            .iter()
            .fold(0, |bits, (node, _)| bits | bit(node))
    }

    fn wake(worker: &SetOnce<WorkHandle>) {
        if let Some(worker) = worker.as_ref() {
            worker.wake_now();
        }
    }

    fn wake_speakers(&self) {
        let speakers = self.speakers.as_ref().map_or(&[][..], |speakers| speakers);
        for node in NodeSetIter(self.nodes()) {
            if let Some(speaker) = speakers.get(usize::from(node).wrapping_sub(1)) {
                speaker.wake_now();
            }
        }
    }

    /// Does what the machine wants done to the variables.
    fn apply(&self, state: &mut State, effect: RolloutEffect) {
        let Some(held) = &mut state.held else {
            return;
        };
        let answer = match effect {
            RolloutEffect::None => return,
            RolloutEffect::Put => return held.changes.put(),
            RolloutEffect::TakeBack => {
                held.changes.take_back();
                let (number, node) = (held.id.number, held.id.coordinator);
                return pr_warn!(
                    "roll-out {number:016x}: no word of node {node}; the old values are back\n"
                );
            }
            RolloutEffect::Keep => {
                held.changes.put();
                RolloutAnswer::Committed
            }
            RolloutEffect::Drop => {
                held.changes.take_back();
                RolloutAnswer::Aborted
            }
        };
        let ended = EndedRollout {
            id: held.id,
            uid: held.uid,
            ms: wall_ms(),
            answer,
        };
        if state.ended.len() >= MAX_RECORDS {
            let _ = state.ended.remove(0);
        }
        // There is room.
        let _ = state.ended.push_within_capacity(ended);
        state.held = None;
    }

    /// Tells those who wait how far the roll-out has come that this node coordinates.
    fn publish(&self, state: &mut State) {
        let now = now_ms();
        let Some(coordinator) = state.machine.coordinator() else {
            return;
        };
        let progress = match coordinator.phase() {
            RolloutPhase::Preparing | RolloutPhase::Trying => Progress::Begun,
            RolloutPhase::Ready => Progress::Ready,
            RolloutPhase::Deciding => Progress::Deciding,
            RolloutPhase::Committed if coordinator.is_over(now) => Progress::Known,
            RolloutPhase::Committed => Progress::Committed,
            RolloutPhase::Aborted(_) if coordinator.is_over(now) => Progress::Returned,
            RolloutPhase::Aborted(_) => Progress::Aborted,
        };
        let is_wanted = state.begun.as_ref().is_some_and(|begun| begun.is_wanted);
        if progress == Progress::Ready && is_wanted {
            Self::wake(&self.decider);
        }
        if self.progress.xchg(progress as u32, Relaxed) != progress as u32 {
            self.changed.wake_all();
            self.wake_speakers();
            Self::wake(&self.clock);
        }
    }

    /// Reads what this node has decided, unless it knows. Kernel threads only: as the first process sees the
    /// files.
    fn restore(&self, state: &mut State) -> Result {
        if !state.is_restored {
            let decided = storage::read()?;
            state.machine.restore(decided);
            state.is_restored = true;
        }
        Ok(())
    }

    /// Whether to be ready for what a node, perhaps this one, rolls out. May sleep. Kernel threads only.
    pub(crate) fn prepare(&self, from: NodeId, request: &RolloutRequest<'_>) -> Said {
        let RolloutRequest {
            id,
            plan,
            uid,
            text,
        } = *request;
        let refused = |errno, reason: fmt::Arguments<'_>| match CString::try_from_fmt(reason) {
            Ok(reason) => Said::Refused(errno, reason),
            Err(_) => Said::Silent,
        };
        if id.coordinator != from {
            return refused(Errno::EPERM, fmt!("another node coordinates it"));
        }
        let config = self.node.config();
        if !rights::may_set(&config, uid) {
            return refused(
                Errno::EACCES,
                fmt!("uid {uid} does not set variables there"),
            );
        }
        let nodes = self.nodes();
        let mut state = self.state.lock();
        match state.machine.admit(id, &plan, nodes, now_ms()) {
            RolloutAdmission::Check => (),
            RolloutAdmission::Answer(answer, effect) => {
                self.apply(&mut state, effect);
                return Said::Answer(answer);
            }
            RolloutAdmission::Busy(other) => {
                let (number, node) = (other.number, other.coordinator);
                return refused(
                    Errno::EBUSY,
                    fmt!("takes part in roll-out {number:016x} of node {node}"),
                );
            }
        }
        let origin = ValueOrigin {
            source: ValueSource::Rollout,
            uid,
            rollout: id.number,
        };
        let changes = match self.setter.hold(&rights::of_rollout(uid), text, origin) {
            Ok(changes) => changes,
            Err(Refused::Text { errno, reason, .. }) => return Said::Refused(errno, reason),
            Err(Refused::Error(e)) => {
                let errno = to_wire(e);
                return refused(errno, fmt!("{}", errno.text()));
            }
        };
        if changes.is_empty() {
            return refused(Errno::EINVAL, fmt!("no key=value"));
        }
        state.held = Some(HeldRollout {
            id,
            uid,
            ms: wall_ms(),
            changes,
        });
        let answer = state.machine.prepared(id, &plan, now_ms());
        drop(state);
        Self::wake(&self.clock);
        Said::Answer(answer)
    }

    /// Answers anything else that a node says, perhaps this one. May sleep. Kernel threads only.
    ///
    /// # Errors
    ///
    /// [`EPERM`] if another node coordinates it; those of the disk, if this one does and does not know what
    /// it has decided.
    pub(crate) fn handle(
        &self,
        from: NodeId,
        id: RolloutId,
        ask: &RolloutAsk,
    ) -> Result<RolloutAnswer> {
        let is_question = *ask == RolloutAsk::Outcome;
        if !is_question && id.coordinator != from {
            return Err(EPERM);
        }
        let nodes = self.nodes();
        let mut state = self.state.lock();
        if is_question && id.coordinator == self.node.config().me {
            self.restore(&mut state)?;
        }
        let (answer, effect) = state.machine.handle(id, ask, nodes, now_ms());
        self.apply(&mut state, effect);
        drop(state);
        Ok(answer)
    }

    /// What is to be said to `node` now, and which values, for which uid, belong to it; or when there may be
    /// something, in milliseconds.
    fn poll(
        &self,
        node: NodeId,
    ) -> Result<(RolloutMessage, u64, Option<(Arc<KVVec<u8>>, u32)>), Option<u32>> {
        let (nodes, now) = (self.nodes(), now_ms());
        let mut state = self.state.lock();
        let Some(message) = state.machine.poll(node, nodes, now) else {
            let next = state.machine.next_poll(node, now);
            return Err(next.map(|at| wait_ms(at, now)));
        };
        let begun = state.begun.as_ref();
        let values = begun.map(|begun| (begun.text.clone(), begun.uid));
        Ok((message, now, values))
    }

    /// What `node` has answered to what was said to it at `sent`.
    fn told(&self, node: NodeId, message: &RolloutMessage, sent: u64, said: Said) {
        let nodes = self.nodes();
        let now = now_ms();
        let mut state = self.state.lock();
        match said {
            Said::Answer(answer) => {
                let effect = state
                    .machine
                    .told(node, message, sent, answer, (nodes, now));
                self.apply(&mut state, effect);
            }
            Said::Silent => state.machine.failed(node, message, false, now),
            Said::Refused(errno, reason) => {
                let (id, ask) = message;
                let of_values = matches!(ask, RolloutAsk::Prepare(_));
                if let (Some(begun), true) = (&mut state.begun, of_values) {
                    if begun.number == id.number && begun.refusal.is_none() {
                        begun.refusal = Some((node, errno, reason));
                    }
                }
                state.machine.failed(node, message, true, now);
            }
        }
        self.publish(&mut state);
    }

    /// Does what the time demands. Returns when to do so again, in milliseconds.
    fn tick(&self) -> Option<u32> {
        let nodes = self.nodes();
        let now = now_ms();
        let mut state = self.state.lock();
        let effect = state.machine.tick(nodes, now);
        self.apply(&mut state, effect);
        self.publish(&mut state);
        let next = state.machine.next_tick(now_ms());
        let stage = state.machine.participant().map(|one| one.stage());
        drop(state);
        if stage == Some(RolloutStage::Doubt) {
            self.wake_speakers();
        }
        next.map(|at| wait_ms(at, now_ms()))
    }

    /// Writes the decision to disk if it is time for that, and knows it then. May sleep for as long as the disk
    /// takes. Kernel threads only.
    fn decide(&self) {
        let mut state = self.state.lock();
        let restored = self.restore(&mut state);
        let Some(begun) = state.begun.as_mut().filter(|begun| begun.is_wanted) else {
            return;
        };
        let number = begun.number;
        begun.disk = restored;
        let now = now_ms();
        let Some(coordinator) = state.machine.coordinated(number) else {
            return;
        };
        if !coordinator.decide(now) {
            return self.publish(&mut state);
        }
        let (former, decided) = (
            state.machine.decisions(),
            state.machine.with_decision(number),
        );
        drop(state);
        let written = restored.and_then(|()| {
            storage::write(&decided).inspect_err(|_| {
                // It may be there in spite of that, and must not be when this node restarts.
                let _ = storage::write(&former);
            })
        });
        let mut state = self.state.lock();
        state.machine.decided(number, written.is_ok(), now_ms());
        if let (Some(begun), Err(e)) = (&mut state.begun, written) {
            begun.disk = Err(e);
            pr_err!("/var/log/virgo_analytics/decided cannot be written: {e:?}\n");
        }
        self.publish(&mut state);
    }
}

fn wait_ms(at: u64, now: u64) -> u32 {
    at.saturating_sub(now).try_into().unwrap_or(u32::MAX)
}

/// What is answered to another node, as bytes.
pub(crate) fn with_reply<T>(said: &Said, f: impl FnOnce(&RolloutReply<'_>) -> T) -> Result<T> {
    match said {
        Said::Answer(answer) => Ok(f(&RolloutReply::Answer(*answer))),
        Said::Refused(errno, reason) => Ok(f(&RolloutReply::Refused(*errno, reason.to_bytes()))),
        Said::Silent => Err(ENOMEM),
    }
}
