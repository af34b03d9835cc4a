// SPDX-License-Identifier: GPL-2.0

//! Points in time by which something has to be done.

use kernel::{
    bindings,
    prelude::*,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// A point in time by which an operation has to end.
#[derive(Clone, Copy)]
pub struct Deadline(Instant<Monotonic>);

impl Deadline {
    /// `ms` milliseconds from now.
    pub fn after_ms(ms: u32) -> Self {
        // No overflow: 2^32 ms are 50 days, the clock has room for 292 years.
        Deadline(Instant::now() + Delta::from_millis(ms.into()))
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_negative()
    }

    /// Milliseconds left, rounded up; 0 when it has passed.
    pub fn left_ms(&self) -> u32 {
        u32::try_from(self.left().as_millis_ceil()).unwrap_or(0)
    }

    /// The earlier of two.
    pub fn min(self, other: Deadline) -> Deadline {
        if (self.0 - other.0).is_negative() {
            self
        } else {
            other
        }
    }

    fn left(&self) -> Delta {
        self.0 - Instant::now()
    }

    /// Jiffies left, rounded up, as the scheduler's timed waits take them: at most the longest
    /// finite wait; 0 when it has passed.
    pub(crate) fn left_jiffies(&self) -> c_long {
        let nanos = u64::try_from(self.left().as_nanos()).unwrap_or(0);
        // SAFETY: Plain arithmetic without preconditions.
        let jiffies = unsafe { bindings::nsecs_to_jiffies(nanos) };
        let jiffies = c_long::try_from(jiffies).unwrap_or(c_long::MAX - 2);
        match nanos {
            0 => 0,
            // MAX_SCHEDULE_TIMEOUT itself would mean for ever.
            _ => jiffies.min(c_long::MAX - 2) + 1,
        }
    }
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
