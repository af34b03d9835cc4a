// SPDX-License-Identifier: GPL-2.0
//! The connections that a node makes to others: whose they are, and how long they last.

use crate::{
    Test,
    support::{fails, sh, wait_until_whole, within},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};
use virgo_proto::frame::VERSION;

pub const TESTS: &[(&str, Test)] = &[
    ("connections_belong_to_the_node_not_to_a_user", owner),
    ("reload_ends_connections_to_removed_nodes", removed_node),
    ("reload_ends_connections_of_the_old_key", cluster_key),
    ("reload_keeps_connections_that_stay_allowed", unchanged),
    ("refusal_without_proof_is_no_answer", forged),
];

/// What `/proc/net/tcp` says of sockets on `node` whose other end is `port` of `peer`: the uids.
fn owners(node: &Node, peer: &Node, port: u16) -> Result<Vec<String>> {
    // As the kernel prints it: the number in memory.
    let [a, b, c, d] = peer.address().octets();
    let remote = format!("{d:02X}{c:02X}{b:02X}{a:02X}:{port:04X}");
    let sockets = sh(node, "cat /proc/net/tcp")?;
    let rows = sockets.lines().map(|line| line.split_whitespace());
    let uid = |mut row: std::str::SplitWhitespace<'_>| {
        (row.nth(2)? == remote).then(|| row.nth(4).map(str::to_owned))?
    };
    Ok(rows.filter_map(uid).collect())
}

/// A connection is shared by all users of the node, so it is not that of the one who has needed it
/// first: not his uid's, nor charged to him.
fn owner(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node1,
        "rmmod virgo_cloudfs && insmod /lib/virgo/virgo_cloudfs.ko",
    )?;
    sh(&node1, "su user -c 'virgo ls 2:/var/log/virgo_fs'")?;
    let owners = owners(&node1, &node2, 50000)?;
    ensure!(owners == ["0"], "uids of the sockets: {owners:?}");
    Ok(())
}

const KEEP: &str = "cp -p /etc/virgo.key /etc/virgo_c*.conf /tmp/";
const UNDO: &str = "cp -p /tmp/virgo.key /tmp/virgo_c*.conf /etc/";

/// State of the connection of `node` to the memory pool of node 2, and how many there have been.
fn link(node: &Node) -> Result<(String, u64)> {
    let peers = sh(node, "cat /sys/kernel/debug/virgo/mempool/peers")?;
    let line = peers.lines().find(|line| line.starts_with("2 "));
    let words: Vec<_> = line.context("no link to node 2")?.split(' ').collect();
    Ok((words[1].to_owned(), words[2].parse()?))
}

/// Node 1's connection to node 2, after `change` on node 1 and a reload there.
fn after(cluster: &Cluster, change: &str) -> Result<[(String, u64); 2]> {
    let node1 = cluster.node(1);
    sh(&node1, "virgo free $(virgo malloc 10 --place 2)")?;
    let before = link(&node1)?;
    let changed = sh(&node1, &format!("{KEEP}; {change}; virgo config reload"));
    let after = link(&node1);
    sh(&node1, &format!("{UNDO}; virgo config reload"))?;
    changed?;
    wait_until_whole(cluster)?;
    Ok([before, after?])
}

fn is_ended_by(cluster: &Cluster, change: &str) -> Result<()> {
    let [before, after] = after(cluster, change)?;
    ensure!(before.0 == "up", "before: {before:?}");
    ensure!(after.0 == "down", "after the reload: {after:?}");
    Ok(())
}

fn removed_node(cluster: &Cluster) -> Result<()> {
    // Node 2 has another address now.
    let change = "sed -i 's/10.9.0.2\\b/10.9.0.77/' /etc/virgo_cloud.conf /etc/virgo_client.conf";
    is_ended_by(cluster, change)
}

fn cluster_key(cluster: &Cluster) -> Result<()> {
    is_ended_by(cluster, "head -c 32 /dev/urandom | base64 >/etc/virgo.key")
}

fn unchanged(cluster: &Cluster) -> Result<()> {
    let change = "echo 'deadline_ms = 4000' >>/etc/virgo_cloud.conf";
    let [before, after] = after(cluster, change)?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

/// While a module of node 2 is not loaded a user there has its port, and refuses whoever comes by an error
/// that the pool itself might have answered: it is not taken for that, and others have the memory.
fn forged(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!(
            "rmmod virgo_mempool
             (printf '\\366VGO\\{VERSION:03o}\\004\\0\\0\\0\\0\\0\\0\\026\\0\\0\\0'; head -c 24 /dev/zero) >/tmp/refuse
             rm -f /tmp/enough"
        ),
    )?;
    let forger = node2.spawn([
        "su",
        "user",
        "-c",
        "until [ -e /tmp/enough ]; do nc -l -p 30000 </tmp/refuse >/dev/null; done",
    ])?;
    let tried = within(Duration::from_secs(20), || {
        let (said, _) = fails(&node1, "virgo malloc 10 --place 2")?;
        // The last line that is looked for: until then nobody may have listened.
        let log = sh(&node1, "dmesg | grep 'is not reached: EINVAL' || true")?;
        ensure!(!log.is_empty(), "nobody was refused: {said}");
        Ok(said)
    });
    let elsewhere = sh(
        &node1,
        "for i in $(seq 10); do virgo free $(virgo malloc 1M) || exit; done",
    );
    let refused = fails(&node1, "virgo malloc 10 --place 2");
    sh(&node2, "touch /tmp/enough; killall nc")?;
    forger.wait()?;
    sh(&node2, "insmod /lib/virgo/virgo_mempool.ko")?;
    wait_until_whole(cluster)?;
    let (said, _) = refused?;
    ensure!(said.contains("EHOSTDOWN"), "{said}");
    tried?;
    elsewhere?;
    Ok(())
}
