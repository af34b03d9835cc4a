// SPDX-License-Identifier: GPL-2.0

//! Short requests to a node, and their replies, as datagrams beside the connection of a [`Link`].
//!
//! A request has its slot and number before it is known how it goes. As a datagram it is sent by its own
//! task, which waits for the reply alone: the softirq that receives the reply leaves it in the slot's
//! mailbox and wakes that task. Nobody receives for others, and no two tasks use the same lock but for
//! taking and giving back their slots.
//!
//! A datagram that is lost is sent again by the same task when it has waited for long enough; after
//! [`ATTEMPTS`] of them or half of its time the request goes by the connection, under the same number. When as
//! many in a row, of whichever requests, were not answered, datagrams are not used until a probe is. It goes
//! there also when the node says so, and at once if half of its time is too short to find out that a datagram
//! is lost; then a probe goes, too, now and then, to measure the round trip.
//!
//! # Order
//!
//! A datagram may come before what was sent on the connection earlier, or long after it was sent. No task
//! sees that: it has one request at a time, and what is waited for is not overtaken. But a request that was
//! given up may be carried out later than one that its task makes afterwards. So one that goes by the
//! connection lets no datagrams pass until it has arrived. And when one was sent as a datagram and its task
//! gives up, a request that does nothing goes by the connection, under the next number of the slot: after
//! that the node refuses the datagram.

use crate::{
    client::{
        datagram_link::DatagramLink,
        destination::Destination,
        link::Link,
        link_state::Sender,
        request::Request,
        slot_guard::SlotGuard, //
    },
    clock, //
};
use kernel::{
    prelude::*,
    sync::rcu, //
};
use linux::{
    datagram::{
        Datagram,
        DatagramSource, //
    },
    deadline::{
        now_ms,
        now_ns,
        Deadline, //
    }, //
};
use virgo_proto::datagram::{
    signed_part,
    DatagramHeader,
    DatagramKind, //
};

/// How often a request is sent before it goes by the connection. If none is answered datagrams are not used
/// any more: see [`Carrier::lost`](virgo_proto::datagram::Carrier::lost).
const ATTEMPTS: u32 = 4;

/// What came of a request that was sent as a datagram.
enum Outcome {
    Answered(Datagram),
    /// The node wants it by the connection.
    Declined,
    /// Nothing has come, though it was sent so often.
    Lost(u32),
    /// Half of its time is too short to find out that a datagram is lost.
    TooSlow,
    /// It could not be sent, or the connection that it belongs to is lost.
    Elsewhere,
}

