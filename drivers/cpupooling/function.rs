// SPDX-License-Identifier: GPL-2.0

//! Calling functions of kernel modules.

use crate::outcome::Outcome;
use kernel::sync::atomic::Atomic;
use linux::deadline::Deadline;
use virgo_proto::clone::state;
use virgo_utils::functions::{
    Call,
    Output,
    PinnedFunction, //
};

/// How a function is called.
pub(crate) struct FunctionCall<'a> {
    pub(crate) args: &'a [&'a [u8]],
    pub(crate) uid: u32,
    pub(crate) deadline: Deadline,
    pub(crate) cancelled: &'a Atomic<bool>,
    /// Most bytes of output that are kept.
    pub(crate) max_output: usize,
}

/// Calls `function`, with arguments that were checked. Sleeps until it ends.
pub(crate) fn call(function: &PinnedFunction, how: &FunctionCall<'_>) -> Outcome {
    let mut output = Output::new(how.max_output);
    let result = function.run(&mut Call {
        state: None,
        uid: how.uid,
        deadline: how.deadline,
        cancelled: how.cancelled,
        args: how.args,
        output: &mut output,
    });
    let (state, value) = match result {
        Ok(value) => (state::RETURNED, value),
        Err(e) => (state::FAILED, e.to_errno().unsigned_abs().into()),
    };
    let mut outcome = Outcome::new(state, value, output.bytes);
    outcome.truncated = output.truncated;
    outcome
}
