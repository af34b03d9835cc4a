// SPDX-License-Identifier: GPL-2.0
//! Which node a call goes to.

use super::{wait_until_called, wait_until_here};
use crate::{
    rounds::Rounds,
    support::{fails, sh, with_config},
};
use anyhow::{Context, Result, ensure};
use std::{thread::sleep, time::Duration};
use virgo_cluster::{Cluster, Node};

/// A user who gives a node no time to answer says nothing about it: calls of others go there as before.
pub fn hurry(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    for node in cluster.nodes() {
        sh(&node1, &format!("virgo clone --on {} noop", node.number()))?;
    }
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem delay 60ms",
    )?;
    let hurry = "until [ -e /tmp/enough ]; do virgo clone --on 2 --timeout 1ms noop; done";
    let checks = || -> Result<Vec<usize>> {
        let hurried = node1.spawn(["su", "user", "-c", &format!("{hurry} 2>/tmp/said")])?;
        sleep(Duration::from_secs(2));
        let calls = spread(&node1, "random", 24);
        sh(&node1, "touch /tmp/enough")?;
        hurried.wait()?;
        let said = sh(&node1, "cat /tmp/said; rm /tmp/said /tmp/enough")?;
        ensure!(said.contains("ETIMEDOUT"), "{said}");
        Ok(calls?.0)
    };
    let calls = checks();
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    wait_until_called(cluster)?;
    let calls = calls?;
    // By chance one in 15 000 runs has none.
    ensure!(calls[1] > 0, "node 2 is passed over: {calls:?}");
    Ok(())
}

/// How often a node was asked to choose for others.
fn picks(node: &Node) -> Result<u64> {
    let line = sh(
        node,
        "grep '^frame pick ' /sys/kernel/debug/virgo/cpupooling/stats",
    )?;
    line.split(' ')
        .nth(2)
        .context("no number")?
        .parse()
        .context("a number")
}

/// One node chooses for all; if it is not reached, each chooses for itself.
pub fn registry(cluster: &Cluster) -> Result<()> {
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    with_config(&node1, "registry = 3", || {
        let before = picks(&node3)?;
        for policy in ["least", "random", "two"] {
            sh(&node1, &format!("virgo clone --on {policy} noop"))?;
        }
        // By number there is nothing to choose.
        sh(&node1, "virgo clone --on 2 noop")?;
        let asked = picks(&node3)? - before;
        ensure!(asked == 3, "asked {asked} times");
        cluster.cut(1, 3)?;
        let alone = sh(
            &node1,
            "for i in 1 2 3; do virgo clone --on 1 noop && virgo clone noop || exit; done",
        );
        cluster.heal()?;
        alone?;
        Ok(())
    })?;
    wait_until_called(cluster)
}

/// How many of `count` calls by `policy` node 1 gives to each node, and the ratio of the most to
/// the mean.
fn spread(node: &Node, policy: &str, count: usize) -> Result<(Vec<usize>, String)> {
    let script = format!("virgo lb model 3 {count} --measure {count} --batch 1 --on {policy}");
    let output = node.run_with_timeout(["sh", "-c", &script], Duration::from_secs(900))?;
    let said = output.text()?;
    let calls: Vec<_> = said
        .lines()
        .skip_while(|line| !line.starts_with("NODE"))
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .take(3)
        .collect();
    ensure!(calls.iter().sum::<usize>() == count, "{said}");
    Ok((calls, said.lines().last().unwrap_or_default().to_owned()))
}

/// Node 3 spins. Random does not care; the others do.
pub fn balance(cluster: &Cluster) -> Result<()> {
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    let count = Rounds {
        debug: 60,
        slim: 300,
        soak: 10_000,
    }
    .count();
    for node in cluster.nodes() {
        // An earlier test may have lost it, and who was lost lately is passed over.
        sh(&node1, &format!("virgo clone --on {} noop", node.number()))?;
    }
    for slow in [false, true] {
        println!("{}", sh(&node1, "virgo lb show")?);
        let mut spinning = Vec::new();
        if slow {
            for _ in 0..6 {
                let spin = "virgo clone --async --on 3 --timeout 300s spin 300000";
                spinning.push(sh(&node3, spin)?);
            }
        }
        let results: Vec<_> = ["random", "least", "two"]
            .iter()
            .map(|policy| spread(&node1, policy, count))
            .collect();
        for job in spinning {
            sh(&node3, &format!("virgo cancel {job}"))?;
            fails(&node3, &format!("virgo wait {job}"))?;
        }
        let kind = if slow { "node 3 slow" } else { "all idle" };
        for (policy, result) in ["random", "least", "two"].iter().zip(results) {
            let (calls, summary) = result?;
            println!("{kind}, {policy}: {calls:?}, {summary}");
            match *policy {
                // By chance one in 10^9 runs has less.
                "random" => ensure!(calls.iter().all(|&n| n > count / 6), "{calls:?}"),
                // A node whose word is too old is tried again.
                _ if slow => ensure!(calls[2] < count / 4, "{policy}: {calls:?}"),
                // Where other tasks run, now and then, nobody can say.
                _ => (),
            }
        }
    }
    wait_until_here(&node3, 0)
}
