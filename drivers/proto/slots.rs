// SPDX-License-Identifier: GPL-2.0

//! At most once: the two halves of the protocol by which a request is done once, however often it
//! is sent. Neither half does I/O.
//!
//! After the session slots of NFSv4.1 (RFC 8881, section 2.10.6). A client has [`SLOTS`] slots
//! and at most one request in each; the numbers within a slot only grow. So the server needs to
//! remember one request and one reply a slot, whatever the network repeats or delays:
//!
//! - a larger number is new;
//! - the same number is a repetition after a lost connection: it gets the same reply;
//! - a smaller number is a ghost that the client gave up long ago: it is refused.
//!
//! A reply may be given later than other requests arrive: it is deferred. A repetition of such a
//! request is not answered before.
//!
//! A client that gives up waiting says so with its next request in that slot (`taken` stays
//! behind); the server then gets the reply back to undo what nobody will ever use.

mod class;
mod client;
mod list;
mod round_robin;
mod server;
#[cfg(test)]
mod tests;
mod users;

pub use class::Class;
pub use client::{
    AcquireOutcome, ClientSlot, ReplyDisposition, Restarted, SlotQueue, SlotTable, GIVEN_UP_MAX,
    LINES, SLOTS,
};
pub use round_robin::{RoundRobin, QUEUES};
pub use server::{Arrival, Replies, ServerSlot};
