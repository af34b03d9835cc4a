// SPDX-License-Identifier: GPL-2.0
//! The log of the durable queues: kills, damage, a full disk.

use super::{MODULE, numbers, with};
use crate::{
    rounds::Rounds,
    support::{fails, sh, wait_until_whole, within},
};
use anyhow::{Result, ensure};
use std::{collections::BTreeSet, time::Duration};
use virgo_cluster::Cluster;

/// Node 2 is killed at any moment while node 1 publishes to it and takes from it: whatever node 2
/// has acknowledged is there afterwards, whatever was acknowledged as done does not come again if
/// that had reached the disk, and nothing else is there.
pub fn kills(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let count = Rounds {
        debug: 1,
        slim: 5,
        soak: 1000,
    }
    .count();
    sh(
        &node2,
        "virgo queue create t.kept durable messages=100000 ack=0",
    )?;
    let mut accepted = BTreeSet::new();
    for round in 0..count {
        // Each line that is kept was acknowledged. In batches, so that there are many at a time.
        let script = format!(
            "i=0; >/run/kept; while :; do
                 for j in 1 2 3 4 5 6 7 8; do echo $(({round} * 1000000 + i * 8 + j)); done >/tmp/batch
                 virgo queue pub --node 2 --timeout 2s --lines t.kept </tmp/batch >/dev/null 2>&1 ||
                     break
                 cat /tmp/batch >>/run/kept; i=$((i + 1))
             done
             cat /run/kept"
        );
        let publisher = node1.spawn(["sh", "-c", &script])?;
        within(Duration::from_secs(30), || sh(&node1, "[ -s /run/kept ]"))?;
        std::thread::sleep(Duration::from_millis(500 + (round as u64 * 137) % 900));
        node2.kill()?;
        let said = publisher.wait_timeout(Duration::from_secs(60))?.text()?;
        accepted.extend(numbers(&said)?);
        node2.restart()?;
    }
    wait_until_whole(cluster)?;
    let there = sh(
        &node2,
        "while virgo queue take --timeout 500ms --count 1000 t.kept 2>/dev/null; do :; done",
    )?;
    let lines = there.lines().count();
    let there = numbers(&there)?;
    let missing: Vec<_> = accepted.difference(&there).collect();
    ensure!(
        missing.is_empty(),
        "acknowledged and not there: {missing:?}"
    );
    ensure!(
        lines == there.len(),
        "{} are there twice",
        lines - there.len()
    );
    println!(
        "{count} kills: {} acknowledged, {lines} there",
        accepted.len()
    );
    // What was taken is gone for good once something was written after it.
    sh(&node2, "virgo queue pub t.kept last")?;
    node2.restart()?;
    wait_until_whole(cluster)?;
    let said = sh(
        &node2,
        "virgo queue take --count 9 t.kept; virgo queue delete t.kept",
    )?;
    ensure!(said == "last", "{said}");
    Ok(())
}

/// Harms the log of node 3 while its module is not loaded.
pub fn damage(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        &format!("virgo queue create t.harm durable ack=0; rmmod virgo_queue; insmod {MODULE}"),
    )?;
    // Now in the file that is written, one behind the other.
    sh(
        &node,
        "for i in 1 2 3 4 5; do virgo queue pub t.harm message-$i; done; rmmod virgo_queue",
    )?;
    let harm = "cd /var/log/virgo_queue; f=messages.0; [ -s $f ] || f=messages.1
        at=$(strings -t d $f | grep message-3 | awk '{ print $1 }'); [ -n \"$at\" ] || exit 1
        printf X | dd of=$f bs=1 seek=$at conv=notrunc 2>/dev/null
        size=$(wc -c <$f); dd if=/dev/null of=$f bs=1 seek=$((size - 5)) 2>/dev/null";
    sh(&node, &format!("{harm}; insmod {MODULE}"))?;
    let said = sh(
        &node,
        "virgo queue take --count 9 t.harm; virgo queue delete t.harm",
    )?;
    ensure!(said == "message-1\nmessage-2\nmessage-4", "{said}");
    let console = node.console()?;
    ensure!(
        console.contains("bytes are damaged and lost") && console.contains("are cut"),
        "the log says nothing of it"
    );
    // Anything at all in the files.
    sh(
        &node,
        &format!(
            "rmmod virgo_queue; for f in 0 1; do head -c 100000 /dev/urandom \
                 >/var/log/virgo_queue/messages.$f; done; insmod {MODULE}; virgo queue list"
        ),
    )?;
    Ok(())
}

pub fn full_disk(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "virgo queue create t.disk durable ack=0 messages=100000; virgo queue pub t.disk first",
    )?;
    sh(
        &node,
        "dd if=/dev/zero of=/run/disk/fill bs=1M 2>/dev/null; sync; :",
    )?;
    let said = sh(
        &node,
        "for i in $(seq 200); do head -c 60000 /dev/zero | virgo queue pub t.disk 2>&1 || break; done",
    );
    let alive = sh(
        &node,
        "virgo queue create t.memory; virgo queue pub t.memory x; virgo queue delete t.memory",
    );
    // Without room for a new file it goes on in the old one.
    let again = sh(&node, &format!("rmmod virgo_queue; insmod {MODULE}"));
    let first = sh(&node, "virgo queue take t.disk");
    sh(&node, "rm /run/disk/fill")?;
    again?;
    let said = said?;
    ensure!(said.contains("ENOSPC"), "{said}");
    alive?;
    ensure!(first? == "first");
    sh(&node, "virgo queue pub t.disk second")?;
    // All that was accepted is there, and all can be read.
    sh(&node, &format!("rmmod virgo_queue; insmod {MODULE}"))?;
    let last = sh(
        &node,
        "while virgo queue take --timeout 300ms t.disk >/tmp/message 2>/dev/null; do
             tr -d '\\000' </tmp/message >/tmp/last
         done
         cat /tmp/last; rm /tmp/message /tmp/last; virgo queue delete t.disk",
    )?;
    ensure!(last == "second", "{last}");
    Ok(())
}

/// A message in several queues counts once, but is in the log for each of them.
pub fn more_than_before(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    with(&node, "max_bytes=1048576", || {
        sh(
            &node,
            &format!(
                "for i in 1 2 3; do virgo queue create t.sum$i durable 'bind=t.one.>'; done
                for i in $(seq 12); do head -c 60000 /dev/zero | virgo queue pub t.one.x || exit 1; done
                rmmod virgo_queue && insmod {MODULE} max_bytes=1048576"
            ),
        )?;
        let (said, _) = fails(&node, "virgo queue pub t.one.x y")?;
        ensure!(
            said.contains("ENOBUFS") || said.contains("ENOMEM"),
            "{said}"
        );
        for i in 1..=3 {
            let taken = sh(
                &node,
                &format!("virgo queue take --count 20 t.sum{i} | wc -c"),
            )?;
            ensure!(taken == "720012", "{taken} bytes in queue {i}");
            sh(&node, &format!("virgo queue delete t.sum{i}"))?;
        }
        Ok(())
    })
}

pub fn clock_back(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "virgo queue create t.clock durable; virgo queue pub t.clock --delay 3s late",
    )?;
    let back = format!("date -s @$(($(date +%s) - 3600)); rmmod virgo_queue; insmod {MODULE}");
    sh(&node, &back)?;
    let said = sh(
        &node,
        "virgo queue take --timeout 20s t.clock; virgo queue delete t.clock",
    );
    sh(&node, "date -s @$(($(date +%s) + 3600))")?;
    ensure!(said? == "late");
    Ok(())
}
