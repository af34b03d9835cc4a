// SPDX-License-Identifier: GPL-2.0

//! Requests and replies on a [`Link`].
//!
//! There is no thread: of the tasks that wait for replies one is the receiver and hands out
//! what arrives; when it has its own reply it leaves that to another, which it wakes: to
//! the one that has sent last, since that has to wait for longest. So a task that is alone sends, sleeps
//! on the socket and takes its reply without another task in between, and of many each is woken once,
//! when it has its reply. While the receiver sleeps what it has received lies in the link, so that another
//! can take over if it does not run: see `link.rs`.
//!
//! A request occupies a slot (see [`virgo_proto::slots`]). When the connection breaks, the tasks
//! concerned connect again and repeat their requests under the same numbers; the server knows
//! what it has done already.
//!
//! A task may have several requests under way. Sending the next one cannot deadlock with them: a task
//! that finds the socket full receives the replies for which the other node waits.

use crate::{
    client::{
        destination::Destination,
        link::{
            Link,
            StallWatch,
            LOOK_MS, //
        },
        link_state::{
            Connection,
            LinkState,
            ReceivedReply,
            Receiver,
            Sender, //
        },
        receive::pause,
        request::{
            Data,
            ReplyDeadline,
            Request, //
        },
        send::MAX_ARGS,
        slot_guard::{
            SlotGuard,
            Start, //
        }, //
    },
    eventnet::hooks::{
        self,
        SentRequest, //
    },
    input::Input, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed,
    time::{
        Instant,
        Monotonic, //
    }, //
};
use linux::{
    deadline::Deadline,
    trace::{
        self,
        TraceEvent, //
    },
    waiters, //
};
use virgo_proto::{
    frame::{
        RequestId,
        MAX_BODY,
        NO_OPERATION, //
    },
    slots::Class, //
};

/// A request that was sent and whose reply was not taken. Dropping it gives the reply up.
pub struct PendingCall<'a> {
    guard: SlotGuard<'a>,
    connection: Connection,
}

fn check(request: &Request<'_>) -> Result {
    let size = request.args.len().saturating_add(request.data.size());
    match request.args.len() <= MAX_ARGS && size <= MAX_BODY {
        true => Ok(()),
        false => Err(EMSGSIZE),
    }
}

fn class(request: &Request<'_>) -> Class {
    match request.reply_deadline {
        ReplyDeadline::Soon => Class::Any,
        ReplyDeadline::Within(_) | ReplyDeadline::Sometime => Class::Deferred,
    }
}

/// Asks for nothing: the answer shows that the other node is still the one that it was.
const PROBE: Request<'_> = Request {
    op: NO_OPERATION,
    args: &[],
    data: Data::Bytes(&[]),
    uid: 0,
    retry_after_restart: true,
    reply_deadline: ReplyDeadline::Soon,
    brief: Some(0),
};

impl Link {
    /// Sends a request without waiting for the reply, if a slot and the send lock are there now.
    /// `None` if they are not, or if that fails.
    pub(crate) fn begin(
        &self,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Option<PendingCall<'_>> {
        check(request).ok()?;
        let (mut guard, sender) = self.enter_now(request.uid)?;
        guard.sent = self.sending(guard.id, request);
        let sent = self.send(&mut guard, Some(sender), request, deadline);
        let connection = sent.ok()?;
        if guard.receiver.take().is_some() {
            // Whoever waits receives; this task may do so much later.
            self.end_receiver(guard.id.slot);
        }
        Some(PendingCall { guard, connection })
    }

    /// Records that a request is sent, for EventNet and for whoever traces it.
    fn sending(&self, id: RequestId, request: &Request<'_>) -> Option<SentRequest> {
        trace::request(|| self.event(id, request));
        let bytes = request.args.len() + request.data.size();
        hooks::send(self.kind, request.op, self.peer, id, bytes)
    }

