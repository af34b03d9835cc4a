// SPDX-License-Identifier: GPL-2.0

//! Requests and replies on a [`Link`].
//!
//! There is no thread: of the tasks that wait for replies one holds the receiver and hands out
//! what arrives; when it has its own reply it leaves the receiver to another, which it wakes: to
//! the one that has sent last, since that has to wait for longest. So a task that is alone sends, sleeps
//! on the socket and takes its reply without another task in between, and of many each is woken once,
//! when it has its reply.
//!
//! A request occupies a slot (see [`virgo_proto::slots`]). When the connection breaks, the tasks
//! concerned connect again and repeat their requests under the same numbers; the server knows
//! what it has done already.
//!
//! A task may have several requests under way. While it sends the next it need not fear for the
//! others: who finds no room to send takes the replies that are in the way.

use crate::{
    client::{
        Data,
        ReplyDeadline,
        Request, //
    },
    destination::Destination,
    input::Input,
    link::{
        Answer,
        Connection,
        Link,
        State, //
    },
    send::MAX_ARGS,
    ticket::Ticket, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    waiters, //
};
use virgo_proto::{
    frame::{
        Header,
        Kind,
        HEADER_LEN,
        MAX_BODY,
        NO_OPERATION, //
    },
    slots::Class, //
};

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Who waits for room to send while somebody else receives looks again after so many milliseconds:
/// that one may be gone.
const LOOK_AGAIN_MS: u32 = 50;

/// A request that was sent and whose reply was not taken. Dropping it gives the reply up.
pub struct PendingCall<'a> {
    ticket: Ticket<'a>,
    connection: Connection,
}

fn check(request: &Request<'_>) -> Result {
    match request.args.len() <= MAX_ARGS && request.data.size() <= MAX_BODY - MAX_ARGS {
        true => Ok(()),
        false => Err(EMSGSIZE),
    }
}

fn class(request: &Request<'_>) -> Class {
    match request.expect {
        ReplyDeadline::Soon => Class::Any,
        ReplyDeadline::Within(_) | ReplyDeadline::Sometime => Class::Deferred,
    }
}

