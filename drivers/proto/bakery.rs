// SPDX-License-Identifier: GPL-2.0

//! The bakery lock: participants who know each other by number exclude each other, first come, first
//! served, by loads and stores alone.
//!
//! Source: L. Lamport, "A New Solution of Dijkstra's Concurrent Programming Problem", Communications of the
//! ACM 17(8), 1974. Each participant has two cells that it alone writes, its flag and its ticket:
//!
//! ```text
//!            enter                                                    leave
//!   doorway  | flag = 1                                               ticket = 0
//!            |    -- full barrier (A) --                                 -- full barrier (C) --
//!            | ticket = 1 + largest ticket of the others              wake who is next
//!            | flag = 0
//!                 -- full barrier (B) --
//!            wake who is next
//!   waiting  for each other participant:
//!                 until its flag is 0
//!                 until its ticket is 0 or comes after this one
//! ```
//!
//! Of two tickets the smaller comes first, of equal ones that of the smaller participant. Waiting goes along the others once, or
//! first along all flags and then along all tickets ([`WaitLoops`]); both are correct, for the same reasons.
//!
//! # Why it excludes
//!
//! Say that `i` is waiting and reads the flag of `j` as 0. Either `j` has its ticket already, and `i` sees it: the flag
//! is lowered by a release that comes after the ticket, and read by an acquire that comes before it. Or `j`
//! raises its flag later than `i` has looked. By the barriers A of `j` and B of `i`, of the stores "flag of `j`" and
//! "ticket of `i`" one at least is seen by the other side; so `j` has then read the ticket of `i`, and takes a larger
//! one. In both cases the two compare the same tickets, and only one passes.
//!
//! Whoever enters sees what the holder before has done: the ticket that ends the waiting, 0 or a later one, was stored by a
//! release, and is read by an acquire.
//!
//! # Why it is first come, first served
//!
//! Whose doorway is over when another one begins has a ticket that the other one sees, so the other one's is larger. The
//! doorway has no loop but the one along the participants: nobody waits in it.
//!
//! # Why nobody sleeps for ever
//!
//! Who waits for long goes to sleep, and is woken by what may end its wait: a flag that is lowered, a ticket that is
//! given back. Whoever does that looks, behind a full barrier (B, C), whether anybody sleeps at all, and if so for the
//! participant whose ticket comes first, and wakes that one alone: all others wait for it anyhow. The
//! last such store is seen by the look that follows it, so whom nobody is before any more is woken. A sleeper counts itself before it looks for
//! the last time, with a full barrier in between: either that look sees the store, or who stored sees the sleeper.
//!
//! # Tickets
//!
//! They grow only while there is always somebody inside or waiting, by at most 1 with each visit. With 10⁹ visits a second, which is
//! more than any machine does, 64 bits last for 584 years. A visit that would need a larger one ends with
//! [`BakeryStep::Exhausted`]; as soon as nobody has a ticket they begin with 1 again.
//!
//! # Files
//!
//! `step` has the accesses of which the protocol consists, and `visit` the machine that says which one comes next.
//! `virgo_cloudsync` does them in the kernel, `tests/models` in memories that reorder what they may.

pub mod step;
pub mod visit;

pub use step::{BakeryCell, BakeryStep, LoadOrder, StoreOrder};
pub use visit::{Visit, WaitLoops};

/// The most participants of a lock. Each visit reads the cells of all of them, three times.
pub const MAX_PARTICIPANTS: u16 = 64;
