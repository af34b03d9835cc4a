// SPDX-License-Identifier: GPL-2.0
//! The command line: locks.

use super::values::deadline;
use clap::Args;
use std::{ffi::OsString, time::Duration};
use virgo::lock::Mode;

/// Running a command with a lock.
#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// The name of the lock: 1 to 255 bytes
    pub(crate) name: OsString,
    /// Share it with others that do so: mode PR
    #[arg(long, conflicts_with = "mode")]
    pub(crate) shared: bool,
    /// NL, CR, CW, PR, PW or EX [default: EX]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    pub(crate) mode: Option<Mode>,
    /// How long to wait, such as 2s [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub(crate) timeout: Option<Duration>,
    /// Do not wait
    #[arg(long = "try", conflicts_with = "timeout")]
    pub(crate) tries: bool,
    /// The command
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

fn mode(text: &str) -> Result<Mode, &'static str> {
    Mode::parse(text.as_bytes()).ok_or("expected NL, CR, CW, PR, PW or EX")
}
