// SPDX-License-Identifier: GPL-2.0
//! Events that nodes record.

use crate::support::{fails, sh, wait_until_whole};
use anyhow::{Context, Result, ensure};
use std::time::{SystemTime, UNIX_EPOCH};
use virgo_cluster::Cluster;
use virgo_eventnet::{Event, Graph, read_json, why::why};

/// A number that node 1 says of what was lost.
pub(super) fn loss(cluster: &Cluster, name: &str) -> Result<u64> {
    let loss = sh(&cluster.node(1), "virgo --json eventnet loss --node 1")?;
    let (_, count) = loss
        .split_once(&format!("\"{name}\":"))
        .context("no count")?;
    let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

pub(super) fn switch(cluster: &Cluster, how: &str) -> Result<()> {
    sh(&cluster.node(1), &format!("virgo eventnet {how}"))?;
    Ok(())
}

/// What all nodes have recorded.
pub(super) fn recorded(cluster: &Cluster) -> Result<Graph> {
    let json = sh(&cluster.node(1), "virgo eventnet export --format json")?;
    Ok(Graph::new(read_json(json.as_bytes())?))
}

/// The last call of this name on node 1.
pub(super) fn last_call<'a>(graph: &'a Graph, name: &str) -> Result<&'a Event> {
    last_call_on(1, graph, name)
}

pub(super) fn last_call_on<'a>(node: u8, graph: &'a Graph, name: &str) -> Result<&'a Event> {
    let calls = graph
        .events()
        .iter()
        .filter(|event| event.id.node == node && event.point == "call" && event.text == name);
    calls.last().with_context(|| format!("no call {name}"))
}

/// Sets the clocks of all nodes to this machine's: those of nodes that were paused are behind.
pub(super) fn set_clocks(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        sh(&node, &format!("date -s @{now}"))?;
    }
    Ok(())
}

/// A get from another node leaves six events on two nodes, each caused by the one before.
pub fn remote_call(cluster: &Cluster) -> Result<()> {
    set_clocks(cluster)?;
    let node = cluster.node(1);
    let id = sh(&node, "virgo malloc 100 --place 2")?;
    switch(cluster, "on")?;
    sh(&node, &format!("virgo get {id} --length 5"))?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let faults = graph.faults();
    ensure!(faults.is_empty(), "{faults:?}");
    let call = last_call(&graph, "get2")?;
    let why = why(&graph, call.id)?;
    let points: Vec<_> = why
        .hops
        .iter()
        .map(|hop| (hop.to.id.node, hop.to.point.as_str()))
        .collect();
    let expected = [
        (1, "send"),
        (2, "receive"),
        (2, "reply"),
        (1, "done"),
        (1, "return"),
    ];
    ensure!(points == expected, "{points:?}");
    ensure!(why.first.id == call.id && why.missing.is_none(), "{why:?}");
    // Switched off nothing is recorded.
    let before = graph.events().len();
    sh(&node, &format!("virgo get {id} --length 5"))?;
    let after = recorded(cluster)?.events().len();
    ensure!(before == after, "{before} events became {after}");
    // One kind, and one call of so many.
    switch(cluster, "on --kinds memory --one-in 5")?;
    sh(
        &node,
        &format!("for i in $(seq 20); do virgo get {id} --length 5 >/dev/null || exit; done"),
    )?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let new: Vec<_> = graph
        .events()
        .iter()
        .filter(|event| event.seq_after(after, &graph))
        .collect();
    ensure!(new.iter().all(|event| event.kind == "memory"), "{new:?}");
    let calls = new.iter().filter(|event| event.point == "call").count();
    ensure!((2..=8).contains(&calls), "{calls} of 20 calls");
    sh(&node, &format!("virgo free {id}"))?;
    Ok(())
}

/// Events of a graph beyond its first so many.
trait Later {
    fn seq_after(&self, count: usize, graph: &Graph) -> bool;
}

impl Later for Event {
    fn seq_after(&self, count: usize, graph: &Graph) -> bool {
        let mut stamps: Vec<_> = graph.events().iter().map(|event| event.stamp).collect();
        stamps.sort_unstable();
        stamps.get(count).is_some_and(|first| self.stamp >= *first)
    }
}

/// A call that finds no node in time says so in its events, and why tells where the time went.
pub fn failed_call(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let id = sh(&node, "virgo malloc 100 --place 2")?;
    switch(cluster, "on --kinds memory")?;
    cluster.node(2).pause()?;
    let failed = fails(&node, &format!("virgo get {id} --length 5"));
    cluster.node(2).resume()?;
    set_clocks(cluster)?;
    failed?;
    wait_until_whole(cluster)?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let failed = graph
        .events()
        .iter()
        .filter(|event| event.id.node == 1 && event.point == "return" && event.status != 0);
    let mut explained = false;
    for call in failed {
        let why = why(&graph, call.id)?;
        let longest = why.hops.iter().max_by_key(|hop| hop.nanos);
        explained |= longest.is_some_and(|hop| {
            let is_wait = hop.to.point == "done" && hop.to.status != 0;
            is_wait && hop.from.point == "send" && hop.nanos > 1_000_000_000
        });
    }
    ensure!(explained, "no call has waited");
    sh(&node, &format!("virgo free {id}"))?;
    Ok(())
}

