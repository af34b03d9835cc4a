// SPDX-License-Identifier: GPL-2.0
//! Measures VIRGO beside its peers: instructions an operation in one guest whose clock counts
//! them, and wall-clock ratios between two guests. Prints a table, and writes it to
//! `docs/benchmarks.md`, and `build/bench.json`.
//!
//! A service is a file here, one in `guest/`, and an entry in each of the two lists. With an argument
//! only the services whose names contain it are measured, and the table is only printed.

mod bakery;
mod cpupooling;
mod eventnet;
mod files;
mod idle;
mod mempool;
mod net;
mod queue;
mod report;
mod support;
mod usb;

use anyhow::{Context, Result};
use report::Row;
use std::{env, path::PathBuf};
use virgo_cluster::{Cluster, Lane, Node, Options};

/// What is measured of a service. Each part starts the peer that it needs and ends it.
pub struct Bench {
    /// In one guest with one processor, whose clock counts instructions.
    instructions: fn(&Node) -> Result<Vec<Row>>,
    /// Between two guests, the client in the first.
    wall_clock: fn(&Node, &Node) -> Result<Vec<Row>>,
}

/// First the one that wants a node where nothing has happened.
const BENCHES: &[(&str, Bench)] = &[
    ("idle", idle::BENCH),
    ("mempool", mempool::BENCH),
    ("cpupooling", cpupooling::BENCH),
    ("files", files::BENCH),
    ("queue", queue::BENCH),
    ("eventnet", eventnet::BENCH),
    ("net", net::BENCH),
    ("bakery", bakery::BENCH),
    ("usb", usb::BENCH),
];

fn main() -> Result<()> {
    let top = PathBuf::from(env::var_os("VIRGO_TOP").context("VIRGO_TOP is not set")?);
    let only = env::args().nth(1).unwrap_or_default();
    let wanted = || BENCHES.iter().filter(|(name, _)| name.contains(&only));
    let mut rows = Vec::new();

    let cluster = Cluster::up(&Options::measuring())?;
    for (_, bench) in wanted() {
        rows.extend((bench.instructions)(&cluster.node(1))?);
    }
    cluster.down()?;

    let cluster = Cluster::up(&Options {
        nodes: 2,
        lane: Lane::Bench,
        ..Options::default()
    })?;
    for (_, bench) in wanted() {
        rows.extend((bench.wall_clock)(&cluster.node(1), &cluster.node(2))?);
    }
    cluster.down()?;

    print!("{}", report::table(&rows));
    if only.is_empty() {
        report::write(&rows, &top)?;
    }
    Ok(())
}
