// SPDX-License-Identifier: GPL-2.0

//! The connection to one service of one other node, shared by all tasks that use it: how it is
//! made, and how it ends. Who sends: [`crate::send`]. What goes over it: [`crate::exchange`].
//!
//! # Waiting
//!
//! Whoever waits is woken by itself, when there is something for it: a slot ([`Link::lines`]), the turn
//! to send ([`Link::senders`]), a reply or the right to receive ([`Link::sleepers`]). All of it is
//! decided under the lock of the state.

use crate::{
    dial::dial,
    input::Input,
    limits,
    outbound::Outbound, //
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
    }, //
};
use linux::{
    deadline::Deadline,
    net::Stream,
    waiters::Waiters, //
};
use pin_init::pin_init_array_from_fn;
use virgo_config::Node;
use virgo_proto::{
    eventnet::event::{
        EventId,
        Kind, //
    },
    slots::{
        ClientSlot,
        SlotTable,
        LINES,
        SLOTS, //
    },
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

/// Time without a reply to anything after which the node may have restarted, in milliseconds: no node
/// does so faster. A service that is loaded anew ends its connections.
const IDLE_MS: u32 = 1000;

/// Tasks that are told at a time, under the lock, that the link is stopped.
const EXPEL: usize = 32;

/// See the module's documentation.
#[pin_data]
pub(crate) struct Link {
    node: Arc<Node>,
    pub(crate) peer: NodeId,
    port: u16,
    /// What the requests are to EventNet.
    pub(crate) kind: Kind,
    boot: u64,
    #[pin]
    pub(crate) state: SpinLock<State>,
    /// Where the task of each slot sleeps until it has its reply, or is to receive.
    pub(crate) sleepers: Pin<KBox<[Waiters; SLOTS]>>,
    /// Where tasks wait for slots.
    pub(crate) lines: Pin<KBox<[Waiters; LINES]>>,
    /// Where tasks that have slots wait for their turn to send.
    #[pin]
    pub(crate) senders: Waiters,
    /// There is output that the task which receives is to send when the connection has room. Written
    /// under the lock of the state.
    pub(crate) is_blocked: Atomic<bool>,
}

pub(crate) struct State {
    line: Line,
    pub(crate) stopped: bool,
    /// Connections made; also names the present one.
    connections: u64,
    /// For how long the next failure to connect keeps others from trying.
    backoff_ms: u32,
    /// Somebody has the turn: to send, and to connect before.
    pub(crate) sending: bool,
    /// What whoever has the turn sends first.
    pub(crate) outbound: Outbound,
    /// By when something has to be heard; `None` if nothing was sent since the last reply.
    silence: Option<Deadline>,
    /// Bytes that the peer's network layer had acknowledged when that was set.
    acked: u64,
    /// Until then the peer has not restarted.
    fresh: Deadline,
    /// The right to receive on the present connection; `None` while somebody uses it.
    receiver: Option<Input>,
    /// The slot whose task it is kept for: that was woken for it.
    pub(crate) receiver_for: Option<u8>,
    pub(crate) slots: SlotTable<KVVec<ClientSlot<Answer>>>,
}

enum Line {
    Down,
    /// Failed so lately that it is not tried again before then.
    Failed(Error, Deadline),
    Up {
        stream: Arc<Stream>,
        boot: u64,
    },
}

/// A reply that somebody else has received.
pub(crate) struct Answer {
    pub(crate) status: u32,
    pub(crate) body: KVVec<u8>,
    /// The event that has sent it, if that is recorded.
    pub(crate) sent_by: Option<EventId>,
}

/// A connection, as a task has found it.
#[derive(Clone)]
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

fn slots() -> Result<KVVec<ClientSlot<Answer>>> {
    let count = limits::client_slots();
    let mut slots = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        slots.push(ClientSlot::new(), GFP_KERNEL)?;
    }
    Ok(slots)
}