/// The command line says what happened before what, and writes all formats.
pub fn answers(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let id = sh(&node, "virgo malloc 100 --place 2")?;
    switch(cluster, "on --kinds memory")?;
    sh(
        &node,
        &format!("virgo get {id} --length 5; virgo free {id}"),
    )?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let call = last_call(&graph, "get2")?.id;
    let end = graph
        .events()
        .iter()
        .find(|event| event.begin == Some(call));
    let end = end.context("the call has no end")?.id;
    sh(&node, "virgo eventnet export --format json >/tmp/events")?;
    let input = "--input /tmp/events";
    sh(
        &node,
        &format!("virgo eventnet before {call} {end} {input}"),
    )?;
    fails(
        &node,
        &format!("virgo eventnet before {end} {call} {input}"),
    )?;
    let path = sh(&node, &format!("virgo eventnet path {call} {end} {input}"))?;
    ensure!(path.contains("receive from node1"), "{path}");
    let why = sh(&node, &format!("virgo eventnet why {call} {input}"))?;
    ensure!(why.contains("longest") && why.contains("in all"), "{why}");
    sh(&node, &format!("virgo eventnet order {input}"))?;
    for format in ["dot", "shiviz", "perfetto", "otlp"] {
        let text = sh(
            &node,
            &format!("virgo eventnet export --format {format} {input}"),
        )?;
        ensure!(text.len() > 100, "{format}: {text}");
    }
    let (said, _) = fails(
        &node,
        &format!("virgo eventnet export --format svg {input}"),
    )?;
    ensure!(said.contains("graphviz"), "{said}");
    // A cycle, made by hand: each of two events is caused by the other.
    sh(
        &node,
        "cat >/tmp/cycle <<end
{\"id\":\"1:1\",\"cause\":\"2:1\",\"kind\":\"log\",\"point\":\"local\",\"wall_ns\":1,\"stamp\":1,\"mono_ns\":1,\"clock\":[1,1]}
{\"id\":\"2:1\",\"cause\":\"1:1\",\"kind\":\"log\",\"point\":\"local\",\"wall_ns\":1,\"stamp\":1,\"mono_ns\":1,\"clock\":[1,1]}
end",
    )?;
    let (said, _) = fails(&node, "virgo eventnet order --input /tmp/cycle")?;
    ensure!(said.contains("a cycle") && said.contains("stamp"), "{said}");
    Ok(())
}

/// A node whose clock is an hour ahead does not take the others along; the one whose clock goes back has
/// growing stamps all the same. What cannot be is told.
pub fn clocks_apart(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let now = "date +%s";
    let ahead = || loss(cluster, "clocks_ahead");
    let before = ahead()?;
    sh(&node2, &format!("date -s @$(($({now}) + 3600))"))?;
    switch(cluster, "on --kinds memory")?;
    let used = sh(&node1, "id=$(virgo malloc 100 --place 2) && virgo free $id");
    let back = sh(&node2, &format!("date -s @$(($({now}) - 3600))"));
    let again = sh(&node1, "id=$(virgo malloc 100 --place 2) && virgo free $id");
    switch(cluster, "off")?;
    used.and(back).and(again)?;
    ensure!(ahead()? > before, "no stamp was ahead");
    let wall = sh(&node1, now)?.parse::<u64>()?;
    let graph = recorded(cluster)?;
    let latest = graph
        .events()
        .iter()
        .filter(|event| event.id.node == 1)
        .map(|event| event.wall_ns)
        .max();
    let latest = latest.context("no events")? / 1_000_000_000;
    ensure!(latest < wall + 60, "node 1 says {latest}, it is {wall}");
    let said = format!("{:?}", graph.faults());
    ensure!(said.contains("Stamp"), "{said}");
    let mut last = 0;
    for event in graph.events().iter().filter(|event| event.id.node == 2) {
        ensure!(event.stamp > last, "{event:?}");
        last = event.stamp;
    }
    // Its hybrid clock stays an hour ahead until it is loaded anew.
    node2.restart()?;
    wait_until_whole(cluster)
}

/// A ring that is full forgets its oldest events, and says how many.
pub fn overflow(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    sh(
        &node,
        "insmod /lib/virgo/tests/virgo_test_functions.ko; virgo eventnet on --kinds log --node 1",
    )?;
    let logged = sh(
        &node,
        "virgo clone --on 1 virgo_test_log 20000 'the ring is full'",
    );
    let off = switch(cluster, "off");
    let dump = sh(
        &node,
        "virgo eventnet export --format json --node 1 2>&1 >/tmp/events; tail -n 1 /tmp/events; wc -l </tmp/events",
    );
    sh(&node, "rmmod virgo_test_functions")?;
    logged?;
    off?;
    let dump = dump?;
    ensure!(
        dump.contains("events were replaced by later ones"),
        "{dump}"
    );
    ensure!(dump.contains("the ring is full"), "{dump}");
    Ok(())
}

/// What the others have recorded is there, and what is missing is told.
pub fn dead_node(cluster: &Cluster) -> Result<()> {
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    switch(cluster, "on --kinds memory")?;
    sh(&node1, "id=$(virgo malloc 100 --place 2) && virgo free $id")?;
    node3.kill()?;
    let dump = sh(&node1, "virgo eventnet dump 2>&1");
    node3.restart()?;
    wait_until_whole(cluster)?;
    switch(cluster, "off")?;
    let dump = dump?;
    ensure!(dump.contains("node 3: its events are missing"), "{dump}");
    ensure!(dump.contains("memory receive from node1"), "{dump}");
    Ok(())
}
