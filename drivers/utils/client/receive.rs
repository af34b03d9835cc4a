// SPDX-License-Identifier: GPL-2.0

//! Receiving replies on a [`Link`], for all tasks that wait for one.

use crate::{
    client::{
        destination::Destination,
        incoming::{
            find,
            whole,
            Incoming, //
        },
        link::Link,
        link_state::{
            Connection,
            ReceivedReply,
            Receiver, //
        },
        slot_guard::SlotGuard, //
    },
    clock,
    eventnet::hooks,
    input::Input, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline, //
};
use virgo_proto::{
    eventnet::TraceContext,
    frame::{
        FrameHeader,
        HEADER_LEN, //
    },
    slots::ReplyDisposition, //
};

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Who waits for room to send while somebody else receives looks again after so many milliseconds:
/// that one may be gone.
const LOOK_AGAIN_MS: u32 = 50;

/// How often the receiver takes what has arrived before others can take over.
const RECEIVES: usize = 16;

/// Time between attempts to get memory for what was received, in milliseconds.
const MEMORY_MS: u32 = 10;

impl Link {
    /// Sleeps until there may be room to send. The other end takes no further request before its
    /// replies are gone: if nobody else receives, the task of `slot` does, for all.
    pub(crate) fn wait_for_room(
        &self,
        connection: &Connection,
        slot: u8,
        deadline: Deadline,
    ) -> Result {
        self.progress.fetch_add(1, Relaxed);
        let mut state = self.state.lock();
        state.expect_reply(connection, 0);
        let receiver = state.claim_receiver(connection.serial, slot);
        drop(state);
        let Some(receiver) = receiver else {
            let soon = deadline.min(Deadline::after_ms(LOOK_AGAIN_MS));
            return match connection.stream.wait_writable(soon)? || !deadline.passed() {
                true => Ok(()),
                false => Err(ETIMEDOUT),
            };
        };
        self.hand_out_for(connection, slot, receiver, deadline, || {
            match connection.stream.wait_usable(deadline)? {
                true => Ok(connection.stream.is_readable()),
                false => Err(ETIMEDOUT),
            }
        })
    }

    /// Hands out replies, as the receiver, as long as `wait` waits for input and says that there is some.
    /// The task of `slot` is not the receiver any more afterwards.
    fn hand_out_for(
        &self,
        connection: &Connection,
        slot: u8,
        receiver: Receiver,
        deadline: Deadline,
        wait: impl FnMut() -> Result<bool>,
    ) -> Result {
        let result = self.hand_out_while(connection, slot, receiver, deadline, wait);
        self.end_receiver(slot);
        result
    }