/// Asks for nothing: the answer shows that the other node is still the one that it was.
const PROBE: Request<'_> = Request {
    op: NO_OPERATION,
    args: &[],
    data: Data::Bytes(&[]),
    retry_after_restart: true,
    reply_deadline: ReplyDeadline::Soon,
};

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
    pub(crate) fn begin(&self, request: &Request<'_>, deadline: Deadline) -> Option<PendingCall<'_>> {
        check(request).ok()?;
        let (mut ticket, turn) = self.enter_now()?;
        let sent = self.send(&mut ticket, Some(turn), request, deadline);
        let (connection, receiver) = sent.ok()?;
        if let Some(input) = receiver {
            self.leave(&connection, input, None);
        }
        Some(PendingCall { ticket, connection })
    }

    /// See [`Client::call_with`](crate::Client::call_with). The request may be under way already.
    pub(crate) fn call(
        &self,
        under_way: Option<PendingCall<'_>>,
        request: &Request<'_>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result {
        check(request)?;
        let (mut ticket, mut connection, mut receiver) = match under_way {
            Some(flight) => (flight.ticket, flight.connection, None),
            None => {
                if !request.again && self.is_stale() {
                    self.probe(deadline)?;
                }
                let (mut ticket, turn) = self.enter(class(request), deadline)?;
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

    /// Finds out whether a connection on which nothing was heard for some time is still good, before a
    /// request is sent that may be done once only: if the other node has restarted, the request would
    /// go to nobody, but nobody would know.
    fn probe(&self, deadline: Deadline) -> Result {
        let mut nothing = |_: &[u8]| ();
        match self.call(
            None,
            &PROBE,
            &mut Destination::Function(&mut nothing),
            deadline,
        ) {
            Ok(()) | Err(EOPNOTSUPP) => Ok(()),
            // Nothing that matters was sent.
            Err(ECONNRESET) => Err(EHOSTDOWN),
            Err(e) => Err(e),
        }
    }

    /// Sleeps until there may be room to send. The other end takes no further request before its
    /// replies are gone: if nobody else receives, this does, for all.
    pub(crate) fn wait_for_room(&self, connection: &Connection, deadline: Deadline) -> Result {
        let mut state = self.state.lock();
        state.expect(connection, 0);
        let receiver = state.receiver(connection.serial, None);
        drop(state);
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
        let woken = match receiver {
            Some(receiver) => Woken::Receive(receiver),
            None => self.sleep(connection, ticket, deadline)?,
        };
        let mut input = match woken {
            Woken::Answer(answer) => return Ok(Some(to.take(answer.status, &answer.body))),
            Woken::Lost if self.state.lock().stopped => return Err(ESHUTDOWN),
            Woken::Lost => return Ok(None),
            Woken::Receive(input) => input,
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

    /// Sleeps until the reply to the request of `ticket` is there, or the connection is lost, or this task
    /// is to receive.
    fn sleep(
        &self,
        connection: &Connection,
        ticket: &Ticket<'_>,
        deadline: Deadline,
    ) -> Result<Woken> {
        let slot = ticket.id.slot;
        let sleeper = self.sleepers.get(usize::from(slot)).ok_or(EINVAL)?;
        loop {
            let mut state = self.state.lock();
            if let Some(answer) = state.slots.take(ticket.id) {
                return Ok(Woken::Answer(answer));
            }
            if !state.is_up(connection.serial) {
                return Ok(Woken::Lost);
            }
            if let Some(input) = state.receiver(connection.serial, Some(slot)) {
                return Ok(Woken::Receive(input));
            }
            state.slots.sleep(ticket.id);
            let leave = |state: &mut State| {
                state.slots.wake(slot);
            };
            if sleeper.wait(state, deadline, leave)? == waiters::Woken::TooLate {
                return Err(ETIMEDOUT);
            }
        }
    }

    /// Leaves the right to receive to another task; with the ticket of a call that is done its slot, too.
    fn leave(&self, connection: &Connection, input: Input, done: Option<&mut Ticket<'_>>) {
        let mut state = self.state.lock();
        let useless = state.put_receiver(connection.serial, input);
        self.offer_receiver(&mut state);
        let mut twice = None;
        if let Some(ticket) = done {
            state.heard();
            // By an earlier connection it may have come, too.
            twice = state.slots.acknowledge(ticket.id);
            self.free(&mut state, ticket);
        }
        drop(state);
        // Memory is not given back under the lock.
        drop((useless, twice));
    }

    /// Wakes a task to receive, if one sleeps and nobody receives. Under the lock of the state.
    pub(crate) fn offer_receiver(&self, state: &mut State) {
        if state.has_receiver() && state.receiver_for.is_none() {
            state.receiver_for = state.slots.wake_latest();
            if let Some(slot) = state.receiver_for {
                self.select_sleeper(slot);
            }
        }
    }

    /// Receives and hands out replies until the one to `ticket` is there, and those that are here with
    /// it.
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
        let mut own = None;
        loop {
            let found = match find(input.bytes()) {
                Ok(Found::Begun(_) | Found::Nothing) if own.is_some() => break,
                Ok(found) => found,
                Err(e) => return self.own_or(own, connection, e),
            };
            let size = match found {
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
                    own = Some(to.take(header.word, body));
                    input.consume(whole(&header));
                    continue;
                }
                Found::Whole(header, body) => {
                    if let Err(e) = self.deliver(&header, body) {
                        return self.own_or(own, connection, e);
                    }
                    input.consume(whole(&header));
                    continue;
                }
            };
            self.wait_for_input(connection, deadline)?;
            if input.receive(&connection.stream, size)? == Some(0) {
                return Err(ECONNRESET);
            }
        }
        own.ok_or(EPROTO)
    }

    /// The reply that a task has received for itself, if it has, though the connection is useless after
    /// it.
    fn own_or(&self, own: Option<Result>, connection: &Connection, e: Error) -> Result<Result> {
        let own = own.ok_or(e)?;
        self.broken(connection.serial);
        Ok(own)
    }

    /// Sleeps until there is something to receive. Sends meanwhile what waits for room.
    fn wait_for_input(&self, connection: &Connection, deadline: Deadline) -> Result {
        loop {
            let stream = &connection.stream;
            let is_in_time = match self.flush_for_others(connection) {
                true => stream.wait_usable(deadline)?,
                false => stream.wait_readable_or(&self.is_blocked, deadline)?,
            };
            if !is_in_time {
                return Err(ETIMEDOUT);
            }
            // Otherwise there is room, or something to send.
            if !self.is_blocked.load(Relaxed) || stream.is_readable() {
                return Ok(());
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
        let unwanted = match state.slots.deliver(header.id, answer) {
            Ok(true) => {
                self.select_sleeper(header.id.slot);
                None
            }
            Ok(false) => None,
            Err(answer) => Some(answer),
        };
        drop(state);
        drop(unwanted);
        Ok(())
    }
}

/// Why a task that has sent a request does not sleep any more.
enum Woken {
    Answer(Answer),
    /// The connection was lost.
    Lost,
    /// It is to receive, for all.
    Receive(Input),
}
