// SPDX-License-Identifier: GPL-2.0
//! Many names: for how many there is room, and whose.

use super::{PORT, load, once};
use crate::{
    rounds::Rounds,
    support::{sh, text},
};
use anyhow::{Result, ensure};
use virgo_cluster::Cluster;

/// Many names in one session, and all of them free again when it ends.
pub(super) fn many(cluster: &Cluster) -> Result<()> {
    let count = Rounds {
        debug: 200,
        slim: 2000,
        soak: 100_000,
    }
    .count();
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let script = format!(
        "(echo \"auth $(cat /etc/virgo_text.key)\"; seq {count} | sed 's/^/lock many/'; echo stats; echo quit) | \
         nc 127.0.0.1 {PORT} | grep -c token="
    );
    let granted = sh(&node1, &script)?;
    ensure!(granted == count.to_string(), "{granted} of {count}");
    for at in [1, count / 2, count] {
        once(&node2, &format!("many{at}"))?;
    }
    Ok(())
}

/// A master with room for few names gives a user of another node no more than a share of it.
pub(super) fn charged(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    load(cluster, &[3], "max_names=16")?;
    let result = (|| {
        let lines: Vec<String> = (1..=60).map(|i| format!("lock charged{i}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let said = text(&node1, &node1, PORT, &lines)?;
        let refused = said.iter().filter(|line| line.contains("EDQUOT")).count();
        let granted = said.iter().filter(|line| line.contains("token=")).count();
        ensure!(refused > 0 && refused + granted == 60, "{said:?}");
        // Names of the two other masters, and half of what node 3 has room for.
        ensure!(granted > 8, "{said:?}");
        Ok(())
    })();
    load(cluster, &[3], "")?;
    result
}

/// A user of another node who holds one lock after the other uses up no room at a master.
pub(super) fn given_back(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    load(cluster, &[3], "max_names=16")?;
    let result = (|| {
        let lines = (1..=90).flat_map(|i| [format!("lock given{i}"), format!("unlock given{i}")]);
        let lines: Vec<String> = lines.collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let said = text(&node1, &node1, PORT, &lines)?;
        let granted = said.iter().filter(|line| line.contains("token=")).count();
        ensure!(granted == 90, "{said:?}");
        Ok(())
    })();
    load(cluster, &[3], "")?;
    result
}
