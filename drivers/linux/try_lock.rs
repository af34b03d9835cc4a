// SPDX-License-Identifier: GPL-2.0

//! A lock that nobody waits for: who does not get it does something else. Tasks may hold it for as long
//! as they like, softirqs for a moment. A task that finds a softirq have it spins for that moment, and so does
//! another softirq, but not for longer: others may come before it again and again. On a kernel with
//! `PREEMPT_RT`, where tasks preempt softirqs, that moment lasts until the scheduler runs the softirq again.

use crate::datagram::Softirq;
use core::{
    cell::UnsafeCell,
    hint,
    ops::{
        Deref,
        DerefMut, //
    }, //
};
use kernel::{
    sync::atomic::{
        Acquire,
        Atomic,
        Release, //
    },
    types::NotThreadSafe, //
};

/// Nobody has the lock.
const FREE: u32 = 0;

/// A task has it.
const TASK: u32 = 1;

/// A softirq has it, on another processor than whoever sees this: it is about to release it.
const SOFTIRQ: u32 = 2;

/// How often a softirq looks whether another one has released it: meant to last for longer than a datagram takes to
/// be answered.
const SPINS: u32 = 1000;

/// Data of which one at a time has the lock.
///
/// # Invariants
///
/// The data is used only by who has changed the state from [`FREE`], until it is that again.
pub struct TryLock<T> {
    state: Atomic<u32>,
    data: UnsafeCell<T>,
}

// SAFETY: The data moves with the lock.
unsafe impl<T: Send> Send for TryLock<T> {}
// SAFETY: One at a time uses the data, from any thread: that is as if it were sent from one to the other.
unsafe impl<T: Send> Sync for TryLock<T> {}

impl<T> TryLock<T> {
    /// An unlocked lock.
    pub const fn new(data: T) -> Self {
        TryLock {
            state: Atomic::new(FREE),
            data: UnsafeCell::new(data),
        }
    }

    /// Takes the lock, if no other task has it.
    pub fn try_lock(&self) -> Option<TryGuard<'_, T>> {
        loop {
            match self.try_lock_as(TASK) {
                Err(SOFTIRQ) => hint::spin_loop(),
                other => return other.ok(),
            }
        }
    }

    /// Takes the lock for a moment, if no task has it, nor softirqs for too long.
    pub fn try_lock_briefly(&self, _context: &Softirq) -> Option<TryGuard<'_, T>> {
        for _ in 0..SPINS {
            match self.try_lock_as(SOFTIRQ) {
                Err(SOFTIRQ) => hint::spin_loop(),
                other => return other.ok(),
            }
        }
        None
    }

    /// Takes the lock; otherwise says who has it.
    fn try_lock_as(&self, state: u32) -> Result<TryGuard<'_, T>, u32> {
        // INVARIANT: It is changed from `FREE`; the guard changes it back.
        let taken = self.state.cmpxchg(FREE, state, Acquire);
        taken.map(|_| TryGuard(self, NotThreadSafe))
    }
}

/// Access to the data. The lock is released when this is dropped.
#[must_use = "the lock is released at once when the guard is unused"]
pub struct TryGuard<'a, T>(&'a TryLock<T>, NotThreadSafe);

impl<T> Deref for TryGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariant of the lock, which this guard has, nobody else uses the data.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for TryGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the invariant of the lock, which this guard has, nobody else uses the data.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T> Drop for TryGuard<'_, T> {
    fn drop(&mut self) {
        self.0.state.store(FREE, Release);
    }
}
