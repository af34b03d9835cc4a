// SPDX-License-Identifier: GPL-2.0

//! Slots of a [`Link`]: each has one request at a time. See [`virgo_proto::slots`].

use crate::{
    eventnet::hooks::Sent,
    link::{
        Answer,
        Connection,
        Link,
        State, //
    }, //
};
use kernel::prelude::*;
use linux::{
    deadline::Deadline,
    user::current_uid,
    waiters::Woken, //
};
use virgo_proto::{
    eventnet::event::EventId,
    frame::RequestId,
    slots::{
        Class,
        Entry,
        Line, //
    }, //
};

/// An occupied slot; free again when dropped.
pub(crate) struct Ticket<'a> {
    link: &'a Link,
    /// Of the request.
    pub(crate) id: RequestId,
    /// The last one in this slot whose reply was taken.
    pub(crate) taken: u64,
    /// The request was left for others to send: by which life of the server's, by which connection, and
    /// where it waited.
    pub(crate) left_with: Option<(Connection, u64)>,
    /// The event that has sent the request, if it is recorded.
    pub(crate) sent: Option<Sent>,
    /// The slot is free already.
    is_free: bool,
}

impl Link {
    /// Waits for a free slot and occupies it; also takes the turn to send, if there is a connection and
    /// nobody has anything to send.
    pub(crate) fn enter(
        &self,
        class: Class,
        deadline: Deadline,
    ) -> Result<(Ticket<'_>, Option<Connection>)> {
        let uid = current_uid();
        let mut state = self.state.lock();
        if state.stopped {
            return Err(ESHUTDOWN);
        }
        let id = match state.slots.enter(uid, class) {
            Entry::Slot(id) => id,
            Entry::Wait(line) => {
                let waiters = self.lines.get(line.index()).ok_or(EINVAL)?;
                let leave = |state: &mut State| state.slots.leave_line(line);
                match waiters.wait(state, deadline, leave)? {
                    Woken::Selected => (),
                    Woken::Expelled => return Err(ESHUTDOWN),
                    Woken::TooLate => return Err(ETIMEDOUT),
                }
                state = self.state.lock();
                state.slots.claim(line).ok_or(EINVAL)?
            }
        };
        let ticket = Ticket::new(self, &state, id);
        let turn = state.turn();
        drop(state);
        Ok((ticket, turn))
    }

    /// As [`Self::enter`], if slot, connection and turn are all there now.
    pub(crate) fn enter_now(&self) -> Option<(Ticket<'_>, Connection)> {
        let uid = current_uid();
        let mut state = self.state.lock();
        if state.stopped {
            return None;
        }
        let connection = state.turn()?;
        let Some(id) = state.slots.enter_now(uid, Class::Ahead) else {
            self.end_turn(&mut state);
            return None;
        };
        Some((Ticket::new(self, &state, id), connection))
    }

    /// Frees the slot of `ticket`. Under the lock of the state. Returns a reply that came too late.
    pub(crate) fn free(&self, state: &mut State, ticket: &mut Ticket<'_>) -> Option<Answer> {
        ticket.is_free = true;
        let (late, given) = state.slots.release(ticket.id);
        self.give(state, given);
        if state.receiver_for == Some(ticket.id.slot) {
            // It was woken to receive, but does not want to any more.
            state.receiver_for = None;
            self.offer_receiver(state);
        }
        late
    }

    /// Wakes the task for which there is a slot now.
    fn give(&self, state: &mut State, mut given: Option<Line>) {
        while let Some(line) = given {
            let waiters = self.lines.get(line.index());
            if waiters.is_some_and(|waiters| waiters.select()) {
                return;
            }
            // Each who waits is counted, so this cannot be; nor can it go on for ever, since each
            // turn leaves one fewer in a line.
            given = state.slots.revoke(line);
        }
    }
}

impl<'a> Ticket<'a> {
    fn new(link: &'a Link, state: &State, id: RequestId) -> Self {
        Ticket {
            link,
            id,
            taken: state.slots.taken(id),
            left_with: None,
            sent: None,
            is_free: false,
        }
    }
}

impl Ticket<'_> {
    /// The reply was sent by this event, if that is recorded.
    pub(crate) fn replied(&mut self, by: Option<EventId>) {
        if let Some(sent) = &mut self.sent {
            sent.reply = by;
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.is_free {
            return;
        }
        let link = self.link;
        let mut state = link.state.lock();
        let late = link.free(&mut state, self);
        drop(state);
        // Memory is not given back under the lock.
        drop(late);
    }
}
