// SPDX-License-Identifier: GPL-2.0

//! The connection to one service of one other node, shared by all tasks that use it: how it is
//! made, and how it ends. Who sends: [`crate::send`]. What goes over it: [`crate::exchange`].
//!
//! # Waiting
//!
//! Whoever waits is woken by itself, when there is something for it: a slot ([`Link::lines`]), the send
//! lock ([`Link::senders`]), a reply or the right to receive ([`Link::sleepers`]). All of it is
//! decided under the lock of the state.
//!
//! # Tasks that do not run
//!
//! A task that was woken may get no processor for long: others may have precedence (`SCHED_IDLE`, the
//! weight of a cgroup). It must not hold up those that use the same connection. So neither the send lock
//! nor the right to receive belongs to a task that sleeps or was woken: both are only kept for it. Who
//! waits looks after [`LOOK_MS`], and then less and less often, whether one of them is kept for a task
//! that does not come, and takes it over ([`Link::may_receive_for_others`]). A task that is stopped in the
//! middle of sending or receiving has bytes that nobody else has: if it makes no progress for
//! [`STALL_MS`], the connection is given up, and the requests are repeated on another one.

use crate::{
    connect::Origin,
    connector::Connector,
    incoming::has_reply,
    input::Input,
    limits,
    outbound::Outbound,
    send_lock::SendLock, //
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
    waiters::Waiters,
    work::{
        Queue,
        Task, //
    }, //
};
use pin_init::pin_init_array_from_fn;
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    eventnet::event::{
        EventId,
        Kind, //
    },
    frame::RequestId,
    slots::{
        ClientSlot,
        SlotTable,
        LINES,
        QUEUES,
        SLOTS, //
    },
    vuid::NodeId, //
};

/// Time without a reply to anything after which a connection is not waited for any more, in
/// milliseconds.
const SILENCE_MS: u32 = 500;

/// Time without a reply to anything after which the node may have restarted, in milliseconds: no node
/// does so faster. A service that is loaded anew ends its connections.
const IDLE_MS: u32 = 1000;

/// Time after which a task that waits looks for the first time whether it can do what another does
/// not, in milliseconds. Doubled each time, up to a second.
pub(crate) const LOOK_MS: u32 = 10;

/// Time without progress after which a task that is sending or receiving is not waited for any more, in
/// milliseconds. Long: to connect anew and repeat everything costs much.
const STALL_MS: u32 = 1000;

/// Tasks that are told at a time, under the lock, that the link is stopped.
const EXPEL: usize = 32;

/// See the module's documentation.
#[pin_data]
pub(crate) struct Link {
    node: Arc<Node>,
    connector: Pin<KBox<Task<Connector>>>,
    pub(crate) peer: NodeId,
    /// What the requests are to EventNet.
    pub(crate) kind: Kind,
    #[pin]
    pub(crate) state: SpinLock<State>,
    /// Where the task of each slot sleeps until it has its reply, or is to receive.
    pub(crate) sleepers: Pin<KBox<[Waiters; SLOTS]>>,
    /// Where tasks wait for slots.
    pub(crate) lines: Pin<KBox<[Waiters; LINES]>>,
    /// Where tasks that have slots wait for the send lock, by user.
    pub(crate) senders: Pin<KBox<[Waiters; QUEUES]>>,
    /// There is output that the task which receives is to send when the connection has room. Written
    /// under the lock of the state.
    pub(crate) is_blocked: Atomic<bool>,
    /// Grows when the task that sleeps on the socket has to look at the state: see
    /// [`Self::interrupt_receiver`].
    pub(crate) interrupts: Atomic<u32>,
    /// Grows with each step of the tasks that send and receive.
    pub(crate) progress: Atomic<u32>,
}

pub(crate) struct State {
    line: Line,
    pub(crate) stopped: bool,
    /// Connections made; also names the present one.
    connections: u64,
    pub(crate) send_lock: SendLock,
    /// What whoever has the send lock sends first.
    pub(crate) outbound: Outbound,
    /// By when something has to be heard; `None` if nothing was sent since the last reply.
    silence: Option<Deadline>,
    /// Bytes that the peer's network layer had acknowledged when that was set.
    acked: u64,
    /// Until then the peer has not restarted.
    fresh: Deadline,
    /// What was received on the present connection and not used; `None` while the receiver works
    /// with it.
    input: Option<Input>,
    /// The slot whose task receives: it works with the input, sleeps on the socket, or was woken to
    /// receive.
    receiver: Option<u8>,
    /// Requests sent on the present connection.
    requests: u64,
    /// Replies received on it.
    replies: u64,
    pub(crate) slots: SlotTable<KVVec<ClientSlot<Answer>>>,
}

