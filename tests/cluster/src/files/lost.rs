// SPDX-License-Identifier: GPL-2.0
//! Files of nodes that restart, die, stand still or are cut off.

use super::{EXPORT, on_request, open_on, wait_until_open};
use crate::{
    rounds::Rounds,
    support::{DEADLINE, SLACK, fails, sh, wait_until_whole, within},
};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use virgo_cluster::{Cluster, Node};

/// A session on node 1 that has a file of node 2 open, types `lines` once `harm` is done, and what
/// it is answered.
fn held(
    node1: &Node,
    harm: impl FnOnce() -> Result<()>,
    lines: &str,
) -> Result<(String, Duration)> {
    let script = format!(
        "rm -f /tmp/typed; mkfifo /tmp/typed; : >/tmp/said
         (echo \"auth $(cat /etc/virgo.key)\"; echo 'virgo_cloud_open(2:{EXPORT}/held)'; cat /tmp/typed) 2>&1 |
            nc 127.0.0.1 50000 >/tmp/said 2>&1 &
         while [ $(wc -l </tmp/said) -lt 2 ]; do sleep 0.05; done; cat /tmp/said"
    );
    let said = sh(node1, &script)?;
    ensure!(said == "OK\n0", "opening the file: '{said}'");
    harm()?;
    let start = Instant::now();
    let script = format!(
        "printf '{lines}\\nquit\\n' >/tmp/typed; n=0
         while [ $(wc -l </tmp/said) -lt 3 ] && [ $n -lt 400 ]; do n=$((n + 1)); sleep 0.05; done
         tail -n 1 /tmp/said"
    );
    Ok((sh(node1, &script)?, start.elapsed()))
}

pub fn restarted(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let restart = || {
        node2.restart()?;
        wait_until_whole(cluster)
    };
    let (said, _) = held(&node1, restart, "virgo_cloud_read(0,x,1,0)")?;
    ensure!(said.starts_with("ERR ESTALE "), "{said}");
    // What the session closes then is gone already, and it does not matter.
    sh(&node1, "virgo ls 2:/srv/ro")?;
    sh(&node2, &format!("rm -f {EXPORT}/held"))?;
    wait_until_open(&node2, 0)?;
    // The other way round: what a node had open is closed when it is back.
    let (said, _) = held(&node1, || wait_until_open(&node2, 1), "help")?;
    ensure!(said.contains("virgo_cloud_open"), "{said}");
    let hold = "(echo \"auth $(cat /etc/virgo.key)\"
        echo 'virgo_cloud_open(2:/srv/ro/readme,O_RDONLY)'; sleep 600) 2>&1 | nc 127.0.0.1 50000 >/dev/null 2>&1 &";
    sh(&node1, hold)?;
    within(Duration::from_secs(20), || {
        ensure!(open_on(&node2)? > 0);
        Ok(())
    })?;
    node1.restart()?;
    wait_until_whole(cluster)?;
    sh(&node1, "virgo ls 2:/srv/ro")?;
    sh(&node2, &format!("rm -f {EXPORT}/held"))?;
    wait_until_open(&node2, 0)
}

pub fn dead(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    const IN_TIME: &[&str] = &["EHOSTDOWN", "ETIMEDOUT", "ECONNRESET"];
    let is_error = |said: &str| IN_TIME.iter().any(|errno| said.contains(errno));
    let checks = || -> Result<()> {
        let (said, took) = held(&node1, || node2.pause(), "virgo_cloud_read(0,x,1,0)")?;
        ensure!(
            is_error(&said),
            "a read of an open file: '{said}' after {took:?}"
        );
        ensure!(took < DEADLINE + SLACK, "it took {took:?}");
        println!("a read with the node dead: {said} after {took:?}");
        for command in ["cat 2:/srv/ro/readme", "ls 2:/srv/ro"] {
            let (said, took) = fails(&node1, &format!("virgo {command}"))?;
            ensure!(is_error(&said), "{command}: '{said}' after {took:?}");
            ensure!(took < DEADLINE + SLACK, "it took {took:?}");
        }
        // A copy of it elsewhere is read instead.
        let said = sh(&node1, "virgo cat 2,3:/srv/ro/readme")?;
        ensure!(said.starts_with("This file"), "the copy: '{said}'");
        // Who waits can be killed at once.
        let waiting = node1.spawn(["sh", "-c", "exec virgo cat 2:/srv/ro/readme"])?;
        std::thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        sh(&node1, "pkill -KILL -x virgo; true")?;
        waiting.wait()?;
        let took = start.elapsed();
        ensure!(took < Duration::from_secs(3), "killed after {took:?}");
        Ok(())
    };
    let result = checks();
    node2.resume()?;
    wait_until_whole(cluster)?;
    result?;
    within(Duration::from_secs(20), || sh(&node1, "virgo ls 2:/srv/ro"))?;
    sh(&node2, &format!("rm -f {EXPORT}/held"))?;
    wait_until_open(&node2, 0)
}

/// A node that stands still takes half of the time at most; for a while it is not asked any more then.
pub fn still(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let read = || sh(&node1, "virgo cat 2,3:/srv/ro/readme");
    // So that there are connections.
    sh(&node1, "virgo ls 2:/srv/ro; virgo ls 3:/srv/ro")?;
    node2.pause()?;
    let start = Instant::now();
    let all = (0..8).map(|_| read()).collect::<Result<Vec<_>>>();
    let took = start.elapsed();
    node2.resume()?;
    wait_until_whole(cluster)?;
    ensure!(all?.iter().all(|said| said.starts_with("This file")));
    println!("8 copies were read in {took:?}");
    Ok(())
}

