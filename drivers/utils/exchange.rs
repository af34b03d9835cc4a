// SPDX-License-Identifier: GPL-2.0

//! Requests and replies on a [`Link`].
//!
//! There is no thread: of the tasks that wait for replies one holds the receiver and hands out
//! what arrives; when it has its own reply it leaves the receiver to the next. So a task that is
//! alone sends, sleeps on the socket and takes its reply without another task in between.
//!
//! A request occupies a slot (see [`virgo_proto::slots`]). When the connection breaks, the tasks
//! concerned connect again and repeat their requests under the same numbers; the server knows
//! what it has done already.
//!
//! Requests whose replies may be deferred get half of the slots, so that however long they wait, the
//! others do not.

use crate::{
    client::Request,
    destination::Destination,
    dial::send_all,
    input::Input,
    link::{
        Answer,
        Connection,
        Link,
        Slot,
        State, //
    }, //
};
use kernel::prelude::*;
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    frame::{
        Header,
        Kind,
        RequestId,
        HEADER_LEN,
        MAX_BODY, //
    },
    slots::SLOTS, //
};

/// Bytes of arguments that a request can have.
const MAX_ARGS: usize = 32;

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Slots for requests whose replies may be deferred.
const MAX_DEFERRED: usize = SLOTS / 2;

impl Link {
    /// See [`Client::call_with`](crate::Client::call_with).
    pub(crate) fn call(
        &self,
        request: &Request<'_>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result {
        if request.args.len() > MAX_ARGS || request.data.len() > MAX_BODY - MAX_ARGS {
            return Err(EMSGSIZE);
        }
        let (mut ticket, mut turn) = self.enter(request.expect.is_deferred(), deadline)?;
        let mut sent_to = None;
        loop {
            let connection = match turn.take() {
                Some(connection) => connection,
                None => match self.turn(deadline) {
                    // It was sent before: so it is not true that nothing was done.
                    Err(EHOSTDOWN | EKEYREJECTED | EPERM) if sent_to.is_some() => {
                        return Err(ECONNRESET);
                    }
                    turn => turn?,
                },
            };
            if connection.stream.is_over() {
                // Found out before anything was sent, so nobody has to wonder what came of it.
                self.broken(connection.serial);
                continue;
            }
            if sent_to.is_some_and(|boot| boot != connection.boot) && !request.again {
                self.end_turn(&connection);
                return Err(ECONNRESET);
            }
            sent_to = Some(connection.boot);
            let receiver = match self.send(&connection, &ticket, request, deadline) {
                Ok(receiver) => receiver,
                Err(e @ (ETIMEDOUT | EINTR)) => return Err(e),
                Err(_) => continue,
            };
            match self.answer(&connection, &mut ticket, receiver, to, deadline) {
                Ok(Some(result)) => return result,
                Ok(None) => (),
                Err(e) => {
                    if e == ETIMEDOUT && self.is_silent(connection.serial) {
                        // The next one does not have to wait as long to find out.
                        self.broken(connection.serial);
                    }
                    return Err(e);
                }
            }
        }
    }

    /// Waits for a free slot and occupies it; also takes the turn to send, if it is free now.
    fn enter(
        &self,
        deferred: bool,
        deadline: Deadline,
    ) -> Result<(Ticket<'_>, Option<Connection>)> {
        let entered = self.changed.wait(deadline, || {
            let mut state = self.state.lock();
            if state.stopped {
                return Some(Err(ESHUTDOWN));
            }
            let (id, taken) = state.occupy(deferred)?;
            Some(Ok((id, taken, state.turn())))
        })?;
        let (id, taken, turn) = entered.ok_or(ETIMEDOUT)??;
        let ticket = Ticket {
            link: self,
            id,
            taken,
            deferred,
            left: false,
        };
        Ok((ticket, turn))
    }

