// SPDX-License-Identifier: GPL-2.0
//! What was told a token refuses who had the lock before: a node that slept past its lease writes late.

use super::{SETTLED, settled};
use crate::support::{fails, sh, wait_until_whole, with_config, within};
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

/// Has `next` done on `node1` by the next holder of the lock, while `sleeper` is paused, which finds then that it
/// is too late.
fn is_overtaken(node1: &Node, sleeper: &Node, next: &str) -> Result<()> {
    sleeper.pause()?;
    let next = sh(
        node1,
        &format!("virgo lock ledger --timeout 30s -- sh -c '{next}'"),
    );
    sleeper.resume()?;
    next?;
    let said = late(sleeper)?;
    ensure!(
        said.contains("ESTALE") && said.contains("has had the lock"),
        "{said}"
    );
    Ok(())
}

/// Has `node3` change something by `late`, while it holds the lock and its lease is over: `node1` has had the
/// lock since, and changed it by `next`.
fn overtaken(cluster: &Cluster, first: &str, late_one: &str, next: &str) -> Result<()> {
    settled(cluster)?;
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    let running = sleeper(&node3, "ledger", first, late_one)?;
    is_overtaken(&node1, &node3, next)?;
    running.wait_timeout(SETTLED)?;
    wait_until_whole(cluster)?;
    settled(cluster)
}

/// What a holder publishes to a queue, also if its node was killed meanwhile, and to a topic.
pub(super) fn queue(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let publish = |what: &str| {
        format!("virgo queue pub t.fenced --node 2 {what} --fence \"$VIRGO_LOCK_FENCE\"")
    };
    for options in ["", "durable"] {
        sh(&node2, &format!("virgo queue create t.fenced {options}"))?;
        overtaken(
            cluster,
            &publish("first"),
            &publish("late"),
            &publish("next"),
        )?;
        // Nor may anybody publish who forgets the lock.
        for from in [&node1, &node2] {
            let (said, _) = fails(from, "virgo queue pub t.fenced --node 2 x")?;
            ensure!(said.contains("ENOLCK"), "{said}");
        }
        let other = "virgo queue pub t.fenced --node 2 x --fence other:9";
        let (said, _) = fails(&node1, other)?;
        ensure!(said.contains("another lock"), "{said}");
        let there = sh(&node1, "virgo queue take t.fenced --node 2 --count 9")?;
        ensure!(there == "first\nnext", "{there}");
        sh(&node2, "virgo queue delete t.fenced")?;
    }
    Ok(())
}

/// What a holder writes to a file; also when its node was killed, and what was there before stays guarded.
pub(super) fn file(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let name = "/var/log/virgo_fs/fenced";
    let write =
        |what: &str| format!("virgo write 2:{name} {what} --create --fence \"$VIRGO_LOCK_FENCE\"");
    overtaken(cluster, &write("first"), &write("late!"), &write("next!"))?;
    let read = |from: &Node| sh(from, &format!("virgo cat 2:{name}"));
    for node in [&node1, &node2, &node3] {
        let content = read(node)?;
        ensure!(content == "next!", "{content}");
        let (said, _) = fails(node, &format!("virgo write 2:{name} x"))?;
        ensure!(said.contains("ENOLCK"), "{said}");
    }
    let token = |token: u64| format!("virgo write 2:{name} x{token} --fence other:{token}");
    let (said, _) = fails(&node1, &token(u64::MAX))?;
    ensure!(said.contains("another lock"), "{said}");
    // It is on the disk with what was written.
    node2.kill()?;
    node2.restart()?;
    wait_until_whole(cluster)?;
    let content = read(&node1)?;
    ensure!(content == "next!", "{content}");
    let (said, _) = fails(
        &node1,
        &format!("virgo write 2:{name} late! --fence ledger:1"),
    )?;
    ensure!(
        said.contains("ESTALE") && said.contains("has had the lock"),
        "{said}"
    );
    let (said, _) = fails(&node3, &format!("virgo write 2:{name} x"))?;
    ensure!(said.contains("ENOLCK"), "{said}");
    settled(cluster)?;
    sh(
        &node3,
        &format!(
            "virgo lock ledger --timeout 30s -- sh -c '{}'",
            write("again")
        ),
    )?;
    ensure!(read(&node2)? == "again");
    sh(&node2, &format!("rm {name}"))?;
    Ok(())
}