/// Text commands that wait for a node are not waited for.
pub fn unload(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, "virgo ls 2:/srv/ro")?;
    node2.pause()?;
    let session = node1.spawn([
        "sh",
        "-c",
        "(echo \"auth $(cat /etc/virgo.key)\"; echo 'virgo_cloud_stat(2:/srv/ro/readme)'; sleep 8) |
         nc 127.0.0.1 50000",
    ])?;
    std::thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    let unloaded = sh(&node1, "rmmod virgo_cloudfs");
    let took = start.elapsed();
    node2.resume()?;
    unloaded?;
    sh(&node1, "insmod /lib/virgo/virgo_cloudfs.ko")?;
    session.kill()?;
    session.wait()?;
    println!("rmmod took {took:?}");
    ensure!(took < Duration::from_millis(2500), "rmmod took {took:?}");
    wait_until_whole(cluster)
}

/// The link breaks in the middle of a copy; with --resume it goes on where it was.
pub fn resumed(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let mebibytes = Rounds {
        debug: 4,
        slim: 10,
        // What the disks of the guests hold beside what else is there.
        soak: 40,
    }
    .count();
    let bytes = mebibytes << 20;
    let make = format!("head -c {bytes} /dev/urandom >/tmp/large && md5sum </tmp/large");
    let sum = sh(&node1, &make)?;
    // So that there is time to cut it off.
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem delay 200ms",
    )?;
    let copy = node1.spawn(["virgo", "put", "/tmp/large", &format!("2:{EXPORT}/large")])?;
    let size = || -> Result<u64> {
        let script = format!("cat {EXPORT}/.virgo-part-* 2>/dev/null | wc -c");
        Ok(sh(&node2, &script)?.parse()?)
    };
    within(Duration::from_secs(60), || {
        ensure!(size()? > 1 << 20, "nothing is copied yet");
        Ok(())
    })?;
    cluster.cut(1, 2)?;
    let said = copy.wait_timeout(DEADLINE * 2 + SLACK);
    let (ended, left) = (said?, size()?);
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    cluster.heal()?;
    wait_until_whole(cluster)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(!ended.success() && said.contains("--resume"), "{said}");
    ensure!(
        left > 1 << 20 && left < (mebibytes as u64) << 20,
        "{left} bytes were copied"
    );
    let writes = || -> Result<u64> {
        let stats = "grep '^frame write ' /sys/kernel/debug/virgo/cloudfs/stats | cut -d' ' -f3";
        Ok(sh(&node2, stats)?.parse()?)
    };
    let before = writes()?;
    sh(
        &node1,
        &format!("virgo put --resume --verify /tmp/large 2:{EXPORT}/large"),
    )?;
    let requests = writes()? - before;
    let rest = ((mebibytes as u64) << 20) - left;
    ensure!(
        requests <= rest / 65536 + 2,
        "{requests} writes for {rest} bytes"
    );
    ensure!(sh(&node2, &format!("md5sum <{EXPORT}/large"))? == sum);
    println!("cut off after {left} bytes, {requests} writes for the rest");
    sh(&node2, &format!("rm {EXPORT}/large"))?;
    sh(&node1, "rm /tmp/large")?;
    Ok(())
}

/// A node is killed as soon as a copy is acknowledged: it is on the disk. 100 times in a soak.
pub fn killed(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let rounds = Rounds {
        debug: 1,
        slim: 3,
        soak: 100,
    }
    .count();
    for round in 0..rounds {
        let make = "head -c 200000 /dev/urandom >/tmp/kept && md5sum </tmp/kept";
        let sum = sh(&node1, make)?;
        sh(&node1, &format!("virgo put /tmp/kept 2:{EXPORT}/kept"))?;
        node2.kill()?;
        node2.restart()?;
        // Whoever was told that it is dead does not ask it again at once.
        within(DEADLINE, || sh(&node1, "virgo cat 2:/srv/ro/readme"))?;
        let found = sh(&node2, &format!("md5sum <{EXPORT}/kept"))?;
        ensure!(found == sum, "round {round}: {found}, not {sum}");
    }
    println!("{rounds} kills");
    wait_until_whole(cluster)?;
    sh(&node2, &format!("rm {EXPORT}/kept"))?;
    sh(&node1, "rm /tmp/kept")?;
    Ok(())
}

pub fn bad_network(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let netem = "root netem loss 5% duplicate 20% delay 2ms 2ms reorder 25%";
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {netem}"))?;
    sh(&node2, &format!("/usr/sbin/tc qdisc add dev node1 {netem}"))?;
    let work = on_request(&node1, &["appends_are_done_once"])?;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        cluster.cut(1, 2)?;
        std::thread::sleep(Duration::from_millis(700));
        cluster.heal()?;
    }
    let ended = work.wait_timeout(Duration::from_secs(300))?;
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    wait_until_whole(cluster)?;
    let said = ended.text()?;
    let line = said.lines().find(|line| line.contains("acknowledged"));
    println!("{}", line.context("nothing was done")?);
    Ok(())
}
