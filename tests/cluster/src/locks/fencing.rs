// SPDX-License-Identifier: GPL-2.0
//! What was told a token refuses who had the lock before: a node that slept past its lease writes late.

use super::{SETTLED, settled};
use crate::support::{fails, sh, wait_until_whole, within};
use anyhow::{Result, ensure};
use virgo_cluster::{Cluster, Node};

/// Has `node` hold the lock `name`, use it once by `first`, and do so again by `late` when it is told to.
/// Both find the lock and the token in VIRGO_LOCK_FENCE.
fn sleeper(
    node: &Node,
    name: &str,
    first: &str,
    late: &str,
) -> Result<virgo_cluster::RunningCommand> {
    sh(node, "rm -f /tmp/first /tmp/go /tmp/late /tmp/ended")?;
    let held = format!(
        "{first} >/tmp/first.new 2>&1; mv /tmp/first.new /tmp/first; \
         while [ ! -e /tmp/go ]; do sleep 0.1; done; \
         {late} >/tmp/late 2>&1; echo $? >/tmp/ended"
    );
    let running = node.spawn(["virgo", "lock", name, "--", "sh", "-c", &held])?;
    within(SETTLED, || sh(node, "cat /tmp/first"))?;
    Ok(running)
}

/// What came of what a sleeper has done late.
fn late(node: &Node) -> Result<String> {
    sh(node, "touch /tmp/go")?;
    let status = within(SETTLED, || sh(node, "cat /tmp/ended"))?;
    ensure!(status == "1", "status {status}");
    sh(node, "cat /tmp/late")
}

/// What a holder has set in the memory pool.
pub(super) fn memory(cluster: &Cluster) -> Result<()> {
    settled(cluster)?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let id = sh(&node1, "virgo malloc 100 --shared --place 2")?;
    let set = |what: &str| format!("virgo set {id} {what} --fence \"$VIRGO_LOCK_FENCE\"");
    let running = sleeper(&node3, "ledger", &set("first"), &set("late!"))?;
    node3.pause()?;
    let next = set("next!");
    let next = sh(
        &node1,
        &format!("virgo lock ledger --timeout 30s -- sh -c '{next}'"),
    );
    node3.resume()?;
    next?;
    let said = late(&node3)?;
    ensure!(
        said.contains("ESTALE") && said.contains("has had the lock"),
        "{said}"
    );
    for node in [&node1, &node2, &node3] {
        let content = sh(node, &format!("virgo get {id} --length 5"))?;
        ensure!(content == "next!", "{content}");
    }
    // Nor may anybody write who forgets the lock.
    let (said, _) = fails(&node1, &format!("virgo set {id} x"))?;
    ensure!(said.contains("ENOLCK"), "{said}");
    let (said, _) = fails(&node1, &format!("virgo set {id} x --fence other:9"))?;
    ensure!(said.contains("another lock"), "{said}");
    sh(&node1, &format!("virgo free {id}"))?;
    running.wait_timeout(SETTLED)?;
    wait_until_whole(cluster)?;
    settled(cluster)
}