    /// See [`Client::call_with`](crate::Client::call_with). The request may be under way already.
    /// Returns what the other node answers; fails if it does not answer.
    pub(crate) fn call(
        &self,
        under_way: Option<PendingCall<'_>>,
        request: &Request<'_>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result<Result> {
        check(request)?;
        let began = trace::reply_is_on().then(Instant::<Monotonic>::now);
        let (mut guard, under_way) = match under_way {
            Some(pending) => (pending.guard, Ok(pending.connection)),
            None => {
                if !request.retry_after_restart && self.is_stale() {
                    self.probe(request.uid, deadline)?;
                }
                let (mut guard, start) = self.enter(request, class(request), deadline)?;
                if guard.must_wait {
                    self.wait_for_answers(&guard, deadline)?;
                }
                guard.sent = self.sending(guard.id, request);
                let sender = match start {
                    Start::Stream(sender) => sender,
                    Start::Datagram(session) => {
                        let answer = self.ask(&session, &mut guard, request, to, deadline)?;
                        if let Some(answer) = answer {
                            if let Some(sent) = guard.sent.take() {
                                sent.done(&answer);
                            }
                            trace::reply(|| self.event(guard.id, request).ended(&answer, began));
                            return Ok(answer);
                        }
                        None
                    }
                };
                let sent = self.send(&mut guard, sender, request, deadline);
                (guard, sent)
            }
        };
        let answer = under_way
            .and_then(|connection| self.take_reply(&mut guard, connection, request, to, deadline));
        let result = answer.and_then(|answer| answer);
        if let Some(sent) = guard.sent.take() {
            sent.done(&result);
        }
        trace::reply(|| self.event(guard.id, request).ended(&result, began));
        answer
    }

    /// What tracepoints say of a request.
    fn event(&self, id: RequestId, request: &Request<'_>) -> TraceEvent {
        TraceEvent {
            node: self.peer.into(),
            port: self.port.into(),
            op: request.op.into(),
            id: id.to_wire(),
            size: (request.args.len() + request.data.size()) as u64,
            ..TraceEvent::default()
        }
    }

    /// Waits for the reply to a request that was sent, and sends it again when the connection is lost.
    fn take_reply(
        &self,
        guard: &mut SlotGuard<'_>,
        mut connection: Connection,
        request: &Request<'_>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result<Result> {
        loop {
            match self.answer(&connection, guard, to, deadline) {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => (),
                Err(e) => {
                    if e == ETIMEDOUT && self.state.lock().is_silent(connection.serial) {
                        // The next one does not have to wait as long to find out.
                        self.broken(connection.serial);
                    }
                    return Err(e);
                }
            }
            connection = self.send(guard, None, request, deadline)?;
        }
    }

    /// Finds out whether a connection on which nothing was heard for some time is still good, before a
    /// request is sent that may be done once only: if the other node has restarted, the request would
    /// go to nobody, but nobody would know.
    fn probe(&self, uid: u32, deadline: Deadline) -> Result {
        let request = Request { uid, ..PROBE };
        let mut nothing = |_: &[u8]| ();
        let mut to = Destination::Function(&mut nothing);
        let answer = self.call(None, &request, &mut to, deadline);
        match answer.and_then(|answer| answer) {
            Ok(()) | Err(EOPNOTSUPP) => Ok(()),
            // Nothing that matters was sent.
            Err(ECONNRESET) => Err(EHOSTDOWN),
            Err(e) => Err(e),
        }
    }

    /// Waits for the reply to the request of `guard`. `None` if the connection was lost before.
    fn answer(
        &self,
        connection: &Connection,
        guard: &mut SlotGuard<'_>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result<Option<Result>> {
        loop {
            let woken = match guard.receiver.take() {
                Some(receiver) => Woken::Receive(receiver),
                None => self.sleep(connection, guard, deadline)?,
            };
            let receiver = match woken {
                Woken::Answer(answer) => {
                    guard.replied(answer.sent_by);
                    return Ok(Some(to.take(answer.status, &answer.body)));
                }
                Woken::Lost if self.state.lock().stopped => return Err(ESHUTDOWN),
                Woken::Lost => return Ok(None),
                Woken::Receive(receiver) => receiver,
            };
            match self.receive(connection, guard, receiver, to, deadline) {
                Ok(Some(result)) => return Ok(Some(result)),
                // Another task has taken over.
                Ok(None) => (),
                Err(e @ (EINTR | ETIMEDOUT)) => {
                    self.end_receiver(guard.id.slot);
                    return Err(e);
                }
                Err(_) => self.broken(connection.serial),
            }
        }
    }

