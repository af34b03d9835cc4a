// SPDX-License-Identifier: GPL-2.0

//! Until when this node may use what it was granted, by its own clock. It is outside of the mutex of the
//! names, since each beat moves it, and beats wait for nobody who uses locks.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use linux::deadline::now_ms;

/// See the module. It is changed under the mutex of the membership.
pub(crate) struct Lease {
    until: Atomic<u64>,
    hold: Atomic<u64>,
}

impl Lease {
    pub(crate) const fn new() -> Self {
        Lease {
            until: Atomic::new(0),
            hold: Atomic::new(0),
        }
    }

    /// Whether this node may grant what it has to its programs.
    pub(crate) fn is_here(&self) -> bool {
        now_ms() < self.until.load(Relaxed)
    }

    /// Until when its programs have what they were granted; for ever if it needs no other node.
    pub(crate) fn hold_until(&self) -> u64 {
        self.hold.load(Relaxed)
    }

    pub(crate) fn holds(&self) -> bool {
        now_ms() < self.hold_until()
    }

    /// Moves both ends. `lease_ms` is what a lease lasts. Returns whether there is a lease now, and was none.
    pub(crate) fn set(&self, until: u64, hold: u64, lease_ms: u32) -> bool {
        let had = self.is_here();
        self.until.store(until, Relaxed);
        let before = match self.hold_until() {
            // It needs others from now on, and has not asked them yet.
            u64::MAX if hold != u64::MAX => now_ms().saturating_add(lease_ms.into()),
            before => before,
        };
        self.hold.store(before.max(hold), Relaxed);
        !had && self.is_here()
    }

    /// Another view is there, in which this node goes on, or not.
    pub(crate) fn renew(&self, continues: bool) {
        self.until.store(0, Relaxed);
        if !continues {
            self.hold.store(0, Relaxed);
        }
    }
}
