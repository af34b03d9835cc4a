// SPDX-License-Identifier: GPL-2.0
//! How calls are spread: what is expected, and what is seen.

use crate::{
    options::{Balance, Model},
    output::{self, Printer},
};
use anyhow::{Result, bail};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write};
use virgo::{
    Call, Ended,
    abi::MAX_CALLS,
    status::{Seen, Status},
};
use virgo_proto::config::MAX_NODES;

pub(crate) fn run(output: Printer, command: &Balance) -> Result<()> {
    match command {
        Balance::Model(options) => model(output, options),
        Balance::Show => show(output),
    }
}

/// Calls that a node is to expect of `calls` for `nodes` nodes, as the original computes it:
///
/// x = (N^(k+2) - k N^2 + k N - 1) / (N^(k+3) - 2 N^(k+2) + N^(k+1))
///
/// with both sides of the fraction divided by N^(k+1), so that nothing overflows, however many
/// calls there are. It is not what a node has to expect: see docs/functions.md. `None` for one
/// node, where it divides by 0.
fn original(nodes: u32, calls: u32) -> Option<f64> {
    let (n, k) = (f64::from(nodes), f64::from(calls));
    // For many calls it becomes 0, and so do the terms in which it is.
    let small = n.powf(-k);
    let numerator = n - k * n * small + k * small - small / n;
    (nodes > 1).then(|| numerator / (n - 1.0).powi(2))
}

fn model(output: Printer, options: &Model) -> Result<()> {
    let (nodes, calls) = (options.nodes, options.calls);
    if options.measure.is_some() && nodes as usize > MAX_NODES {
        bail!("a cluster has at most {MAX_NODES} nodes: --measure needs no more");
    }
    let right = f64::from(calls) / f64::from(nodes);
    let original = original(nodes, calls);
    let measured = match options.measure {
        Some(count) => Some(measure(options, count)?),
        None => None,
    };
    let json = json!({
        "nodes": nodes,
        "calls": calls,
        "expected_per_node": right,
        "original_formula": original,
        "measured": measured.as_ref().map(|seen| json!({
            "calls": seen.calls(),
            "per_node": seen.0,
            "max": seen.max(),
            "mean": seen.mean(),
            "max_over_mean": seen.imbalance(),
        })),
    });
    output.print(&json, || {
        let mut text = format!("{calls} calls on {nodes} nodes, expected on each:\n");
        let original = original.map_or("undefined".to_owned(), |x| format!("{x:.4}"));
        let _ = writeln!(text, "  k/N                 {right:.4}");
        let _ = writeln!(text, "  original's formula  {original}");
        if let Some(seen) = measured {
            let _ = write!(text, "\n{seen}");
        }
        text
    })
}

/// How many calls each node got.
#[derive(Debug)]
struct Distribution(BTreeMap<u32, u32>);

impl Distribution {
    fn calls(&self) -> u32 {
        self.0.values().sum()
    }

    fn max(&self) -> u32 {
        self.0.values().copied().max().unwrap_or(0)
    }

    fn mean(&self) -> f64 {
        f64::from(self.calls()) / self.0.len() as f64
    }

    /// 1 if all have the same.
    fn imbalance(&self) -> f64 {
        f64::from(self.max()) / self.mean()
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let calls = self.calls();
        let rows = self.0.iter().map(|(node, count)| {
            let share = f64::from(*count) * 100.0 / f64::from(calls.max(1));
            vec![node.to_string(), count.to_string(), format!("{share:.1} %")]
        });
        let header = ["NODE", "CALLS", "SHARE"].map(str::to_owned).to_vec();
        writeln!(f, "{}", output::table(header, 1, rows.collect()))?;
        let (max, mean) = (self.max(), self.mean());
        write!(
            f,
            "max {max}, mean {mean:.1}, max/mean {:.3}",
            self.imbalance()
        )
    }
}

