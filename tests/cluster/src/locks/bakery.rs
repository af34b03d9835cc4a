// SPDX-License-Identifier: GPL-2.0
//! The bakery lock, by a module in C whose threads use it.

use super::load;
use crate::{
    rounds::Rounds,
    support::{fails, sh},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use virgo_cluster::Cluster;

/// The module, which loads if all is as it should be.
const MODULE: &str = "/lib/virgo/tests/virgo_test_bakery.ko";

/// Sixteen threads enter one at a time, first come, first served; the module of the lock stays meanwhile.
pub(super) fn module_in_c(cluster: &Cluster) -> Result<()> {
    let entries = Rounds {
        debug: 3200,
        slim: 100_000,
        soak: 1_600_000,
    }
    .count();
    let node = cluster.node(2);
    let script = format!("dmesg -c >/dev/null; insmod {MODULE} entries={entries}");
    let patience = Duration::from_secs(120 + entries as u64 / 200);
    let loaded = node
        .run_with_timeout(["sh", "-c", &script], patience)?
        .text();
    let said = sh(&node, "dmesg")?;
    ensure!(loaded.is_ok(), "{loaded:?}: {said}");
    let counts = said.lines().find(|line| line.contains("entries"));
    println!("{}", counts.with_context(|| said.clone())?.trim());
    let (said, _) = fails(&node, "rmmod virgo_cloudsync")?;
    ensure!(
        said.contains("unavailable") || said.contains("busy"),
        "{said}"
    );
    sh(&node, "rmmod virgo_test_bakery").map(drop)
}

/// With fewer participants than it has threads the module does not load, and says why.
pub(super) fn few(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    load(cluster, &[2], "bakery_participants=8")?;
    let refused = fails(&node, &format!("dmesg -c >/dev/null; insmod {MODULE}"));
    let said = sh(&node, "dmesg");
    load(cluster, &[2], "")?;
    refused?;
    let said = said?;
    ensure!(said.contains("expected !visitor->err"), "{said}");
    Ok(())
}
