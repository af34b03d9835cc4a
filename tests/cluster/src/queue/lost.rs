// SPDX-License-Identifier: GPL-2.0
//! Messages whose taker, node or network fails.

use super::numbers;
use crate::{
    rounds::Rounds,
    support::{DEADLINE, SLACK, fails, sh, wait_until_whole},
};
use anyhow::{Result, ensure};
use std::{collections::BTreeSet, time::Duration};
use virgo_cluster::Cluster;

/// What is taken for a program that was killed while it waited goes to the next one, at once.
pub fn killed_taker(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    for to in 1..=2 {
        sh(
            &node,
            &format!("virgo queue create --node {to} t.killed ack=0 deliveries=1"),
        )?;
        for round in 0..5 {
            let take = format!("virgo queue take --node {to} --timeout 30s t.killed");
            let kill = format!("{take} & taker=$!; sleep 1.5; kill -9 $taker; wait $taker");
            sh(&node, &format!("{kill}; true"))?;
            let publish = format!("virgo queue pub --node {to} t.killed {round}");
            sh(&node, &publish)?;
            let said = sh(
                &node,
                &format!("virgo queue take --node {to} --json --timeout 10s t.killed"),
            )?;
            ensure!(said.contains("\"deliveries\":1"), "{round} on {to}: {said}");
        }
        sh(&node, &format!("virgo queue delete --node {to} t.killed"))?;
    }
    Ok(())
}

/// The time is over while some are on their way: a number would have them sent again.
pub fn unknown_fate(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "virgo queue create t.slow")?;
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem rate 8mbit",
    )?;
    let failed = fails(
        &node1,
        "line=$(head -c 6000 /dev/zero | tr '\\0' x)
         for i in $(seq 1024); do echo $i$line; done |
             virgo queue pub --node 2 --timeout 3s --lines t.slow",
    );
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    let there = sh(
        &node2,
        "virgo queue take --count 1024 t.slow | tr -d x >/run/there
         n=$(wc -l </run/there)
         seq $n | cmp - /run/there && echo $n
         rm /run/there; virgo queue delete t.slow",
    )?;
    let (said, _) = failed?;
    ensure!(
        said.contains("published 0 or more lines: cannot publish") && said.contains("ETIMEDOUT"),
        "{said}"
    );
    let there: u32 = there.trim().parse()?;
    ensure!((1..1024).contains(&there), "{there} are there");
    Ok(())
}

/// What a node has taken others get when it is there again without memory of it.
pub fn restarted(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        "virgo queue create t.lives ack=0; virgo queue pub t.lives kept",
    )?;
    sh(&node1, "virgo queue take --node 2 --keep t.lives")?;
    let (said, _) = fails(&node2, "virgo queue take --timeout 300ms t.lives")?;
    ensure!(said.contains("ETIMEDOUT"), "{said}");
    node1.restart()?;
    wait_until_whole(cluster)?;
    // Its first request tells that it has a new life.
    let _ = node1.run([
        "virgo",
        "queue",
        "take",
        "--node",
        "2",
        "--timeout",
        "1s",
        "--keep",
        "t.none",
    ])?;
    let said = sh(
        &node2,
        "virgo queue take --json t.lives; virgo queue delete t.lives",
    )?;
    ensure!(said.contains("\"deliveries\":2"), "{said}");
    Ok(())
}

/// Has node 1 run `command` with numbers in `i`, while packets to and from node 2 are lost, repeated
/// and out of order, and the link is cut in the middle. Returns how many numbers there were, and
/// those for which the command succeeded.
fn on_a_bad_network(cluster: &Cluster, command: &str) -> Result<(u32, BTreeSet<u32>)> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let netem = "root netem loss 5% duplicate 20% delay 2ms 2ms reorder 25%";
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {netem}"))?;
    sh(&node2, &format!("/usr/sbin/tc qdisc add dev node1 {netem}"))?;
    let count = Rounds {
        debug: 10,
        slim: 60,
        soak: 1000,
    }
    .count();
    let script = format!("for i in $(seq {count}); do {command} >&2 2>/dev/null && echo $i; done");
    let running = node1.spawn(["sh", "-c", &script])?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.cut(1, 2)?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.heal()?;
    let output = running.wait_timeout(Duration::from_secs(600));
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    wait_until_whole(cluster)?;
    let done = numbers(&String::from_utf8_lossy(&output?.stdout))?;
    Ok((count as u32, done))
}

/// On a bad network each message that was accepted is there, and none is there twice.
pub fn bad_network(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    sh(&node2, "virgo queue create t.once ack=0")?;
    let (count, accepted) = on_a_bad_network(cluster, "virgo queue pub --node 2 t.once $i")?;
    let there = sh(
        &node2,
        "n=$(virgo queue list --json | tr '{' '\\n' | grep t.once | sed 's/.*\"ready\":\\([0-9]*\\).*/\\1/')
         virgo queue take --count $n t.once; virgo queue delete t.once",
    )?;
    let lines = there.lines().count();
    let there = numbers(&there)?;
    ensure!(lines == there.len(), "some are there twice: {there:?}");
    ensure!(
        accepted.is_subset(&there),
        "accepted {accepted:?}, there {there:?}"
    );
    println!(
        "{count} published, {} accepted, {lines} there",
        accepted.len()
    );
    Ok(())
}

/// On a bad network the service gets each request that was answered, and none twice.
pub fn bad_network_requests(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    let asked = "/run/asked";
    sh(&node2, &format!("touch {asked}"))?;
    let service = node2.spawn(["virgo", "queue", "serve", "t.asked", "tee", "-a", asked])?;
    let result = on_a_bad_network(cluster, "virgo queue req --node 2 t.asked $i,");
    service.kill()?;
    service.wait()?;
    let got = sh(
        &node2,
        &format!("cat {asked}; rm {asked}; virgo queue delete t.asked"),
    )?;
    let (count, answered) = result?;
    let got = got.trim_end_matches(',');
    let times = got.split(',').count();
    let got = numbers(got)?;
    ensure!(times == got.len(), "some came twice: {got:?}");
    ensure!(
        answered.is_subset(&got),
        "answered {answered:?}, got {got:?}"
    );
    ensure!(!answered.is_empty(), "none was answered");
    println!("{count} asked, {} answered, {times} got", answered.len());
    Ok(())
}

pub fn dead_node(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "virgo queue create t.dead")?;
    let waiting = node1.spawn([
        "virgo",
        "queue",
        "take",
        "--node",
        "2",
        "--timeout",
        "60s",
        "t.dead",
    ])?;
    std::thread::sleep(Duration::from_secs(1));
    node2.kill()?;
    let results = [
        "pub t.dead --node 2 x",
        "req t.dead --node 2 x",
        "take t.dead --node 2",
    ]
    .map(|command| fails(&node1, &format!("virgo queue {command}")));
    // Who waits is told by the deadline of its own.
    waiting.kill()?;
    waiting.wait()?;
    node2.restart()?;
    for result in results {
        let (said, took) = result?;
        let known = ["EHOSTDOWN", "ETIMEDOUT", "ECONNRESET"];
        ensure!(known.iter().any(|name| said.contains(name)), "{said}");
        ensure!(took < DEADLINE + SLACK, "it took {took:?}");
    }
    wait_until_whole(cluster)?;
    let (said, _) = fails(&node1, "virgo queue pub t.dead --node 2 x")?;
    ensure!(said.contains("ENOENT"), "its queues are gone: {said}");
    Ok(())
}
