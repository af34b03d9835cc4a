// SPDX-License-Identifier: GPL-2.0

//! Trying again.

use kernel::prelude::*;
use linux::deadline::Deadline;

/// The longest time between two attempts, in milliseconds.
const MAX_PAUSE_MS: u32 = 50;

/// Does `attempt` until it does not say [`EAGAIN`] any more, and waits a little longer each time.
/// Sleeps, killably.
///
/// # Errors
///
/// Those of `attempt`; [`ETIMEDOUT`] at the deadline; [`EINTR`] when the task is being killed.
pub fn until_ready<T>(deadline: Deadline, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause_ms = 1;
    loop {
        match attempt() {
            Err(EAGAIN) => (),
            result => return result,
        }
        Deadline::after_ms(pause_ms).min(deadline).sleep()?;
        // Whether another attempt were to succeed would not be heard in time.
        if deadline.passed() {
            return Err(ETIMEDOUT);
        }
        pause_ms = (pause_ms * 2).min(MAX_PAUSE_MS);
    }
}
