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

/// Loads the module of a service anew, with these parameters.
pub fn reload(node: &Node, service: &str, parameters: &str) -> Result<()> {
    let script =
        format!("rmmod virgo_{service} && insmod /lib/virgo/virgo_{service}.ko {parameters}");
    sh(node, &script).map(drop)
}

/// Starts peers by a shell script, and returns when something answers at each of the TCP ports.
pub fn start(node: &Node, script: &str, ports: &[u16]) -> Result<()> {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    let wait = format!(
        "for port in {}; do
            n=0; until nc 127.0.0.1 $port </dev/null >/dev/null; do
                n=$((n + 1)); [ $n -lt 300 ] || {{ echo \"no answer at port $port\" >&2; exit 1; }}
                sleep 0.1
            done
        done",
        ports.join(" ")
    );
    sh(node, &format!("{script}\n{wait}")).map(drop)
}

/// Ends programs, and returns when they are gone.
pub fn stop(node: &Node, programs: &str) -> Result<()> {
    let script =
        format!("killall {programs}; while pidof {programs} >/dev/null; do sleep 0.1; done");
    sh(node, &script).map(drop)
}

/// Starts memcached with one thread.
pub fn start_memcached(node: &Node) -> Result<()> {
    start(node, "memcached -d -u root -t 1 -l 0.0.0.0", &[11211])
}

/// Starts NATS.
pub fn start_nats(node: &Node) -> Result<()> {
    start(
        node,
        "nats-server -a 0.0.0.0 -p 4222 >/dev/null 2>&1 &",
        &[4222],
    )
}
