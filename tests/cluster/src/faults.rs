// SPDX-License-Identifier: GPL-2.0
//! Nodes that die, stand still, or cannot be reached.

use crate::{
    Test,
    support::{DEADLINE, SLACK, fails, sh, text, used, wait_until_whole, within},
};
use anyhow::{Context, Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("killed_node_is_an_error_and_comes_back", killed),
    ("paused_node_is_an_error_in_time", paused),
    ("cut_off_node_is_an_error_in_time", cut_off),
    ("pieces_of_a_dead_node_are_freed", orphans),
    ("blocked_caller_can_be_killed", kill_caller),
    ("stop_ends_blocked_callers", stop),
    (
        "killed_senders_leave_the_connection_to_others",
        killed_senders,
    ),
    ("first_call_after_a_restart_is_done", idle_restart),
];

/// What a node exports, and where its disk is.
const EXPORT: &str = "/var/log/virgo_fs";

/// The errors that a node out of reach may give.
const UNREACHABLE: &[&str] = &["EHOSTDOWN", "ETIMEDOUT", "ECONNRESET"];

/// Each call that needs node 2 ends in time with an error of the network; those that do not need
/// it work.
fn calls_fail_in_time(node: &Node, id: &str) -> Result<()> {
    for call in [
        format!("virgo get {id}"),
        format!("virgo set {id} x"),
        "virgo malloc 100 --place 2".to_owned(),
        format!("virgo free {id}"),
    ] {
        let (said, took) = fails(node, &call)?;
        ensure!(
            UNREACHABLE.iter().any(|name| said.contains(name)),
            "{call}: {said}"
        );
        ensure!(took < DEADLINE + SLACK, "{call} took {took:?}");
    }
    // The balancer finds a node that can.
    let id = sh(node, "virgo malloc 100")?;
    ensure!(!id.starts_with("02"), "{id}");
    sh(node, &format!("virgo free {id}"))?;
    let here = sh(node, "virgo malloc 100 --place 1")?;
    sh(node, &format!("virgo free {here}"))?;
    Ok(())
}

fn killed(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let id = sh(&node1, "virgo malloc 100 --place 2")?;
    // In the middle of calls.
    let busy = node1.spawn([
        "sh",
        "-c",
        &format!("while virgo set {id} x && virgo get {id} --length 1; do :; done >/dev/null"),
    ])?;
    sleep(Duration::from_millis(500));
    node2.kill()?;
    let start = Instant::now();
    let ended = busy.wait_timeout(DEADLINE + SLACK);
    let took = start.elapsed();
    let result = calls_fail_in_time(&node1, &id);
    node2.restart()?;
    ended.with_context(|| format!("the calls go on after {took:?}"))?;
    result?;
    wait_until_whole(cluster)?;
    // Its memory is gone, and its old ids are known to be old.
    let (said, _) = fails(&node1, &format!("virgo get {id}"))?;
    ensure!(said.contains("ESTALE"), "{said}");
    Ok(())
}

fn paused(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let before = used(&node2)?;
    let id = sh(&node1, "virgo malloc 100 --place 2; :")?;
    sh(&node1, &format!("virgo set {id} kept"))?;
    node2.pause()?;
    let result = calls_fail_in_time(&node1, &id);
    node2.resume()?;
    result?;
    wait_until_whole(cluster)?;
    // Nothing is lost, unless the free that was given up was still carried out; and nothing
    // stays that nobody knows of.
    let _ = node1.run(["virgo", "free", &id])?;
    within(Duration::from_secs(10), || {
        sh(&node1, "virgo free $(virgo malloc 10 --place 2)")?;
        let left = used(&node2)? - before;
        ensure!(left == 0, "{left} bytes stay allocated on node2");
        Ok(())
    })
}

fn cut_off(cluster: &Cluster) -> Result<()> {
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    let id = sh(&node1, "virgo malloc 100 --place 2")?;
    sh(&node1, &format!("virgo set {id} kept"))?;
    cluster.cut(1, 2)?;
    let result = calls_fail_in_time(&node1, &id);
    // The others do not notice.
    let other = sh(&node3, "virgo free $(virgo malloc 100 --place 2)");
    cluster.heal()?;
    result?;
    other?;
    wait_until_whole(cluster)?;
    let data = sh(&node1, &format!("virgo get {id} --length 4"))?;
    ensure!(data == "kept", "{data}");
    sh(&node1, &format!("virgo free {id}"))?;
    Ok(())
}

fn orphans(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let before = [used(&node2)?, used(&node3)?];
    sh(&node1, "virgo malloc 8M")?;
    let held = [used(&node2)?, used(&node3)?];
    ensure!(held[0] > before[0] && held[1] > before[1], "{held:?}");
    node1.restart()?;
    wait_until_whole(cluster)?;
    let after = [used(&node2)?, used(&node3)?];
    ensure!(after == before, "{before:?} became {after:?}");
    Ok(())
}