    /// Sleeps until the reply to the request of `guard` is there, or the connection is lost, or this task
    /// is to receive.
    fn sleep(
        &self,
        connection: &Connection,
        guard: &SlotGuard<'_>,
        deadline: Deadline,
    ) -> Result<Woken> {
        let slot = guard.id.slot;
        let mut state = self.state.lock();
        let sleeper = self.sleepers.get(usize::from(slot)).ok_or(EINVAL)?;
        let mut watch = StallWatch::new();
        loop {
            if let Some(answer) = state.slots.take(guard.id) {
                return Ok(Woken::Answer(answer));
            }
            if !state.is_up(connection.serial) {
                return Ok(Woken::Lost);
            }
            if let Some(receiver) = state.claim_receiver(connection.serial, slot) {
                return Ok(Woken::Receive(receiver));
            }
            state.slots.sleep(guard.id);
            let leave = |state: &mut LinkState| {
                state.slots.wake(slot);
            };
            let look = |state: &mut LinkState| {
                self.may_receive_for_others(state)
                    || state.send_lock.is_offered()
                    || self.is_stalled(state, &mut watch)
            };
            let looked = sleeper.wait_looking(state, deadline, LOOK_MS, leave, look)?;
            state = self.state.lock();
            match looked {
                waiters::Woken::TooLate => return Err(ETIMEDOUT),
                waiters::Woken::Looked => (),
                _ => continue,
            }
            if !state.is_up(connection.serial) {
                continue;
            }
            if let Some(turn) = state.send_lock.take_offer() {
                drop(state);
                let connection = connection.clone();
                self.flush_last(&Sender { connection, turn });
            } else if self.may_receive_for_others(&state) {
                let receiver = state.set_receiver(slot);
                drop(state);
                self.interrupt_receiver(&connection.stream);
                return Ok(Woken::Receive(receiver));
            } else if self.is_stalled(&state, &mut watch) {
                drop(state);
                self.end_stalled(&watch);
            } else {
                continue;
            }
            state = self.state.lock();
        }
    }

    /// Ends a call whose reply has come: leaves the right to receive to another task, and frees the slot.
    fn finish(&self, connection: &Connection, input: Input, guard: &mut SlotGuard<'_>) {
        let mut state = self.state.lock();
        let useless = state.put_input(connection.serial, input);
        state.heard();
        // By an earlier connection it may have come, too.
        let twice = state.slots.acknowledge(guard.id);
        state.end_receiver(guard.id.slot);
        self.free(&mut state, guard);
        self.offer_receiver(&mut state);
        drop(state);
        // Memory is not given back under the lock.
        drop((useless, twice));
    }

    /// Receives and hands out replies until the one to `guard` is there, and those that are here with
    /// it. Then the slot is free. `None` if another task has taken over, or the connection is lost.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ETIMEDOUT`]; everything else means that the connection is useless.
    fn receive(
        &self,
        connection: &Connection,
        guard: &mut SlotGuard<'_>,
        mut receiver: Receiver,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result<Option<Result>> {
        loop {
            if !core::mem::take(&mut receiver.has_input) {
                self.wait_for_input(connection, deadline)?;
            }
            let taken = self
                .state
                .lock()
                .take_input(connection.serial, guard.id.slot);
            let Some(mut input) = taken else {
                return Ok(None);
            };
            let own = Some((&mut *guard, &mut *to));
            let result = self.hand_out(connection, &mut input, own, deadline);
            match result {
                Ok(Some(own)) => {
                    self.finish(connection, input, guard);
                    return Ok(Some(own));
                }
                Ok(None) => self.put_input(connection, input),
                // What has arrived stays there.
                Err(ENOMEM) => {
                    self.put_input(connection, input);
                    pause(deadline)?;
                    receiver.has_input = true;
                }
                Err(e) => {
                    self.put_input(connection, input);
                    return Err(e);
                }
            }
        }
    }

    /// Sleeps until there is something to receive, or this task may not be the receiver any more. Sends
    /// meanwhile what waits for room.
    pub(crate) fn wait_for_input(&self, connection: &Connection, deadline: Deadline) -> Result {
        let stream = &connection.stream;
        loop {
            let before = self.interrupts.load(Relaxed);
            let is_in_time = match self.flush_for_others(connection) {
                true => stream.wait_usable_or(&self.interrupts, before, deadline)?,
                false => stream.wait_readable_or(&self.interrupts, before, deadline)?,
            };
            if !is_in_time {
                return Err(ETIMEDOUT);
            }
            // Otherwise there is room to send.
            if stream.is_readable() || self.interrupts.load(Relaxed) != before {
                return Ok(());
            }
        }
    }
}

/// Why a task that has sent a request does not sleep any more.
enum Woken {
    Answer(ReceivedReply),
    /// The connection was lost.
    Lost,
    /// It is to receive, for all.
    Receive(Receiver),
}
