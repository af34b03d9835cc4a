// SPDX-License-Identifier: GPL-2.0
//! Measures VIRGO beside memcached: instructions an operation in one guest whose clock counts
//! them, and wall-clock ratios between two guests. Writes `build/bench.json` and the table in
//! `docs/benchmarks.md`.

use anyhow::{Context, Result};
use serde::Serialize;
use std::{collections::BTreeMap, env, fs, path::PathBuf};
use virgo_cluster::{Cluster, Node, Options};

/// Where the table stands in the document.
const TABLE: (&str, &str) = ("<!-- table: make bench -->\n", "<!-- end of table -->\n");

/// One comparison. Lower is better.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    unit: &'static str,
    virgo: f64,
    peer: f64,
    peer_name: &'static str,
    ratio: f64,
    /// The ratio to reach, if one was set.
    #[serde(skip)]
    goal: Option<f64>,
}

type Figures = BTreeMap<String, f64>;

fn main() -> Result<()> {
    let top = PathBuf::from(env::var_os("VIRGO_TOP").context("VIRGO_TOP is not set")?);
    let mut rows = instructions()?;
    rows.extend(wall_clock()?);
    let json = serde_json::to_string_pretty(&rows)?;
    fs::write(top.join("build/bench.json"), json + "\n")?;
    let table = table(&rows);
    print!("{table}");
    let path = top.join("docs/benchmarks.md");
    let document = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    fs::write(&path, with_table(&document, &table)?)?;
    Ok(())
}

/// One guest, one processor, the clock counts instructions.
fn instructions() -> Result<Vec<Row>> {
    let cluster = Cluster::up(&Options {
        nodes: 1,
        icount: true,
        ..Options::default()
    })?;
    let node = cluster.node(1);
    start_memcached(&node)?;
    let memcached = figures(&node, "memcached 127.0.0.1")?;
    let local = figures(&node, "get")?;
    let text = figures(&node, "text 127.0.0.1")?;
    let few = figures(&node, "live 100")?;
    let many = figures(&node, "live 100000")?;
    // The same way through both ends of a connection, of this node to itself.
    reload(&node, "loopback=1")?;
    let remote = figures(&node, "get 1")?;
    cluster.down()?;
    let row = |name, virgo, peer, peer_name, goal| Row {
        name,
        unit: "instructions",
        virgo,
        peer,
        peer_name,
        ratio: virgo / peer,
        goal: Some(goal),
    };
    Ok(vec![
        row(
            "get of 32 bytes by system call, remote",
            remote["get"],
            memcached["get"],
            "memcached get",
            0.85,
        ),
        row(
            "get of 32 bytes by system call, local",
            local["get"],
            memcached["get"],
            "memcached get",
            0.05,
        ),
        row(
            "16 text gets in one segment",
            text["text16"],
            memcached["get16"],
            "memcached, 16 gets",
            0.5,
        ),
        row(
            "local get, 100000 allocations live",
            many["live100000"],
            few["live100"],
            "100 live",
            1.2,
        ),
    ])
}

/// Two guests, the clock on the wall: noisy, but with a network between.
fn wall_clock() -> Result<Vec<Row>> {
    let cluster = Cluster::up(&Options {
        nodes: 2,
        ..Options::default()
    })?;
    let (client, server) = (cluster.node(1), cluster.node(2));
    start_memcached(&server)?;
    let memcached = figures(&client, "memcached 10.9.0.2")?;
    let remote = figures(&client, "get 2")?;
    let text = figures(&client, "text 10.9.0.2")?;
    cluster.down()?;
    let row = |name, virgo, peer, peer_name| Row {
        name,
        unit: "ns between two guests",
        virgo,
        peer,
        peer_name,
        ratio: virgo / peer,
        goal: None,
    };
    Ok(vec![
        row(
            "get of 32 bytes by system call",
            remote["get"],
            memcached["get"],
            "memcached get",
        ),
        row(
            "16 text gets in one segment",
            text["text16"],
            memcached["get16"],
            "memcached, 16 gets",
        ),
    ])
}

fn start_memcached(node: &Node) -> Result<()> {
    let start =
        "memcached -d -u root -t 1 -l 0.0.0.0; until nc -z 127.0.0.1 11211; do sleep 0.1; done";
    node.run(["sh", "-c", start])?.text()?;
    Ok(())
}

fn reload(node: &Node, parameters: &str) -> Result<()> {
    let script = format!("rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko {parameters}");
    node.run(["sh", "-c", &script])?.text()?;
    Ok(())
}

fn figures(node: &Node, arguments: &str) -> Result<Figures> {
    eprintln!("measuring: {arguments}");
    let command = ["virgo-bench-guest"]
        .into_iter()
        .chain(arguments.split(' '));
    let output = node.run(command)?.text().context(arguments.to_owned())?;
    output
        .lines()
        .map(|line| {
            let (name, value) = line.split_once(' ').context("no figure")?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| operation | unit | VIRGO | peer | ratio | goal |\n|---|---|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let goal = row.goal.map_or("-".to_owned(), |goal| {
            let mark = if row.ratio <= goal {
                "reached"
            } else {
                "missed"
            };
            format!("{goal} {mark}")
        });
        table += &format!(
            "| {} | {} | {:.0} | {:.0} ({}) | {:.2} | {goal} |\n",
            row.name, row.unit, row.virgo, row.peer, row.peer_name, row.ratio
        );
    }
    table
}

fn with_table(document: &str, table: &str) -> Result<String> {
    let (before, rest) = document
        .split_once(TABLE.0)
        .context("docs/benchmarks.md has lost the mark of its table")?;
    let (_, after) = rest
        .split_once(TABLE.1)
        .context("docs/benchmarks.md has lost the end of its table")?;
    Ok([before, TABLE.0, table, TABLE.1, after].concat())
}
