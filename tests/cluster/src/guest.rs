// SPDX-License-Identifier: GPL-2.0
//! Test programs that run inside the guests: KUnit suites, system calls, the wire.

use crate::{
    Test,
    rounds::{Rounds, VARIABLES},
    support::sh,
};
use anyhow::{Result, bail, ensure};
use std::{env, iter, time::Duration};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("kunit_suites", kunit),
    ("mempool_suite", mempool),
    ("cpupooling_suite", cpupooling),
    ("cloudfs_suite", cloudfs),
    ("queue_suite", queue),
    ("cloudsync_suite", cloudsync),
    ("sockets_suite", sockets),
    ("mempool_suite_by_device", mempool_by_device),
    ("cpupooling_suite_by_device", cpupooling_by_device),
    ("cloudfs_suite_by_device", cloudfs_by_device),
    ("queue_suite_by_device", queue_by_device),
    ("cloudsync_suite_by_device", cloudsync_by_device),
    ("original_program", original_program),
    ("original_program_by_device", original_program_by_device),
    ("wire_suite", wire),
    ("umb_suite", umb),
];

/// Has programs make their calls at the device, also on a kernel with VIRGO's system calls.
const BY_DEVICE: &str = "VIRGO_DOOR=device";

/// Seconds that a whole suite may take, when the host is busy with other things, too.
const PATIENCE: Rounds = Rounds {
    debug: 900,
    slim: 900,
    soak: 3600,
};

fn kunit(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    sh(&node, "insmod /lib/virgo/tests/virgo_test_kunit.ko")?;
    let results = sh(&node, "cat /sys/kernel/debug/kunit/virgo_*/results")?;
    sh(&node, "rmmod virgo_test_kunit")?;
    // A suite that has not run is 'ok', too, and has no line that counts its tests.
    ensure!(
        ["linux", "table", "budget", "variables", "backlog", "bakery"]
            .iter()
            .all(|suite| results.contains(&format!("# virgo_{suite}: pass:"))),
        "{results}"
    );
    ensure!(!results.contains("not ok"), "{results}");
    Ok(())
}

fn mempool(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &["virgo-mempool-tests"])
}

fn cpupooling(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &["virgo-cpupooling-tests"])
}

fn cloudfs(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &["virgo-cloudfs-tests"])
}

fn queue(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &["virgo-queue-tests"])
}

fn cloudsync(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &["virgo-cloudsync-tests"])
}

fn sockets(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &["virgo-sockets-tests"])
}

/// The same calls at the device, where they have the same errors.
fn mempool_by_device(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &[BY_DEVICE, "virgo-mempool-tests"])
}

fn cpupooling_by_device(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &[BY_DEVICE, "virgo-cpupooling-tests"])
}

fn cloudfs_by_device(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &[BY_DEVICE, "virgo-cloudfs-tests"])
}

fn queue_by_device(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &[BY_DEVICE, "virgo-queue-tests"])
}

fn cloudsync_by_device(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &[BY_DEVICE, "virgo-cloudsync-tests"])
}

/// A program written for the interface of 2017.
fn original_program(cluster: &Cluster) -> Result<()> {
    sh(&cluster.node(1), "test_virgo_malloc")?;
    Ok(())
}

/// The same program, linked dynamically, by the library that is preloaded into such programs: what
/// the kernel does not have is done at the device, and other system calls go on working.
fn original_program_by_device(cluster: &Cluster) -> Result<()> {
    let command = format!("{BY_DEVICE} virgo-compat /usr/lib/virgo/test/test_virgo_malloc");
    sh(&cluster.node(1), &command)?;
    Ok(())
}

/// A node takes frames from nodes at their own addresses only, so the suite talks to its own
/// node's.
fn wire(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    let target = format!("VIRGO_TARGET={}", node.address());
    suite(&node, &[&target, "virgo-wire-tests"])?;
    // Requests with faults have left memory that nobody can free.
    sh(
        &node,
        "rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko",
    )?;
    Ok(())
}

fn umb(cluster: &Cluster) -> Result<()> {
    suite(&cluster.node(1), &["virgo-umb-tests"])
}

/// Runs a suite on `node`, which learns here how much to do; `VIRGO_GUEST_TEST` selects tests of it
/// by name.
fn suite(node: &Node, command: &[&str]) -> Result<()> {
    let filter = env::var("VIRGO_GUEST_TEST").ok();
    let program = command.last().copied().unwrap_or_default();
    let command = told_how_much(command).chain(filter);
    let patience = Duration::from_secs(PATIENCE.count() as u64);
    let output = node.run_with_timeout(command, patience)?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.success() {
        println!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
        let failures = said.split_once("\nfailures:\n");
        bail!("{}", failures.map_or(&*said, |(_, failures)| failures));
    }
    let result = said.lines().find(|line| line.starts_with("test result:"));
    println!("{program} on {}: {}", node.name(), result.unwrap_or("?"));
    Ok(())
}

/// The words of a command that runs a test program, which learns how much to do.
pub fn told_how_much(command: &[&str]) -> impl Iterator<Item = String> {
    let set = |name: &&str| Some(format!("{name}={}", env::var(name).ok()?));
    iter::once("env".to_owned())
        .chain(VARIABLES.iter().filter_map(set))
        .chain(command.iter().map(|&word| word.into()))
}
