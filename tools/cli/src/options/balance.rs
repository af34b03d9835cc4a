// SPDX-License-Identifier: GPL-2.0
//! The command line: how calls are spread.

use clap::{Args, Subcommand};
use std::time::Duration;
use virgo::{On, abi::MAX_CALLS};

#[derive(Debug, Subcommand)]
pub(crate) enum Balance {
    /// Compute how many calls a node has to expect, and measure how many it gets
    ///
    /// k/N is what calls at random places give each node on average. Beside it stands the formula
    /// of the original, which is something else (docs/functions.md).
    Model(Model),
    /// Show what this node knows of the others' load (as root)
    ///
    /// '-' is what was not said lately; SENT are the calls that went there since.
    Show,
}

#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Nodes
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) nodes: u32,
    /// Calls
    #[arg(value_name = "K")]
    pub(crate) calls: u32,
    /// Make this many calls and show how many each node got
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) measure: Option<u32>,
    /// Where these calls go: least, random, two, or the number of a node [default: as configured]
    #[arg(long, value_name = "POLICY")]
    pub(crate) on: Option<On>,
    /// How long each of these calls keeps a processor busy, such as 5ms [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) spin: Option<Duration>,
    /// How many calls are made at once
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = batch)]
    pub(crate) batch: usize,
}

fn batch(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count @ 1..=MAX_CALLS) => Ok(count),
        _ => Err("expected 1 to 1000"),
    }
}
