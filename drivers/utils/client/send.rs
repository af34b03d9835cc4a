// SPDX-License-Identifier: GPL-2.0

//! Sending requests on a [`Link`]: who does, and what happens if the connection has no room.
//!
//! One task at a time has the [send lock](crate::client::send_lock). A short request does not wait for it: it is
//! left with whoever has the lock, see [`crate::client::outbound`].
//!
//! If the connection has no room, a task that has a long request waits for it with the lock, for no
//! longer than its own deadline. If no byte has gone by then, it only gives back the lock. If some have, it
//! leaves the rest behind, which is sent before anything else. Either way the connection stays as it
//! is, for all others. What waits without a task of its own is sent by the task that receives.

use crate::client::{
    connect::send_all,
    link::{
        Link,
        StallWatch,
        LOOK_MS, //
    },
    link_state::{
        Connection,
        LinkState,
        Sender, //
    },
    outbound::{
        Outbound,
        SendBuffer, //
    },
    request::{
        Data,
        Request, //
    },
    slot_guard::SlotGuard, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        lock::{
            spinlock::SpinLockBackend,
            Guard, //
        }, //
    }, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    waiters::Woken, //
};
use virgo_proto::frame::{
    FrameHeader,
    FrameKind,
    HEADER_LEN,
    NO_OPERATION, //
};

/// Bytes of arguments that a request can have.
pub(crate) const MAX_ARGS: usize = 40;

/// How often a task that has sent its own request sends what others have left meanwhile.
const FLUSHES: usize = 8;

/// The start of a request's frame: the header, the trace context if there is one, and the arguments.
struct Head {
    bytes: [u8; HEADER_LEN + MAX_ARGS],
    len: usize,
    /// The same with the trace context; empty if there is none.
    traced: KVec<u8>,
}

impl Head {
    fn new(guard: &SlotGuard<'_>, request: &Request<'_>, deadline: Deadline) -> Self {
        let mut head = Head {
            bytes: [0; HEADER_LEN + MAX_ARGS],
            len: HEADER_LEN + request.args.len(),
            traced: KVec::new(),
        };
        let mut header = FrameHeader {
            kind: FrameKind::Request,
            op: request.op,
            len: (request.args.len() + request.data.size()) as u32,
            word: deadline.left_ms(),
            id: guard.id,
            taken: guard.taken,
            stamp: crate::clock::now(),
            traced: false,
        };
        let (start, rest) = head.bytes.split_at_mut(HEADER_LEN);
        start.copy_from_slice(&header.to_bytes());
        if let Some(args) = rest.get_mut(..request.args.len()) {
            args.copy_from_slice(request.args);
        }
        if let Some(sent) = &guard.sent {
            header.traced = true;
            header.len += sent.context().len() as u32;
            // Without memory the request is not traced.
            if head.trace(&header, sent.context()).is_err() {
                head.traced.clear();
            }
        }
        head
    }

