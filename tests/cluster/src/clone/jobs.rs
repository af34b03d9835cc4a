// SPDX-License-Identifier: GPL-2.0
//! Jobs: who waits for them, whose they are, and whom they count for.

use super::wait_until_here;
use crate::support::{fails, sh};
use anyhow::{Result, ensure};
use virgo_cluster::Cluster;

pub fn jobs(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    let quick = sh(&node1, "virgo clone --async --on 2 echo kept")?;
    let long = sh(
        &node1,
        "virgo clone --async --on 2 --timeout 200s sleep 200000",
    )?;
    let listed = sh(&node1, "virgo jobs")?;
    ensure!(
        listed.contains(&quick) && listed.contains(&long),
        "{listed}"
    );
    let said = sh(&node1, &format!("virgo wait {quick}"))?;
    ensure!(said == "kept\n4", "{said}");
    let (said, _) = fails(&node1, &format!("virgo wait {quick}"))?;
    ensure!(said.contains("ESRCH"), "{said}");
    let (said, _) = fails(&node1, &format!("virgo wait --timeout 200ms {long}"))?;
    ensure!(said.contains("ETIMEDOUT"), "{said}");
    wait_until_here(&cluster.node(2), 1)?;
    sh(&node1, &format!("virgo cancel {long}"))?;
    wait_until_here(&cluster.node(2), 0)?;
    let (said, _) = fails(&node1, &format!("virgo wait {long}"))?;
    ensure!(said.contains("ECANCELED"), "{said}");
    Ok(())
}

/// Users see and end their own jobs; root sees and ends all, from any node.
pub fn owners(cluster: &Cluster) -> Result<()> {
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    let sleep = "virgo clone --async --on 2 --timeout 200s sleep 200000";
    let of_root = sh(&node1, sleep)?;
    let of_user = sh(&node1, &format!("su user -c '{sleep}'"))?;
    let uid = sh(&node1, "id -u user")?;
    let seen = sh(&node1, "su user -c 'virgo jobs --node 1'")?;
    ensure!(
        seen.contains(&of_user) && !seen.contains(&of_root),
        "{seen}"
    );
    for listed in [
        sh(&node1, "virgo jobs")?,
        sh(&node3, "virgo jobs --node 1")?,
    ] {
        ensure!(
            listed.contains(&of_user) && listed.contains(&of_root),
            "{listed}"
        );
    }
    let seen = sh(&node3, &format!("virgo jobs --node 1 --uid {uid}"))?;
    ensure!(
        seen.contains(&of_user) && !seen.contains(&of_root),
        "{seen}"
    );
    for cancel in [
        format!("su user -c 'virgo cancel {of_root}'"),
        format!("su user -c 'virgo cancel --node 1 {of_root}'"),
    ] {
        let (said, _) = fails(&node1, &cancel)?;
        ensure!(said.contains("EPERM"), "{said}");
    }
    sh(
        &node3,
        &format!("virgo cancel --node 1 {of_user} {of_root}"),
    )?;
    for job in [of_user, of_root] {
        let (said, _) = fails(&node1, &format!("virgo wait {job}"))?;
        ensure!(said.contains("ECANCELED"), "{said}");
    }
    wait_until_here(&cluster.node(2), 0)
}

/// What a program makes the kernel keep counts for its memory cgroup, too.
pub fn memory_cgroup(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let program = "/usr/lib/virgo/test/virgo_cloud_test_main";
    // Without the shell's own pages, and without what a processor has charged in advance.
    let used = "sed -n 's/^kernel //p' /sys/fs/cgroup/callers/memory.stat";
    // The workers are busy, so the other calls wait with their arguments.
    let script = format!(
        "mkdir -p /sys/fs/cgroup/callers
         for i in $(seq 32); do
             virgo clone --async --on 1 --timeout 200s sleep 200000 || exit
         done
         text=$(head -c 30000 /dev/zero | tr '\\0' x)
         (echo 0 >/sys/fs/cgroup/callers/cgroup.procs
          for i in $(seq 40); do
              virgo clone --async --on 1 --timeout 200s {program} args $text || exit
          done)"
    );
    let jobs = sh(&node, &script)?;
    let kept: u64 = sh(&node, used)?.parse()?;
    for job in jobs.lines() {
        // Some have ended since those before them were cancelled.
        let end = format!("virgo cancel {job}; virgo wait {job} >/dev/null 2>&1; :");
        sh(&node, &end)?;
    }
    wait_until_here(&node, 0)?;
    sh(&node, "rmdir /sys/fs/cgroup/callers")?;
    // The group was made empty and its shell is gone: what is left are the calls.
    ensure!(
        kept > 40 * 30_000,
        "40 calls with 30000 bytes each count for {kept} bytes"
    );
    Ok(())
}