fn kill_caller(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let id = sh(&node1, "virgo malloc 100 --place 2")?;
    node2.pause()?;
    let caller = node1.spawn(["virgo", "get", &id])?;
    sleep(Duration::from_millis(1000));
    let start = Instant::now();
    let killed = caller.kill().and_then(|()| caller.wait());
    let took = start.elapsed();
    node2.resume()?;
    killed?;
    ensure!(took < Duration::from_secs(3), "it took {took:?}");
    wait_until_whole(cluster)?;
    sh(&node1, &format!("virgo free {id}"))?;
    Ok(())
}

fn stop(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let id = sh(&node1, "virgo malloc 100 --place 2")?;
    node2.pause()?;
    let caller = node1.spawn(["virgo", "get", &id])?;
    sleep(Duration::from_millis(1000));
    let busy = fails(&node1, "rmmod virgo_mempool");
    let stopped = sh(&node1, "echo stop >/sys/kernel/debug/virgo/mempool/peers");
    let ended = caller.wait_timeout(Duration::from_secs(3));
    node2.resume()?;
    sh(&node1, "echo start >/sys/kernel/debug/virgo/mempool/peers")?;
    let (said, _) = busy?;
    ensure!(said.contains("temporarily unavailable"), "{said}");
    stopped?;
    let said = String::from_utf8_lossy(&ended?.stderr).into_owned();
    ensure!(said.contains("ESHUTDOWN"), "{said}");
    wait_until_whole(cluster)?;
    sh(&node1, &format!("virgo free {id}"))?;
    Ok(())
}

/// Connections that `node` has made to a service of `peer` so far.
fn connections(node: &Node, service: &str, peer: &Node) -> Result<u64> {
    let peers = sh(
        node,
        &format!("cat /sys/kernel/debug/virgo/{service}/peers"),
    )?;
    let number = peer.number().to_string();
    let line = peers
        .lines()
        .find(|line| line.split(' ').next() == Some(&number));
    let field = line.and_then(|line| line.split(' ').nth(2));
    Ok(field
        .with_context(|| format!("no node {number} in {peers}"))?
        .parse()?)
}

/// On a link that is full, programs are killed while they wait for room, in the middle of what they
/// send; the connection stays as it is, and good.
fn killed_senders(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, "head -c 2097152 /dev/urandom >/tmp/large")?;
    // A new connection, which has not learned yet how much it can have under way.
    sh(
        &node1,
        "rmmod virgo_cloudfs && insmod /lib/virgo/virgo_cloudfs.ko",
    )?;
    sh(&node1, &format!("virgo put /etc/passwd 2:{EXPORT}/before"))?;
    let before = connections(&node1, "cloudfs", &node2)?;
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem rate 256kbit limit 100000",
    )?;
    let result = sh(
        &node1,
        &format!(
            "for i in $(seq 12); do virgo put /tmp/large 2:{EXPORT}/killed$i 2>/dev/null & done
            sleep 3; kill -9 $(pidof virgo); wait"
        ),
    );
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    result?;
    // What was left of the requests that were under way goes before this.
    sh(&node1, &format!("virgo put /tmp/large 2:{EXPORT}/after"))?;
    let sums = sh(
        &node1,
        &format!("md5sum </tmp/large; virgo cat 2:{EXPORT}/after | md5sum"),
    )?;
    let after = connections(&node1, "cloudfs", &node2)?;
    sh(
        &node2,
        &format!("rm -f {EXPORT}/before {EXPORT}/after {EXPORT}/killed*"),
    )?;
    let sums: Vec<_> = sums.lines().collect();
    ensure!(sums[0] == sums[1], "{sums:?}");
    ensure!(before == after, "{} new connections", after - before);
    Ok(())
}

/// A node that has died without a word and is back: what is asked of it over the connection to its
/// former life, and may be done once only, is done, and not lost.
fn idle_restart(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let mkdir = |name| {
        let command = format!("virgo_cloud_mkdir(2:{EXPORT}/{name})");
        let replies = text(&node1, &node1, 50000, &[&command])?;
        replies.first().cloned().context("no reply")
    };
    let said = mkdir("restart1")?;
    ensure!(said == "made", "{said}");
    node2.restart()?;
    let said = mkdir("restart2")?;
    ensure!(
        said == "made" || said.starts_with("ERR EHOSTDOWN"),
        "{said}"
    );
    wait_until_whole(cluster)?;
    sh(
        &node2,
        &format!("rm -rf {EXPORT}/restart1 {EXPORT}/restart2"),
    )?;
    Ok(())
}
