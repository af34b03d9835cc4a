// SPDX-License-Identifier: GPL-2.0

//! Sending requests on a [`Link`]: whose turn it is, and what happens if the connection has no room.
//!
//! One task at a time has the turn. The others wait for it in the order in which they have come; the
//! turn is handed over, so nobody overtakes. A short request does not wait: it is left with whoever has
//! the turn, see [`crate::outbound`].
//!
//! If the connection has no room, a task that has a long request waits for it with the turn, for no
//! longer than its own deadline. If no byte has gone by then, it only gives up its turn. If some have, it
//! leaves the rest behind, which is sent before anything else. Either way the connection stays as it
//! is, for all others. What waits without a task of its own is sent by the task that receives.

use crate::{
    client::{
        Data,
        Request, //
    },
    clock,
    dial::send_all,
    input::Input,
    link::{
        Connection,
        Link,
        State, //
    },
    outbound::{
        Batch,
        Outbound, //
    },
    ticket::Ticket, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    waiters::Woken, //
};
use virgo_proto::frame::{
    Header,
    Kind,
    HEADER_LEN, //
};

/// Bytes of arguments that a request can have.
pub(crate) const MAX_ARGS: usize = 32;

/// How often a task that has sent its own request sends what others have left meanwhile.
const FLUSHES: usize = 8;

/// The start of a request's frame: the header, the trace context if there is one, and the arguments.
struct Head {
    bytes: [u8; HEADER_LEN + MAX_ARGS],
    len: usize,
    /// The same with the trace context; empty if there is none.
    traced: KVVec<u8>,
}

impl Head {
    fn new(ticket: &Ticket<'_>, request: &Request<'_>, deadline: Deadline) -> Self {
        let mut head = Head {
            bytes: [0; HEADER_LEN + MAX_ARGS],
            len: HEADER_LEN + request.args.len(),
            traced: KVVec::new(),
        };
        let mut header = Header {
            kind: Kind::Request,
            op: request.op,
            len: (request.args.len() + request.data.size()) as u32,
            word: deadline.left_ms(),
            id: ticket.id,
            taken: ticket.taken,
            stamp: clock::now(),
            traced: false,
        };
        let (start, rest) = head.bytes.split_at_mut(HEADER_LEN);
        start.copy_from_slice(&header.to_bytes());
        if let Some(args) = rest.get_mut(..request.args.len()) {
            args.copy_from_slice(request.args);
        }
        if let Some(sent) = &ticket.sent {
            header.traced = true;
            header.len += sent.context.size() as u32;
            // Without memory the request is not traced.
            if head.trace(&header, sent.context.bytes()).is_err() {
                head.traced.clear();
            }
        }
        head
    }

    fn trace(&mut self, header: &Header, context: &[u8]) -> Result {
        let args = self.bytes.get(HEADER_LEN..self.len).unwrap_or_default();
        self.traced.reserve(self.len + context.len(), GFP_KERNEL)?;
        self.traced.put_bytes(&header.to_bytes(), GFP_KERNEL)?;
        self.traced.put_bytes(context, GFP_KERNEL)?;
        Ok(self.traced.put_bytes(args, GFP_KERNEL)?)
    }

    fn bytes(&self) -> &[u8] {
        match self.traced.is_empty() {
            true => self.bytes.get(..self.len).unwrap_or_default(),
            false => &self.traced,
        }
    }
}

/// What a task that wants to send gets.
enum Turn {
    /// Its turn, on this connection.
    Own(Connection),
    /// Others send its request. This is the connection, and perhaps the right to receive on it.
    Left(Connection, Option<Input>),
    /// None: the connection was lost meanwhile.
    Lost,
}

/// What came of sending what waited.
#[derive(PartialEq, Eq)]
enum Flushed {
    All,
    /// There is no room for the rest.
    Blocked,
}

