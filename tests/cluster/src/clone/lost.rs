// SPDX-License-Identifier: GPL-2.0
//! Calls whose node dies or is cut off, and whose caller does.

use super::{TEST_MODULE, UNREACHABLE, runs, wait_until_called, wait_until_here};
use crate::{
    rounds::Rounds,
    support::{DEADLINE, SLACK, fails, field, sh, text, within},
};
use anyhow::{Context, Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use virgo_cluster::{Cluster, Node};

/// A call on node 2 that is under way when `harm` is done to it, and one that comes then, end by
/// the deadline; what may run anywhere runs elsewhere.
fn end_in_time(
    cluster: &Cluster,
    harm: impl FnOnce() -> Result<()>,
    repair: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let node1 = cluster.node(1);
    let inside = node1.spawn(["virgo", "clone", "--on", "2", "sleep", "60000"])?;
    wait_until_here(&cluster.node(2), 1)?;
    let start = Instant::now();
    harm()?;
    let checks = || -> Result<()> {
        let ended = inside.wait_timeout(DEADLINE + SLACK)?;
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            !ended.success() && UNREACHABLE.iter().any(|name| said.contains(name)),
            "{said}"
        );
        println!("the call under way ended after {took:?}");
        let (said, took) = fails(&node1, "virgo clone --on 2 noop")?;
        ensure!(UNREACHABLE.iter().any(|name| said.contains(name)), "{said}");
        ensure!(took < DEADLINE + SLACK, "it took {took:?}");
        for policy in ["least", "random", "two"] {
            // A node that has just failed is passed over. Somebody with little time does not make it one.
            fails(&node1, "virgo clone --on 2 noop")?;
            let said = sh(&node1, &format!("virgo clone -v --on {policy} noop 2>&1"))?;
            ensure!(!said.contains("node 2"), "{policy}: {said}");
        }
        Ok(())
    };
    let result = checks();
    repair()?;
    result?;
    wait_until_called(cluster)?;
    within(Duration::from_secs(20), || {
        sh(&node1, "virgo clone --on 2 noop").map(drop)
    })?;
    wait_until_here(&cluster.node(2), 0)
}

pub fn killed(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    end_in_time(cluster, || node2.kill(), || node2.restart())
}

pub fn paused(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    end_in_time(cluster, || node2.pause(), || node2.resume())
}

pub fn cut_off(cluster: &Cluster) -> Result<()> {
    end_in_time(cluster, || cluster.cut(1, 2), || cluster.heal())
}

/// What a node had run elsewhere ends when it is there again: nobody waits for it.
pub fn restarted(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    for _ in 0..3 {
        sh(
            &node1,
            "virgo clone --async --on 2 --timeout 200s sleep 200000",
        )?;
    }
    wait_until_here(&node2, 3)?;
    node1.restart()?;
    wait_until_called(cluster)?;
    sh(&node1, "virgo clone --on 2 noop")?;
    wait_until_here(&node2, 0)
}

/// A call with much time ends soon after its node has died, not when its time is over.
pub fn node_dies(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let call = [
        "virgo",
        "clone",
        "--on",
        "2",
        "--timeout",
        "290s",
        "sleep",
        "290000",
    ];
    let inside = node1.spawn(call)?;
    let job = sh(
        &node1,
        "virgo clone --async --on 2 --timeout 290s sleep 290000",
    )?;
    wait_until_here(&node2, 2)?;
    node2.kill()?;
    let start = Instant::now();
    let ended = inside.wait_timeout(Duration::from_secs(60));
    let took = start.elapsed();
    let waited = fails(&node1, &format!("virgo wait --timeout 30s {job}"));
    node2.restart()?;
    wait_until_called(cluster)?;
    println!("the call ended after {took:?}");
    let said = String::from_utf8_lossy(&ended?.stderr).into_owned();
    ensure!(said.contains("ECONNRESET"), "{said}");
    let (said, _) = waited?;
    ensure!(said.contains("ECONNRESET"), "{said}");
    ensure!(took < Duration::from_secs(30), "it took {took:?}");
    Ok(())
}

/// A node that has restarted in the meantime does not have the calls any more, and says so.
pub fn lost(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let job = sh(
        &node1,
        "virgo clone --async --on 2 --timeout 290s sleep 290000",
    )?;
    wait_until_here(&node2, 1)?;
    let reload = "rmmod virgo_cpupooling";
    // It has calls of its own functions under way.
    fails(&node2, reload)?;
    node2.restart()?;
    wait_until_called(cluster)?;
    let (said, took) = fails(&node1, &format!("virgo wait --timeout 60s {job}"))?;
    ensure!(said.contains("ECONNRESET"), "{said}");
    ensure!(took < Duration::from_secs(30), "it took {took:?}");
    Ok(())
}

/// A node that has lost a call is heard of all the time, since it runs others. The call ends all the same.
pub fn lost_of_busy(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let program = "/usr/lib/virgo/test/virgo_cloud_test_main";
    let job = sh(
        &node1,
        &format!("virgo clone --async --on 2 --timeout 290s {program} hang"),
    )?;
    wait_until_here(&node2, 1)?;
    // The module itself is not in use by a program.
    let reload = "rmmod virgo_cpupooling && insmod /lib/virgo/virgo_cpupooling.ko";
    let busy =
        "while ! [ -e /tmp/enough ]; do virgo clone --on 2 --timeout 2s noop; sleep 0.3; done";
    let busy = node1.spawn(["sh", "-c", busy])?;
    sh(&node2, reload)?;
    let waited = fails(&node1, &format!("virgo wait --timeout 40s {job}"));
    sh(&node1, "touch /tmp/enough")?;
    busy.wait()?;
    sh(&node1, &format!("rm /tmp/enough; virgo cancel {job}; :"))?;
    wait_until_called(cluster)?;
    let (said, took) = waited?;
    println!("the call ended after {took:?}");
    ensure!(said.contains("ECONNRESET"), "{said}");
    Ok(())
}

