// SPDX-License-Identifier: GPL-2.0

//! Why nothing was set.

use kernel::{
    prelude::*,
    str::CString, //
};
use virgo_proto::errno::Errno;

/// Why nothing was set.
pub enum Refused {
    /// The values are bad.
    Text {
        /// Line, from 1.
        line: u32,
        /// In a number.
        errno: Errno,
        /// Which variable it is about, and what is wrong.
        reason: CString,
    },
    /// It is not the values' fault.
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused::Error(error)
    }
}

impl From<kernel::alloc::AllocError> for Refused {
    fn from(_: kernel::alloc::AllocError) -> Self {
        Refused::Error(ENOMEM)
    }
}

impl Refused {
    /// With the line that it is about.
    pub(super) fn at(self, line: u32) -> Self {
        match self {
            Refused::Text { errno, reason, .. } => Refused::Text {
                line,
                errno,
                reason,
            },
            error => error,
        }
    }
}

/// A refusal of a value of `key`, or of something else if that is empty.
pub(super) fn refused(errno: Errno, key: &str, reason: &str) -> Refused {
    let text = match key {
        "" => CString::try_from_fmt(fmt!("{reason}")),
        _ => CString::try_from_fmt(fmt!("{key}: {reason}")),
    };
    match text {
        Ok(reason) => Refused::Text {
            line: 0,
            errno,
            reason,
        },
        Err(error) => Refused::Error(error),
    }
}
