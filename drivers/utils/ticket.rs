// SPDX-License-Identifier: GPL-2.0

//! Slots of a [`Link`]: each has one request at a time. See [`virgo_proto::slots`].

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

/// Which slots a request may have. However long those wait that have a limit, a quarter of the slots
/// is left for the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All.
    Any,
    /// Of a request whose reply may be deferred: so many.
    Deferred,
    /// Of one that is sent before its task waits for it. What the task does meanwhile may take long:
    /// a program decides how long its page faults take.
    Ahead,
}

impl Share {
    pub(crate) const COUNT: usize = 3;

    /// Slots that it may have at a time.
    fn limit(self) -> usize {
        match self {
            Share::Any => SLOTS,
            Share::Deferred => SLOTS / 2,
            Share::Ahead => SLOTS / 4,
        }
    }
}

/// An occupied slot; free again when dropped.
pub(crate) struct Ticket<'a> {
    link: &'a Link,
    /// Of the request.
    pub(crate) id: RequestId,
    /// The last one in this slot whose reply was taken.
    pub(crate) taken: u64,
    share: Share,
    /// The life of the server that the request was sent to last.
    pub(crate) sent_to: Option<u64>,
    /// The slot is free already.
    left: bool,
}

impl Link {
    /// Waits for a free slot and occupies it; also takes the turn to send, if it is free now.
    pub(crate) fn enter(
        &self,
        share: Share,
        deadline: Deadline,
    ) -> Result<(Ticket<'_>, Option<Connection>)> {
        let entered = self.changed.wait(deadline, || {
            let mut state = self.state.lock();
            if state.stopped {
                return Some(Err(ESHUTDOWN));
            }
            let (id, taken) = state.occupy(share)?;
            Some(Ok((id, taken, state.turn())))
        })?;
        let (id, taken, turn) = entered.ok_or(ETIMEDOUT)??;
        Ok((Ticket::new(self, id, taken, share), turn))
    }

    /// As [`Self::enter`], if slot, connection and turn are all there now.
    pub(crate) fn enter_now(&self) -> Option<(Ticket<'_>, Connection)> {
        let mut state = self.state.lock();
        if state.stopped {
            return None;
        }
        let connection = state.turn()?;
        let Some((id, taken)) = state.occupy(Share::Ahead) else {
            state.end_turn(connection.serial);
            return None;
        };
        Some((Ticket::new(self, id, taken, Share::Ahead), connection))
    }
}

impl<'a> Ticket<'a> {
    fn new(link: &'a Link, id: RequestId, taken: u64, share: Share) -> Self {
        Ticket {
            link,
            id,
            taken,
            share,
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
    fn occupy(&mut self, share: Share) -> Option<(RequestId, u64)> {
        let busy = self.shares.get_mut(share as usize)?;
        if *busy >= share.limit() {
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
        *busy += 1;
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
        if let Some(busy) = self.shares.get_mut(ticket.share as usize) {
            *busy -= 1;
        }
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
