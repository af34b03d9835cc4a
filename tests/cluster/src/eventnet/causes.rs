// SPDX-License-Identifier: GPL-2.0
//! What happens in another task has its cause, too: a job of the processor pool, a message.

use super::{
    PATIENCE,
    recording::{last_call_on, recorded, set_clocks, switch},
};
use crate::support::{sh, within};
use anyhow::{Context, Result, ensure};
use virgo_cluster::{Cluster, Node};
use virgo_eventnet::{Event, Graph, why::why};

/// Nodes and points of the chain that led to the end of a call, without the question that goes before a
/// request on a connection that was idle: whether the other node is still there.
fn chain(graph: &Graph, call: &Event) -> Result<Vec<(u8, String)>> {
    let why = why(graph, call.id)?;
    let points = why
        .hops
        .iter()
        .map(|hop| (hop.to.id.node, hop.to.point.clone()));
    let first = (why.first.id.node, why.first.point.clone());
    let mut chain: Vec<_> = [first].into_iter().chain(points).collect();
    let asked =
        |pair: &[(u8, String)]| pair[0].1 == "send" && pair[1] == (pair[0].0, "done".into());
    while let Some(at) = chain.windows(2).position(asked) {
        chain.drain(at..at + 2);
    }
    Ok(chain)
}

fn ensure_chain(graph: &Graph, call: &Event, expected: &[(u8, &str)]) -> Result<()> {
    let faults = graph.faults();
    ensure!(faults.is_empty(), "{faults:?}");
    let found = chain(graph, call)?;
    let same = found.iter().map(|(node, point)| (*node, point.as_str()));
    ensure!(same.eq(expected.iter().copied()), "{found:?}");
    Ok(())
}

/// The call that has led to the last run of the function on `node`. Other calls are made by those who
/// read events.
fn call_of(graph: &Graph, node: u8) -> Result<&Event> {
    let mut runs = graph.events().iter().filter(|event| {
        event.id.node == node && event.point == "local" && event.text == "virgo_test_slow"
    });
    let mut event = runs.next_back().context("it was not run")?;
    while let Some(cause) = event.cause.and_then(|cause| graph.get(cause)) {
        event = cause;
    }
    Ok(event)
}

/// Why a call of a function took its time: a worker ran it, on this node or another.
pub fn across_job(cluster: &Cluster) -> Result<()> {
    set_clocks(cluster)?;
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let insert = "insmod /lib/virgo/tests/virgo_test_functions.ko";
    sh(&node1, insert)?;
    sh(&node2, insert)?;
    switch(cluster, "on --kinds clone")?;
    let there = sh(&node1, "virgo clone --on 2 virgo_test_slow 300");
    let graph_there = recorded(cluster);
    let here = sh(&node1, "virgo clone --on 1 virgo_test_slow 300");
    switch(cluster, "off")?;
    let graph_here = recorded(cluster);
    sh(&node1, "rmmod virgo_test_functions")?;
    sh(&node2, "rmmod virgo_test_functions")?;
    there.and(here)?;
    let expected = [
        (1, "call"),
        (1, "send"),
        (2, "receive"),
        (2, "local"),
        (2, "local"),
        (2, "send"),
        (1, "receive"),
        (1, "return"),
    ];
    let graph = graph_there?;
    ensure_chain(&graph, call_of(&graph, 2)?, &expected)?;
    let graph = graph_here?;
    let expected = [(1, "call"), (1, "local"), (1, "local"), (1, "return")];
    let call = call_of(&graph, 1)?;
    ensure_chain(&graph, call, &expected)?;
    let why = why(&graph, call.id)?;
    let longest = why.hops.iter().max_by_key(|hop| hop.nanos);
    let longest = longest.context("no hop")?;
    ensure!(
        longest.from.text == "virgo_test_slow" && longest.nanos >= 300_000_000,
        "{longest:?}"
    );
    Ok(())
}

/// Why a program had to wait for a message: another one published it later, on this node or another.
pub fn across_message(cluster: &Cluster) -> Result<()> {
    set_clocks(cluster)?;
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, "virgo queue create t.why")?;
    switch(cluster, "on --kinds queue")?;
    let take = |node: &Node, how: &str| {
        sh(
            node,
            &format!(
                "rm -f /tmp/took; virgo queue take --timeout 20s {how} t.why >/tmp/took 2>&1 &"
            ),
        )
    };
    let took = |node: &Node, text: &str| {
        within(PATIENCE, || {
            let found = sh(node, "cat /tmp/took")?;
            ensure!(found.contains(text), "took {found:?}");
            Ok(())
        })
    };
    // Published by another node, taken on this one.
    take(&node1, "")?;
    sh(&node2, "sleep 1; virgo queue pub --node 1 t.why first")?;
    took(&node1, "first")?;
    let taken_here = recorded(cluster)?;
    // Published on this node, taken by another. A pull waits for a second at most, and then there is
    // another one: what is published in between was not waited for, and is tried again.
    let expected_there = [
        (1, "call"),
        (1, "local"),
        (1, "reply"),
        (2, "done"),
        (2, "return"),
    ];
    let taken_there = within(PATIENCE, || {
        take(&node2, "--node 1")?;
        sh(&node1, "sleep 0.5; virgo queue pub t.why second")?;
        took(&node2, "second")?;
        let graph = recorded(cluster)?;
        ensure_chain(&graph, last_call_on(2, &graph, "take")?, &expected_there)
    });
    switch(cluster, "off")?;
    sh(&node1, "virgo queue delete t.why")?;
    let expected_here = [
        (2, "call"),
        (2, "send"),
        (1, "receive"),
        (1, "local"),
        (1, "return"),
    ];
    ensure_chain(
        &taken_here,
        last_call_on(1, &taken_here, "take")?,
        &expected_here,
    )?;
    taken_there
}
