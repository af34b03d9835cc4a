// SPDX-License-Identifier: GPL-2.0
//! The module: what modules in C say, and unloading.

use super::{
    messages::{EDGES, FOLDER, UPDATED, VERTICES, empty, holds, say},
    recording::{loss, switch},
};
use crate::support::sh;
use anyhow::{Result, ensure};
use virgo_cluster::Cluster;

/// A module in C says things, also in an interrupt.
pub fn module_in_c(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    empty(&node)?;
    switch(cluster, "on --kinds log")?;
    let loaded = sh(
        &node,
        "insmod /lib/virgo/tests/virgo_test_eventnet.ko && sleep 0.3 && rmmod virgo_test_eventnet",
    );
    switch(cluster, "off")?;
    loaded?;
    holds(&node, EDGES, "7001,7002")?;
    holds(&node, VERTICES, "7001 - 1,2 - (1,2)")?;
    let dump = sh(&node, "virgo eventnet dump --node 2")?;
    ensure!(dump.contains("said by a module in C"), "{dump}");
    ensure!(dump.contains("said in an interrupt"), "{dump}");
    Ok(())
}

/// virgo_eventnet goes and comes while others log messages for its files; what it has taken it has
/// written, and what came meanwhile is counted.
pub fn unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    let result = sh(
        &node,
        "insmod /lib/virgo/tests/virgo_test_functions.ko || exit
         (for i in $(seq 20); do virgo clone --on 1 virgo_test_log 500 'eventnet_edgemsg#1#2'; done) >/dev/null 2>&1 &
         for i in $(seq 10); do
             n=0; until rmmod virgo_eventnet 2>/dev/null; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.05; done
             insmod /lib/virgo/virgo_eventnet.ko || exit
         done
         wait; n=0; until rmmod virgo_test_functions; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.05; done",
    );
    result?;
    let odd = sh(&node, &format!("grep -vc '^1,2$' {FOLDER}/{EDGES}; true"))?;
    ensure!(odd == "0" || odd.is_empty(), "{odd} lines are not whole");
    // What is said without it, or at too great a length, is lost, which is told.
    let before = loss(cluster, "messages_lost")?;
    let long = format!("eventnet_vertextmsg#1#{}1#1,2", "1,".repeat(150));
    sh(
        &node,
        &format!(
            "insmod /lib/virgo/tests/virgo_test_functions.ko && rmmod virgo_eventnet || exit
             virgo clone --on 1 virgo_test_log 7 'eventnet_edgemsg#1#2' || exit
             insmod /lib/virgo/virgo_eventnet.ko || exit
             virgo clone --on 1 virgo_test_log 2 '{long}' && rmmod virgo_test_functions"
        ),
    )?;
    let lost = loss(cluster, "messages_lost")? - before;
    ensure!(lost == 9, "{lost} messages were lost");
    ensure!(
        say(&node, &["eventnet_edgemsg#3#4"])? == [UPDATED],
        "it does not answer"
    );
    Ok(())
}
