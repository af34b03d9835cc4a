// SPDX-License-Identifier: GPL-2.0
//! EventNet: what recording costs, and messages beside sets of the memory pool.

use crate::{
    Bench,
    report::Row,
    support::{measure, measure_in_turns, reload, sh},
};
use anyhow::Result;
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock,
};

/// Room for all messages that are made while the disk is slow.
const ROOM: &str = "pending_kb=65536";

fn switch(node: &Node, how: &str) -> Result<()> {
    sh(node, &format!("virgo eventnet {how}")).map(drop)
}

/// Nanoseconds for saying something once from kernel code.
fn log(node: &Node) -> Result<f64> {
    let said = sh(
        node,
        "virgo clone --on 1 virgo_test_log 20000 'sixteen bytes...'",
    )?;
    Ok(said.trim().parse()?)
}

fn instructions(node: &Node) -> Result<Vec<Row>> {
    let unit = "instructions";
    sh(node, "insmod /lib/virgo/tests/virgo_test_functions.ko")?;
    let off = log(node)?;
    switch(node, "on --kinds log --node 1")?;
    let on = log(node)?;
    switch(node, "off --node 1")?;
    sh(node, "rmmod virgo_test_functions")?;
    reload(node, "eventnet", ROOM)?;
    let edge = measure(node, "edge 127.0.0.1")?["edge"];
    let set = measure(node, "text_set 127.0.0.1")?["set"];
    reload(node, "mempool", "loopback=1")?;
    let get = measure(node, "get 1")?["get"];
    switch(node, "on --node 1")?;
    let recorded = measure(node, "get 1")?["get"];
    switch(node, "off --node 1")?;
    reload(node, "mempool", "")?;
    reload(node, "eventnet", "")?;
    Ok(vec![
        Row::new("virgo_eventnet_log()", unit, on, ("switched off", off)).value_goal(400.0),
        Row::new("edge message", unit, edge, ("text set", set)).ratio_goal(1.1),
        Row::new(
            "remote get, recorded",
            unit,
            recorded,
            ("not recorded", get),
        )
        .ratio_goal(1.03),
    ])
}

fn wall_clock(client: &Node, server: &Node) -> Result<Vec<Row>> {
    let unit = "ns between two guests";
    let get = format!("get {}", server.number());
    let [off] = measure_in_turns(client, [&get])?;
    switch(client, "on")?;
    let recorded = measure_in_turns(client, [&get]);
    switch(client, "off")?;
    let [on] = recorded?;
    let off = ("not recorded", off["get"]);
    Ok(vec![Row::new("remote get, recorded", unit, on["get"], off)])
}
