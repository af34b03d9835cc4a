// SPDX-License-Identifier: GPL-2.0
//! Where virgo-run expects the function's value.
#![expect(unsafe_code, reason = "a descriptor is taken that was inherited")]

use crate::failure::CallFailure;
use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{FromRawFd as _, RawFd},
};

const VALUE_FD: RawFd = 3;

/// The descriptor.
pub(crate) struct Value(File);

impl Value {
    /// Takes the descriptor. This must come before any file is opened.
    pub(crate) fn take() -> Result<Self, CallFailure> {
        // SAFETY: This only asks whether the descriptor is open.
        if unsafe { libc::fcntl(VALUE_FD, libc::F_GETFD) } < 0 {
            return Err(CallFailure::usage("descriptor 3 is not open"));
        }
        // SAFETY: It is open, and inherited: nothing in this program owns it.
        Ok(Value(unsafe { File::from_raw_fd(VALUE_FD) }))
    }

    /// Writes the value.
    pub(crate) fn say(mut self, value: i64) -> Result<(), CallFailure> {
        let cannot = |error: io::Error| CallFailure::usage(format!("descriptor 3: {error}"));
        self.0.write_all(&value.to_le_bytes()).map_err(cannot)
    }
}
