// SPDX-License-Identifier: GPL-2.0
//! Files that others have open on a node: what one user keeps from others.

use crate::{
    Test,
    files::{on_request, wait_until_open},
    support::sh,
};
use anyhow::Result;
use std::time::Duration;
use virgo_cluster::Cluster;

pub const TESTS: &[(&str, Test)] = &[("users_who_write_leave_workers_for_others", streams)];

const EXPORT: &str = "/var/log/virgo_fs";

fn streams(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, &format!("virgo ls 2:{EXPORT}"))?;
    node2.throttle_disk(256 << 10)?;
    let test = on_request(
        &node1,
        &["streams::three_who_write_leave_room_for_a_fourth"],
    )?;
    let tested = test.wait_timeout(Duration::from_secs(120));
    node2.throttle_disk(0)?;
    let said = tested?.text()?;
    println!("{}", said.lines().find(|l| l.contains("Ok(")).unwrap_or(""));
    wait_until_open(&node2, 0)
}
