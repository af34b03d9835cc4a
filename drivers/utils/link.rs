// SPDX-License-Identifier: GPL-2.0

//! The connection to one service of one other node, shared by all tasks that use it: how it is
//! made, how it ends, and whose turn it is. What goes over it: [`crate::exchange`].

use crate::{
    dial::dial,
    input::Input,
    ticket::Share, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};
use linux::{
    deadline::Deadline,
    net::Stream,
    wait::WaitQueue, //
};
use virgo_config::Node;
use virgo_proto::{
    slots::SLOTS,
    vuid::NodeId, //
};

/// Longest time to connect, in milliseconds; the rest of a deadline is for trying elsewhere.
const DIAL_MS: u32 = 2000;

/// Time after a failed connection in which calls fail at once, in milliseconds: doubled with
/// each failure in a row, up to the second.
const BACKOFF_MS: u32 = 500;
const MAX_BACKOFF_MS: u32 = 4000;

/// Time without a reply to anything after which a connection is not waited for any more, in
/// milliseconds.
const SILENCE_MS: u32 = 500;

/// See the module's documentation.
#[pin_data]
pub(crate) struct Link {
    node: Arc<Node>,
    peer: NodeId,
    port: u16,
    boot: u64,
    #[pin]
    pub(crate) state: SpinLock<State>,
    /// Woken when something that a task may wait for has changed in `state`.
    #[pin]
    pub(crate) changed: WaitQueue,
}

pub(crate) struct State {
    line: Line,
    pub(crate) stopped: bool,
    /// Connections made; also names the present one.
    connections: u64,
    /// For how long the next failure to connect keeps others from trying.
    backoff_ms: u32,
    /// Somebody is sending.
    sending: bool,
    /// By when something has to be heard; `None` if nothing was sent since the last reply.
    silence: Option<Deadline>,
    /// The right to receive on the present connection; `None` while somebody uses it.
    receiver: Option<Input>,
    /// Slots that are busy.
    pub(crate) calls: usize,
    /// Those of them by [`Share`].
    pub(crate) shares: [usize; Share::COUNT],
    /// Slots that are free though the last reply was not taken.
    pub(crate) given_up: usize,
    pub(crate) slots: [Slot; SLOTS],
}

enum Line {
    Down,
    /// Failed so lately that it is not tried again before then.
    Failed(Error, Deadline),
    /// Somebody is connecting.
    Dialing,
    Up {
        stream: Arc<Stream>,
        boot: u64,
    },
}

/// A place for one call. See [`virgo_proto::slots`].
pub(crate) struct Slot {
    pub(crate) busy: bool,
    /// Number of the last call.
    pub(crate) seq: u64,
    /// Number of the last call whose reply was taken.
    pub(crate) taken: u64,
    pub(crate) reply: Option<Answer>,
}

/// A reply that somebody else has received.
pub(crate) struct Answer {
    pub(crate) status: u32,
    pub(crate) body: KVVec<u8>,
}

/// A connection, as a task has found it.
pub(crate) struct Connection {
    pub(crate) stream: Arc<Stream>,
    /// Random number of the server's life.
    pub(crate) boot: u64,
    /// Which connection of the link it is.
    pub(crate) serial: u64,
}

/// What [`Client::show`](crate::Client::show) shows.
pub(crate) struct LinkState {
    pub(crate) up: bool,
    pub(crate) connections: u64,
    pub(crate) calls: usize,
}

impl Link {
    pub(crate) fn new(
        node: Arc<Node>,
        peer: NodeId,
        port: u16,
        boot: u64,
        stopped: bool,
    ) -> Result<Arc<Self>> {
        let state = State {
            line: Line::Down,
            stopped,
            connections: 0,
            backoff_ms: BACKOFF_MS,
            sending: false,
            silence: None,
            receiver: None,
            calls: 0,
            shares: [0; Share::COUNT],
            given_up: 0,
            slots: [const {
                Slot {
                    busy: false,
                    seq: 0,
                    taken: 0,
                    reply: None,
                }
            }; SLOTS],
        };
        Arc::pin_init(
            pin_init!(Self {
                node,
                peer,
                port,
                boot,
                state <- linux::new_spinlock!(state, "virgo_link"),
                changed <- linux::new_wait_queue!("virgo_link"),
            }),
            GFP_KERNEL,
        )
    }

    /// The present connection, when it is this task's turn to send on it; makes a connection if
    /// there is none.
    pub(crate) fn turn(&self, deadline: Deadline) -> Result<Connection> {
        let turn = self.changed.wait(deadline, || {
            let mut state = self.state.lock();
            if state.stopped {
                return Some(Err(ESHUTDOWN));
            }
            if let Some(connection) = state.turn() {
                return Some(Ok(Some(connection)));
            }
            match &state.line {
                Line::Up { .. } | Line::Dialing => None,
                Line::Failed(e, until) if !until.passed() => Some(Err(*e)),
                Line::Down | Line::Failed(..) if deadline.passed() => Some(Err(ETIMEDOUT)),
                Line::Down | Line::Failed(..) => {
                    state.line = Line::Dialing;
                    Some(Ok(None))
                }
            }
        })?;
        match turn.ok_or(ETIMEDOUT)?? {
            Some(connection) => Ok(connection),
            None => self.dial(deadline),
        }
    }

