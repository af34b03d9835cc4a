// SPDX-License-Identifier: GPL-2.0
//! What happened before what in a VIRGO cluster.
//!
//! The nodes record [events](Event). A [`Graph`] of them knows their order and causes, finds what
//! cannot be, explains [why](why) a call took its time, and is [exported](export) to the formats of
//! other tools. Nothing here asks a node: events come from whoever has collected them.

mod event;
pub mod export;
mod graph;
mod span;
pub mod why;

pub use event::{Event, EventId, read_json, read_records, write_json};
pub use graph::{Fault, Graph, Order, Step};
pub use span::{Span, spans};
