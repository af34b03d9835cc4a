// SPDX-License-Identifier: GPL-2.0
//! Calls that wait while the module goes, or the configuration changes.

use super::{wait_until_called, wait_until_here};
use crate::support::{DEADLINE, SLACK, fails, sh, with_config};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use virgo_cluster::Cluster;

/// Text sessions that wait for calls end when the module is unloaded, not when the calls do.
pub fn unload(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    let mut sessions = Vec::new();
    for command in [
        "clone on=2 timeout=40000 sleep 40000",
        "clone on=1 timeout=40000 /usr/lib/virgo/test/virgo_cloud_test_main hang",
    ] {
        let script = format!(
            "(echo \"auth $(cat /etc/virgo.key)\"; echo '{command}'; sleep 60) |
                nc 127.0.0.1 10000"
        );
        sessions.push(node1.spawn(["sh", "-c", &script])?);
    }
    wait_until_here(&cluster.node(2), 1)?;
    wait_until_here(&node1, 1)?;
    let start = Instant::now();
    let unloaded = node1.run_with_timeout(["rmmod", "virgo_cpupooling"], Duration::from_secs(90));
    let took = start.elapsed();
    sh(&node1, "insmod /lib/virgo/virgo_cpupooling.ko")?;
    for session in sessions {
        session.kill()?;
        session.wait()?;
    }
    unloaded?.text()?;
    println!("rmmod took {took:?}");
    ensure!(took < SLACK, "rmmod took {took:?}");
    wait_until_called(cluster)?;
    sh(&node1, "virgo clone --on 2 noop")?;
    wait_until_here(&cluster.node(2), 0)
}

/// `stop` in `peers` ends waits for calls, so that the module can be unloaded; until `start` there are no
/// new ones.
pub fn stop(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let peers = "/sys/kernel/debug/virgo/cpupooling/peers";
    let job = sh(
        &node1,
        "virgo clone --async --on 2 --timeout 60s sleep 60000",
    )?;
    let waiting = node1.spawn(["virgo", "wait", "--timeout", "50s", &job])?;
    let inside = [
        "virgo",
        "clone",
        "--on",
        "2",
        "--timeout",
        "60s",
        "sleep",
        "60000",
    ];
    let inside = node1.spawn(inside)?;
    wait_until_here(&node2, 2)?;
    sh(&node1, &format!("echo stop >{peers}"))?;
    let start = Instant::now();
    let ended = [
        waiting.wait_timeout(Duration::from_secs(100))?,
        inside.wait_timeout(Duration::from_secs(100))?,
    ];
    let took = start.elapsed();
    let refused = fails(&node1, "virgo clone --on 2 noop");
    sh(&node1, &format!("echo start >{peers}"))?;
    for ended in ended {
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(said.contains("ESHUTDOWN"), "{said}");
    }
    let (said, _) = refused?;
    ensure!(said.contains("ESHUTDOWN"), "{said}");
    ensure!(took < DEADLINE, "it took {took:?}");
    wait_until_called(cluster)?;
    sh(&node1, "virgo clone --on 2 noop")?;
    wait_until_here(&node2, 0)
}

/// What is not allowed any more when its turn comes does not run.
pub fn reconfigured(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let start = |call: &str| {
        sh(
            &node,
            &format!("virgo clone --async --on 1 --timeout 100s {call}"),
        )
    };
    let mut busy = Vec::new();
    let calls = ["/usr/bin/virgo help", "echo waited"];
    let lines = "executable = /usr/bin/virgo";
    let as_user = |call: &str| {
        let call = format!("virgo clone --async --on 1 --timeout 100s {call}");
        sh(&node, &format!("su user -c '{call}'"))
    };
    for _ in 0..32 {
        busy.push(start("sleep 100000")?);
    }
    let waiting = with_config(&node, lines, || {
        calls.iter().map(|call| as_user(call)).collect()
    });
    let waiting: Vec<String> = waiting?;
    let ended = with_config(&node, "callers = echo 7", || {
        for job in busy {
            sh(&node, &format!("virgo cancel {job}; virgo wait {job}; :"))?;
        }
        wait_until_here(&node, 0)?;
        let ended = waiting
            .iter()
            .map(|job| fails(&node, &format!("virgo wait {job}")));
        ended.collect::<Result<Vec<_>>>()
    });
    for ((said, _), reason) in ended?.iter().zip(["'executable' line", "'callers' lines"]) {
        ensure!(said.contains("EACCES") && said.contains(reason), "{said}");
    }
    Ok(())
}
