// SPDX-License-Identifier: GPL-2.0
//! The command line: running functions and programs.

use super::values::deadline;
use clap::Args;
use std::{ffi::OsString, time::Duration};
use virgo::On;

#[derive(Debug, Args)]
pub(crate) struct Clone {
    /// Where: least (loaded), random, two (the less loaded of two random nodes), the number of a
    /// node, or all [default: as configured]. What all nodes print comes as they answer (with
    /// --json at the end), and the status is that of the first node, by number, with another than 0
    #[arg(long, value_name = "NODE|least|random|two|all", value_parser = place)]
    pub(crate) on: Option<Where>,
    /// When it is ended at the latest, such as 2s [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub(crate) timeout: Option<Duration>,
    /// Do not wait: print the job, for wait and cancel
    #[arg(long = "async")]
    pub(crate) asynchronous: bool,
    /// Say on standard error which node it ran on, and how it ended
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// What to run, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Where to run a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// On one node.
    On(On),
    /// On each.
    All,
}

#[derive(Debug, Args)]
pub(crate) struct WaitOptions {
    /// The job, as clone --async prints it
    pub(crate) job: u64,
    /// How long to wait, such as 2s [default: as configured]
    #[arg(long, value_name = "TIME", value_parser = deadline)]
    pub(crate) timeout: Option<Duration>,
    /// Say on standard error which node it ran on, and how it ended
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

pub(super) fn place(text: &str) -> Result<Where, &'static str> {
    match text {
        "all" => Ok(Where::All),
        _ => text
            .parse()
            .map(Where::On)
            .map_err(|_| "expected 'least', 'random', 'two', 'all' or the number of a node"),
    }
}
