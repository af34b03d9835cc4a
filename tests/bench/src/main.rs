// SPDX-License-Identifier: GPL-2.0
//! Measures VIRGO beside its peers: instructions an operation in one guest whose clock counts
//! them, and wall-clock ratios between two guests. Prints a table, and writes it to
//! `docs/benchmarks.md`, and `build/bench.json`.
//!
//! A service is a file here, one in `guest/`, and an entry in each of the two lists.

mod cpupooling;
mod idle;
mod mempool;
mod queue;
mod report;
mod support;

use anyhow::{Context, Result};
use report::Row;
use std::{env, path::PathBuf};
use virgo_cluster::{Cluster, Node, Options};

/// What is measured of a service. Each part starts the peer that it needs and ends it.
pub struct Bench {
    /// In one guest with one processor, whose clock counts instructions.
    instructions: fn(&Node) -> Result<Vec<Row>>,
    /// Between two guests, the client in the first.
    wall_clock: fn(&Node, &Node) -> Result<Vec<Row>>,
}

/// First the one that wants a node where nothing has happened.
const BENCHES: &[Bench] = &[idle::BENCH, mempool::BENCH, cpupooling::BENCH, queue::BENCH];

fn main() -> Result<()> {
    let top = PathBuf::from(env::var_os("VIRGO_TOP").context("VIRGO_TOP is not set")?);
    let mut rows = Vec::new();

    let cluster = Cluster::up(&Options::measuring())?;
    for bench in BENCHES {
        rows.extend((bench.instructions)(&cluster.node(1))?);
    }
    cluster.down()?;

    let cluster = Cluster::up(&Options {
        nodes: 2,
        ..Options::default()
    })?;
    for bench in BENCHES {
        rows.extend((bench.wall_clock)(&cluster.node(1), &cluster.node(2))?);
    }
    cluster.down()?;

    report::write(&rows, &top)
}
