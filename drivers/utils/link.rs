// SPDX-License-Identifier: GPL-2.0

//! The connection to one service of one other node, shared by all tasks that use it.
//!
//! There is no thread: of the tasks that wait for replies one holds the receiver and hands out
//! what arrives; when it has its own reply it leaves the receiver to the next. So a task that is
//! alone sends, sleeps on the socket and takes its reply without another task in between.
//!
//! A request occupies a slot (see [`virgo_proto::slots`]). When the connection breaks, the tasks
//! concerned connect again and repeat their requests under the same numbers; the server knows
//! what it has done already.

use crate::{
    client::Request,
    dial::{
        dial,
        send_all, //
    },
    input::Input,
    reply::from_wire, //
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
    wait::WaitQueue, //
};
use virgo_config::Node;
use virgo_proto::{
    frame::{
        Header,
        Kind,
        RequestId,
        HEADER_LEN,
        MAX_BODY, //
    },
    slots::SLOTS,
    vuid::NodeId, //
};

/// Bytes of arguments that a request can have.
const MAX_ARGS: usize = 32;

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Longest time to connect, in milliseconds; the rest of a deadline is for trying elsewhere.
const DIAL_MS: u32 = 2000;

/// Time after a failed connection in which calls fail at once, in milliseconds: doubled with
/// each failure in a row, up to the second.
const BACKOFF_MS: u32 = 500;
const MAX_BACKOFF_MS: u32 = 4000;

/// See the module's documentation.
#[pin_data]
pub(crate) struct Link {
    node: Arc<Node>,
    peer: NodeId,
    port: u16,
    boot: u64,
    #[pin]
    state: SpinLock<State>,
    /// Counts what was received, to notice silence.
    received: Atomic<u32>,
    /// Woken when something that a task may wait for has changed in `state`.
    #[pin]
    changed: WaitQueue,
}

