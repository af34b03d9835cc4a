// SPDX-License-Identifier: GPL-2.0

//! Who makes the connections of a [`Link`](crate::client::link::Link): work of the kernel's own. A connection
//! is shared by all tasks of the node, so it must not belong to the one that has needed it first: a
//! socket is charged to the memory cgroup, and has the uid and the network class, of the task that
//! creates it.
//!
//! Tasks wait for the work killably and until their own deadline; the attempt goes on without them for
//! [`CONNECT_MS`] at most, and whoever comes next waits for the same attempt.
//!
//! # Locking
//!
//! The state has a spinlock, under which nothing sleeps. It is taken under that of the link; no other lock
//! is taken under it.

use crate::client::connect::{
    connect,
    ClientInfo,
    Reached, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use linux::{
    deadline::Deadline,
    trace::{
        self,
        TraceEvent, //
    },
    wait::WaitQueue,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_config::Node;
use virgo_proto::vuid::NodeId;

/// Longest time of an attempt, in milliseconds; the rest of a deadline is for trying elsewhere.
const CONNECT_MS: u32 = 2000;

/// Time after a failed attempt in which calls fail at once, in milliseconds: doubled with each
/// failure in a row, up to the second.
const BACKOFF_MS: u32 = 500;
const MAX_BACKOFF_MS: u32 = 4000;

/// Connects to one service of one node.
#[pin_data]
pub(crate) struct Connector {
    node: Arc<Node>,
    peer: NodeId,
    port: u16,
    boot: u64,
    /// Whether this node takes datagrams for the service.
    takes_datagrams: Arc<Atomic<bool>>,
    #[pin]
    state: SpinLock<State>,
    /// Where tasks wait for the end of an attempt.
    #[pin]
    ended: WaitQueue,
}

struct State {
    attempt: Attempt,
    /// Tasks that wait for its end. If none does, a connection is not kept.
    waiting: usize,
    /// For how long the next failure keeps others from trying.
    backoff_ms: u32,
    /// Nobody may wait any more.
    stopped: bool,
}

enum Attempt {
    /// None was made, or what came of it was taken.
    None,
    /// The work is at it.
    UnderWay,
    Connected(Reached),
    /// Not the other node's fault: whoever comes next tries again.
    Failed(Error),
    /// The other node was not reached; it is not tried again before then.
    Backoff(Error, Deadline),
}

impl Connector {
    /// Connects to the service on `port` of node `peer`; `boot` names the client's incarnation.
    pub(crate) fn new(
        node: Arc<Node>,
        peer: NodeId,
        port: u16,
        boot: u64,
        takes_datagrams: Arc<Atomic<bool>>,
    ) -> impl PinInit<Self> {
        let state = State {
            attempt: Attempt::None,
            waiting: 0,
            backoff_ms: BACKOFF_MS,
            stopped: false,
        };
        pin_init!(Self {
            node,
            peer,
            port,
            boot,
            takes_datagrams,
            state <- linux::new_spinlock!(state, "virgo_connector"),
            ended <- linux::new_wait_queue!("virgo_connector_ended"),
        })
    }

    /// Has the work connect, unless it is at it or there is a connection; the caller has to
    /// [`Self::wait`]. Task context.
    ///
    /// # Errors
    ///
    /// Those of [`connect`] during a back-off; [`ESHUTDOWN`] if it was stopped. Then there is nothing to
    /// wait for.
    pub(crate) fn begin(task: &Task<Self>) -> Result {
        let mut state = task.state.lock();
        state.begin(task)?;
        state.waiting += 1;
        Ok(())
    }

    /// Waits for the connection; `None` if another task has taken it. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// Those of [`connect`]; [`ETIMEDOUT`] at the deadline; [`EINTR`] when the task is being killed;
    /// [`ESHUTDOWN`] if it was stopped.
    pub(crate) fn wait(task: &Task<Self>, deadline: Deadline) -> Result<Option<Reached>> {
        let outcome = task.ended.wait(deadline, || task.state.lock().outcome());
        let mut state = task.state.lock();
        state.waiting -= 1;
        let unwanted = match state.waiting {
            0 => state.take_connected(),
            _ => None,
        };
        drop(state);
        drop(unwanted);
        outcome?.unwrap_or(Err(ETIMEDOUT))
    }

    /// Whether the work is at it. Task context.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.state.lock().attempt, Attempt::UnderWay)
    }

    /// Ends the waits and refuses others, or allows them again. May sleep.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.state.lock().stopped = stopped;
        self.ended.wake_in_steps();
    }

    /// Has the next task try again, whatever has come of former attempts.
    pub(crate) fn end_backoff(&self) {
        let mut state = self.state.lock();
        if let Attempt::Backoff(..) = state.attempt {
            state.attempt = Attempt::None;
        }
    }
}

impl State {
    /// Sees to it that an attempt is under way, or that there is an outcome.
    fn begin(&mut self, task: &Task<Connector>) -> Result {
        match &self.attempt {
            _ if self.stopped => return Err(ESHUTDOWN),
            Attempt::UnderWay | Attempt::Connected(_) => return Ok(()),
            Attempt::Backoff(e, until) if !until.passed() => return Err(*e),
            Attempt::None | Attempt::Failed(_) | Attempt::Backoff(..) => (),
        }
        self.attempt = Attempt::UnderWay;
        task.schedule();
        Ok(())
    }

    /// What a task gets that has waited; `None` if it has to wait on.
    fn outcome(&mut self) -> Option<Result<Option<Reached>>> {
        if self.stopped {
            return Some(Err(ESHUTDOWN));
        }
        if let Some(reached) = self.take_connected() {
            return Some(Ok(Some(reached)));
        }
        match &self.attempt {
            Attempt::Failed(e) | Attempt::Backoff(e, _) => Some(Err(*e)),
            Attempt::None => Some(Ok(None)),
            Attempt::UnderWay | Attempt::Connected(_) => None,
        }
    }

    fn take_connected(&mut self) -> Option<Reached> {
        match core::mem::replace(&mut self.attempt, Attempt::None) {
            Attempt::Connected(reached) => Some(reached),
            other => {
                self.attempt = other;
                None
            }
        }
    }
}

impl Run for Connector {
    fn run(task: &Task<Self>) {
        let deadline = Deadline::after_ms(CONNECT_MS);
        let start = trace::reconnect_is_on().then(Instant::<Monotonic>::now);
        let me = ClientInfo {
            boot: task.boot,
            takes_datagrams: task.takes_datagrams.load(Relaxed),
        };
        let result = connect(&task.node, task.peer, task.port, me, deadline);
        trace::reconnect(|| {
            let event = TraceEvent {
                node: task.peer.into(),
                port: task.port.into(),
                ..TraceEvent::default()
            };
            event.ended(&result, start)
        });
        let mut state = task.state.lock();
        let mut unwanted = None;
        state.attempt = match result {
            Ok(reached) => {
                state.backoff_ms = BACKOFF_MS;
                match state.waiting {
                    0 => {
                        unwanted = Some(reached);
                        Attempt::None
                    }
                    _ => Attempt::Connected(reached),
                }
            }
            // This tells nothing of the other node.
            Err(ENOMEM) => Attempt::Failed(ENOMEM),
            Err(e) => {
                let backoff_ms = state.backoff_ms;
                state.backoff_ms = (2 * backoff_ms).min(MAX_BACKOFF_MS);
                Attempt::Backoff(e, Deadline::after_ms(backoff_ms))
            }
        };
        drop(state);
        // A socket is not closed under the lock.
        drop(unwanted);
        task.ended.wake_in_steps();
    }
}