enum Line {
    Down,
    Up {
        stream: Arc<Stream>,
        boot: u64,
        origin: Origin,
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

/// The right to receive.
pub(crate) struct Receiver {
    /// There is input that was not used: to be looked at before there is more.
    pub(crate) has_input: bool,
}

/// Finds out that tasks make no progress.
pub(crate) struct StallWatch {
    /// What was seen last: connection, turn, progress.
    seen: (u64, u64, u32),
    /// When that is too long ago.
    until: Deadline,
}

impl StallWatch {
    pub(crate) fn new() -> Self {
        StallWatch {
            seen: (0, 0, 0),
            until: Deadline::after_ms(STALL_MS),
        }
    }
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
    /// A link to the service on `port` of node `peer`, of the client's incarnation `boot`; it is made
    /// on `queue` when it is needed.
    pub(crate) fn new(
        node: Arc<Node>,
        queue: Arc<Queue>,
        peer: NodeId,
        port: u16,
        boot: u64,
        stopped: bool,
    ) -> Result<Arc<Self>> {
        let connector = Connector::new(node.clone(), peer, port, boot);
        let connector = KBox::pin_init(
            linux::new_task!(queue, connector, "virgo_connect"),
            GFP_KERNEL,
        )?;
        connector.set_stopped(stopped);
        let state = State {
            line: Line::Down,
            stopped,
            connections: 0,
            send_lock: SendLock::new(),
            outbound: Outbound::new(),
            silence: None,
            acked: 0,
            fresh: Deadline::after_ms(0),
            input: None,
            receiver: None,
            requests: 0,
            replies: 0,
            slots: SlotTable::new(slots()?, limits::user_share()),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                node,
                connector,
                peer,
                kind: Kind::of_port(port),
                state <- linux::new_spinlock!(state, "virgo_link"),
                sleepers: waiters()?,
                lines: waiters()?,
                senders: waiters()?,
                is_blocked: Atomic::new(false),
                interrupts: Atomic::new(0),
                progress: Atomic::new(0),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Connects. The caller has the send lock.
    ///
    /// # Errors
    ///
    /// As for [`Connector::connect`].
    pub(crate) fn connect(&self, deadline: Deadline) -> Result<Connection> {
        let reached = Connector::connect(&self.connector, deadline)?;
        let mut state = self.state.lock();
        if state.stopped {
            return Err(ESHUTDOWN);
        }
        state.connections += 1;
        state.silence = None;
        state.acked = 0;
        state.fresh = Deadline::after_ms(IDLE_MS);
        state.input = Some(Input::new());
        state.receiver = None;
        state.requests = 0;
        state.replies = 0;
        state.line = Line::Up {
            stream: reached.stream.clone(),
            boot: reached.boot,
            origin: reached.origin,
        };
        let connection = Connection {
            stream: reached.stream,
            boot: reached.boot,
            serial: state.connections,
        };
        drop(state);
        // Either a reload has seen the connection, or this sees what it has brought. The caller
        // finds out that the connection is over before it sends.
        self.revoke(&self.node.config());
        Ok(connection)
    }

    /// Ends the connection if `config` would not make it: the node is not in the cluster any more, or
    /// has another address, or the key has changed.
    pub(crate) fn revoke(&self, config: &Config) {
        let state = self.state.lock();
        let serial = state.connections;
        let is_admitted = match &state.line {
            Line::Up { origin, .. } => origin.is_admitted_by(config),
            Line::Down => true,
        };
        drop(state);
        if !is_admitted {
            self.broken(serial);
        }
    }

    /// Another configuration is in force.
    pub(crate) fn reloaded(&self, config: &Config) {
        self.connector.end_backoff();
        self.revoke(config);
    }

    /// Gives up connection `serial`, if it is still the present one. Its users notice.
    pub(crate) fn broken(&self, serial: u64) {
        let mut state = self.state.lock();
        if !state.is_up(serial) {
            return;
        }
        let input = state.input.take();
        state.receiver = None;
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
        drop((input, lost));
    }

    /// Whether a task that waits is to receive instead of the one that is to: there is something to do,
    /// and that one is asleep or was woken, and does not do it.
    pub(crate) fn may_receive_for_others(&self, state: &State) -> bool {
        let (Line::Up { stream, .. }, Some(input)) = (&state.line, &state.input) else {
            return false;
        };
        stream.is_readable()
            || has_reply(input.bytes())
            || (self.is_blocked.load(Relaxed) && stream.is_writable())
    }

    /// Has the task that sleeps on the socket look at the state: it is not the receiver any more, or
    /// there is something to send.
    pub(crate) fn interrupt_receiver(&self, stream: &Stream) {
        self.interrupts.fetch_add(1, Relaxed);
        stream.poke();
    }

    /// Whether a task that is sending or receiving could go on, but has made no progress for
    /// [`STALL_MS`].
    pub(crate) fn is_stalled(&self, state: &State, watch: &mut StallWatch) -> bool {
        let Line::Up { stream, .. } = &state.line else {
            return false;
        };
        let could_receive = state.input.is_none() && stream.is_readable();
        let could_send = state.send_lock.is_held() && stream.is_writable();
        let progress = self.progress.load(Relaxed);
        let now = (state.connections, state.send_lock.turns(), progress);
        if watch.seen == now && (could_receive || could_send) {
            return watch.until.passed();
        }
        *watch = StallWatch {
            seen: now,
            ..StallWatch::new()
        };
        false
    }

    /// Gives up the connection that `watch` has seen, and takes the send lock from the task that has
    /// had it all the time: that one sends on no other connection, and finds out when it runs.
    pub(crate) fn end_stalled(&self, watch: &StallWatch) {
        let (serial, turns, _) = watch.seen;
        self.broken(serial);
        let mut state = self.state.lock();
        if state.send_lock.revoke(turns) {
            self.offer_send_lock(&mut state);
        }
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
        self.connector.set_stopped(stopped);
        if stopped {
            self.broken(serial);
            while self.expel() {}
        }
    }

    /// Sends some away who wait for slots or to send. False if nobody does.
    fn expel(&self) -> bool {
        let mut state = self.state.lock();
        let mut count = 0;
        while count < EXPEL {
            let Some(user) = state.send_lock.next() else {
                break;
            };
            if let Some(waiters) = self.senders.get(user) {
                waiters.expel();
            }
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

    /// The present connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`ESHUTDOWN`] if none may be used.
    pub(crate) fn connection(&self) -> Result<Option<Connection>> {
        match &self.line {
            _ if self.stopped => Err(ESHUTDOWN),
            Line::Up { stream, boot, .. } => Ok(Some(Connection {
                stream: stream.clone(),
                boot: *boot,
                serial: self.connections,
            })),
            Line::Down => Ok(None),
        }
    }

    /// Request `id` went out: something has to be heard within so many milliseconds and
    /// [`SILENCE_MS`]. Makes its task the receiver, if nobody is and the reply has not come yet.
    pub(crate) fn sent(
        &mut self,
        connection: &Connection,
        within_ms: Option<u32>,
        id: RequestId,
    ) -> Option<Receiver> {
        if !self.is_up(connection.serial) {
            return None;
        }
        self.requests += 1;
        if let Some(ms) = within_ms {
            self.expect(connection, ms);
        }
        match self.slots.has_reply(id) {
            true => None,
            false => self.claim_receiver(connection.serial, id.slot),
        }
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

    /// Makes the task of `slot` the receiver on connection `serial`, if nobody is or it was woken for
    /// that.
    pub(crate) fn claim_receiver(&mut self, serial: u64, slot: u8) -> Option<Receiver> {
        let is_claimed = match self.receiver {
            Some(receiver) => receiver == slot,
            None => self.input.is_some(),
        };
        match is_claimed && self.is_up(serial) {
            true => Some(self.set_receiver(slot)),
            false => None,
        }
    }

    /// Makes the task of `slot` the receiver, whoever is.
    pub(crate) fn set_receiver(&mut self, slot: u8) -> Receiver {
        self.receiver = Some(slot);
        let input = self.input.as_ref();
        Receiver {
            has_input: input.is_some_and(|input| !input.bytes().is_empty()),
        }
    }

    /// The input of connection `serial` for the task of `slot`; `None` if that is not the receiver any
    /// more.
    pub(crate) fn take_input(&mut self, serial: u64, slot: u8) -> Option<Input> {
        match self.receiver == Some(slot) && self.is_up(serial) {
            true => self.input.take(),
            false => None,
        }
    }

    /// Puts the input of connection `serial` back. Returns it if that connection is lost.
    pub(crate) fn put_input(&mut self, serial: u64, input: Input) -> Option<Input> {
        match self.is_up(serial) {
            true => self.input.replace(input),
            false => Some(input),
        }
    }

    /// The task of `slot` does not receive any more. False if it did not.
    pub(crate) fn end_receiver(&mut self, slot: u8) -> bool {
        let was_receiver = self.receiver == Some(slot);
        if was_receiver {
            self.receiver = None;
        }
        was_receiver
    }

    /// Wakes the task that is to receive, if nobody does.
    pub(crate) fn next_receiver(&mut self) -> Option<u8> {
        if self.receiver.is_none() && self.input.is_some() {
            self.receiver = self.slots.wake_latest();
            return self.receiver;
        }
        None
    }

    /// Refuses a flood of replies.
    ///
    /// # Errors
    ///
    /// [`EPROTO`] if the other node has sent far more replies than it got requests. Some more there
    /// may be: requests that are just being sent are not counted yet.
    pub(crate) fn check_replies(&self) -> Result {
        match self.replies > self.requests + 2 * SLOTS as u64 {
            true => Err(EPROTO),
            false => Ok(()),
        }
    }

    /// A reply has come.
    pub(crate) fn heard(&mut self) {
        self.replies += 1;
        self.silence = None;
        self.fresh = Deadline::after_ms(IDLE_MS);
    }
}
