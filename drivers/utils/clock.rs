// SPDX-License-Identifier: GPL-2.0

//! The hybrid logical clock of this node. Every request and reply carries its time, so that whatever a
//! node does after it has received one has a later stamp than the sending of it.
//!
//! Any context.

use crate::params;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use linux::deadline::coarse_wall;
use virgo_proto::clock::Hybrid;

/// The last stamp. It only grows.
static LAST: Atomic<u64> = Atomic::new(0);

/// Stamps of other nodes that were too far ahead of this node's wall clock to be merged.
static AHEAD: Atomic<u64> = Atomic::new(0);

fn wall() -> Hybrid {
    let (seconds, nanos) = coarse_wall();
    Hybrid::of_time(seconds, nanos)
}

/// The stamp of an event that happens now: later than all before it.
pub fn now() -> Hybrid {
    let wall = wall();
    let mut last = LAST.load(Relaxed);
    loop {
        let next = Hybrid::from_wire(last).next(wall);
        match LAST.cmpxchg(last, next.to_wire(), Relaxed) {
            Ok(_) => return next,
            Err(other) => last = other,
        }
    }
}

/// A frame with this stamp has arrived from an authenticated node: later stamps of this node are later
/// than it, unless it is further ahead than clocks may differ.
pub(crate) fn receive(sent: Hybrid) {
    let mut last = LAST.load(Relaxed);
    // The common case: nothing is to be done.
    while sent.to_wire() > last {
        let received = Hybrid::from_wire(last).receive(sent, wall(), params::clock_skew_ms());
        let Some(next) = received else {
            AHEAD.fetch_add(1, Relaxed);
            return;
        };
        match LAST.cmpxchg(last, next.to_wire(), Relaxed) {
            Ok(_) => return,
            Err(other) => last = other,
        }
    }
}

/// How many stamps of other nodes were too far ahead to be merged.
pub fn ahead() -> u64 {
    AHEAD.load(Relaxed)
}
