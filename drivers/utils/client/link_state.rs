// SPDX-License-Identifier: GPL-2.0

//! The state of a link: its connection, who sends and receives, and its slots.
//! Guarded by the spinlock of the link; nothing here sleeps.

use crate::{
    client::{
        connect::ConnectionParams,
        datagram_link::DatagramLink,
        outbound::Outbound,
        send_lock::{
            SendLock,
            SendTurn, //
        }, //
    },
    input::Input, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    deadline::{
        now_ms,
        Deadline, //
    },
    net::{
        Stream,
        StreamPosition, //
    }, //
};
use virgo_proto::{
    datagram::{
        Carrier,
        StreamOrder,
        Way, //
    },
    eventnet::event::EventId,
    frame::RequestId,
    slots::{
        ClientSlot,
        SlotTable,
        SLOTS, //
    }, //
};

/// Time without a reply to anything after which a connection is not waited for any more, in
/// milliseconds.
pub(crate) const SILENCE_MS: u32 = 500;

/// Time without a reply to anything after which the node may have restarted, in milliseconds: no node
/// does so faster. A service that is loaded anew ends its connections.
pub(crate) const IDLE_MS: u32 = 1000;

pub(crate) struct LinkState {
    pub(crate) connection: ConnectionState,
    pub(crate) stopped: bool,
    /// Connections made; also names the present one.
    pub(crate) connections: u64,
    pub(crate) send_lock: SendLock,
    /// What whoever has the send lock sends first.
    pub(crate) outbound: Outbound,
    /// By when something has to be heard; `None` if nothing was sent since the last reply that is to be
    /// answered soon.
    pub(crate) reply_due: Option<Due>,
    /// Requests that may be answered at any time: up to where, and by when, the peer's network layer has
    /// to acknowledge them.
    pub(crate) ack_due: Option<(StreamPosition, Due)>,
    /// Until then the peer has not restarted.
    pub(crate) fresh: Deadline,
    /// What was received on the present connection and not used; `None` while the receiver works
    /// with it.
    pub(crate) input: Option<Input>,
    /// The slot whose task receives: it works with the input, sleeps on the socket, or was woken to
    /// receive.
    pub(crate) receiver: Option<u8>,
    /// Requests sent and replies received on the present connection: nothing goes as a datagram that might
    /// come before a request that was given up there.
    pub(crate) order: StreamOrder,
    /// How datagrams are signed, if the other node takes some: of the present connection.
    pub(crate) datagrams: Option<Arc<DatagramLink>>,
    /// Whether they get there.
    pub(crate) carrier: Carrier,
    /// Calls whose reply has come as a datagram.
    pub(crate) by_datagram: u64,
    pub(crate) slots: SlotTable<KVVec<ClientSlot<ReceivedReply>>>,
}

/// A time by which the peer has to be heard, or its network layer has to take something.
pub(crate) struct Due {
    until: Deadline,
    /// Bytes that it had acknowledged when that was set.
    acked: u64,
}

impl Due {
    fn new(stream: &Stream, until: Deadline) -> Self {
        Due {
            until,
            acked: stream.acked(),
        }
    }

    /// Whether the time is over and nothing was taken. If something was, there is more time.
    fn has_passed(&mut self, stream: &Stream) -> bool {
        if !self.until.passed() {
            return false;
        }
        let acked = stream.acked();
        if acked == self.acked {
            return true;
        }
        self.acked = acked;
        self.until = Deadline::after_ms(SILENCE_MS);
        false
    }
}

pub(crate) enum ConnectionState {
    Down,
    Up {
        stream: Arc<Stream>,
        boot: u64,
        origin: ConnectionParams,
    },
}

/// A reply that somebody else has received.
pub(crate) struct ReceivedReply {
    pub(crate) status: u32,
    pub(crate) body: KVVec<u8>,
    /// The event that has sent it, if that is recorded.
    pub(crate) sent_by: Option<EventId>,
}

/// A connection, as a task has found it.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) stream: Arc<Stream>,
    /// Random number of the server's incarnation.
    pub(crate) boot: u64,
    /// Which connection of the link it is.
    pub(crate) serial: u64,
}

/// The right to receive.
pub(crate) struct Receiver {
    /// There is input that was not used: to be looked at before there is more.
    pub(crate) has_input: bool,
}

/// The right to send on a connection: who has it gives it back by [`Link::end_turn`].
pub(crate) struct Sender {
    pub(crate) connection: Connection,
    pub(crate) turn: SendTurn,
}

impl LinkState {
    pub(crate) fn is_up(&self, serial: u64) -> bool {
        self.connections == serial && matches!(self.connection, ConnectionState::Up { .. })
    }

    /// The present connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`ESHUTDOWN`] if none may be used.
    pub(crate) fn connection(&self) -> Result<Option<Connection>> {
        match &self.connection {
            _ if self.stopped => Err(ESHUTDOWN),
            ConnectionState::Up { stream, boot, .. } => Ok(Some(Connection {
                stream: stream.clone(),
                boot: *boot,
                serial: self.connections,
            })),
            ConnectionState::Down => Ok(None),
        }
    }

    /// The incarnation of the server, if there is a connection.
    pub(crate) fn boot(&self) -> Option<u64> {
        match &self.connection {
            ConnectionState::Up { boot, .. } => Some(*boot),
            ConnectionState::Down => None,
        }
    }

