// SPDX-License-Identifier: GPL-2.0
//! The module: its parameters, requests by the work queue, unloading.

use super::{KINGCOBRA, MODULE, with};
use crate::support::{fails, field, sh, text, within};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

fn pushed(node: &Node) -> Result<u64> {
    let replies = text(node, node, 60000, &["queue requests"])?;
    field(replies.first().map_or("", String::as_str), "pushed")
}

pub fn work_queue(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    with(&node, "use_workqueue=1", || {
        let lines = ["one request"; 50];
        let replies = text(&node, &node, 60000, &lines)?;
        ensure!(replies.iter().all(|reply| reply == "queued"), "{replies:?}");
        // Nobody handles them, so they come to the queue.
        within(Duration::from_secs(5), || {
            let pushed = pushed(&node)?;
            ensure!(pushed == 50, "{pushed} have come");
            Ok(())
        })?;
        // Those that somebody handles do not.
        sh(&node, &format!("insmod {KINGCOBRA}"))?;
        let said = sh(
            &node,
            "virgo clone --on 3 kingcobra_push handled; sleep 1; virgo kingcobra log",
        )?;
        ensure!(said.contains("request  handled"), "{said}");
        Ok(())
    })
}

/// Made and taken under a lock with interrupts off: the debug kernel would say who sleeps.
pub fn atomic(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "rmmod virgo_kingcobra && insmod /lib/virgo/tests/virgo_test_functions.ko",
    )?;
    let said = sh(&node, "virgo clone --on 3 virgo_test_requests 10");
    sh(
        &node,
        &format!("rmmod virgo_test_functions && insmod {KINGCOBRA}"),
    )?;
    let nanos: u64 = said?.parse()?;
    ensure!(nanos > 0, "took no time");
    Ok(())
}

pub fn without_reactor(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    with(&node, "reactor=0", || {
        let (_, _) = fails(&node, "nc -w 2 127.0.0.1 60000 </dev/null")?;
        sh(&node, "virgo clone --on 3 kingcobra_push 'a request'")?;
        let said = sh(&node, "virgo queue take requests")?;
        ensure!(said == "a request", "{said}");
        Ok(())
    })
}

pub fn unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    let open = node.spawn(["virgo", "queue", "sub", "t.open"])?;
    // Somebody waits for a reply that does not come.
    sh(&node, "virgo queue create t.owed")?;
    let owed = cluster.node(1).spawn([
        "virgo",
        "queue",
        "req",
        "--node",
        "3",
        "--timeout",
        "60s",
        "t.owed",
        "x",
    ])?;
    within(Duration::from_secs(10), || {
        let said = sh(&node, "virgo queue list")?;
        ensure!(said.contains("_sub."), "{said}");
        Ok(())
    })?;
    let busy = fails(&node, "rmmod virgo_queue");
    open.kill()?;
    open.wait()?;
    let (said, _) = busy.context("with an open descriptor")?;
    ensure!(said.contains("temporarily unavailable"), "{said}");
    // With sessions, messages and timers: all of that ends.
    let session = node.spawn([
        "sh",
        "-c",
        "(echo \"auth $(cat /etc/virgo.key)\"; echo 'create t.u ack=100'; echo 'sub t.u ack'
          for i in $(seq 50); do echo pub t.u $i; done; sleep 60) | nc 127.0.0.1 60000",
    ])?;
    within(Duration::from_secs(10), || {
        ensure!(sh(&node, "virgo queue list")?.contains("t.u"));
        Ok(())
    })?;
    within(Duration::from_secs(10), || {
        let said = sh(
            &node,
            "virgo queue list --json | tr '{' '\\n' | grep t.owed",
        )?;
        ensure!(said.contains("\"ready\":1"), "{said}");
        Ok(())
    })?;
    within(Duration::from_secs(10), || {
        sh(&node, &format!("rmmod virgo_queue && insmod {MODULE}"))
    })?;
    let owed = owed.wait_timeout(Duration::from_secs(10))?;
    let said = String::from_utf8_lossy(&owed.stderr);
    ensure!(
        !owed.success() && said.contains("ECONNRESET"),
        "who waited for a reply was told: {said}"
    );
    session.wait_timeout(Duration::from_secs(90))?;
    let said = sh(&node, "virgo queue list")?;
    ensure!(!said.contains("t.u"), "{said}");
    Ok(())
}
