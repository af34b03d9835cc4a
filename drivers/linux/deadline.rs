// SPDX-License-Identifier: GPL-2.0

//! Points in time by which something has to be done.
//!
//! Counted in jiffies: reading them costs nothing, and the scheduler's timed waits are no finer.

use crate::helpers;
use kernel::{
    bindings,
    prelude::*,
    time::msecs_to_jiffies, //
};

/// A point in time by which an operation has to end.
#[derive(Clone, Copy)]
pub struct Deadline {
    /// In jiffies, which wrap; never more than half their range away.
    at: c_ulong,
}

impl Deadline {
    /// `ms` milliseconds from now, or up to a jiffy later.
    pub fn after_ms(ms: u32) -> Self {
        let wait = msecs_to_jiffies(ms).saturating_add(1);
        Deadline {
            at: now().wrapping_add(wait.min(c_ulong::MAX / 4)),
        }
    }

    /// Further away than anybody waits.
    pub fn never() -> Self {
        Deadline {
            at: now().wrapping_add(c_ulong::MAX / 4),
        }
    }

    /// `ms` milliseconds after this.
    pub fn later(self, ms: u32) -> Self {
        let more = msecs_to_jiffies(ms).min(c_ulong::MAX / 8);
        Deadline {
            at: self.at.wrapping_add(more),
        }
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left_jiffies() == 0
    }

    /// Milliseconds left; 0 when it has passed.
    pub fn left_ms(&self) -> u32 {
        // SAFETY: Plain arithmetic without preconditions.
        let ms = unsafe { bindings::jiffies64_to_msecs(self.left_jiffies() as u64) };
        u32::try_from(ms).unwrap_or(u32::MAX)
    }

    /// Sleeps until then.
    ///
    /// # Errors
    ///
    /// [`EINTR`] when the task is being killed.
    pub fn sleep(self) -> Result {
        // SAFETY: Sleeps; the function may be called wherever that is allowed.
        wait_result(unsafe { helpers::virgo_sleep(self.left_jiffies()) })?;
        Ok(())
    }

    /// The earlier of two.
    pub fn min(self, other: Deadline) -> Deadline {
        if self.left_jiffies() < other.left_jiffies() {
            self
        } else {
            other
        }
    }

    /// Jiffies left, as the scheduler's timed waits take them; 0 when it has passed.
    pub(crate) fn left_jiffies(&self) -> c_long {
        (self.at.wrapping_sub(now()) as c_long).max(0)
    }
}

/// Seconds since 1970 and nanoseconds of the next one, as far as this machine knows; the clock may
/// be set back. Any context.
pub fn wall() -> (u64, u32) {
    let mut time = bindings::timespec64::default();
    // SAFETY: `time` is valid for writes.
    unsafe { bindings::ktime_get_real_ts64(&mut time) };
    (
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// As [`wall`], as of the last timer tick: reading it costs next to nothing.
pub fn coarse_wall() -> (u64, u32) {
    let mut time = bindings::timespec64::default();
    // SAFETY: `time` is valid for writes.
    unsafe { bindings::ktime_get_coarse_real_ts64(&mut time) };
    (
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Nanoseconds of a clock that never goes back, but may show the same for different times. Any context.
pub fn now_ns() -> u64 {
    // SAFETY: Has no preconditions.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// Milliseconds of a clock that never goes back, as fine as jiffies. Any context.
pub fn now_ms() -> u64 {
    // SAFETY: Plain arithmetic without preconditions.
    unsafe { bindings::jiffies64_to_msecs(now() as u64) }
}

fn now() -> c_ulong {
    // SAFETY: The kernel's clock is always valid; it changes under us, hence volatile.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}

/// Maps the result of a timed wait of the kernel to whether it ended before the timeout.
///
/// # Errors
///
/// [`EINTR`] when the waiting task is being killed.
pub(crate) fn wait_result(left: c_long) -> Result<bool> {
    match left {
        0 => Ok(false),
        left if left > 0 => Ok(true),
        _ => Err(EINTR),
    }
}