/// Makes calls and counts where they went.
fn measure(options: &Model, count: u32) -> Result<Distribution> {
    let call = match options.spin {
        None => Call::new("noop"),
        Some(time) => Call::new("spin").arg(time.as_millis().to_string()),
    };
    let call = call.on(options.on.unwrap_or_default()).max_output(256);
    let batch = vec![call; MAX_CALLS.min(options.batch)];
    let mut seen: BTreeMap<u32, u32> = (1..=options.nodes).map(|node| (node, 0)).collect();
    let mut left = count as usize;
    while left > 0 {
        let batch = &batch[..left.min(batch.len())];
        for outcome in virgo::run_all(batch)? {
            if let Ended::Failed(errno) = outcome.ended {
                let why = virgo::Reason(errno);
                bail!("a call on node {} failed: {why}", outcome.node);
            }
            *seen.entry(outcome.node).or_default() += 1;
        }
        left -= batch.len();
    }
    Ok(Distribution(seen))
}

fn show(output: Printer) -> Result<()> {
    let seen = Status::default().cpupool()?.seen;
    output.print(&seen, || table(&seen))
}

fn table(seen: &[Seen]) -> String {
    let header = [
        "NODE",
        "CALLS",
        "RUNNABLE",
        "PROCESSORS",
        "BUSY",
        "FREE",
        "SENT",
    ];
    let rows = seen.iter().map(|seen| {
        let mut row = vec![seen.node.to_string()];
        match &seen.load {
            Some(load) => row.extend([
                load.calls.to_string(),
                load.runnable.to_string(),
                load.processors.to_string(),
                format!("{} %", load.busy),
                format!("{} MiB", load.free_mib),
            ]),
            None => row.extend(["-"; 5].map(str::to_owned)),
        }
        row.push(seen.sent.to_string());
        row
    });
    output::table(header.map(str::to_owned).to_vec(), 1, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use virgo::status::Load;

    /// The formula as it stands, for numbers that do not overflow.
    fn as_it_stands(nodes: u32, calls: u32) -> f64 {
        let (n, k) = (f64::from(nodes), f64::from(calls));
        let power = |by: i32| n.powi(calls as i32 + by);
        (power(2) - k * n * n + k * n - 1.0) / (power(3) - 2.0 * power(2) + power(1))
    }

    #[test]
    fn the_original_formula_is_computed() {
        for (nodes, calls) in [(3, 2), (3, 3), (2, 1), (10, 12), (64, 5)] {
            let x = original(nodes, calls).unwrap();
            assert!(
                (x - as_it_stands(nodes, calls)).abs() < 1e-9,
                "{nodes} {calls}: {x}"
            );
        }
        assert_eq!(format!("{:.4}", original(3, 2).unwrap()), "0.6296");
        assert_eq!(format!("{:.4}", original(3, 3).unwrap()), "0.6914");
    }

    #[test]
    fn many_calls_do_not_overflow() {
        for calls in [644, 2000, u32::MAX] {
            assert_eq!(original(3, calls), Some(0.75));
        }
        assert_eq!(original(1, 5), None);
        assert!(original(u32::MAX, u32::MAX).unwrap().is_finite());
    }

    #[test]
    fn distributions_are_shown() {
        let seen = Distribution(BTreeMap::from([(1, 30), (2, 10), (3, 20)]));
        let expected = "NODE  CALLS   SHARE\n\
                        1        30  50.0 %\n\
                        2        10  16.7 %\n\
                        3        20  33.3 %\n\
                        max 30, mean 20.0, max/mean 1.500";
        assert_eq!(seen.to_string(), expected);
    }

    #[test]
    fn loads_are_lined_up() {
        let load = Load {
            calls: 1,
            runnable: 2,
            processors: 4,
            busy: 50,
            free_mib: 100,
        };
        let seen = [
            Seen {
                node: 1,
                load: Some(load),
                sent: 3,
            },
            Seen {
                node: 2,
                load: None,
                sent: 0,
            },
        ];
        let expected = "NODE  CALLS  RUNNABLE  PROCESSORS  BUSY     FREE  SENT\n\
                        1         1         2           4  50 %  100 MiB     3\n\
                        2         -         -           -     -        -     0";
        assert_eq!(table(&seen), expected);
    }
}
