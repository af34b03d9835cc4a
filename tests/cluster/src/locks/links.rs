// SPDX-License-Identifier: GPL-2.0
//! Two nodes that do not hear each other, and a third one that hears both.

use super::{SETTLED, hold, once, settled};
use crate::support::{fails, sh, wait_until_whole, within};
use anyhow::{Context, Result, ensure};
use std::{thread::sleep, time::Duration};
use virgo_cluster::{Cluster, Node};

/// Many views were made in this time if they did not come to an end.
const LONG: Duration = Duration::from_secs(15);

/// The number of the view, and whether node 2 is a member.
fn view(node: &Node) -> Result<(u64, bool)> {
    let state = sh(node, "cat /sys/kernel/debug/virgo/cloudsync/state")?;
    let mut words = state.split_whitespace();
    let number = words.nth(1).context("a number")?;
    Ok((number.parse()?, state.contains("node 2 member")))
}

/// One of the two is left out, once, and the locks of the others stay.
pub(super) fn broken(cluster: &Cluster) -> Result<()> {
    settled(cluster)?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let held = [
        hold(&node1, "link1", "")?,
        hold(&node2, "link2", "")?,
        hold(&node3, "link3", "")?,
    ];
    cluster.cut(1, 2)?;
    let result = (|| {
        within(SETTLED, || {
            let (number, is_member) = view(&node3)?;
            ensure!(!is_member, "node 2 is a member of view {number}");
            Ok(())
        })?;
        let (before, _) = view(&node3)?;
        sleep(LONG);
        let (after, is_member) = view(&node3)?;
        ensure!(
            after == before && !is_member,
            "view {after} after view {before}"
        );
        for (node, name) in [(1, "link1"), (3, "link3")] {
            let listed = sh(&node3, &format!("virgo locks --node {node} --json"))?;
            ensure!(
                listed.contains(&format!("\"name\":\"{name}\",\"held\"")),
                "{listed}"
            );
        }
        once(&node1, "link2")?;
        let (said, _) = fails(&node2, "virgo lock link2 --timeout 2s -- true")?;
        ensure!(said.contains("EHOSTDOWN"), "{said}");
        Ok(())
    })();
    cluster.heal()?;
    result?;
    for held in held {
        held.kill()?;
    }
    wait_until_whole(cluster)?;
    settled(cluster)
}
