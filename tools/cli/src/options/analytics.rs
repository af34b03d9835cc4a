// SPDX-License-Identifier: GPL-2.0
//! Options of `virgo analytics`.

use crate::analytics::check::Check;
use clap::{Args, Subcommand};
use std::{path::PathBuf, time::Duration};

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
    /// Set variables on all nodes, or on none
    ///
    /// All nodes check the values before one of them has them. With a canary, that node has them first; if a check
    /// fails, the canary dies, or this command is killed, all nodes have their old values.
    Apply(Apply),
    /// Show the roll-outs that this node knows: of which node, by whom, when, and how they have ended
    Rollouts,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The variables, in the grammar of /etc/virgo_kernel_analytics.conf; - for standard input
    pub(crate) file: PathBuf,
    /// The node that has the new values before the others
    #[arg(long, value_name = "NODE", value_parser = node)]
    pub(crate) canary: Option<u8>,
    /// How long the canary has them before the others
    #[arg(long = "for", value_name = "TIME", default_value = "30s", requires = "canary",
          value_parser = humantime::parse_duration)]
    pub(crate) time: Duration,
    /// What has to hold on the canary all the time: NAME OP NUMBER, joined by 'and'; NAME is a variable of that node,
    /// OP is <, <=, >, >=, == or !=
    #[arg(long, value_name = "EXPR", requires = "canary")]
    pub(crate) check: Option<Check>,
}

/// The number of a node, perhaps behind its usual name.
fn node(text: &str) -> Result<u8, String> {
    let number = text.strip_prefix("node").unwrap_or(text);
    match number.parse() {
        Ok(node @ 1..) => Ok(node),
        _ => Err("expected a node's number, or nodeN".to_owned()),
    }
}