impl Link {
    /// Sends a request as a datagram and waits for the reply. Then the slot is free. `None` if it is to go
    /// by the connection.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub(crate) fn ask(
        &self,
        datagrams: &DatagramLink,
        guard: &mut SlotGuard<'_>,
        request: &Request<'_>,
        to: &mut Destination<'_>,
        deadline: Deadline,
    ) -> Result<Option<Result>> {
        let outcome = self.exchange(datagrams, guard, request, deadline);
        let datagram = match outcome {
            Ok(Outcome::Answered(datagram)) => datagram,
            Ok(Outcome::Declined | Outcome::Elsewhere) => return Ok(None),
            Ok(Outcome::Lost(sent)) => {
                let mut state = self.state.lock();
                if state.is_up(guard.serial) {
                    state.lost_datagrams(datagrams, sent);
                }
                return Ok(None);
            }
            Ok(Outcome::TooSlow) => {
                let is_probed = self.state.lock().carrier.too_slow(now_ms());
                if is_probed {
                    datagrams.probe();
                }
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let signed = signed_part(datagram.bytes()).map(|(signed, _)| signed);
        let (header, body) = signed.and_then(DatagramHeader::parse).ok_or(EPROTO)?;
        clock::receive(header.stamp);
        let result = to.take(header.word, body);
        let mut state = self.state.lock();
        state.heard_datagram();
        // By the connection it has not come, since it was not sent there.
        let late = state.slots.acknowledge(guard.id);
        self.free(&mut state, guard);
        drop(state);
        drop(late);
        Ok(Some(result))
    }

    fn exchange(
        &self,
        datagrams: &DatagramLink,
        guard: &mut SlotGuard<'_>,
        request: &Request<'_>,
        deadline: Deadline,
    ) -> Result<Outcome> {
        let Some(mailbox) = self.mailboxes.get(usize::from(guard.id.slot)) else {
            return Ok(Outcome::Elsewhere);
        };
        // Half of the time is for the connection: if datagrams are lost, that is found out, and the request
        // is answered all the same.
        let half_ms = deadline.left_ms() / 2;
        if half_ms.saturating_mul(1000) < datagrams.timeout_us(0) {
            return Ok(Outcome::TooSlow);
        }
        let until = Deadline::after_ms(half_ms);
        let mailbox = mailbox.open(guard.id.to_wire());
        guard.is_datagram = true;
        let mut sent = 0;
        while sent < ATTEMPTS {
            let (repeats, began) = (sent, now_ns());
            let Ok(counter) = datagrams.send((guard.id, guard.taken), request, deadline) else {
                return Ok(Outcome::Elsewhere);
            };
            sent += 1;
            let timeout = datagrams.timeout_us(repeats);
            if mailbox.wait(datagrams.over(), timeout, until)? {
                let Some(datagram) = mailbox.close() else {
                    return Ok(Outcome::Elsewhere);
                };
                if repeats > 0 {
                    datagrams.repeated(repeats);
                } else if datagrams.is_measured(counter) {
                    let us = now_ns().saturating_sub(began) / 1000;
                    datagrams.measured(u32::try_from(us).unwrap_or(u32::MAX));
                }
                return Ok(match is_decline(&datagram) {
                    true => Outcome::Declined,
                    false => Outcome::Answered(datagram),
                });
            }
            if until.passed() {
                break;
            }
        }
        Ok(Outcome::Lost(sent))
    }

    /// The task of `guard` wants nothing more: frees the slot. A datagram of it that may come later than
    /// what this task asks for next is superseded. If that cannot be done now, the connection is given up,
    /// and with it what was signed for it.
    pub(crate) fn give_up(&self, guard: &mut SlotGuard<'_>) {
        let mut state = self.state.lock();
        // By the connection it comes once more, and before what follows it; beside another one it is void.
        let may_be_late =
            guard.is_datagram && state.is_up(guard.serial) && !state.slots.is_under_way(guard.id);
        let connection = match may_be_late {
            true => state.supersede(guard),
            false => None,
        };
        let is_void = may_be_late && connection.is_none();
        let late = self.free(&mut state, guard);
        // Otherwise whoever has the lock sends it.
        let turn = connection.as_ref().and_then(|_| state.send_lock.take());
        drop(state);
        // Memory is not given back under the lock.
        drop(late);
        if let Some((connection, turn)) = connection.zip(turn) {
            self.flush_last(&Sender { connection, turn });
        } else if is_void {
            self.broken(guard.serial);
        }
    }

    /// A datagram has come that says to be from the other node. Softirq.
    pub(crate) fn receive_datagram(
        &self,
        header: &DatagramHeader,
        tag: u64,
        datagram: Datagram,
        source: &DatagramSource,
    ) {
        let guard = rcu::read_lock();
        let Some(datagrams) = self.datagrams.get(&guard) else {
            return;
        };
        if !datagrams.accepts(header, tag, &datagram, source) {
            return;
        }
        match header.kind {
            DatagramKind::Echo => datagrams.echoed(header.word),
            // The number of a request is used once: whatever is repeated here is the answer to it.
            DatagramKind::Reply | DatagramKind::Decline => {
                let mailbox = self.mailboxes.get(usize::from(header.id.slot));
                let unwanted = mailbox.map(|mailbox| mailbox.put(header.id.to_wire(), datagram));
                drop(unwanted);
            }
            DatagramKind::Request | DatagramKind::Probe => (),
        }
    }
}

/// Whether this is the answer that the request was not looked at.
fn is_decline(datagram: &Datagram) -> bool {
    let signed = signed_part(datagram.bytes()).map(|(signed, _)| signed);
    let header = signed
        .and_then(DatagramHeader::parse)
        .map(|(header, _)| header);
    header.is_some_and(|header| header.kind == DatagramKind::Decline)
}