impl Link {
    /// Sends a request, on a new connection if it has to be; `turn` says that it is this task's
    /// turn to send, and that nothing else waits. Returns the right to receive, if nobody has it.
    pub(crate) fn send(
        &self,
        ticket: &mut Ticket<'_>,
        mut turn: Option<Connection>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<(Connection, Option<Input>)> {
        loop {
            let connection = match turn.take() {
                Some(connection) => connection,
                None => match self.turn(ticket, request, deadline) {
                    Ok(Turn::Own(connection)) => connection,
                    Ok(Turn::Left(connection, receiver)) => return Ok((connection, receiver)),
                    Ok(Turn::Lost) => continue,
                    Err(e @ (EINTR | ETIMEDOUT | ESHUTDOWN)) => return Err(e),
                    // It was sent before: so it is not true that nothing was done.
                    Err(_) if self.was_sent(ticket) => return Err(ECONNRESET),
                    Err(e) => return Err(e),
                },
            };
            if connection.stream.is_over() {
                // Found out before anything was sent, so nobody has to wonder what came of it.
                self.broken(connection.serial);
                self.end_turn(&mut self.state.lock());
                continue;
            }
            match self.transmit(&connection, ticket, request, deadline) {
                Ok(receiver) => return Ok((connection, receiver)),
                Err(e @ (ETIMEDOUT | EINTR)) => return Err(e),
                Err(_) => (),
            }
        }
    }

    fn was_sent(&self, ticket: &Ticket<'_>) -> bool {
        self.state.lock().slots.sent_to(ticket.id).is_some()
    }

    /// Waits for the turn to send, and makes a connection if there is none; or leaves the request with
    /// others.
    fn turn(
        &self,
        ticket: &mut Ticket<'_>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Turn> {
        let head = Head::new(ticket, request, deadline);
        let mut state = self.state.lock();
        state.settle(ticket);
        let mut had_to_wait = false;
        if state.sending || !state.outbound.is_empty() {
            if let Some((connection, receiver)) = state.leave(ticket, &head, request)? {
                return Ok(Turn::Left(connection, receiver));
            }
            had_to_wait = true;
        }
        if state.sending {
            match self.senders.wait(state, deadline, |_| ())? {
                // The turn was handed over.
                Woken::Selected => (),
                Woken::Expelled => return Err(ESHUTDOWN),
                Woken::TooLate => return Err(ETIMEDOUT),
            }
            state = self.state.lock();
        }
        state.sending = true;
        let connection = match state.connection() {
            Ok(None) if deadline.passed() => Err(ETIMEDOUT),
            Ok(None) => {
                drop(state);
                let connection = self.dial(deadline)?;
                state = self.state.lock();
                Ok(connection)
            }
            Ok(Some(connection)) => Ok(connection),
            Err(e) => Err(e),
        };
        let connection = match connection {
            Ok(connection) => state
                .check(ticket, &connection, request)
                .map(|()| connection),
            Err(e) => Err(e),
        };
        let needs_room = had_to_wait && !state.outbound.has_room();
        let is_blocked = !state.outbound.is_empty();
        let connection = connection.inspect_err(|_| self.end_turn(&mut state))?;
        drop(state);
        if needs_room {
            // For those that come later. Without memory they wait, too.
            if let Ok(room) = Outbound::room() {
                self.state.lock().outbound.set_room(room);
            }
        }
        if is_blocked && !self.flush_first(&connection, deadline)? {
            return Ok(Turn::Lost);
        }
        Ok(Turn::Own(connection))
    }

    /// Ends the turn: hands it to the next task that waits for it. Under the lock of the state.
    pub(crate) fn end_turn(&self, state: &mut State) {
        state.sending = self.senders.select();
    }

    /// Sends a request on this connection and ends the turn.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`], [`EINTR`], or what broke the connection.
    fn transmit(
        &self,
        connection: &Connection,
        ticket: &Ticket<'_>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Option<Input>> {
        let head = Head::new(ticket, request, deadline);
        let mut sent = 0;
        let wait = || self.wait_for_room(connection, deadline);
        let mut result = send_all(
            &connection.stream,
            head.bytes(),
            request.data,
            &mut sent,
            wait,
        );
        if let (Err(ETIMEDOUT | EINTR), 1..) = (result, sent) {
            // Nothing else can be sent before the rest is.
            result = match rest(head.bytes(), request.data, sent) {
                Ok(rest) => {
                    self.state.lock().push_rest(connection.serial, rest);
                    result
                }
                Err(e) => Err(e),
            };
        }
        if let Err(e) = result {
            self.failed(connection, e);
            let mut state = self.state.lock();
            if sent > 0 {
                state.slots.sent(ticket.id, connection.boot);
            }
            drop(state);
            let _ = self.flush_last(connection);
            return Err(e);
        }
        let mut state = self.state.lock();
        state.slots.sent(ticket.id, connection.boot);
        // Somebody else may have received the reply by now; then there is nothing to wait for.
        let receiver = match state.slots.has_reply(ticket.id) {
            true => None,
            false => state.sent(connection, request.expect.within_ms()),
        };
        if state.outbound.is_empty() {
            self.end_turn(&mut state);
            return Ok(receiver);
        }
        drop(state);
        let _ = self.flush_last(connection);
        Ok(receiver)
    }

    /// Sends what waits, with the turn, before a request of this task. False if the connection was lost.
    /// Ends the turn unless it returns true.
    fn flush_first(&self, connection: &Connection, deadline: Deadline) -> Result<bool> {
        loop {
            let mut state = self.state.lock();
            let Some(batch) = state.take_outbound(connection.serial) else {
                return Ok(true);
            };
            drop(state);
            let result = match self.send_batch(connection, batch) {
                Ok(Flushed::All) => continue,
                Ok(Flushed::Blocked) => self.wait_for_room(connection, deadline),
                Err(e) => Err(e),
            };
            if let Err(e) = result {
                self.failed(connection, e);
                let _ = self.flush_last(connection);
                return match e {
                    ETIMEDOUT | EINTR => Err(e),
                    _ => Ok(false),
                };
            }
        }
    }

    /// Gives the connection up, if `e` says so, or if time has run out and the connection is dead.
    fn failed(&self, connection: &Connection, e: Error) {
        let is_lost = match e {
            EINTR => false,
            ETIMEDOUT => self.is_silent(connection.serial),
            _ => true,
        };
        if is_lost {
            self.broken(connection.serial);
        }
    }

    /// Sends what waits as far as there is room, and ends the turn. If something is left the task that
    /// receives is told.
    fn flush_last(&self, connection: &Connection) -> Flushed {
        let mut is_blocked = false;
        for round in 0.. {
            let mut state = self.state.lock();
            let batch = match is_blocked || round == FLUSHES {
                true => None,
                false => state.take_outbound(connection.serial),
            };
            let Some(batch) = batch else {
                // Whoever has the turn next sends it, or the task that receives.
                let is_left = !state.outbound.is_empty();
                self.end_turn(&mut state);
                let is_left = is_left && !state.sending;
                self.is_blocked.store(is_left, Relaxed);
                drop(state);
                if is_left {
                    connection.stream.poke();
                    return Flushed::Blocked;
                }
                break;
            };
            drop(state);
            match self.send_batch(connection, batch) {
                Ok(Flushed::All) => (),
                Ok(Flushed::Blocked) => is_blocked = true,
                Err(_) => self.broken(connection.serial),
            }
        }
        Flushed::All
    }

    /// Sends what waits, if nobody else does. Returns whether there is no room for the rest: then it is to
    /// be called again.
    pub(crate) fn flush_for_others(&self, connection: &Connection) -> bool {
        if !self.is_blocked.load(Relaxed) {
            return false;
        }
        let mut state = self.state.lock();
        if state.sending || state.outbound.is_empty() || !state.is_up(connection.serial) {
            self.is_blocked.store(false, Relaxed);
            return false;
        }
        state.sending = true;
        drop(state);
        self.flush_last(connection) == Flushed::Blocked
    }

    fn send_batch(&self, connection: &Connection, batch: Batch) -> Result<Flushed> {
        let mut now = 0;
        let result = loop {
            let left = batch.left().get(now..).unwrap_or_default();
            if left.is_empty() {
                break Ok(Flushed::All);
            }
            match connection.stream.send(left, b"", false) {
                Ok(Some(n)) => now += n,
                Ok(None) => break Ok(Flushed::Blocked),
                Err(e) => break Err(e),
            }
        };
        let mut state = self.state.lock();
        let useless = match state.is_up(connection.serial) {
            true => state.outbound.put_back(batch, now),
            false => state.outbound.put_away(batch),
        };
        drop(state);
        drop(useless);
        result
    }
}

impl State {
    /// The turn to send, if there is a connection and nobody has anything to send.
    pub(crate) fn turn(&mut self) -> Option<Connection> {
        if self.sending || !self.outbound.is_empty() {
            return None;
        }
        let connection = self.connection().ok()??;
        self.sending = true;
        Some(connection)
    }

