// SPDX-License-Identifier: GPL-2.0

//! Slots of a [`Link`]: each has one request at a time. See [`virgo_proto::slots`].

use crate::{
    client::{
        datagram_link::DatagramLink,
        link::Link,
        link_state::{
            Connection,
            LinkState,
            ReceivedReply,
            Receiver,
            Sender, //
        },
        request::Request, //
    },
    eventnet::hooks::{
        self,
        SentRequest, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    deadline::Deadline,
    waiters::Woken, //
};
use virgo_proto::{
    datagram::Way,
    eventnet::event::EventId,
    frame::RequestId,
    slots::{
        AcquireOutcome,
        Class,
        SlotQueue, //
    }, //
};

/// How a request goes.
pub(crate) enum Start {
    /// By the connection; perhaps its task may send at once.
    Stream(Option<Sender>),
    /// As a datagram.
    Datagram(Arc<DatagramLink>),
}

/// An occupied slot; free again when dropped.
pub(crate) struct SlotGuard<'a> {
    link: &'a Link,
    /// Of the request.
    pub(crate) id: RequestId,
    /// The last one in this slot whose reply was taken.
    pub(crate) taken: u64,
    /// The request was left for others to send: by which connection, and where it waited.
    pub(crate) left_with: Option<(Connection, u64)>,
    /// Its task is the receiver since the request was sent.
    pub(crate) receiver: Option<Receiver>,
    /// The event that has sent the request, if it is recorded.
    pub(crate) sent: Option<SentRequest>,
    /// Nothing may be sent before an answer has come to something that this user has given up.
    pub(crate) must_wait: bool,
    /// The connection that there was when the slot was taken.
    pub(crate) serial: u64,
    /// The request may have gone as a datagram beside that connection.
    pub(crate) is_datagram: bool,
    /// The slot is free already.
    is_free: bool,
}

impl Link {
    /// Waits for a free slot and occupies it for the user of `request`, and says how that goes; also takes
    /// the send lock, if it goes by the connection, and nobody has anything to send. If the guard says that
    /// it must wait, [`Self::wait_for_answers`] comes before the request is sent.
    pub(crate) fn enter(
        &self,
        request: &Request<'_>,
        class: Class,
        deadline: Deadline,
    ) -> Result<(SlotGuard<'_>, Start)> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(ESHUTDOWN);
        }
        let id = match state.slots.enter(request.uid, class) {
            AcquireOutcome::Slot(id) => id,
            AcquireOutcome::Wait(line) => {
                let waiters = self.lines.get(line.index()).ok_or(EINVAL)?;
                let leave = |state: &mut LinkState| state.slots.leave_line(line);
                match waiters.wait(state, deadline, leave)? {
                    Woken::Selected => (),
                    Woken::Expelled => return Err(ESHUTDOWN),
                    Woken::TooLate | Woken::Looked => return Err(ETIMEDOUT),
                }
                state = self.state.lock();
                state.slots.claim(line).ok_or(EINVAL)?
            }
        };
        let guard = SlotGuard::new(self, &state, id);
        let way = match guard.must_wait || !request.fits_datagram() || hooks::is_on(self.kind) {
            true => None,
            false => state.choose(id, guard.taken),
        };
        let (start, probe) = match way {
            Some((datagrams, Way::Datagram)) => (Start::Datagram(datagrams), None),
            _ if guard.must_wait => (Start::Stream(None), None),
            other => (Start::Stream(state.sender()), other),
        };
        drop(state);
        if let Some((datagrams, _)) = probe {
            datagrams.probe();
        }
        Ok((guard, start))
    }

    /// As [`Self::enter`], if slot, connection and send lock are all there now.
    pub(crate) fn enter_now(&self, uid: u32) -> Option<(SlotGuard<'_>, Sender)> {
        let mut state = self.state.lock();
        if state.stopped {
            return None;
        }
        let sender = state.sender()?;
        let Some(id) = state.slots.enter_now(uid, Class::Ahead) else {
            self.end_turn(&mut state, sender.turn);
            return None;
        };
        Some((SlotGuard::new(self, &state, id), sender))
    }

    /// Frees the slot of `guard`. Under the lock of the state. Returns a reply that came too late.
    pub(crate) fn free(
        &self,
        state: &mut LinkState,
        guard: &mut SlotGuard<'_>,
    ) -> Option<ReceivedReply> {
        guard.is_free = true;
        if state.slots.is_owed(guard.id) {
            let is_sending = state.send_lock.is_held();
            state.order.given_up(is_sending);
        }
        let (late, given) = state.slots.release(guard.id);
        self.give(state, given);
        if state.end_receiver(guard.id.slot) {
            // It was woken to receive, but does not want to any more.
            self.offer_receiver(state);
        }
        late
    }

    /// Wakes the task for which there is a slot now.
    pub(crate) fn give(&self, state: &mut LinkState, mut given: Option<SlotQueue>) {
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

impl<'a> SlotGuard<'a> {
    fn new(link: &'a Link, state: &LinkState, id: RequestId) -> Self {
        SlotGuard {
            link,
            id,
            taken: state.slots.taken(id),
            left_with: None,
            receiver: None,
            sent: None,
            must_wait: state.slots.must_wait(id),
            serial: state.connections,
            is_datagram: false,
            is_free: false,
        }
    }
}

impl SlotGuard<'_> {
    /// The reply was sent by this event, if that is recorded.
    pub(crate) fn replied(&mut self, by: Option<EventId>) {
        if let Some(sent) = &mut self.sent {
            sent.replied(by);
        }
    }
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        if !self.is_free {
            self.link.give_up(self);
        }
    }
}
