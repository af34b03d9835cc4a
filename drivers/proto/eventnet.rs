// SPDX-License-Identifier: GPL-2.0

//! EventNet: a causal graph of events.
//!
//! Programs and people tell a node of events by [messages](GraphMessage) of the original's text grammar;
//! the node keeps them as edges and vertices in text files, in the original's [line formats](line).
//!
//! The kernel's own [events](event) are recorded in rings; the frames that they send carry a
//! [`TraceContext`].

mod context;
mod dump;
pub mod event;
pub mod line;
mod merge;
mod message;
pub mod ring;
pub mod shares;

pub use context::{TraceContext, MAX_CONTEXT};
pub use dump::{Dump, DUMP_HEAD};
pub use merge::unique;
pub use message::{Conversations, GraphMessage, Ids, MessageError};

/// TCP port of the service.
pub const PORT: u16 = 20000;
