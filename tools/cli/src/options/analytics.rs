// SPDX-License-Identifier: GPL-2.0
//! Options of `virgo analytics`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum AnalyticsCommand {
    /// List variables: value, where it comes from, since when, and who reads it
    List {
        /// Only those whose key begins so
        prefix: Option<String>,
    },
    /// Print the value of a variable
    Get {
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Set variables: all, or none if one of them is refused
    ///
    /// When this command has ended, all modules of this node have the new values.
    Set {
        /// Pairs KEY=VALUE; a value with commas stands in brackets or quotes of its own
        #[arg(required = true, value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Give a variable its default back
    Reset {
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Print changes as they are made
    Watch {
        /// Only of variables whose key begins so
        prefix: Option<String>,
        /// End after so many changes
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// Print the last changes: when, by whom, to what value
    History {
        /// Only of variables whose key begins so
        prefix: Option<String>,
    },
    /// Say what a variable is, what it may be, and where its value comes from
    Explain {
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Read /etc/virgo_kernel_analytics.conf again
    Reload,
}
