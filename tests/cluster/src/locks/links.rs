// SPDX-License-Identifier: GPL-2.0
//! Two nodes that do not hear each other, and a third one that hears both.

use super::{SETTLED, hold, load, once, settled};
use crate::{
    rounds::Rounds,
    support::{fails, sh, wait_until_whole, within},
};
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

/// On the debug kernel a change of view takes about as long as a lease of the usual length: an administrator of
/// such a slow node sets longer times, and so does this.
const TIMES_AS_LONG: Rounds = Rounds {
    debug: 4,
    slim: 1,
    soak: 4,
};

/// One of the two is left out, once, and the locks of the others stay.
pub(super) fn broken(cluster: &Cluster) -> Result<()> {
    let times = TIMES_AS_LONG.count();
    let [beat, dead, lease] = [150, 800, 600].map(|ms| ms * times);
    let options = format!("beat_ms={beat} dead_ms={dead} lease_ms={lease}");
    load(cluster, &[1, 2, 3], &options)?;
    let result = one_is_left_out(cluster);
    load(cluster, &[1, 2, 3], "")?;
    result
}

fn one_is_left_out(cluster: &Cluster) -> Result<()> {
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
