// SPDX-License-Identifier: GPL-2.0
//! A node with nothing to do does nothing and needs little.

use crate::{Test, rounds::Rounds, support::sh};
use anyhow::{Context, Result, ensure};
use std::{thread::sleep, time::Duration};
use virgo_cluster::Cluster;

pub const TESTS: &[(&str, Test)] = &[
    ("idle_node_does_not_wake_up", wake_ups),
    ("modules_are_small", memory),
];

/// All that the modules do outside of calls is work of their servers: none runs while nobody asks.
fn wake_ups(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    // Sessions of the tests before end within seconds.
    sleep(Duration::from_secs(3));
    let runs = || -> Result<String> { sh(&node, "grep -h runs /sys/kernel/debug/virgo/*/stats") };
    let before = runs()?;
    sleep(Duration::from_secs(10));
    let after = runs()?;
    ensure!(before == after, "{before} became {after} in 10 s");
    Ok(())
}

fn memory(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    let modules = sh(&node, "grep '^virgo_' /proc/modules")?;
    let mut total = 0;
    for line in modules.lines() {
        let size = line.split(' ').nth(1).context("no size")?;
        total += size.parse::<u64>()?;
    }
    println!(
        "{} KiB for {} modules",
        total / 1024,
        modules.lines().count()
    );
    // Code that KASAN watches is more than twice as large.
    let mebibytes = Rounds {
        debug: 8,
        slim: 4,
        soak: 8,
    }
    .count();
    ensure!(total <= (mebibytes as u64) << 20, "{total} bytes");
    Ok(())
}
