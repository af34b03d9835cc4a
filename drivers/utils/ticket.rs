// SPDX-License-Identifier: GPL-2.0

//! Slots of a [`Link`]: each has one request at a time. See [`virgo_proto::slots`].
//!
//! Requests whose replies may be deferred get half of them, so that however long they wait, the
//! others do not.

use crate::link::{
    Answer,
    Connection,
    Link,
    Slot,
    State, //
};
use kernel::prelude::*;
use linux::deadline::Deadline;
use virgo_proto::{
    frame::RequestId,
    slots::SLOTS, //
};

/// Slots for requests whose replies may be deferred.
const MAX_DEFERRED: usize = SLOTS / 2;

/// An occupied slot; free again when dropped.
pub(crate) struct Ticket<'a> {
    link: &'a Link,
    /// Of the request.
    pub(crate) id: RequestId,
    /// The last one in this slot whose reply was taken.
    pub(crate) taken: u64,
    /// It counts as one whose reply may be deferred.
    deferred: bool,
    /// The life of the server that the request was sent to last.
    pub(crate) sent_to: Option<u64>,
    /// The slot is free already.
    left: bool,
}

impl Link {
    /// Waits for a free slot and occupies it; also takes the turn to send, if it is free now.
    pub(crate) fn enter(
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
        Ok((Ticket::new(self, id, taken, deferred), turn))
    }

    /// As [`Self::enter`], if slot, connection and turn are all there now.
    pub(crate) fn enter_now(&self, deferred: bool) -> Option<(Ticket<'_>, Connection)> {
        let mut state = self.state.lock();
        let connection = state.turn()?;
        let Some((id, taken)) = state.occupy(deferred) else {
            state.end_turn(connection.serial);
            return None;
        };
        Some((Ticket::new(self, id, taken, deferred), connection))
    }
}

impl<'a> Ticket<'a> {
    fn new(link: &'a Link, id: RequestId, taken: u64, deferred: bool) -> Self {
        Ticket {
            link,
            id,
            taken,
            deferred,
            sent_to: None,
            left: false,
        }
    }
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
    pub(crate) fn take(&mut self, id: RequestId) -> Option<Answer> {
        let slot = self.slots.get_mut(usize::from(id.slot))?;
        slot.taken = id.seq;
        slot.reply.take()
    }

    /// Frees the slot of `ticket`. Returns a reply that came too late.
    pub(crate) fn leave(&mut self, ticket: &mut Ticket<'_>) -> Option<Answer> {
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

    pub(crate) fn has_reply(&self, id: RequestId) -> bool {
        let slot = self.slots.get(usize::from(id.slot));
        slot.is_some_and(|slot| slot.reply.is_some())
    }

    /// The reply of request `id`, if it has come.
    pub(crate) fn take_reply(&mut self, id: RequestId) -> Option<Answer> {
        match self.has_reply(id) {
            true => self.take(id),
            false => None,
        }
    }
}