/// How often a node was told how loaded others are.
fn told(node: &Node) -> Result<u64> {
    let line = sh(
        node,
        "grep '^frame tell ' /sys/kernel/debug/virgo/cpupooling/stats",
    )?;
    let count = line.split(' ').nth(2).context("no number")?;
    count.parse().context("a number")
}

/// Node 2 runs calls of nodes 1 and 3 and tells both twice a second how loaded it is. That node 1 does not
/// answer makes no difference to node 3.
pub fn reports(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let sleep_there = "virgo clone --async --on 2 --timeout 100s sleep 100000";
    let jobs = [
        (&node1, sh(&node1, sleep_there)?),
        (&node3, sh(&node3, sleep_there)?),
    ];
    wait_until_here(&node2, 2)?;
    node1.pause()?;
    let count = || -> Result<u64> {
        sleep(Duration::from_secs(2));
        let before = told(&node3)?;
        sleep(Duration::from_secs(12));
        Ok(told(&node3)? - before)
    };
    let count = count();
    node1.resume()?;
    wait_until_called(cluster)?;
    for (node, job) in jobs {
        sh(node, &format!("virgo cancel {job}; virgo wait {job}; :"))?;
    }
    let count = count?;
    println!("told {count} times");
    ensure!(count >= 18, "told {count} times in 12 s");
    wait_until_here(&node2, 0)
}

/// Calls for all nodes go to all at once, though one does not answer.
pub fn no_answer(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    sh(&node1, "virgo clone --on all noop")?;
    let before = runs(&node3)?;
    node2.pause()?;
    let call = [
        "virgo",
        "clone",
        "--on",
        "all",
        "--timeout",
        "30s",
        TEST_MODULE,
    ];
    let inside = node1.spawn(call)?;
    let start = Instant::now();
    let ran = within(Duration::from_secs(20), || {
        ensure!(runs(&node3)? > before, "node 3 has not been called");
        Ok(())
    });
    let took = start.elapsed();
    let ended = inside.wait_timeout(Duration::from_secs(60));
    node2.resume()?;
    wait_until_called(cluster)?;
    ran?;
    println!("node 3 was called after {took:?}");
    ensure!(took < DEADLINE, "node 3 was called after {took:?}");
    let ended = ended?;
    ensure!(!ended.success(), "node 2 has answered");
    wait_until_here(&node2, 0)
}

/// Results that nobody takes hold no place where calls run.
pub fn callers_gone(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    sh(
        &node1,
        "for i in $(seq 40); do
             virgo clone --async --on 2 --timeout 290s sleep 15000 >/dev/null || exit
         done",
    )?;
    wait_until_here(&node2, 40)?;
    cluster.cut(1, 2)?;
    let checks = || -> Result<()> {
        // All of the first 32 have ended by then, and cannot say so.
        sleep(Duration::from_secs(25));
        let start = Instant::now();
        let said = sh(&node3, "virgo clone --on 2 echo there")?;
        let took = start.elapsed();
        ensure!(said == "there\n5", "{said}");
        println!("a call took {took:?}");
        ensure!(took < DEADLINE, "a call took {took:?}");
        wait_until_here(&node2, 0)
    };
    let result = checks();
    cluster.heal()?;
    result?;
    wait_until_called(cluster)?;
    // The results are taken or not wanted any more; nothing is kept.
    within(Duration::from_secs(30), || {
        sh(&node1, "virgo clone --on 2 noop")?;
        let stats = text(&node2, &node2, 10000, &["stats"])?;
        let undelivered = field(stats.first().map_or("", String::as_str), "undelivered")?;
        ensure!(undelivered == 0, "{undelivered} results are kept");
        Ok(())
    })?;
    let jobs = sh(&node1, "virgo jobs | grep -c running || true")?;
    ensure!(jobs == "0", "{jobs} jobs are thought to run");
    sh(
        &node1,
        "virgo jobs | awk 'NR > 1 { print $1 }' | while read -r job; do virgo wait $job; done; :",
    )
    .map(drop)
}

/// With packets lost, repeated and out of order, and connections cut in the middle: each call that
/// says that it has run has run, and none has run twice.
pub fn bad_network(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let before = runs(&node2)?;
    let netem = "root netem loss 5% duplicate 20% delay 2ms 2ms reorder 25%";
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {netem}"))?;
    sh(&node2, &format!("/usr/sbin/tc qdisc add dev node1 {netem}"))?;
    let calls = Rounds {
        debug: 10,
        slim: 60,
        soak: 1000,
    }
    .count();
    let script = format!(
        "ok=0; for i in $(seq {calls}); do
             virgo clone --on 2 {TEST_MODULE} >/dev/null 2>&1 && ok=$((ok + 1))
         done; echo $ok"
    );
    let work = node1.spawn(["sh", "-c", &script])?;
    for _ in 0..3 {
        cluster.cut(1, 2)?;
        sleep(Duration::from_millis(700));
        cluster.heal()?;
        sleep(Duration::from_millis(1500));
    }
    let good: usize = work.wait()?.text()?.trim().parse().context("a number")?;
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    wait_until_called(cluster)?;
    let ran = runs(&node2)? - before;
    println!("{calls} calls, {good} said that they have run, {ran} have");
    ensure!(good > 0, "no call got through");
    ensure!(
        (good..=calls).contains(&ran),
        "{ran} runs of {calls} calls, {good} of them good"
    );
    Ok(())
}
