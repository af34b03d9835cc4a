// SPDX-License-Identifier: GPL-2.0

//! The connection to one service of one other node, shared by all tasks that use it: how it is
//! made, and how it ends. Who sends: `send.rs`. What goes over it: `exchange.rs`. What goes beside it:
//! `datagrams.rs`.
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
//! [`STALL_MS`], the connection is given up, and the requests are repeated on another one. One that is to
//! use a new connection, and does not for as long, loses the send lock: another task uses it.

use crate::{
    client::{
        connector::Connector,
        datagram_link::DatagramLink,
        incoming::has_reply,
        link_state::{
            Connection,
            ConnectionState,
            LinkState,
            ReceivedReply,
            IDLE_MS, //
        },
        outbound::Outbound,
        send_lock::{
            SendLock,
            SendTurn, //
        }, //
    },
    input::Input,
    params, //
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
    datagram::Mailbox,
    deadline::Deadline,
    net::Stream,
    rcu::{
        RcuBox,
        RcuCell, //
    },
    waiters::Waiters,
    work::{
        Task,
        WorkQueue, //
    }, //
};
use pin_init::pin_init_array_from_fn;
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    datagram::{
        Carrier,
        StreamOrder, //
    },
    eventnet::event::EventKind,
    slots::{
        ClientSlot,
        SlotTable,
        LINES,
        QUEUES,
        SLOTS, //
    },
    vuid::NodeId, //
};

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
    pub(crate) port: u16,
    /// What the requests are to EventNet.
    pub(crate) kind: EventKind,
    #[pin]
    pub(crate) state: SpinLock<LinkState>,
    /// Where the task of each slot sleeps until it has its reply, or is to receive.
    pub(crate) sleepers: Pin<KBox<[Waiters; SLOTS]>>,
    /// Where the task of each slot sleeps until its reply has come as a datagram.
    pub(crate) mailboxes: Pin<KBox<[Mailbox; SLOTS]>>,
    /// Where softirqs find what datagrams of the other node are signed with.
    pub(crate) datagrams: RcuCell<Arc<DatagramLink>>,
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
pub(crate) struct LinkStatus {
    pub(crate) up: bool,
    pub(crate) connections: u64,
    pub(crate) calls: usize,
    /// Calls whose reply has come as a datagram.
    pub(crate) by_datagram: u64,
}

