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
//! A task may have several requests under way. While it sends the next it need not fear for the
//! others: who finds no room to send takes the replies that are in the way.

use crate::{
    client::{
        Expect,
        Request, //
    },
    destination::Destination,
    dial::send_all,
    input::Input,
    link::{
        Answer,
        Connection,
        Link, //
    },
    ticket::{
        Share,
        Ticket, //
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
        HEADER_LEN,
        MAX_BODY, //
    }, //
};

/// Bytes of arguments that a request can have.
const MAX_ARGS: usize = 32;

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Who waits for room to send while somebody else receives looks again after so many milliseconds:
/// that one may be gone.
const LOOK_AGAIN_MS: u32 = 50;

/// A request that was sent and whose reply was not taken. Dropping it gives the reply up.
pub struct Flight<'a> {
    ticket: Ticket<'a>,
    connection: Connection,
}

fn check(request: &Request<'_>) -> Result {
    match request.args.len() <= MAX_ARGS && request.data.size() <= MAX_BODY - MAX_ARGS {
        true => Ok(()),
        false => Err(EMSGSIZE),
    }
}

fn share(request: &Request<'_>) -> Share {
    match request.expect {
        Expect::Soon => Share::Any,
        Expect::Within(_) | Expect::Sometime => Share::Deferred,
    }
}

/// What is at the start of the input.
enum Found<'a> {
    /// A reply.
    Whole(Header, &'a [u8]),
    /// The start of one.
    Begun(Header),
    /// Less than that.
    Nothing,
}

fn find(bytes: &[u8]) -> Result<Found<'_>> {
    let header = match Header::parse(bytes, MAX_BODY) {
        None => return Ok(Found::Nothing),
        Some(Ok(header)) if header.kind == Kind::Reply => header,
        Some(_) => return Err(EPROTO),
    };
    Ok(match bytes.get(HEADER_LEN..whole(&header)) {
        Some(body) => Found::Whole(header, body),
        None => Found::Begun(header),
    })
}

/// Bytes of a frame with this header, which was found good: so it is not too long.
fn whole(header: &Header) -> usize {
    HEADER_LEN + header.len as usize
}

