// SPDX-License-Identifier: GPL-2.0

//! Why a configuration was not taken.

use kernel::{
    prelude::*,
    str::CString, //
};
use virgo_proto::config::Fault;

/// Why there is no new configuration.
pub(crate) enum ReloadFailure {
    /// A file was not taken: `file:line: reason`, without the line for the file as a whole.
    Rejected(CString),
    /// It is not the files' fault.
    Error(Error),
}

impl ReloadFailure {
    pub(crate) fn rejected(file: &str, fault: Fault) -> Self {
        let Fault { line, reason } = fault;
        let text = match line {
            0 => CString::try_from_fmt(fmt!("{file}: {reason}")),
            _ => CString::try_from_fmt(fmt!("{file}:{line}: {reason}")),
        };
        text.map_or_else(ReloadFailure::Error, ReloadFailure::Rejected)
    }

    /// Says in the log what can be mended in a file.
    pub(crate) fn log(&self) -> Error {
        match self {
            ReloadFailure::Rejected(why) => {
                pr_err!("{}; nothing is changed\n", **why);
                EINVAL
            }
            ReloadFailure::Error(error) => *error,
        }
    }
}

impl From<Error> for ReloadFailure {
    fn from(error: Error) -> Self {
        ReloadFailure::Error(error)
    }
}