fn slots() -> Result<KVVec<ClientSlot<ReceivedReply>>> {
    let count = params::client_slots();
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
        queue: Arc<WorkQueue>,
        peer: NodeId,
        port: u16,
        boot: u64,
        takes_datagrams: Arc<Atomic<bool>>,
        stopped: bool,
    ) -> Result<Arc<Self>> {
        let connector = Connector::new(node.clone(), peer, port, boot, takes_datagrams);
        let connector = KBox::pin_init(
            linux::new_task!(queue, connector, "virgo_connect"),
            GFP_KERNEL,
        )?;
        connector.set_stopped(stopped);
        let state = LinkState {
            connection: ConnectionState::Down,
            stopped,
            connections: 0,
            send_lock: SendLock::new(),
            outbound: Outbound::new(),
            reply_due: None,
            ack_due: None,
            fresh: Deadline::after_ms(0),
            input: None,
            receiver: None,
            order: StreamOrder::new(),
            datagrams: None,
            carrier: Carrier::new(),
            by_datagram: 0,
            slots: SlotTable::new(slots()?, params::user_share()),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                node,
                connector,
                peer,
                port,
                kind: EventKind::of_port(*port),
                state <- linux::new_spinlock!(state, "virgo_link"),
                sleepers: waiters()?,
                mailboxes: KBox::pin_init(
                    pin_init_array_from_fn(|_| Mailbox::new()),
                    GFP_KERNEL
                )?,
                datagrams: RcuCell::empty(),
                lines: waiters()?,
                senders: waiters()?,
                is_blocked: Atomic::new(false),
                interrupts: Atomic::new(0),
                progress: Atomic::new(0),
            }? Error),
            GFP_KERNEL,
        )
    }

    /// Connects. The caller has had the send lock since `turn`; `None` if that was revoked: then another
    /// task connects.
    ///
    /// # Errors
    ///
    /// As for [`Connector::wait`].
    pub(crate) fn connect(&self, turn: SendTurn, deadline: Deadline) -> Result<Option<Connection>> {
        let state = self.state.lock();
        if !state.send_lock.holds(turn) {
            return Ok(None);
        }
        // Under the lock: once the turn is revoked a second connection would take the place of the one
        // that others have made.
        Connector::begin(&self.connector)?;
        drop(state);
        let Some(reached) = Connector::wait(&self.connector, deadline)? else {
            return Ok(None);
        };
        // Without memory there are no datagrams.
        let shared = reached.datagrams.clone().map(RcuBox::new);
        let shared = shared.and_then(Result::ok);
        // For requests that are given up: see `datagrams.rs`.
        let room = shared.as_ref().and_then(|_| Outbound::room().ok());
        let shared = room.as_ref().and(shared);
        let mut state = self.state.lock();
        if state.stopped {
            return Err(ESHUTDOWN);
        }
        if !state.send_lock.holds(turn) {
            drop(state);
            drop(reached);
            return Ok(None);
        }
        state.connections += 1;
        state.reply_due = None;
        state.ack_due = None;
        state.fresh = Deadline::after_ms(IDLE_MS);
        state.input = Some(Input::new());
        state.receiver = None;
        state.order = StreamOrder::new();
        state.carrier = Carrier::new();
        state.datagrams = shared.as_ref().and(reached.datagrams);
        let unused = room.and_then(|room| state.outbound.set_room(room));
        self.datagrams.replace(shared);
        state.connection = ConnectionState::Up {
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
        drop(unused);
        // Either a reload has seen the connection, or this sees what it has brought. The caller
        // finds out that the connection is over before it sends.
        self.revoke(&self.node.config());
        Ok(Some(connection))
    }

    /// Ends the connection if `config` would not make it: the node is not in the cluster any more, or
    /// has another address, or the key has changed.
    pub(crate) fn revoke(&self, config: &Config) {
        let state = self.state.lock();
        let serial = state.connections;
        let is_admitted = match &state.connection {
            ConnectionState::Up { origin, .. } => origin.is_admitted_by(config),
            ConnectionState::Down => true,
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
        let connection = core::mem::replace(&mut state.connection, ConnectionState::Down);
        let lost = state.outbound.clear(serial);
        self.datagrams.replace(None);
        let datagrams = state.datagrams.take();
        self.is_blocked.store(false, Relaxed);
        // As many as there are slots at most.
        while let Some(slot) = state.slots.wake_latest() {
            self.select_sleeper(slot);
        }
        // No reply will come to what was given up. Again as many at most.
        state.slots.connection_lost();
        while let Some(line) = state.slots.give() {
            self.give(&mut state, Some(line));
        }
        drop(state);
        if let ConnectionState::Up { stream, .. } = connection {
            stream.shutdown();
        }
        if let Some(datagrams) = datagrams {
            self.end_datagrams(&datagrams);
        }
        drop((input, lost));
    }

    /// The connection that they belong to is lost: who waits for datagrams need not.
    fn end_datagrams(&self, datagrams: &DatagramLink) {
        datagrams.end();
        for mailbox in &*self.mailboxes {
            mailbox.poke();
        }
    }

    /// Whether a task that waits is to receive instead of the one that is to: there is something to do,
    /// and that one is asleep or was woken, and does not do it.
    pub(crate) fn may_receive_for_others(&self, state: &LinkState) -> bool {
        let (ConnectionState::Up { stream, .. }, Some(input)) = (&state.connection, &state.input)
        else {
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

    /// Whether a task that is sending, receiving or connecting could go on, but has made no progress for
    /// [`STALL_MS`].
    pub(crate) fn is_stalled(&self, state: &LinkState, watch: &mut StallWatch) -> bool {
        let (could_receive, could_send) = match &state.connection {
            ConnectionState::Up { stream, .. } => (
                state.input.is_none() && stream.is_readable(),
                state.send_lock.is_held() && stream.is_writable(),
            ),
            // Who has the lock waits for the connector, or has to use what came of that.
            ConnectionState::Down => (
                false,
                state.send_lock.is_held() && !self.connector.is_under_way(),
            ),
        };
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

    /// Gives the send lock back: the next task that waits for it may have it. Under the lock of the
    /// state.
    pub(crate) fn end_turn(&self, state: &mut LinkState, turn: SendTurn) {
        if state.send_lock.release(turn) {
            self.offer_send_lock(state);
        }
    }

    /// Wakes the next task that waits for the send lock, which nobody has. Under the lock of the state.
    pub(crate) fn offer_send_lock(&self, state: &mut LinkState) {
        while let Some(user) = state.send_lock.next() {
            let waiters = self.senders.get(user);
            if waiters.is_some_and(|waiters| waiters.select()) {
                state.send_lock.offer();
                return;
            }
        }
    }

    /// Wakes a task to receive, if one sleeps and nobody receives. Under the lock of the state.
    pub(crate) fn offer_receiver(&self, state: &mut LinkState) {
        if let Some(slot) = state.next_receiver() {
            self.select_sleeper(slot);
        }
    }

    /// Wakes the task that sleeps in this slot. Under the lock of the state.
    pub(crate) fn select_sleeper(&self, slot: u8) {
        if let Some(sleeper) = self.sleepers.get(usize::from(slot)) {
            sleeper.select();
        }
    }

    /// Whether the other node may have restarted since something was heard of it, without this node's
    /// knowing.
    pub(crate) fn is_stale(&self) -> bool {
        let state = self.state.lock();
        matches!(state.connection, ConnectionState::Up { .. }) && state.fresh.passed()
    }

    /// Whether something was heard of the other node within the last `ms` milliseconds, of [`IDLE_MS`] at
    /// most, on the present connection.
    pub(crate) fn was_heard_within(&self, ms: u32) -> bool {
        let state = self.state.lock();
        let left_ms = state.fresh.left_ms();
        matches!(state.connection, ConnectionState::Up { .. })
            && left_ms > IDLE_MS.saturating_sub(ms)
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

    pub(crate) fn state(&self) -> LinkStatus {
        let state = self.state.lock();
        LinkStatus {
            up: matches!(state.connection, ConnectionState::Up { .. }),
            connections: state.connections,
            calls: state.slots.busy(),
            by_datagram: state.by_datagram,
        }
    }
}
