// SPDX-License-Identifier: GPL-2.0

//! A bound on log lines that others can cause.

use crate::params;
use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::deadline::Deadline;

/// Length of a period, in milliseconds.
const PERIOD_MS: u32 = 5000;

/// Lets a number of log lines pass in each period of 5 s.
#[pin_data]
pub struct LogLimit {
    #[pin]
    state: SpinLock<State>,
}

struct State {
    period: Deadline,
    passed: u32,
}

impl LogLimit {
    /// As many lines as the module parameter `log_burst` of virgo_utils says, or the variable in its
    /// place. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn new() -> Result<Pin<KBox<Self>>> {
        let period = Deadline::after_ms(PERIOD_MS);
        KBox::pin_init(
            pin_init!(Self {
                state <- linux::new_spinlock!(State { period, passed: 0 }, "virgo_log_limit"),
            }),
            GFP_KERNEL,
        )
    }

    /// Whether one more line may be written. Any context but interrupts.
    pub fn pass(&self) -> bool {
        let mut state = self.state.lock();
        if state.period.passed() {
            state.period = Deadline::after_ms(PERIOD_MS);
            state.passed = 0;
        }
        state.passed = state.passed.saturating_add(1);
        state.passed <= params::log_burst()
    }
}
