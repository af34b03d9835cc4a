// SPDX-License-Identifier: GPL-2.0
//! The command line of `virgo eventnet`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use virgo_eventnet::EventId;

/// What events there are to work with.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// Events of a file, as 'export --format json' writes them, instead of the nodes'
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Events of this node only
    #[arg(long, value_name = "NODE", conflicts_with = "input")]
    pub(crate) node: Option<u32>,
}

/// Which nodes are told or asked.
#[derive(Debug, Args)]
pub(crate) struct NodesOptions {
    /// This node only [default: all nodes]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct OnOptions {
    /// What to record, with commas between
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "all",
          value_parser = ["all", "memory", "clone", "file", "queue", "request", "log"])]
    pub(crate) kinds: Vec<String>,
    /// Record one call of so many
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) one_in: u32,
    #[command(flatten)]
    pub(crate) nodes: NodesOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Follow {
    #[command(flatten)]
    pub(crate) nodes: NodesOptions,
    /// Look for new events so often
    #[arg(long, value_name = "TIME", default_value = "500ms",
          value_parser = humantime::parse_duration)]
    pub(crate) every: std::time::Duration,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// What to write
    #[arg(long)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Graphviz's language
    Dot,
    /// A picture, which graphviz's program 'dot' lays out
    Svg,
    /// The log format of ShiViz
    Shiviz,
    /// The Trace Event Format, for Perfetto and Chrome
    Perfetto,
    /// Traces of OpenTelemetry, in JSON
    Otlp,
    /// Lines of JSON, an event each: what --input takes
    Json,
}

/// An event is NODE:NUMBER, as dump and order print it.
#[derive(Debug, Subcommand)]
pub(crate) enum EventNet {
    /// Record events
    On(OnOptions),
    /// Record no more events; those that are there stay
    Off(NodesOptions),
    /// Show what is recorded
    Status(NodesOptions),
    /// Show what was lost
    Loss(NodesOptions),
    /// Print events, by node
    Dump(Source),
    /// Print events as they happen
    Follow(Follow),
    /// Print events in an order in which none stands before its causes
    ///
    /// What cannot be, such as a cycle or a stamp that is not later than that of a cause, is told,
    /// and the exit status is 1.
    Order(Source),
    /// Did event A happen before event B? Status 0 if so, 1 if not
    Before {
        /// The one event
        a: EventId,
        /// The other
        b: EventId,
        #[command(flatten)]
        source: Source,
    },
    /// By which messages did event A lead to event B? Status 1 if it did not
    Path {
        /// The one event
        a: EventId,
        /// The other
        b: EventId,
        #[command(flatten)]
        source: Source,
    },
    /// Why did a call take its time, or fail?
    ///
    /// Prints the chain of events that led to the end of the call, over all nodes, with the time of
    /// each hop.
    Why {
        /// Any event of the call
        id: EventId,
        #[command(flatten)]
        source: Source,
    },
    /// Write events for other tools to standard output
    Export(Export),
}
