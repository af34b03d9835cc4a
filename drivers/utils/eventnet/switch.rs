// SPDX-License-Identifier: GPL-2.0

//! Which events are recorded: by kind, and one of so many calls. Can be changed at any time.
//!
//! Any context.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use virgo_proto::eventnet::event::EventKind;

/// A bit for each kind that is recorded.
static KINDS: Atomic<u32> = Atomic::new(0);

/// One call of so many is recorded.
static ONE_IN: Atomic<u32> = Atomic::new(1);

/// Calls since the start.
static CALLS: Atomic<u32> = Atomic::new(0);

fn bit(kind: EventKind) -> u32 {
    1 << (kind as u32)
}

/// Whether events of this kind are recorded. This is all that VIRGO does for EventNet while it is
/// switched off.
#[inline]
pub fn is_on(kind: EventKind) -> bool {
    KINDS.load(Relaxed) & bit(kind) != 0
}

/// Whether events of any kind are recorded.
#[inline]
pub(super) fn is_any_on() -> bool {
    KINDS.load(Relaxed) != 0
}

/// Whether the call that begins now is one of those that are recorded.
pub(super) fn is_sampled() -> bool {
    let one_in = ONE_IN.load(Relaxed);
    one_in <= 1 || CALLS.fetch_add(1, Relaxed) % one_in == 0
}

/// Records these kinds and no others from now on, and one call of `one_in`.
pub(super) fn set(kinds: impl Iterator<Item = EventKind>, one_in: u32) {
    ONE_IN.store(one_in.max(1), Relaxed);
    KINDS.store(kinds.fold(0, |bits, kind| bits | bit(kind)), Relaxed);
}

/// One call of how many is recorded.
pub fn one_in() -> u32 {
    ONE_IN.load(Relaxed)
}
