// SPDX-License-Identifier: GPL-2.0
//! The command line, as its users would use it, carefully or not.

use crate::{
    Test,
    support::{DEADLINE, SLACK, fails, sh, used, wait_until_whole, within},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::Cluster;

pub const TESTS: &[(&str, Test)] = &[
    ("cli_frees_what_it_cannot_name", unnamed),
    ("cli_ping_of_a_silent_node_is_a_failure", silent_node),
    ("cli_reports_each_node_as_it_answers", one_silent_of_all),
];

/// Ids and jobs that cannot be printed are known to nobody.
fn unnamed(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let before = used(&node)?;
    let (said, _) = fails(&node, "virgo malloc 64K --place 1 >/dev/full")?;
    ensure!(said.contains("cannot write to standard output"), "{said}");
    // In a pipe that is closed when the id comes.
    fails(
        &node,
        "set -o pipefail; (sleep 1; virgo malloc 64K --place 1) | true",
    )?;
    ensure!(used(&node)? == before, "{before} bytes were in use");
    let jobs = sh(&node, "virgo jobs")?;
    fails(&node, "virgo clone --on 2 --async sleep 60000 >/dev/full")?;
    within(Duration::from_secs(10), || {
        let now = sh(&node, "virgo jobs | grep -v ended || true")?;
        ensure!(now.lines().count() <= jobs.lines().count(), "{now}");
        Ok(())
    })
}

fn silent_node(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    let said = sh(&node1, "virgo nodes --ping --json")?;
    ensure!(said.matches("\"ns\"").count() == 3, "{said}");
    cluster.node(2).pause()?;
    let result = fails(&node1, "virgo nodes --ping");
    cluster.node(2).resume()?;
    wait_until_whole(cluster)?;
    let (said, _) = result?;
    let row = |number: &str| said.lines().find(|line| line.starts_with(number));
    ensure!(
        row("2").is_some_and(|row| row.contains("ETIMEDOUT") || row.contains("EHOSTDOWN")),
        "{said}"
    );
    ensure!(row("3").is_some_and(|row| row.ends_with('s')), "{said}");
    Ok(())
}

/// The others are seen while one is waited for.
fn one_silent_of_all(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    cluster.node(2).pause()?;
    let script = "virgo clone --on all echo here >/run/said 2>/run/errors & call=$!
         n=0; until [ $(grep -c here /run/said) = 2 ]; do n=$((n + 1)); [ $n -lt 30 ]; sleep 0.1; done
         kill -0 $call && echo running; wait $call; echo status $?; cat /run/errors";
    let result = sh(&node1, script);
    cluster.node(2).resume()?;
    wait_until_whole(cluster)?;
    let said = result?;
    ensure!(
        said.starts_with("running\nstatus 1\n") && said.contains("echo on node 2: "),
        "{said}"
    );
    let (_, took) = fails(&node1, "virgo clone --on all /not/allowed")?;
    ensure!(took < DEADLINE + SLACK, "{took:?}");
    Ok(())
}
