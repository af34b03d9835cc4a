// SPDX-License-Identifier: GPL-2.0

//! One participant of a bakery lock.

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    }, //
};
use linux::wait::WaitQueue;

/// Outside.
const FREE: u32 = 0;

/// A task is about to take the lock as this participant.
const ENTERING: u32 = 1;

/// It has the lock.
const HELD: u32 = 2;

/// A task is about to release it.
const RELEASING: u32 = 3;

/// What others see of a participant, and what it is doing:
///
/// ```text
///          claim             end_claim
///   FREE ---------> ENTERING ---------> HELD
///    ^                 |                  |
///    |   end_claim     |   begin_release  |
///    +-----------------+                  v
///    +------------------------------- RELEASING
///              end_release
/// ```
///
/// The state excludes no other participant; it finds callers out that use a number twice, or release what they do not have.
#[pin_data]
pub(super) struct Participant {
    /// See [`virgo_proto::bakery::BakeryCell`].
    pub(super) flag: Atomic<u64>,
    /// Likewise.
    pub(super) ticket: Atomic<u64>,
    state: Atomic<u32>,
    /// Its task alone waits here.
    #[pin]
    pub(super) queue: WaitQueue,
}

impl Participant {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            flag: Atomic::new(0),
            ticket: Atomic::new(0),
            state: Atomic::new(FREE),
            queue <- linux::new_wait_queue!("virgo_bakery"),
        })
    }

    /// The caller alone takes the lock as this participant, until [`Self::end_claim`].
    pub(super) fn claim(&self) -> Result {
        // Acquire: after what the task before has stored in the cells; pairs with the releases below.
        match self.state.cmpxchg(FREE, ENTERING, Acquire) {
            Ok(_) => Ok(()),
            Err(HELD) => Err(EDEADLK),
            Err(_) => Err(EBUSY),
        }
    }

    /// The caller has the lock, or gives it up.
    pub(super) fn end_claim(&self, has_entered: bool) {
        let state = if has_entered { HELD } else { FREE };
        self.state.store(state, Release);
    }

    /// The caller alone releases the lock, until [`Self::end_release`].
    pub(super) fn begin_release(&self) -> Result {
        // Acquire: as for `claim`; it may be another task than the one that has entered.
        let held = self.state.cmpxchg(HELD, RELEASING, Acquire);
        held.map(|_| ()).map_err(|_| EPERM)
    }

    /// The participant is outside.
    pub(super) fn end_release(&self) {
        self.state.store(FREE, Release);
    }
}