    fn hand_out_while(
        &self,
        connection: &Connection,
        slot: u8,
        mut receiver: Receiver,
        deadline: Deadline,
        mut wait: impl FnMut() -> Result<bool>,
    ) -> Result {
        loop {
            // What is there already may be the start of a reply only: it is looked at once.
            if !core::mem::take(&mut receiver.has_input) && !wait()? {
                return Ok(());
            }
            let taken = self.state.lock().take_input(connection.serial, slot);
            // Others receive, or the connection is lost, which the caller finds out.
            let Some(mut input) = taken else {
                return Ok(());
            };
            let result = self.hand_out(connection, &mut input, None, deadline);
            self.put_input(connection, input);
            match result {
                Ok(_) => (),
                Err(ENOMEM) => {
                    pause(deadline)?;
                    receiver.has_input = true;
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits until what the user of `guard` has given up is answered, or most of it: see
    /// [`SlotTable::must_wait`](virgo_proto::slots::SlotTable::must_wait). If nobody else receives, this
    /// task does, for all.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`], [`EINTR`], [`ESHUTDOWN`].
    pub(crate) fn wait_for_answers(&self, guard: &SlotGuard<'_>, deadline: Deadline) -> Result {
        loop {
            let mut state = self.state.lock();
            // Without a connection nothing is to be answered.
            let Some(connection) = state.connection()? else {
                return Ok(());
            };
            if !state.slots.must_wait(guard.id) {
                return Ok(());
            }
            let receiver = state.claim_receiver(connection.serial, guard.id.slot);
            drop(state);
            let result = match receiver {
                Some(receiver) => {
                    let wait = || {
                        if !self.state.lock().slots.must_wait(guard.id) {
                            return Ok(false);
                        }
                        self.wait_for_input(&connection, deadline).map(|()| true)
                    };
                    self.hand_out_for(&connection, guard.id.slot, receiver, deadline, wait)
                }
                None => sleep(LOOK_AGAIN_MS, deadline),
            };
            if let Err(e) = result {
                self.failed(&connection, e);
                if let ETIMEDOUT | EINTR = e {
                    return Err(e);
                }
            }
        }
    }

    /// The task of `slot` does not receive any more: another one may.
    pub(crate) fn end_receiver(&self, slot: u8) {
        let mut state = self.state.lock();
        if state.end_receiver(slot) {
            self.offer_receiver(&mut state);
        }
    }

    /// Puts the input back that a task has worked with.
    pub(crate) fn put_input(&self, connection: &Connection, input: Input) {
        let useless = self.state.lock().put_input(connection.serial, input);
        drop(useless);
    }

    /// Hands out the replies that have arrived, without waiting for others. Returns the one to the
    /// request of `own`, if it was among them.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]: nothing is lost; [`ETIMEDOUT`] if it takes too long; [`EINTR`]; everything else
    /// means that the connection is useless.
    pub(crate) fn hand_out(
        &self,
        connection: &Connection,
        input: &mut Input,
        mut own: Option<(&mut SlotGuard<'_>, &mut Destination<'_>)>,
        deadline: Deadline,
    ) -> Result<Option<Result>> {
        let id = own.as_ref().map(|(guard, _)| guard.id);
        let mut result = None;
        let mut receives = 0;
        loop {
            let found = match find(input.bytes()) {
                Ok(Incoming::Begun(_) | Incoming::Nothing) if result.is_some() => {
                    return Ok(result);
                }
                Ok(found) => found,
                Err(e) => return self.own_or(result, connection, e),
            };
            let size = match (found, &mut own) {
                (Incoming::Whole(header, context, body), Some((guard, to)))
                    if Some(header.id) == id =>
                {
                    clock::receive(header.stamp);
                    guard.replied(hooks::reply_arrived(context));
                    result = Some(to.take(header.word, body));
                    input.consume(whole(&header));
                    continue;
                }
                (Incoming::Whole(header, context, body), _) => {
                    match self.deliver(&header, context, body) {
                        Ok(()) => input.consume(whole(&header)),
                        // Whoever receives next delivers it.
                        Err(ENOMEM) if result.is_some() => return Ok(result),
                        Err(ENOMEM) => return Err(ENOMEM),
                        Err(e) => return self.own_or(result, connection, e),
                    }
                    continue;
                }
                (Incoming::Nothing, Some((_, to))) if input.unwanted() == 0 => {
                    to.first_piece(HEADER_LEN, PIECE)
                }
                (Incoming::Nothing, _) => PIECE,
                (Incoming::Begun(header), Some((_, to)))
                    if Some(header.id) == id && header.word == 0 && !header.traced =>
                {
                    match self.take_rest(connection, &header, input, to, deadline) {
                        Some(filled) => return filled.map(Some),
                        None => whole(&header).max(PIECE),
                    }
                }
                (Incoming::Begun(header), _) => whole(&header).max(PIECE),
            };
            // The other node may send more and more.
            if receives > 0 && deadline.passed() {
                return Err(ETIMEDOUT);
            }
            if receives == RECEIVES {
                return Ok(None);
            }
            receives += 1;
            match input.receive(&connection.stream, size)? {
                Some(0) => return Err(ECONNRESET),
                Some(_) => self.progress.fetch_add(1, Relaxed),
                None => return Ok(None),
            };
        }
    }

    /// The reply that a task has received for itself, if it has, though the connection is useless after
    /// it.
    fn own_or(
        &self,
        own: Option<Result>,
        connection: &Connection,
        e: Error,
    ) -> Result<Option<Result>> {
        if own.is_some() {
            self.broken(connection.serial);
        }
        own.ok_or(e).map(Some)
    }

    /// Has the body that follows `header` go past `input`, if that is what its receiver wants. Returns the
    /// result of the call.
    fn take_rest(
        &self,
        connection: &Connection,
        header: &FrameHeader,
        input: &mut Input,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Option<Result<Result>> {
        let room = match to {
            Destination::Function(_) => return None,
            Destination::User(room) => room,
        };
        clock::receive(header.stamp);
        input.consume(HEADER_LEN);
        let len = header.len as usize;
        let filled = room.fill(&connection.stream, input, len, &self.progress, deadline);
        Some(match filled {
            // That concerns this task alone.
            Err(ENOMEM) => Ok(Err(ENOMEM)),
            filled => filled.map(Ok),
        })
    }

    /// Leaves a reply for the task that waits for it. Nobody may: it has given up.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], and then nothing has happened; [`EPROTO`] if there are too many replies.
    fn deliver(
        &self,
        header: &FrameHeader,
        context: Option<TraceContext<'_>>,
        body: &[u8],
    ) -> Result {
        clock::receive(header.stamp);
        let mut copy = KVVec::new();
        copy.put_bytes(body, GFP_KERNEL)?;
        let answer = ReceivedReply {
            status: header.word,
            body: copy,
            sent_by: hooks::reply_arrived(context),
        };
        let mut state = self.state.lock();
        state.heard();
        state.check_replies()?;
        let unwanted = match state.slots.deliver(header.id, answer) {
            ReplyDisposition::Wakes => {
                self.select_sleeper(header.id.slot);
                None
            }
            ReplyDisposition::Kept => None,
            ReplyDisposition::Unwanted(answer, given) => {
                self.give(&mut state, given);
                Some(answer)
            }
        };
        drop(state);
        drop(unwanted);
        Ok(())
    }
}

/// Waits for memory to become free.
pub(crate) fn pause(deadline: Deadline) -> Result {
    sleep(MEMORY_MS, deadline)
}

fn sleep(ms: u32, deadline: Deadline) -> Result {
    Deadline::after_ms(ms).min(deadline).sleep()?;
    match deadline.passed() {
        true => Err(ETIMEDOUT),
        false => Ok(()),
    }
}