    /// Sends a request and ends the turn. Returns the right to receive, if nobody has it.
    fn send(
        &self,
        connection: &Connection,
        ticket: &Ticket<'_>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Option<Input>> {
        let mut head = [0; HEADER_LEN + MAX_ARGS];
        let header = Header {
            kind: Kind::Request,
            op: request.op,
            len: (request.args.len() + request.data.len()) as u32,
            word: deadline.left_ms(),
            id: ticket.id,
            taken: ticket.taken,
        };
        let (start, rest) = head.split_at_mut(HEADER_LEN);
        start.copy_from_slice(&header.to_bytes());
        if let Some(args) = rest.get_mut(..request.args.len()) {
            args.copy_from_slice(request.args);
        }
        let head = head
            .get(..HEADER_LEN + request.args.len())
            .ok_or(EMSGSIZE)?;
        if let Err(e) = send_all(&connection.stream, head, request.data, deadline) {
            // A part may have gone: nothing else can be sent after it.
            self.broken(connection.serial);
            return Err(e);
        }
        let mut state = self.state.lock();
        // Somebody else may have received the reply by now; then there is nothing to wait for.
        let receiver = match state.has_reply(ticket.id) {
            true => {
                state.end_turn(connection.serial);
                None
            }
            false => state.sent(connection.serial, request.expect.within_ms()),
        };
        let alone = state.calls == 1;
        drop(state);
        if !alone {
            self.changed.wake_all();
        }
        Ok(receiver)
    }

