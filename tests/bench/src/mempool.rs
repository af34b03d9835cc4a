// SPDX-License-Identifier: GPL-2.0
//! The memory pool beside memcached: gets of 32 bytes.

use crate::{
    Bench,
    report::Row,
    support::{measure, measure_in_turns, reload, start_memcached, stop},
};
use anyhow::Result;
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock,
};

const GET: &str = "memcached get";
const GETS: &str = "memcached, 16 gets";

fn instructions(node: &Node) -> Result<Vec<Row>> {
    let unit = "instructions";
    start_memcached(node)?;
    let memcached = measure(node, "memcached 127.0.0.1")?;
    stop(node, "memcached")?;
    let local = measure(node, "get")?;
    let text = measure(node, "text 127.0.0.1")?;
    let few = measure(node, "live 100")?;
    let many = measure(node, "live 100000")?;
    // The way through both ends of a connection, of this node to itself.
    reload(node, "mempool", "loopback=1")?;
    let remote = measure(node, "get 1")?;
    reload(node, "mempool", "")?;
    let (get, gets) = ((GET, memcached["get"]), (GETS, memcached["get16"]));
    Ok(vec![
        Row::new("remote get by system call", unit, remote["get"], get).ratio_goal(0.85),
        Row::new("local get by system call", unit, local["get"], get).ratio_goal(0.05),
        Row::new("text get", unit, text["text"], get),
        Row::new("16 text gets in one segment", unit, text["text16"], gets).ratio_goal(0.5),
        Row::new(
            "local get, 100000 live",
            unit,
            many["live100000"],
            ("100 live", few["live100"]),
        )
        .ratio_goal(1.2),
    ])
}

fn wall_clock(client: &Node, server: &Node) -> Result<Vec<Row>> {
    let unit = "ns between two guests";
    start_memcached(server)?;
    let [memcached, remote, text] = measure_in_turns(
        client,
        [
            &format!("memcached {}", server.address()),
            &format!("get {}", server.number()),
            &format!("text {}", server.address()),
        ],
    )?;
    stop(server, "memcached")?;
    let (get, gets) = ((GET, memcached["get"]), (GETS, memcached["get16"]));
    let mut rows = vec![
        Row::new("remote get by system call", unit, remote["get"], get),
        Row::new("text get", unit, text["text"], get),
        Row::new("16 text gets in one segment", unit, text["text16"], gets),
    ];
    rows.extend(threads(client, server)?);
    Ok(rows)
}

/// Many threads of one program beside 32 of them.
fn threads(client: &Node, server: &Node) -> Result<Vec<Row>> {
    let of = |count| format!("threads {},{count}", server.number());
    let [one, few, more, many] = measure_in_turns(client, [&of(1), &of(32), &of(128), &of(1000)])?;
    let nanos = "ns an operation, two guests";
    let few = ("32 threads", few["threads32"]);
    let mean = ("the mean", 100.0);
    Ok(vec![
        Row::new("remote get, 1 thread", nanos, one["threads1"], few),
        Row::new("remote get, 128 threads", nanos, more["threads128"], few),
        Row::new("remote get, 1000 threads", nanos, many["threads1000"], few).ratio_goal(1.11),
        Row::new(
            "the same",
            "context switches in 100",
            many["switches1000"],
            ("operations", 100.0),
        )
        .value_goal(300.0),
        Row::new("the same", "errors", many["errors1000"], mean).value_goal(0.0),
        Row::new(
            "the same",
            "mean in % of the least served",
            many["least1000"],
            mean,
        )
        .value_goal(200.0),
    ])
}
