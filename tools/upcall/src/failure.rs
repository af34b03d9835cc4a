// SPDX-License-Identifier: GPL-2.0
//! Why a function was not called.

/// A reason for people, and an exit status for programs.
pub(crate) struct CallFailure {
    pub(crate) status: u8,
    pub(crate) reason: String,
}

impl CallFailure {
    /// The program was started wrongly.
    pub(crate) fn usage(reason: impl Into<String>) -> Self {
        CallFailure {
            status: 2,
            reason: reason.into(),
        }
    }

    /// The library is there, but cannot be used.
    pub(crate) fn unusable(reason: impl Into<String>) -> Self {
        CallFailure {
            status: 126,
            reason: reason.into(),
        }
    }

    /// There is no such library, or function in it.
    pub(crate) fn missing(reason: impl Into<String>) -> Self {
        CallFailure {
            status: 127,
            reason: reason.into(),
        }
    }
}
