// SPDX-License-Identifier: GPL-2.0
//! The nodes of the cluster that a suite runs in, as this node's configuration numbers them.

use virgo::status::{Config, Status};

fn config() -> Config {
    Status::default().config().expect("the configuration")
}

/// The numbers of all nodes.
pub fn nodes() -> Vec<u32> {
    let nodes = config().nodes;
    nodes.iter().map(|node| node.number.into()).collect()
}

/// The number of this node.
pub fn this_node() -> u32 {
    config().me.into()
}

/// The number of another node than this; this one if it is alone.
pub fn other_node() -> u32 {
    let this = this_node();
    let other = nodes().into_iter().find(|&node| node != this);
    other.unwrap_or(this)
}
