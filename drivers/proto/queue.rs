// SPDX-License-Identifier: GPL-2.0

//! Queues and topics: what is delivered when, without I/O.
//!
//! - [`state`]: one queue: order, limits, leases, redelivery, dead letters, replay;
//! - [`room`]: who gets what becomes free in it, if several wait;
//! - [`promised_room`]: what one of them wants, and what is promised;
//! - [`shares`]: how much of it each of its publishers uses;
//! - [`limits`]: its bounds;
//! - [`slab`]: places for messages, in memory that goes back;
//! - [`heap`]: messages that are due later;
//! - [`options`]: what a queue is to be like;
//! - [`access`]: who may use it;
//! - [`reasons`]: what is wrong, for people;
//! - [`subject`]: names, and the wildcards of those who subscribe;
//! - [`subscribe`]: what somebody wants to subscribe to;
//! - [`wire`]: what nodes say to each other;
//! - [`record`]: what durable queues write to disk;
//! - [`rewrite`]: how one file of that follows another.

pub mod access;
pub mod heap;
pub mod limits;
pub mod options;
pub mod promised_room;
pub mod reasons;
pub mod record;
pub mod rewrite;
pub mod room;
pub mod shares;
pub mod slab;
pub mod state;
pub mod subject;
pub mod subscribe;
pub mod wire;

/// TCP port of the service.
pub const PORT: u16 = 60_000;

/// Most bytes of one message.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most bytes of the name of a queue or topic.
pub const MAX_NAME: usize = 128;
