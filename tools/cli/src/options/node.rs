// SPDX-License-Identifier: GPL-2.0
//! The command line: the services and the configuration of this node.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct SessionsOptions {
    /// One service, such as mempool [default: all]
    pub(crate) service: Option<String>,
    /// End the session with this number
    #[arg(long, value_name = "NUMBER", requires = "service")]
    pub(crate) end: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with configuration files, without using them
    ///
    /// Without FILE all is checked that a reload would look at, also the key file (as root) and
    /// whether this machine is one of the nodes. A named file may be meant for another machine. If
    /// it is called virgo_client.conf it is checked as such, together with the one named before it;
    /// others are checked as virgo_cloud.conf.
    Check {
        /// Files [default: /etc/virgo_cloud.conf and /etc/virgo_client.conf]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Have the modules read the configuration files again (as root)
    ///
    /// If a file is bad, the configuration stays as it was.
    Reload,
}
