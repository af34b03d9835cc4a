// SPDX-License-Identifier: GPL-2.0

//! Logical clocks: which of two events happened before the other.
//!
//! A [`Hybrid`] stamp travels in every frame: 8 bytes, ordered like the events, and close to the
//! wall clock. It does not tell concurrent events from ordered ones. A [`Vector`] does, and travels
//! only where events are recorded.

mod hybrid;
mod vector;

pub use hybrid::Hybrid;
pub use vector::Vector;