impl Link {
    /// Sends a request without waiting for the reply, if a slot and the turn to send are there now.
    /// `None` if they are not, or if that fails.
    pub(crate) fn begin(&self, request: &Request<'_>, deadline: Deadline) -> Option<Flight<'_>> {
        check(request).ok()?;
        let (mut ticket, turn) = self.enter_now()?;
        let sent = self.send(&mut ticket, Some(turn), request, deadline);
        let (connection, receiver) = sent.ok()?;
        if let Some(input) = receiver {
            self.leave(&connection, input, None);
        }
        Some(Flight { ticket, connection })
    }

    /// See [`Client::call_with`](crate::Client::call_with). The request may be under way already.
    pub(crate) fn call(
        &self,
        under_way: Option<Flight<'_>>,
        request: &Request<'_>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result {
        check(request)?;
        let (mut ticket, mut connection, mut receiver) = match under_way {
            Some(flight) => (flight.ticket, flight.connection, None),
            None => {
                let (mut ticket, turn) = self.enter(share(request), deadline)?;
                let (connection, receiver) = self.send(&mut ticket, turn, request, deadline)?;
                (ticket, connection, receiver)
            }
        };
        loop {
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
            (connection, receiver) = self.send(&mut ticket, None, request, deadline)?;
        }
    }

    /// Sends a request, on a new connection if it has to be; `turn` says that it is this task's
    /// turn to send. Returns the right to receive, if nobody has it.
    fn send(
        &self,
        ticket: &mut Ticket<'_>,
        mut turn: Option<Connection>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<(Connection, Option<Input>)> {
        loop {
            let connection = match turn.take() {
                Some(connection) => connection,
                None => match self.turn(deadline) {
                    Err(e @ (EINTR | ETIMEDOUT | ESHUTDOWN)) => return Err(e),
                    // It was sent before: so it is not true that nothing was done.
                    Err(_) if ticket.sent_to.is_some() => return Err(ECONNRESET),
                    turn => turn?,
                },
            };
            if connection.stream.is_over() {
                // Found out before anything was sent, so nobody has to wonder what came of it.
                self.broken(connection.serial);
                continue;
            }
            if ticket.sent_to.is_some_and(|boot| boot != connection.boot) && !request.again {
                self.end_turn(&connection);
                return Err(ECONNRESET);
            }
            ticket.sent_to = Some(connection.boot);
            match self.transmit(&connection, ticket, request, deadline) {
                Ok(receiver) => return Ok((connection, receiver)),
                Err(e @ (ETIMEDOUT | EINTR)) => return Err(e),
                Err(_) => (),
            }
        }
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
        let mut head = [0; HEADER_LEN + MAX_ARGS];
        let header = Header {
            kind: Kind::Request,
            op: request.op,
            len: (request.args.len() + request.data.size()) as u32,
            word: deadline.left_ms(),
            id: ticket.id,
            taken: ticket.taken,
        };
        let (start, rest) = head.split_at_mut(HEADER_LEN);
        start.copy_from_slice(&header.to_bytes());
        if let Some(args) = rest.get_mut(..request.args.len()) {
            args.copy_from_slice(request.args);
        }
        let head = head.get(..HEADER_LEN + request.args.len());
        let head = head.unwrap_or_default();
        let wait = || self.wait_for_room(connection, deadline);
        if let Err(e) = send_all(&connection.stream, head, request.data, wait) {
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

    /// Sleeps until there may be room to send. The other end takes no further request before its
    /// replies are gone: if nobody else receives, this does, for all.
    fn wait_for_room(&self, connection: &Connection, deadline: Deadline) -> Result {
        let receiver = self.state.lock().receiver(connection.serial);
        let Some(mut input) = receiver else {
            let soon = deadline.min(Deadline::after_ms(LOOK_AGAIN_MS));
            return match connection.stream.wait_writable(soon)? || !deadline.passed() {
                true => Ok(()),
                false => Err(ETIMEDOUT),
            };
        };
        let result = self.hand_out_until_writable(connection, &mut input, deadline);
        self.leave(connection, input, None);
        result
    }

    fn hand_out_until_writable(
        &self,
        connection: &Connection,
        input: &mut Input,
        deadline: Deadline,
    ) -> Result {
        loop {
            // Also what was here before: nobody else can take it meanwhile.
            let size = loop {
                match find(input.bytes())? {
                    Found::Whole(header, body) => {
                        self.deliver(&header, body)?;
                        input.consume(whole(&header));
                    }
                    Found::Begun(header) => break whole(&header).max(PIECE),
                    Found::Nothing => break PIECE,
                }
            };
            if !connection.stream.wait_usable(deadline)? {
                return Err(ETIMEDOUT);
            }
            if !connection.stream.is_readable() {
                return Ok(());
            }
            if input.receive(&connection.stream, size)? == Some(0) {
                return Err(ECONNRESET);
            }
        }
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
                    state.receiver(connection.serial).map(Turn::Receive)
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
        let mut twice = None;
        if let Some(ticket) = done {
            state.heard();
            // By an earlier connection it may have come, too.
            twice = state.take(ticket.id);
            state.leave(ticket);
        }
        let alone = state.calls == 0;
        drop(state);
        if !alone {
            self.changed.wake_all();
        }
        // Memory is not given back under the lock.
        drop((useless, twice));
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
            let size = match find(input.bytes())? {
                Found::Nothing if input.unwanted() > 0 => PIECE,
                Found::Nothing => to.first_piece(HEADER_LEN, PIECE),
                Found::Begun(header) => {
                    if header.id == ticket.id && header.word == 0 {
                        let filled = self.take_rest(connection, &header, input, to, deadline);
                        if let Some(filled) = filled {
                            return filled.map(Ok);
                        }
                    }
                    whole(&header).max(PIECE)
                }
                Found::Whole(header, body) if header.id == ticket.id => {
                    let result = to.take(header.word, body);
                    input.consume(whole(&header));
                    return Ok(result);
                }
                Found::Whole(header, body) => {
                    self.deliver(&header, body)?;
                    input.consume(whole(&header));
                    continue;
                }
            };
            if !connection.stream.wait_readable(deadline)? {
                return Err(ETIMEDOUT);
            }
            if input.receive(&connection.stream, size)? == Some(0) {
                return Err(ECONNRESET);
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