fn waiters<const N: usize>() -> Result<Pin<KBox<[Waiters; N]>>> {
    KBox::pin_init(pin_init_array_from_fn(|_| Waiters::new()), GFP_KERNEL)
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
            outbound: Outbound::new(),
            silence: None,
            acked: 0,
            fresh: Deadline::after_ms(0),
            receiver: None,
            receiver_for: None,
            slots: SlotTable::new(slots()?, limits::user_share()),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                node,
                peer,
                port,
                kind: Kind::of_port(*port),
                boot,
                state <- linux::new_spinlock!(state, "virgo_link"),
                sleepers: waiters()?,
                lines: waiters()?,
                senders <- Waiters::new(),
                is_blocked: Atomic::new(false),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Connects. The caller has the turn, and keeps it if that succeeds.
    pub(crate) fn dial(&self, deadline: Deadline) -> Result<Connection> {
        let in_time = deadline.min(Deadline::after_ms(DIAL_MS));
        let reached = dial(&self.node, self.peer, self.port, self.boot, in_time);
        let mut state = self.state.lock();
        let error = match reached {
            Ok(_) if state.stopped => ESHUTDOWN,
            Ok(reached) => {
                state.connections += 1;
                state.backoff_ms = BACKOFF_MS;
                state.silence = None;
                state.acked = 0;
                state.heard();
                state.receiver = Some(Input::new());
                state.receiver_for = None;
                state.line = Line::Up {
                    stream: reached.stream.clone(),
                    boot: reached.boot,
                };
                return Ok(Connection {
                    stream: reached.stream,
                    boot: reached.boot,
                    serial: state.connections,
                });
            }
            // Who was killed has found out nothing about the node.
            Err(EINTR) => EINTR,
            // Nor has who had no time to wait.
            Err(ETIMEDOUT) if deadline.passed() => ETIMEDOUT,
            Err(e) => {
                let backoff_ms = state.backoff_ms;
                state.backoff_ms = (2 * backoff_ms).min(MAX_BACKOFF_MS);
                state.line = Line::Failed(e, Deadline::after_ms(backoff_ms));
                e
            }
        };
        self.end_turn(&mut state);
        Err(error)
    }

    /// Gives up connection `serial`, if it is still the present one. Its users notice.
    pub(crate) fn broken(&self, serial: u64) {
        let mut state = self.state.lock();
        if !state.is_up(serial) {
            return;
        }
        let receiver = state.receiver.take();
        state.receiver_for = None;
        let line = core::mem::replace(&mut state.line, Line::Down);
        let lost = state.outbound.clear(serial);
        self.is_blocked.store(false, Relaxed);
        // As many as there are slots at most.
        while let Some(slot) = state.slots.wake_latest() {
            self.select_sleeper(slot);
        }
        drop(state);
        if let Line::Up { stream, .. } = line {
            stream.shutdown();
        }
        drop((receiver, lost));
    }

    /// Wakes the task that sleeps in this slot. Under the lock of the state.
    pub(crate) fn select_sleeper(&self, slot: u8) {
        if let Some(sleeper) = self.sleepers.get(usize::from(slot)) {
            sleeper.select();
        }
    }

    /// Whether connection `serial` is the present one and has been silent for too long: no reply has
    /// come, nor has the network of the other node taken anything.
    pub(crate) fn is_silent(&self, serial: u64) -> bool {
        let mut state = self.state.lock();
        if !state.is_up(serial) || !state.silence.is_some_and(|until| until.passed()) {
            return false;
        }
        let Line::Up { stream, .. } = &state.line else {
            return false;
        };
        let acked = stream.acked();
        if acked == state.acked {
            return true;
        }
        state.acked = acked;
        state.silence = Some(Deadline::after_ms(SILENCE_MS));
        false
    }

    /// Whether the other node may have restarted since something was heard of it, without this node's
    /// knowing.
    pub(crate) fn is_stale(&self) -> bool {
        let state = self.state.lock();
        matches!(state.line, Line::Up { .. }) && state.fresh.passed()
    }

    /// Ends all calls and refuses new ones, or allows them again.
    pub(crate) fn set_stopped(&self, stopped: bool) {
        let mut state = self.state.lock();
        state.stopped = stopped;
        let serial = state.connections;
        drop(state);
        if stopped {
            self.broken(serial);
            while self.expel() {}
        }
    }

    /// Sends some away who wait for slots or to send. False if nobody does.
    fn expel(&self) -> bool {
        let mut state = self.state.lock();
        let mut count = 0;
        while count < EXPEL && self.senders.expel() {
            count += 1;
        }
        while count < EXPEL {
            let Some(line) = state.slots.waiting_line() else {
                break;
            };
            state.slots.leave_line(line);
            if let Some(waiters) = self.lines.get(line.index()) {
                waiters.expel();
            }
            count += 1;
        }
        count > 0
    }

    pub(crate) fn state(&self) -> LinkState {
        let state = self.state.lock();
        LinkState {
            up: matches!(state.line, Line::Up { .. }),
            connections: state.connections,
            calls: state.slots.busy(),
        }
    }
}

impl State {
    pub(crate) fn is_up(&self, serial: u64) -> bool {
        self.connections == serial && matches!(self.line, Line::Up { .. })
    }

    /// The present connection; if there is none, why it is not to be made now.
    pub(crate) fn connection(&self) -> Result<Option<Connection>> {
        match &self.line {
            _ if self.stopped => Err(ESHUTDOWN),
            Line::Up { stream, boot } => Ok(Some(Connection {
                stream: stream.clone(),
                boot: *boot,
                serial: self.connections,
            })),
            Line::Failed(e, until) if !until.passed() => Err(*e),
            Line::Down | Line::Failed(..) => Ok(None),
        }
    }

    /// A request went out on connection `serial`: something has to be heard within so many
    /// milliseconds and [`SILENCE_MS`]. Returns the right to receive, if nobody has it.
    pub(crate) fn sent(
        &mut self,
        connection: &Connection,
        within_ms: Option<u32>,
    ) -> Option<Input> {
        if !self.is_up(connection.serial) {
            return None;
        }
        if let Some(ms) = within_ms {
            self.expect(connection, ms);
        }
        self.receiver(connection.serial, None)
    }

    /// Something has to be heard on the connection within so many milliseconds and [`SILENCE_MS`].
    pub(crate) fn expect(&mut self, connection: &Connection, within_ms: u32) {
        let until = Deadline::after_ms(within_ms.saturating_add(SILENCE_MS));
        self.silence = Some(match self.silence {
            Some(other) => other.min(until),
            None => {
                self.acked = connection.stream.acked();
                until
            }
        });
    }

    /// The right to receive on connection `serial`, if nobody has it, and it is not kept for the task of
    /// another slot than this.
    pub(crate) fn receiver(&mut self, serial: u64, slot: Option<u8>) -> Option<Input> {
        if !self.is_up(serial) || (self.receiver_for.is_some() && self.receiver_for != slot) {
            return None;
        }
        self.receiver_for = None;
        self.receiver.take()
    }

    /// Gives the right to receive on connection `serial` back, or `input` if that is no more.
    pub(crate) fn put_receiver(&mut self, serial: u64, input: Input) -> Option<Input> {
        match self.is_up(serial) {
            true => self.receiver.replace(input),
            false => Some(input),
        }
    }

    /// Whether somebody could receive, but nobody does.
    pub(crate) fn has_receiver(&self) -> bool {
        self.receiver.is_some()
    }

    /// A reply has come.
    pub(crate) fn heard(&mut self) {
        self.silence = None;
        self.fresh = Deadline::after_ms(IDLE_MS);
    }
}