    fn trace(&mut self, header: &FrameHeader, context: &[u8]) -> Result {
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
enum Outcome {
    /// The send lock.
    Sender(Sender),
    /// Others send its request on this connection.
    Left(Connection),
    /// Nothing: the connection was lost meanwhile.
    Lost,
}

/// What came of sending what waited.
#[derive(PartialEq, Eq)]
pub(crate) enum Flushed {
    All,
    /// There is no room for the rest.
    Blocked,
}

impl Link {
    /// Sends a request, on a new connection if it has to be; `sender` says that this task has the send
    /// lock, and that nothing else waits. The task may be the receiver then: see
    /// [`SlotGuard::receiver`].
    pub(crate) fn send(
        &self,
        guard: &mut SlotGuard<'_>,
        mut sender: Option<Sender>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Connection> {
        loop {
            let sender = match sender.take() {
                Some(sender) => sender,
                None => match self.wait_to_send(guard, request, deadline) {
                    Ok(Outcome::Sender(sender)) => sender,
                    Ok(Outcome::Left(connection)) => return Ok(connection),
                    Ok(Outcome::Lost) => continue,
                    Err(e @ (EINTR | ETIMEDOUT | ESHUTDOWN)) => return Err(e),
                    // It was sent before: so it is not true that nothing was done.
                    Err(_) if self.was_sent(guard) => return Err(ECONNRESET),
                    Err(e) => return Err(e),
                },
            };
            if sender.connection.stream.is_over() {
                // Found out before anything was sent, so nobody has to wonder what came of it.
                self.broken(sender.connection.serial);
                self.end_turn(&mut self.state.lock(), sender.turn);
                continue;
            }
            match self.transmit(&sender, guard, request, deadline) {
                Ok(()) => return Ok(sender.connection),
                Err(e @ (ETIMEDOUT | EINTR)) => return Err(e),
                Err(_) => (),
            }
        }
    }

    fn was_sent(&self, guard: &SlotGuard<'_>) -> bool {
        self.state.lock().slots.sent_to(guard.id).is_some()
    }

    /// Waits for the send lock, and makes a connection if there is none; or leaves the request with
    /// others.
    fn wait_to_send(
        &self,
        guard: &mut SlotGuard<'_>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Outcome> {
        let head = Head::new(guard, request, deadline);
        let mut state = self.state.lock();
        state.settle(guard);
        let mut had_to_wait = false;
        let turn = loop {
            if state.stopped {
                return Err(ESHUTDOWN);
            }
            if !state.send_lock.is_free() || !state.outbound.is_empty() {
                let is_short = Outbound::takes(head.bytes().len() + request.data.size());
                let left = match is_short {
                    true => state.leave(guard, &head, request)?,
                    false => None,
                };
                if let Some(connection) = left {
                    return Ok(Outcome::Left(connection));
                }
                had_to_wait = true;
            }
            if let Some(turn) = state.send_lock.take() {
                break turn;
            }
            self.wait_for_send_lock(state, guard, deadline)?;
            state = self.state.lock();
            if let Some(turn) = state.send_lock.take_offer() {
                break turn;
            }
        };
        let connection = match state.connection() {
            Ok(None) if deadline.passed() => Err(ETIMEDOUT),
            Ok(None) => {
                drop(state);
                let connection = self.connect(turn, deadline);
                state = self.state.lock();
                if let Ok(None) = connection {
                    self.end_turn(&mut state, turn);
                    return Ok(Outcome::Lost);
                }
                connection.and_then(|connection| connection.ok_or(EAGAIN))
            }
            Ok(Some(connection)) => Ok(connection),
            Err(e) => Err(e),
        };
        // One that is useless is dropped without the lock: it may be the last to have the socket.
        let checked = match connection {
            Ok(connection) => match state.check(guard, &connection, request) {
                Ok(()) => Ok(connection),
                Err(e) => Err((e, Some(connection))),
            },
            Err(e) => Err((e, None)),
        };
        let needs_room = had_to_wait && !state.outbound.has_room();
        let is_blocked = !state.outbound.is_empty();
        let connection = match checked {
            Ok(connection) => connection,
            Err((e, useless)) => {
                self.end_turn(&mut state, turn);
                drop(state);
                drop(useless);
                return Err(e);
            }
        };
        drop(state);
        let sender = Sender { connection, turn };
        if needs_room {
            // For those that come later. Without memory they wait, too.
            if let Ok(room) = Outbound::room() {
                let unused = self.state.lock().outbound.set_room(room);
                drop(unused);
            }
        }
        if is_blocked && !self.flush_first(&sender, guard.id.slot, deadline)? {
            return Ok(Outcome::Lost);
        }
        Ok(Outcome::Sender(sender))
    }

    /// Waits until the send lock may be offered to this task, or to one that does not come for it.
    fn wait_for_send_lock(
        &self,
        mut state: Guard<'_, LinkState, SpinLockBackend>,
        guard: &SlotGuard<'_>,
        deadline: Deadline,
    ) -> Result {
        let user = usize::from(state.slots.user_of(guard.id));
        let waiters = self.senders.get(user).ok_or(EINVAL)?;
        state.send_lock.enter(user);
        let mut watch = StallWatch::new();
        let leave = |state: &mut LinkState| state.send_lock.leave(user);
        let look = |state: &mut LinkState| {
            state.send_lock.is_offered() || self.is_stalled(state, &mut watch)
        };
        match waiters.wait_looking(state, deadline, LOOK_MS, leave, look)? {
            Woken::Selected => Ok(()),
            Woken::Expelled => Err(ESHUTDOWN),
            Woken::TooLate => Err(ETIMEDOUT),
            Woken::Looked => {
                let state = self.state.lock();
                let is_stalled = self.is_stalled(&state, &mut watch);
                drop(state);
                if is_stalled {
                    self.end_stalled(&watch);
                }
                Ok(())
            }
        }
    }

    /// Sends a request on this connection and gives the send lock back.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`], [`EINTR`], or what broke the connection.
    fn transmit(
        &self,
        sender: &Sender,
        guard: &mut SlotGuard<'_>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result {
        let connection = &sender.connection;
        let head = Head::new(guard, request, deadline);
        let mut sent = 0;
        // For what is left if this task gives up in the middle.
        let mut rest = KVVec::new();
        let wait = || {
            if rest.capacity() == 0 {
                // Without memory now it is tried again then.
                let _ = rest.reserve(head.bytes().len() + request.data.size(), GFP_KERNEL);
            }
            self.wait_for_room(connection, guard.id.slot, deadline)
        };
        let mut result = send_all(
            &connection.stream,
            head.bytes(),
            request.data,
            &mut sent,
            wait,
        );
        if let (Err(ETIMEDOUT | EINTR), 1..) = (result, sent) {
            // Nothing else can be sent before the rest is.
            result = match put_rest(&mut rest, head.bytes(), request.data, sent) {
                Ok(()) => {
                    let unused = self.state.lock().push_rest(connection.serial, rest);
                    drop(unused);
                    result
                }
                Err(e) => Err(e),
            };
        }
        if let Err(e) = result {
            self.failed(connection, e);
            let mut state = self.state.lock();
            if sent > 0 {
                state.slots.sent(guard.id, connection.boot);
                // The rest is sent before anything else, and answered.
                state.sent_partly(connection, guard.id);
            }
            drop(state);
            let _ = self.flush_last(sender);
            return Err(e);
        }
        let mut state = self.state.lock();
        state.slots.sent(guard.id, connection.boot);
        guard.receiver = state.sent(connection, request.reply_deadline.within_ms(), guard.id);
        if state.outbound.is_empty() {
            self.end_turn(&mut state, sender.turn);
            return Ok(());
        }
        drop(state);
        let _ = self.flush_last(sender);
        Ok(())
    }

    /// Sends what waits, with the send lock, before a request of this task, which has `slot`. False if
    /// the connection was lost. Gives the lock back unless it returns true.
    fn flush_first(&self, sender: &Sender, slot: u8, deadline: Deadline) -> Result<bool> {
        let connection = &sender.connection;
        loop {
            let mut state = self.state.lock();
            let Some(batch) = state.take_outbound(connection.serial) else {
                return Ok(true);
            };
            drop(state);
            let result = match self.send_batch(connection, batch) {
                Ok(Flushed::All) => continue,
                Ok(Flushed::Blocked) => self.wait_for_room(connection, slot, deadline),
                Err(e) => Err(e),
            };
            if let Err(e) = result {
                self.failed(connection, e);
                let _ = self.flush_last(sender);
                return match e {
                    ETIMEDOUT | EINTR => Err(e),
                    _ => Ok(false),
                };
            }
        }
    }

    /// Gives the connection up, if `e` says so, or if time has run out and the connection is dead.
    pub(crate) fn failed(&self, connection: &Connection, e: Error) {
        let is_lost = match e {
            EINTR => false,
            ETIMEDOUT => self.state.lock().is_silent(connection.serial),
            _ => true,
        };
        if is_lost {
            self.broken(connection.serial);
        }
    }

    /// Sends what waits as far as there is room, and gives the send lock back. If something is left the
    /// task that receives is told.
    pub(crate) fn flush_last(&self, sender: &Sender) -> Flushed {
        let connection = &sender.connection;
        let mut is_blocked = false;
        for round in 0.. {
            let mut state = self.state.lock();
            let batch = match is_blocked || round == FLUSHES {
                true => None,
                false => state.take_outbound(connection.serial),
            };
            let Some(batch) = batch else {
                // Whoever has the lock next sends it, or the task that receives.
                let is_left = !state.outbound.is_empty();
                self.end_turn(&mut state, sender.turn);
                let is_left = is_left && state.send_lock.is_free();
                self.is_blocked.store(is_left, Relaxed);
                drop(state);
                if is_left {
                    self.interrupt_receiver(&connection.stream);
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
        let is_needed = !state.outbound.is_empty() && state.is_up(connection.serial);
        let Some(turn) = is_needed.then(|| state.send_lock.take()).flatten() else {
            self.is_blocked.store(false, Relaxed);
            return false;
        };
        drop(state);
        let connection = connection.clone();
        self.flush_last(&Sender { connection, turn }) == Flushed::Blocked
    }

    fn send_batch(&self, connection: &Connection, batch: SendBuffer) -> Result<Flushed> {
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
            true => {
                // Some may have requests that need not be answered soon.
                state.expect_ack(connection);
                state.outbound.put_back(batch, now)
            }
            false => state.outbound.put_away(batch),
        };
        drop(state);
        drop(useless);
        result
    }
}

impl LinkState {
    /// Whether a request that was left with others was sent can be known now: its connection is lost.
    fn settle(&mut self, guard: &mut SlotGuard<'_>) {
        if let Some((connection, position)) = guard.left_with.take() {
            if self.outbound.was_sent(connection.serial, position) {
                self.slots.sent(guard.id, connection.boot);
            }
        }
    }

    /// Refuses to send a request to a server that has restarted since it was sent, unless that may be.
    fn check(
        &self,
        guard: &SlotGuard<'_>,
        connection: &Connection,
        request: &Request<'_>,
    ) -> Result {
        self.slots
            .may_send(guard.id, connection.boot, request.retry_after_restart)
            .map_err(|_| ECONNRESET)
    }

    /// Leaves a request with others, if there is a connection, and room for it.
    fn leave(
        &mut self,
        guard: &mut SlotGuard<'_>,
        head: &Head,
        request: &Request<'_>,
    ) -> Result<Option<Connection>> {
        let Ok(Some(connection)) = self.connection() else {
            return Ok(None);
        };
        self.check(guard, &connection, request)?;
        let Some(position) = self.outbound.push(head.bytes(), request.data) else {
            return Ok(None);
        };
        guard.left_with = Some((connection.clone(), position));
        guard.receiver = self.sent(&connection, request.reply_deadline.within_ms(), guard.id);
        Ok(Some(connection))
    }

    /// Leaves a request that does nothing with others, under the next number of the slot of `guard`: behind
    /// it the node refuses the request of `guard`. `None` if there is no connection, or no room.
    pub(crate) fn supersede(&mut self, guard: &mut SlotGuard<'_>) -> Option<Connection> {
        let connection = self.connection().ok()??;
        guard.id = self.slots.supersede(guard.id)?;
        let header = FrameHeader {
            kind: FrameKind::Request,
            op: NO_OPERATION,
            len: 0,
            word: 0,
            id: guard.id,
            taken: guard.taken,
            stamp: crate::clock::now(),
            traced: false,
        };
        if !self.outbound.push_header(&header.to_bytes()) {
            return None;
        }
        self.count_request(guard.id);
        self.expect_reply(&connection, 0);
        Some(connection)
    }

    /// What waits to be sent on connection `serial`.
    fn take_outbound(&mut self, serial: u64) -> Option<SendBuffer> {
        match self.is_up(serial) {
            true => self.outbound.take(),
            false => None,
        }
    }

    /// Has the rest of a request be sent on connection `serial` before anything else. Returns what is not
    /// needed, to be given back without the lock.
    fn push_rest(&mut self, serial: u64, rest: KVVec<u8>) -> Option<KVVec<u8>> {
        if !self.is_up(serial) {
            return Some(rest);
        }
        self.outbound.push_rest(rest);
        None
    }
}

/// Puts into `rest` what is left of a request of which `sent` bytes are gone.
fn put_rest(rest: &mut KVVec<u8>, head: &[u8], data: Data<'_>, sent: usize) -> Result {
    rest.put_bytes(head.get(sent..).unwrap_or_default(), GFP_KERNEL)?;
    let data_sent = sent.saturating_sub(head.len());
    match data {
        Data::Bytes(bytes) => {
            rest.put_bytes(bytes.get(data_sent..).unwrap_or_default(), GFP_KERNEL)?;
        }
        Data::Pages(pages) => pages.copy(data_sent, rest)?,
    }
    Ok(())
}
