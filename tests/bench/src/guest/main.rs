// SPDX-License-Identifier: GPL-2.0
//! Runs inside a guest: times operations, and prints a line `name nanoseconds` for each.
//!
//! Under `-icount shift=0` the guest's clock counts instructions, so the numbers are instructions
//! an operation, of all that runs: client, kernel, server.
//!
//! Usage: `virgo-bench-guest MEASUREMENT [ARGUMENT]`

mod cpupooling;
mod eventnet;
mod files;
mod holds;
mod mempool;
mod queue;
mod session;

use anyhow::{Context, Result};
use std::{env, time::Instant};

/// A measurement; the argument is empty if none was given.
type Measurement = fn(argument: &str) -> Result<()>;

/// All that can be measured, by name.
const MEASUREMENTS: &[&[(&str, Measurement)]] = &[
    mempool::MEASUREMENTS,
    cpupooling::MEASUREMENTS,
    files::MEASUREMENTS,
    queue::MEASUREMENTS,
    holds::MEASUREMENTS,
    eventnet::MEASUREMENTS,
];

fn main() -> Result<()> {
    let name = env::args().nth(1).unwrap_or_default();
    let argument = env::args().nth(2).unwrap_or_default();
    let (_, measurement) = MEASUREMENTS
        .iter()
        .copied()
        .flatten()
        .find(|(known, _)| *known == name)
        .with_context(|| format!("there is no measurement '{name}'"))?;
    measurement(&argument)
}

/// Times `operation`: the median of batches of some 10 ms, so that it does not matter what a busy
/// host does in between. The first, short one warms up and tells how many rounds that is.
fn measure(name: &str, mut operation: impl FnMut() -> Result<()>) -> Result<()> {
    const BATCHES: usize = 25;
    const BATCH_NANOS: u128 = 10_000_000;
    let mut batch = |rounds: u128| -> Result<u128> {
        let start = Instant::now();
        for _ in 0..rounds {
            operation()?;
        }
        Ok(start.elapsed().as_nanos() / rounds)
    };
    let rounds = (BATCH_NANOS / batch(400)?).max(1);
    let mut nanos = (0..BATCHES)
        .map(|_| batch(rounds))
        .collect::<Result<Vec<_>>>()?;
    nanos.sort_unstable();
    println!("{name} {}", nanos[BATCHES / 2]);
    Ok(())
}

/// Times an operation that takes long and does so many things: the median of five.
fn measure_slow(
    name: &str,
    things: usize,
    mut operation: impl FnMut() -> Result<()>,
) -> Result<()> {
    operation()?;
    let mut nanos = [0; 5];
    for place in &mut nanos {
        let start = Instant::now();
        operation()?;
        *place = start.elapsed().as_nanos();
    }
    nanos.sort_unstable();
    println!("{name} {}", nanos[2] / things as u128);
    Ok(())
}
