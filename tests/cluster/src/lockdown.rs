// SPDX-License-Identifier: GPL-2.0
//! A kernel that takes signed modules only, as one that was booted by Secure Boot does. It can be had
//! while the kernel runs, but not be given up again: the node is started anew.

use crate::{
    Test,
    support::{fails, sh, wait_until_whole},
};
use anyhow::{Result, ensure};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("lockdown_keeps_what_is_loaded", loaded),
    ("unsigned_modules_are_refused_with_advice", refused),
];

const LOCK: &str = "mkdir -p /sys/kernel/security
    mountpoint -q /sys/kernel/security || mount -t securityfs none /sys/kernel/security
    echo integrity >/sys/kernel/security/lockdown";

const ENFORCE: &str = "echo 1 >/sys/module/module/parameters/sig_enforce";

/// Runs a test on a node, which is started anew afterwards.
fn with(cluster: &Cluster, test: impl FnOnce(&Node) -> Result<()>) -> Result<()> {
    let node = cluster.node(3);
    let result = test(&node);
    node.restart()?;
    result.and_then(|()| wait_until_whole(cluster))
}

/// Programs and other nodes go on, and what debugfs only shows is shown; what can be written there, too, is
/// refused with the reason.
fn loaded(cluster: &Cluster) -> Result<()> {
    with(cluster, |node| {
        sh(node, LOCK)?;
        sh(node, "id=$(virgo malloc 10) && virgo free $id")?;
        sh(&cluster.node(1), "virgo clone --on 3 node")?;
        sh(node, "virgo stats")?;
        sh(node, "virgo queue list")?;
        sh(node, "virgo net queues 0.0.0.0:30000")?;
        for command in ["config reload", "nodes", "sessions", "analytics list"] {
            let (said, _) = fails(node, &format!("virgo {command}"))?;
            ensure!(said.contains("lockdown"), "{command}: {said}");
        }
        // A warning alone is no problem.
        let said = sh(node, "virgo doctor")?;
        ensure!(said.contains("lockdown=integrity"), "{said}");
        Ok(())
    })
}

fn refused(cluster: &Cluster) -> Result<()> {
    for (lock, reason) in [
        (LOCK, "lockdown=integrity"),
        (ENFORCE, "module.sig_enforce"),
    ] {
        with(cluster, |node| {
            sh(
                node,
                "for m in virgo_sample_echo $(grep -v '^#' /lib/virgo/order | tac); do
                    rmmod $m || exit 1
                done",
            )?;
            sh(node, lock)?;
            fails(node, "insmod /lib/virgo/virgo_config.ko")?;
            let (said, _) = fails(node, "virgo doctor")?;
            let problem = format!("signed modules only ({reason})");
            ensure!(said.contains(&problem), "{said}");
            ensure!(said.contains("mokutil --import"), "{said}");
            Ok(())
        })?;
    }
    Ok(())
}
