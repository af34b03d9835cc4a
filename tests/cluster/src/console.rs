// SPDX-License-Identifier: GPL-2.0
//! What the kernels have said: nothing that a kernel says when something is wrong.

use anyhow::{Context, Result, bail};
use std::{env, fs};
use virgo_cluster::{Cluster, Node, RunningCommand};

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
/// points to. What such a node has said is kept.
pub fn check(cluster: &Cluster) -> Result<()> {
    let top = env::var("VIRGO_TOP").context("VIRGO_TOP is not set")?;
    let mut found = String::new();
    let scans = cluster
        .nodes()
        .map(|node| Ok((scan(&node)?, node)))
        .collect::<Result<Vec<_>>>()?;
    for (scan, node) in scans {
        let said = scan.wait()?.text()? + "\n" + &node.console()?;
        let lines: Vec<_> = said
            .lines()
            .filter(|line| FAULTS.iter().any(|fault| line.contains(fault)))
            .collect();
        if !lines.is_empty() {
            let path = format!("{top}/build/log/{}.console", node.name());
            fs::write(&path, &said).context(path.clone())?;
            found += &format!("{}, all of it in {path}:\n  ", node.name());
            found += &(lines.join("\n  ") + "\n");
        }
    }
    if !found.is_empty() {
        bail!("the kernels report faults:\n{found}");
    }
    println!("consoles of {} nodes are clean", cluster.nodes().count());
    Ok(())
}

/// Starts what prints kmemleak's reports; nothing on a kernel without it. An object counts only if
/// it is 5 s old and two scans in a row have not found a pointer to it.
fn scan(node: &Node) -> Result<RunningCommand> {
    node.spawn([
        "sh",
        "-c",
        "f=/sys/kernel/debug/kmemleak; [ -e $f ] || exit 0
         for i in 1 2; do sleep 3; echo scan >$f; done; cat $f",
    ])
}