/// A file that was opened while its opener had the lock, and is written to when another node has had it since.
pub(super) fn open_file(cluster: &Cluster) -> Result<()> {
    settled(cluster)?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let name = "/var/log/virgo_fs/fenced-open";
    sh(
        &node3,
        "rm -f /tmp/go /tmp/late /tmp/ended; mkfifo /tmp/late.in",
    )?;
    // What it reads from the pipe it writes to the file, which is open by then.
    let held = format!(
        "virgo write 2:{name} --create --append --fence \"$VIRGO_LOCK_FENCE\" </tmp/late.in >/tmp/late 2>&1
         echo $? >/tmp/ended"
    );
    let running = node3.spawn(["virgo", "lock", "ledger", "--", "sh", "-c", &held])?;
    let feeder = node3.spawn([
        "sh",
        "-c",
        "exec >/tmp/late.in; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo late",
    ])?;
    within(SETTLED, || sh(&node2, &format!("[ -e {name} ]")))?;
    let next = format!("virgo write 2:{name} next --append --fence \"$VIRGO_LOCK_FENCE\"");
    is_overtaken(&node1, &node3, &next)?;
    let content = sh(&node3, &format!("virgo cat 2:{name}"))?;
    ensure!(content == "next", "{content}");
    feeder.wait_timeout(SETTLED)?;
    running.wait_timeout(SETTLED)?;
    sh(&node2, &format!("rm {name}"))?;
    sh(&node3, "rm /tmp/late.in")?;
    wait_until_whole(cluster)?;
    settled(cluster)
}

/// A file system without extended attributes keeps no fences: who has a lock is told so.
pub(super) fn no_attributes(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let dir = "/run/plain";
    sh(
        &node2,
        &format!("mkdir -p {dir} && mount -t ramfs none {dir} && chmod 777 {dir}"),
    )?;
    let result = with_config(&node2, &format!("export = {dir} rw"), || {
        for node in [&node1, &node2] {
            sh(node, &format!("virgo write 2:{dir}/a x --create"))?;
            let fenced = format!("virgo write 2:{dir}/a y --fence ledger:7");
            let (said, _) = fails(node, &fenced)?;
            ensure!(said.contains("EOPNOTSUPP"), "{said}");
            sh(node, &format!("virgo write 2:{dir}/a z"))?;
            ensure!(sh(node, &format!("virgo cat 2:{dir}/a"))? == "z");
        }
        Ok(())
    });
    let unmounted = within(SETTLED, || sh(&node2, &format!("umount {dir}")));
    result?;
    unmounted?;
    Ok(())
}

/// A durable queue knows the token that it has seen when its node was killed, and when its log was written
/// anew.
pub(super) fn durable_queue(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        "virgo queue create t.fenced durable messages=100000",
    )?;
    let publish =
        |token: u64| format!("virgo queue pub --node 2 t.fenced x --fence ledger:{token}");
    sh(&node1, &publish(7))?;
    sh(&node1, &publish(8))?;
    let refused = || -> Result<()> {
        let (said, _) = fails(&node1, &publish(7))?;
        ensure!(said.contains("ESTALE"), "{said}");
        let (said, _) = fails(&node1, "virgo queue pub --node 2 t.fenced x")?;
        ensure!(said.contains("ENOLCK"), "{said}");
        Ok(())
    };
    refused()?;
    node2.kill()?;
    node2.restart()?;
    wait_until_whole(cluster)?;
    refused()?;
    // A purge raises it, too, though it leaves nothing that would say so.
    sh(
        &node1,
        "virgo queue purge --node 2 t.fenced --fence ledger:9",
    )?;
    node2.kill()?;
    node2.restart()?;
    wait_until_whole(cluster)?;
    let (said, _) = fails(&node1, &publish(8))?;
    ensure!(said.contains("ESTALE"), "{said}");
    // So many bytes that the log is begun anew.
    let rewritten = || -> Result<u64> {
        let said = sh(&node2, "virgo queue status | sed -n 's/^generation: //p'")?;
        Ok(said.parse()?)
    };
    let before = rewritten()?;
    let lines = "head -c 60000 /dev/zero | tr '\\0' x";
    let fill = format!(
        "for i in $(seq 120); do {lines} | virgo queue pub t.fenced --fence ledger:9 || exit; done"
    );
    sh(&node2, &fill)?;
    sh(
        &node1,
        "virgo queue purge --node 2 t.fenced --fence ledger:9",
    )?;
    within(SETTLED, || {
        sh(
            &node2,
            "virgo queue create t.other durable; virgo queue delete t.other",
        )?;
        ensure!(rewritten()? > before, "the log was not written anew");
        Ok(())
    })?;
    node2.kill()?;
    node2.restart()?;
    wait_until_whole(cluster)?;
    let (said, _) = fails(&node1, &publish(8))?;
    ensure!(said.contains("ESTALE"), "{said}");
    sh(&node1, &publish(9))?;
    sh(&node2, "virgo queue delete t.fenced")?;
    settled(cluster)
}

/// What a holder has set in the memory pool.
pub(super) fn memory(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let id = sh(&node1, "virgo malloc 100 --shared --place 2")?;
    let set = |what: &str| format!("virgo set {id} {what} --fence \"$VIRGO_LOCK_FENCE\"");
    overtaken(cluster, &set("first"), &set("late!"), &set("next!"))?;
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
    Ok(())
}
