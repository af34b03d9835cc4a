// SPDX-License-Identifier: GPL-2.0
//! What the benches have in common.

use anyhow::{Context, Result};
use std::{collections::BTreeMap, time::Duration};
use virgo_cluster::Node;

/// No script takes longer, unless it waits for something that does not come.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was measured, by name.
pub type Figures = BTreeMap<String, f64>;

/// Runs a shell script, which must succeed, and returns what it prints.
pub fn sh(node: &Node, script: &str) -> Result<String> {
    let output = node.run_with_timeout(["sh", "-c", script], PATIENCE)?;
    output
        .text()
        .with_context(|| format!("on {}: {script}", node.name()))
}

/// Has `virgo-bench-guest` measure on `node`.
pub fn measure(node: &Node, arguments: &str) -> Result<Figures> {
    eprintln!("measuring on {}: {arguments}", node.name());
    figures(&sh(node, &format!("virgo-bench-guest {arguments}"))?)
}

/// Has them measured one after the other, several times, and returns the medians: on a wall clock
/// figures can only be compared if they were taken at the same time.
pub fn measure_in_turns<const N: usize>(node: &Node, all: [&str; N]) -> Result<[Figures; N]> {
    const TURNS: usize = 5;
    let mut figures = all.map(|_| Vec::new());
    for _ in 0..TURNS {
        for (figures, arguments) in figures.iter_mut().zip(all) {
            figures.extend(measure(node, arguments)?);
        }
    }
    Ok(figures.map(medians))
}

/// The median of the figures of each name.
fn medians(figures: Vec<(String, f64)>) -> Figures {
    let mut by_name: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, figure) in figures {
        by_name.entry(name).or_default().push(figure);
    }
    let median = |(name, mut figures): (String, Vec<f64>)| {
        figures.sort_by(f64::total_cmp);
        (name, figures[figures.len() / 2])
    };
    by_name.into_iter().map(median).collect()
}

/// Takes lines `name number` apart.
pub fn figures(text: &str) -> Result<Figures> {
    let figure = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines()
        .map(|line| figure(line).with_context(|| format!("'{line}' is no figure")))
        .collect()
}

/// Starts memcached with one thread, and returns when it answers.
pub fn start_memcached(node: &Node) -> Result<()> {
    let start = "memcached -d -u root -t 1 -l 0.0.0.0
        until nc 127.0.0.1 11211 </dev/null; do sleep 0.1; done";
    sh(node, start).map(drop)
}

/// Ends it, and returns when its port is free.
pub fn stop_memcached(node: &Node) -> Result<()> {
    let stop = "killall memcached; while pidof memcached; do sleep 0.1; done";
    sh(node, stop).map(drop)
}
