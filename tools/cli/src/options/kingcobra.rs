// SPDX-License-Identifier: GPL-2.0
//! The command line: requests.

use super::values::deadline;
use clap::{Subcommand, ValueEnum};
use std::{ffi::OsString, path::PathBuf, time::Duration};

#[derive(Debug, Subcommand)]
pub(crate) enum KingcobraCommand {
    /// Show requests and replies, a line each: when, from whom, which of the two, what (as root)
    Log {
        /// A log [default: this node's, /var/log/kingcobra/REQUEST_REPLY.queue]
        file: Option<PathBuf>,
    },
    /// Send a request, wait for the reply, and print it
    ///
    /// A request that begins with 'problem:' or 'suggestion:' is of that type. If what was replied
    /// begins with 'ERR' and the name of an error the status is 1.
    Ask {
        /// The number of the node that is to do it [default: this node]
        #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u32).range(1..))]
        node: Option<u32>,
        /// How long to wait, such as 2s [default: as configured]
        #[arg(long, value_name = "TIME", value_parser = deadline)]
        timeout: Option<Duration>,
        /// The request
        request: OsString,
    },
    /// Answer the requests of this node's KingCobra with what a command prints
    ///
    /// The request is the command's input. If the command fails, or prints more than 65536 bytes,
    /// who has asked is told so.
    Serve {
        /// Requests of which type
        #[arg(long = "type", value_enum, default_value = "service")]
        kind: RequestType,
        /// The command
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// Types of requests.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RequestType {
    Service,
    Problem,
    Suggestion,
}

impl From<RequestType> for virgo::kingcobra::Type {
    fn from(kind: RequestType) -> Self {
        match kind {
            RequestType::Service => Self::Service,
            RequestType::Problem => Self::Problem,
            RequestType::Suggestion => Self::Suggestion,
        }
    }
}