    /// Whether a request that was left with others was sent can be known now: its connection is lost.
    fn settle(&mut self, ticket: &mut Ticket<'_>) {
        if let Some((connection, position)) = ticket.left_with.take() {
            if self.outbound.was_sent(connection.serial, position) {
                self.slots.sent(ticket.id, connection.boot);
            }
        }
    }

    /// Refuses to send a request to a server that has restarted since it was sent, unless that may be.
    fn check(&self, ticket: &Ticket<'_>, connection: &Connection, request: &Request<'_>) -> Result {
        self.slots
            .may_send(ticket.id, connection.boot, request.again)
            .map_err(|_| ECONNRESET)
    }

    /// Leaves a request with others, if it is short, there is a connection, and room for it.
    fn leave(
        &mut self,
        ticket: &mut Ticket<'_>,
        head: &Head,
        request: &Request<'_>,
    ) -> Result<Option<(Connection, Option<Input>)>> {
        if !Outbound::takes(head.bytes().len() + request.data.size()) {
            return Ok(None);
        }
        let Ok(Some(connection)) = self.connection() else {
            return Ok(None);
        };
        self.check(ticket, &connection, request)?;
        let Some(position) = self.outbound.push(head.bytes(), request.data) else {
            return Ok(None);
        };
        ticket.left_with = Some((connection.clone(), position));
        let receiver = self.sent(&connection, request.expect.within_ms());
        Ok(Some((connection, receiver)))
    }

    /// What waits to be sent on connection `serial`.
    fn take_outbound(&mut self, serial: u64) -> Option<Batch> {
        match self.is_up(serial) {
            true => self.outbound.take(),
            false => None,
        }
    }

    /// Has the rest of a request be sent on connection `serial` before anything else.
    fn push_rest(&mut self, serial: u64, rest: KVVec<u8>) {
        if self.is_up(serial) {
            self.outbound.push_rest(rest);
        }
    }
}

/// What is left of a request of which `sent` bytes are gone.
fn rest(head: &[u8], data: Data<'_>, sent: usize) -> Result<KVVec<u8>> {
    let mut rest = KVVec::new();
    rest.put_bytes(head.get(sent..).unwrap_or_default(), GFP_KERNEL)?;
    let data_sent = sent.saturating_sub(head.len());
    match data {
        Data::Bytes(bytes) => {
            rest.put_bytes(bytes.get(data_sent..).unwrap_or_default(), GFP_KERNEL)?;
        }
        Data::Pages(pages) => pages.copy(data_sent, &mut rest)?,
    }
    Ok(rest)
}
