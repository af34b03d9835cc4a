// SPDX-License-Identifier: GPL-2.0

//! A bound on log lines that others can cause.

use crate::{
    module_parameters,
    variables, //
};
use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::deadline::Deadline;
use virgo_proto::analytics::variable::{
    Declaration,
    ValueType, //
};

/// Length of a period, in milliseconds.
const PERIOD_MS: u32 = 5000;

/// Log lines in 5 s that the peers of one service can cause: what the variable says, or the parameter.
fn log_burst() -> u32 {
    let learnt = variables::integer(LOG_BURST.name).and_then(|burst| u32::try_from(burst).ok());
    learnt
        .filter(|&burst| burst > 0)
        .unwrap_or_else(|| module_parameters::log_burst.value())
}

/// The variable for [`log_burst`].
pub(crate) const LOG_BURST: Declaration = Declaration {
    name: "utils_log_burst",
    kind: ValueType::Integer,
    unit: "lines in 5 s",
    min: 0,
    max: 100_000,
    default: 0,
    check: None,
    reader: "utils",
    about: "log lines that the peers of one service can cause; 0 for the parameter log_burst",
};

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
        state.passed <= log_burst()
    }
}