    /// Waits for the reply to the request of `ticket`. `None` if the connection was lost before.
    fn answer(
        &self,
        connection: &Connection,
        ticket: &mut Ticket<'_>,
        receiver: Option<Input>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result<Option<Result>> {
        enum Turn {
            Answer(Answer),
            Lost,
            Receive(Input),
        }
        let turn = match receiver {
            Some(receiver) => Turn::Receive(receiver),
            None => self
                .changed
                .wait(deadline, || {
                    let mut state = self.state.lock();
                    if let Some(answer) = state.take_reply(ticket.id) {
                        return Some(Turn::Answer(answer));
                    }
                    if !state.is_up(connection.serial) {
                        return Some(Turn::Lost);
                    }
                    state.receiver().map(Turn::Receive)
                })?
                .ok_or(ETIMEDOUT)?,
        };
        let mut input = match turn {
            Turn::Answer(answer) => return Ok(Some(to.take(answer.status, &answer.body))),
            Turn::Lost if self.state.lock().stopped => return Err(ESHUTDOWN),
            Turn::Lost => return Ok(None),
            Turn::Receive(input) => input,
        };
        match self.receive(connection, ticket, &mut input, to, deadline) {
            Ok(result) => {
                self.leave(connection, input, Some(ticket));
                Ok(Some(result))
            }
            Err(e @ (EINTR | ETIMEDOUT)) => {
                self.leave(connection, input, None);
                Err(e)
            }
            Err(_) => {
                self.broken(connection.serial);
                Ok(None)
            }
        }
    }

    /// Leaves the right to receive to whoever waits next; with the ticket of a call that is done
    /// its slot, too.
    fn leave(&self, connection: &Connection, input: Input, done: Option<&mut Ticket<'_>>) {
        let mut state = self.state.lock();
        let useless = state.put_receiver(connection.serial, input);
        if let Some(ticket) = done {
            state.heard();
            state.take(ticket.id);
            state.leave(ticket);
        }
        let alone = state.calls == 0;
        drop(state);
        if !alone {
            self.changed.wake_all();
        }
        drop(useless);
    }

    /// Receives and hands out replies until the one to `ticket` is there.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ETIMEDOUT`]; everything else means that the connection is useless.
    fn receive(
        &self,
        connection: &Connection,
        ticket: &Ticket<'_>,
        input: &mut Input,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result<Result> {
        loop {
            let size = match Header::parse(input.bytes(), MAX_BODY) {
                None if input.unwanted() > 0 => PIECE,
                None => to.first_piece(HEADER_LEN, PIECE),
                Some(Err(_)) => return Err(EPROTO),
                Some(Ok(header)) if header.kind != Kind::Reply => return Err(EPROTO),
                Some(Ok(header)) => {
                    let whole = HEADER_LEN + header.len as usize;
                    match input.bytes().get(HEADER_LEN..whole) {
                        None if header.id == ticket.id && header.word == 0 => {
                            match self.take_rest(connection, &header, input, to, deadline) {
                                Some(filled) => return filled.map(Ok),
                                None => whole.max(PIECE),
                            }
                        }
                        None => whole.max(PIECE),
                        Some(body) if header.id == ticket.id => {
                            let result = to.take(header.word, body);
                            input.consume(whole);
                            return Ok(result);
                        }
                        Some(body) => {
                            self.deliver(&header, body)?;
                            input.consume(whole);
                            continue;
                        }
                    }
                }
            };
            if !connection.stream.wait_readable(deadline)? {
                return Err(ETIMEDOUT);
            }
            match connection.stream.receive(input.room(size)?)? {
                None => (),
                Some(0) => return Err(ECONNRESET),
                Some(n) => input.filled(n),
            }
        }
    }

    /// Has the body that follows `header` go past `input`, if that is what its receiver wants.
    fn take_rest(
        &self,
        connection: &Connection,
        header: &Header,
        input: &mut Input,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Option<Result> {
        let room = match to {
            Destination::Function(_) => return None,
            Destination::User(room) => room,
        };
        input.consume(HEADER_LEN);
        Some(room.fill(&connection.stream, input, header.len as usize, deadline))
    }

    /// Leaves a reply for the task that waits for it. Nobody may: it has given up.
    fn deliver(&self, header: &Header, body: &[u8]) -> Result {
        let mut copy = KVVec::new();
        copy.put_bytes(body, GFP_KERNEL)?;
        let answer = Answer {
            status: header.word,
            body: copy,
        };
        let mut state = self.state.lock();
        state.heard();
        let slot = state.slots.get_mut(usize::from(header.id.slot));
        let unclaimed = match slot {
            Some(slot) if slot.busy && slot.seq == header.id.seq => slot.reply.replace(answer),
            _ => Some(answer),
        };
        drop(state);
        drop(unclaimed);
        self.changed.wake_all();
        Ok(())
    }
}

impl State {
    /// Occupies a free slot for a new request. Returns its id, and the last one in this slot
    /// whose reply was taken.
    ///
    /// A slot whose last reply was given up comes first: that tells the server.
    fn occupy(&mut self, deferred: bool) -> Option<(RequestId, u64)> {
        if deferred && self.deferred >= MAX_DEFERRED {
            return None;
        }
        let free = |slot: &Slot| !slot.busy;
        let given_up = |slot: &Slot| free(slot) && slot.seq != slot.taken;
        let at = if self.given_up > 0 {
            self.given_up -= 1;
            self.slots.iter().position(given_up)?
        } else {
            self.slots.iter().position(free)?
        };
        let slot = self.slots.get_mut(at)?;
        slot.busy = true;
        slot.seq += 1;
        slot.reply = None;
        self.calls += 1;
        self.deferred += usize::from(deferred);
        let id = RequestId {
            // There are fewer slots than that.
            slot: at as u8,
            seq: slot.seq,
        };
        Some((id, slot.taken))
    }

    /// Notes that the client has the reply of request `id`.
    fn take(&mut self, id: RequestId) -> Option<Answer> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        slot.taken = id.seq;
        slot.reply.take()
    }

    /// Frees the slot of `ticket`. Returns a reply that came too late.
    fn leave(&mut self, ticket: &mut Ticket<'_>) -> Option<Answer> {
        ticket.left = true;
        self.calls -= 1;
        self.deferred -= usize::from(ticket.deferred);
        let slot = self.slots.get_mut(usize::from(ticket.id.slot))?;
        slot.busy = false;
        if slot.seq != slot.taken {
            self.given_up += 1;
        }
        slot.reply.take()
    }

    fn has_reply(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| slot.reply.is_some())
    }

    /// The reply of request `id`, if it has come.
    fn take_reply(&mut self, id: RequestId) -> Option<Answer> {
        match self.has_reply(id) {
            true => self.take(id),
            false => None,
        }
    }
}

/// An occupied slot; free again when dropped.
struct Ticket<'a> {
    link: &'a Link,
    id: RequestId,
    taken: u64,
    /// It counts as one whose reply may be deferred.
    deferred: bool,
    /// The slot is free already.
    left: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut state = self.link.state.lock();
        let late = state.leave(self);
        drop(state);
        drop(late);
        // Somebody may wait for a slot.
        self.link.changed.wake_all();
    }
}