    /// The send lock, if there is a connection and nobody has anything to send.
    pub(crate) fn sender(&mut self) -> Option<Sender> {
        if !self.send_lock.is_free() || !self.outbound.is_empty() {
            return None;
        }
        let connection = self.connection().ok()??;
        let turn = self.send_lock.take()?;
        Some(Sender { connection, turn })
    }

    /// Request `id` went out: something has to be heard within so many milliseconds and
    /// [`SILENCE_MS`]; if there are none, it only has to be acknowledged. Makes its task the receiver,
    /// if nobody is and the reply has not come yet.
    pub(crate) fn sent(
        &mut self,
        connection: &Connection,
        within_ms: Option<u32>,
        id: RequestId,
    ) -> Option<Receiver> {
        if !self.is_up(connection.serial) {
            return None;
        }
        self.count_request(id);
        match within_ms {
            Some(ms) => self.expect_reply(connection, ms),
            None => self.expect_ack(connection),
        }
        match self.slots.has_reply(id) {
            true => None,
            false => self.claim_receiver(connection.serial, id.slot),
        }
    }

    /// A part of request `id` went out, and others send the rest.
    pub(crate) fn sent_partly(&mut self, connection: &Connection, id: RequestId) {
        if self.is_up(connection.serial) {
            self.count_request(id);
        }
    }

    /// There will be a reply to request `id` on this connection.
    pub(crate) fn count_request(&mut self, id: RequestId) {
        self.order.sent();
        self.slots.under_way(id);
    }

    /// Something has to be heard on the connection within so many milliseconds and [`SILENCE_MS`].
    pub(crate) fn expect_reply(&mut self, connection: &Connection, within_ms: u32) {
        let until = Deadline::after_ms(within_ms.saturating_add(SILENCE_MS));
        match &mut self.reply_due {
            Some(due) => due.until = due.until.min(until),
            None => self.reply_due = Some(Due::new(&connection.stream, until)),
        }
    }

    /// What was sent so far on the connection has to be acknowledged within [`SILENCE_MS`].
    pub(crate) fn expect_ack(&mut self, connection: &Connection) {
        let stream = &connection.stream;
        let due = match self.ack_due.take() {
            Some((sent, due)) if !stream.has_acked(sent) => due,
            _ => Due::new(stream, Deadline::after_ms(SILENCE_MS)),
        };
        self.ack_due = Some((stream.sent(), due));
    }

    /// Whether connection `serial` is the present one and has been silent for too long: no reply has
    /// come that is due, or no acknowledgement, nor has the network layer of the other node taken
    /// anything.
    pub(crate) fn is_silent(&mut self, serial: u64) -> bool {
        let stream = match &self.connection {
            ConnectionState::Up { stream, .. } if self.connections == serial => stream,
            _ => return false,
        };
        if self
            .ack_due
            .as_ref()
            .is_some_and(|(sent, _)| stream.has_acked(*sent))
        {
            self.ack_due = None;
        }
        let reply_due = self.reply_due.as_mut();
        let ack_due = self.ack_due.as_mut().map(|(_, due)| due);
        reply_due.is_some_and(|due| due.has_passed(stream))
            || ack_due.is_some_and(|due| due.has_passed(stream))
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
        match self.order.replies_too_many() > 2 * SLOTS as u64 {
            true => Err(EPROTO),
            false => Ok(()),
        }
    }

    /// How a request with this id, which is short, may go besides the connection; `taken` is the last number
    /// in its slot whose reply was taken.
    pub(crate) fn choose(&mut self, id: RequestId, taken: u64) -> Option<(Arc<DatagramLink>, Way)> {
        let datagrams = self.datagrams.as_ref()?;
        match &self.connection {
            // Nobody would notice that the node has closed it, as long as all goes beside it.
            ConnectionState::Up { stream, .. } if !stream.is_over() => (),
            _ => return None,
        }
        // A request that tells the server of one that was given up is none that can be answered at once.
        if !self.order.may_be_overtaken() || taken + 1 != id.seq || datagrams.is_used_up() {
            return None;
        }
        if !self.carrier.works() && datagrams.take_answered() {
            self.carrier.answered();
        }
        let way = match self.carrier.works() {
            true => Way::Datagram,
            false => self.carrier.choose(now_ms()),
        };
        let datagrams = datagrams.clone();
        match way {
            Way::Connection => return None,
            Way::Probe => (),
            Way::Datagram => {
                let boot = self.boot()?;
                self.slots.sent(id, boot);
            }
        }
        Some((datagrams, way))
    }

    /// So many datagrams of a request were not answered.
    pub(crate) fn lost_datagrams(&mut self, datagrams: &DatagramLink, count: u32) {
        let has_worked = self.carrier.works();
        self.carrier.lost(count, now_ms());
        if has_worked && !self.carrier.works() {
            // That a probe was answered before is no news.
            datagrams.take_answered();
        }
    }

    /// A reply has come as a datagram.
    pub(crate) fn heard_datagram(&mut self) {
        self.by_datagram += 1;
        self.carrier.delivered();
        self.fresh = Deadline::after_ms(IDLE_MS);
    }

    /// A reply has come.
    pub(crate) fn heard(&mut self) {
        self.order.answered();
        self.reply_due = None;
        self.ack_due = None;
        self.fresh = Deadline::after_ms(IDLE_MS);
    }
}