    /// Lets the next task send.
    pub(crate) fn end_turn(&self, connection: &Connection) {
        self.state.lock().end_turn(connection.serial);
        self.changed.wake_all();
    }

    /// Connects, while others wait for it. The first turn to send is this task's.
    fn dial(&self, deadline: Deadline) -> Result<Connection> {
        let in_time = deadline.min(Deadline::after_ms(DIAL_MS));
        let reached = dial(&self.node, self.peer, self.port, self.boot, in_time);
        let mut state = self.state.lock();
        let result = match reached {
            Ok(_) if state.stopped => {
                state.line = Line::Down;
                Err(ESHUTDOWN)
            }
            Ok(reached) => {
                state.connections += 1;
                state.backoff_ms = BACKOFF_MS;
                state.sending = true;
                state.silence = None;
                state.receiver = Some(Input::new());
                state.line = Line::Up {
                    stream: reached.stream.clone(),
                    boot: reached.boot,
                };
                Ok(Connection {
                    stream: reached.stream,
                    boot: reached.boot,
                    serial: state.connections,
                })
            }
            Err(e) => {
                state.line = match e {
                    // Who was killed has found out nothing about the node.
                    EINTR => Line::Down,
                    // Nor has who had no time to wait.
                    ETIMEDOUT if deadline.passed() => Line::Down,
                    e => {
                        let backoff_ms = state.backoff_ms;
                        state.backoff_ms = (2 * backoff_ms).min(MAX_BACKOFF_MS);
                        Line::Failed(e, Deadline::after_ms(backoff_ms))
                    }
                };
                Err(e)
            }
        };
        drop(state);
        self.changed.wake_all();
        result
    }

    /// Gives up connection `serial`, if it is still the present one. Its users notice.
    pub(crate) fn broken(&self, serial: u64) {
        let mut state = self.state.lock();
        if state.connections != serial {
            return;
        }
        let receiver = state.receiver.take();
        let line = match state.line {
            Line::Up { .. } => core::mem::replace(&mut state.line, Line::Down),
            _ => return,
        };
        drop(state);
        if let Line::Up { stream, .. } = line {
            stream.shutdown();
        }
        drop(receiver);
        self.changed.wake_all();
    }

    /// Whether connection `serial` is the present one and has been silent for too long.
    pub(crate) fn is_silent(&self, serial: u64) -> bool {
        let state = self.state.lock();
        state.is_up(serial) && state.silence.is_some_and(|until| until.passed())
    }

    /// Ends all calls and refuses new ones, or allows them again.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        let mut state = self.state.lock();
        state.stopped = stopped;
        let serial = state.connections;
        drop(state);
        if stopped {
            self.broken(serial);
        }
        self.changed.wake_all();
    }

    pub(crate) fn state(&self) -> LinkState {
        let state = self.state.lock();
        LinkState {
            up: matches!(state.line, Line::Up { .. }),
            connections: state.connections,
            calls: state.calls,
        }
    }
}

impl State {
    pub(crate) fn is_up(&self, serial: u64) -> bool {
        self.connections == serial && matches!(self.line, Line::Up { .. })
    }

    /// The connection with the right to send on it, if it is there and nobody else sends.
    pub(crate) fn turn(&mut self) -> Option<Connection> {
        match &self.line {
            Line::Up { stream, boot } if !self.sending => {
                self.sending = true;
                Some(Connection {
                    stream: stream.clone(),
                    boot: *boot,
                    serial: self.connections,
                })
            }
            _ => None,
        }
    }

    /// A request went out on connection `serial`: the turn is over. Something has to be heard within
    /// so many milliseconds and [`SILENCE_MS`]. Returns the right to receive, if nobody has it.
    pub(crate) fn sent(&mut self, serial: u64, within_ms: Option<u32>) -> Option<Input> {
        if !self.end_turn(serial) {
            return None;
        }
        if let Some(ms) = within_ms {
            let until = Deadline::after_ms(ms.saturating_add(SILENCE_MS));
            self.silence = Some(self.silence.map_or(until, |other| other.min(until)));
        }
        self.receiver.take()
    }

    /// The turn to send on connection `serial` is over. Whether that is still the present one.
    pub(crate) fn end_turn(&mut self, serial: u64) -> bool {
        let present = self.connections == serial;
        if present {
            self.sending = false;
        }
        present
    }

    /// The right to receive on connection `serial`, if nobody has it.
    pub(crate) fn receiver(&mut self, serial: u64) -> Option<Input> {
        match self.is_up(serial) {
            true => self.receiver.take(),
            false => None,
        }
    }

    /// Gives the right to receive on connection `serial` back, or `input` if that is no more.
    pub(crate) fn put_receiver(&mut self, serial: u64, input: Input) -> Option<Input> {
        match self.is_up(serial) {
            true => self.receiver.replace(input),
            false => Some(input),
        }
    }

    /// A reply has come.
    pub(crate) fn heard(&mut self) {
        self.silence = None;
    }
}