struct State {
    line: Line,
    stopped: bool,
    /// Connections made; also names the present one.
    connections: u64,
    /// For how long the next failure to connect keeps others from trying.
    backoff_ms: u32,
    /// Somebody is sending.
    sending: bool,
    /// The right to receive on the present connection; `None` while somebody uses it.
    receiver: Option<Input>,
    /// Slots that are busy.
    calls: usize,
    slots: [Slot; SLOTS],
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

struct Slot {
    busy: bool,
    seq: u64,
    taken: u64,
    reply: Option<Answer>,
}

/// A reply that somebody else has received.
struct Answer {
    status: u32,
    body: KVVec<u8>,
}

/// A connection, as a task has found it.
struct Connection {
    stream: Arc<Stream>,
    boot: u64,
    /// Which connection of the link it is.
    serial: u64,
}

/// What [`Client::show`](crate::Client::show) shows.
pub(crate) struct LinkState {
    pub(crate) up: bool,
    pub(crate) connections: u64,
    pub(crate) calls: usize,
}

impl Link {
    pub(crate) fn new(node: Arc<Node>, peer: NodeId, port: u16, boot: u64) -> Result<Arc<Self>> {
        let state = State {
            line: Line::Down,
            stopped: false,
            connections: 0,
            backoff_ms: BACKOFF_MS,
            sending: false,
            receiver: None,
            calls: 0,
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
                state <- kernel::new_spinlock!(state, "virgo_link"),
                received: Atomic::new(0),
                changed <- linux::new_wait_queue!("virgo_link"),
            }),
            GFP_KERNEL,
        )
    }

    /// See [`Client::call`](crate::Client::call).
    pub(crate) fn call(
        &self,
        request: &Request<'_>,
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        if request.args.len() > MAX_ARGS || request.data.len() > MAX_BODY - MAX_ARGS {
            return Err(EMSGSIZE);
        }
        let mut ticket = self.enter(deadline)?;
        let mut sent_to = None;
        loop {
            let connection = self.turn(deadline)?;
            if sent_to.is_some_and(|boot| boot != connection.boot) && !request.again {
                self.end_turn(&connection);
                return Err(ECONNRESET);
            }
            sent_to = Some(connection.boot);
            let before = self.received.load(Relaxed);
            let receiver = match self.send(&connection, &ticket, request, deadline) {
                Ok(receiver) => receiver,
                Err(e @ (ETIMEDOUT | EINTR)) => return Err(e),
                Err(_) => continue,
            };
            match self.answer(&connection, &mut ticket, receiver, reply, deadline) {
                Ok(Some(result)) => return result,
                Ok(None) => (),
                Err(e) => {
                    if e == ETIMEDOUT && self.received.load(Relaxed) == before {
                        // Nothing came for as long as this task has waited: so the next one
                        // does not have to wait as long to find out.
                        self.broken(connection.serial);
                    }
                    return Err(e);
                }
            }
        }
    }

    /// Waits for a free slot and occupies it.
    fn enter(&self, deadline: Deadline) -> Result<Ticket<'_>> {
        let entered = self.changed.wait(deadline, || {
            let mut state = self.state.lock();
            if state.stopped {
                return Some(Err(ESHUTDOWN));
            }
            let mut slots = (0..).zip(state.slots.iter_mut());
            let (index, slot) = slots.find(|(_, slot)| !slot.busy)?;
            slot.busy = true;
            slot.seq += 1;
            slot.reply = None;
            let (seq, taken) = (slot.seq, slot.taken);
            state.calls += 1;
            Some(Ok((RequestId { slot: index, seq }, taken)))
        })?;
        let (id, taken) = entered.ok_or(ETIMEDOUT)??;
        Ok(Ticket {
            link: self,
            id,
            taken,
            left: false,
        })
    }

    /// The present connection, when it is this task's turn to send on it; makes a connection if
    /// there is none.
    fn turn(&self, deadline: Deadline) -> Result<Connection> {
        let turn = self.changed.wait(deadline, || {
            let mut state = self.state.lock();
            if state.stopped {
                return Some(Err(ESHUTDOWN));
            }
            match &state.line {
                Line::Up { .. } if state.sending => None,
                Line::Up { stream, boot } => {
                    let connection = Connection {
                        stream: stream.clone(),
                        boot: *boot,
                        serial: state.connections,
                    };
                    state.sending = true;
                    Some(Ok(Some(connection)))
                }
                Line::Dialing => None,
                Line::Failed(e, until) if !until.passed() => Some(Err(*e)),
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
    fn end_turn(&self, connection: &Connection) {
        let mut state = self.state.lock();
        if state.connections == connection.serial {
            state.sending = false;
        }
        drop(state);
        self.changed.wake_all();
    }

    /// Connects, while others wait for it. The first turn to send is this task's.
    fn dial(&self, deadline: Deadline) -> Result<Connection> {
        let in_time = deadline.min(Deadline::after_ms(DIAL_MS));
        let reached = dial(&self.node, self.peer, self.port, self.boot, in_time);
        let mut state = self.state.lock();
        let result = match reached {
            Ok(reached) => {
                state.connections += 1;
                state.backoff_ms = BACKOFF_MS;
                state.sending = true;
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
                // Who was killed has found out nothing about the node.
                state.line = match e {
                    EINTR => Line::Down,
                    // Nor has who had no time to wait.
                    ETIMEDOUT if deadline.passed() => Line::Down,
                    e => Line::Failed(e, Deadline::after_ms(state.backoff_ms)),
                };
                state.backoff_ms = (2 * state.backoff_ms).min(MAX_BACKOFF_MS);
                Err(e)
            }
        };
        drop(state);
        self.changed.wake_all();
        result
    }

    /// Gives up connection `serial`, if it is still the present one. Its users notice.
    fn broken(&self, serial: u64) {
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
        if state.connections != connection.serial {
            return Ok(None);
        }
        state.sending = false;
        let receiver = state.receiver.take();
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
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<Option<Result<usize>>> {
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
                    state.receiver.take().map(Turn::Receive)
                })?
                .ok_or(ETIMEDOUT)?,
        };
        let mut input = match turn {
            Turn::Answer(answer) => return Ok(Some(copy(answer.status, &answer.body, reply))),
            Turn::Lost if self.state.lock().stopped => return Err(ESHUTDOWN),
            Turn::Lost => return Ok(None),
            Turn::Receive(input) => input,
        };
        match self.receive(connection, ticket, &mut input, reply, deadline) {
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
        let mut input = Some(input);
        let mut state = self.state.lock();
        if state.is_up(connection.serial) {
            state.receiver = input.take();
        }
        if let Some(ticket) = done {
            state.take(ticket.id);
            state.leave(ticket);
        }
        let alone = state.calls == 0;
        drop(state);
        if !alone {
            self.changed.wake_all();
        }
        drop(input);
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
        reply: &mut [u8],
        deadline: Deadline,
    ) -> Result<Result<usize>> {
        loop {
            let missing = match Header::parse(input.bytes(), MAX_BODY) {
                None => HEADER_LEN,
                Some(Err(_)) => return Err(EPROTO),
                Some(Ok(header)) if header.kind != Kind::Reply => return Err(EPROTO),
                Some(Ok(header)) => {
                    let whole = HEADER_LEN + header.len as usize;
                    match input.bytes().get(HEADER_LEN..whole) {
                        None => whole,
                        Some(body) if header.id == ticket.id => {
                            let result = copy(header.word, body, reply);
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
            match connection.stream.receive(input.room(missing.max(PIECE))?)? {
                None => (),
                Some(0) => return Err(ECONNRESET),
                Some(n) => {
                    input.filled(n);
                    self.received.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// Leaves a reply for the task that waits for it. Nobody may: it has given up.
    fn deliver(&self, header: &Header, body: &[u8]) -> Result {
        let mut copy = KVVec::new();
        copy.extend_from_slice(body, GFP_KERNEL)?;
        let answer = Answer {
            status: header.word,
            body: copy,
        };
        let mut state = self.state.lock();
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

/// What the caller gets of a reply.
fn copy(status: u32, body: &[u8], reply: &mut [u8]) -> Result<usize> {
    if status != 0 {
        return Err(from_wire(status));
    }
    let n = reply.len().min(body.len());
    if let (Some(to), Some(from)) = (reply.get_mut(..n), body.get(..n)) {
        to.copy_from_slice(from);
    }
    Ok(body.len())
}

impl State {
    fn is_up(&self, serial: u64) -> bool {
        self.connections == serial && matches!(self.line, Line::Up { .. })
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
        let slot = self.slots.get_mut(usize::from(ticket.id.slot))?;
        slot.busy = false;
        slot.reply.take()
    }

    /// The reply of request `id`, if it has come.
    fn take_reply(&mut self, id: RequestId) -> Option<Answer> {
        let slot = self.slots.get(usize::from(id.slot))?;
        slot.reply.as_ref()?;
        self.take(id)
    }
}

/// An occupied slot; free again when dropped.
struct Ticket<'a> {
    link: &'a Link,
    id: RequestId,
    taken: u64,
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
