// SPDX-License-Identifier: GPL-2.0
//! What the kernels have said: nothing that a kernel says when something is wrong.

use crate::support::sh;
use anyhow::{Result, bail};
use virgo_cluster::{Cluster, Node};

/// Marks of a fault in a kernel's log.
const FAULTS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "INFO: task",
    "INFO: rcu",
    "Oops",
    "Kernel panic",
    "KASAN:",
    "general protection",
    "possible circular locking",
    "possible recursive locking",
    "suspicious RCU usage",
    "blocked for more than",
    "unreferenced object",
    "hogged CPU",
    "soft lockup",
    "page allocation failure",
];

/// Fails if any node's console has a line of a fault, or kmemleak has found memory that nothing
/// points to.
pub fn check(cluster: &Cluster) -> Result<()> {
    let mut found = String::new();
    for node in cluster.nodes() {
        for line in leaks(&node)?.lines().chain(node.console()?.lines()) {
            if FAULTS.iter().any(|fault| line.contains(fault)) {
                found += &format!("{}: {line}\n", node.name());
            }
        }
    }
    if !found.is_empty() {
        bail!("the kernels report faults:\n{found}");
    }
    println!("consoles of {} nodes are clean", cluster.nodes().count());
    Ok(())
}

/// What kmemleak reports; nothing on a kernel without it. An object counts only if two scans in a
/// row have not found a pointer to it.
fn leaks(node: &Node) -> Result<String> {
    sh(
        node,
        "f=/sys/kernel/debug/kmemleak; [ -e $f ] || exit 0
         for i in 1 2 3; do sleep 2; echo scan >$f; done; cat $f",
    )
}
