// SPDX-License-Identifier: GPL-2.0
//! Queues of this node and of others, while links break and modules go.

mod log;
mod lost;
mod module;

use crate::{
    Test,
    support::{SLACK, fails, sh, within},
};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeSet, time::Duration};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("queue_is_used_from_every_node", everywhere),
    ("queue_lines_are_messages", lines),
    (
        "queue_lines_of_unknown_fate_are_an_error",
        lost::unknown_fate,
    ),
    ("queue_service_answers_other_nodes", service),
    (
        "queue_gives_again_what_a_restarted_node_had",
        lost::restarted,
    ),
    ("queue_takes_once_on_a_bad_network", lost::bad_network),
    (
        "queue_asks_once_on_a_bad_network",
        lost::bad_network_requests,
    ),
    ("queue_takers_have_their_turn", many_takers),
    (
        "queue_message_of_a_killed_taker_goes_to_the_next",
        lost::killed_taker,
    ),
    ("queue_of_a_dead_node_is_an_error_in_time", lost::dead_node),
    (
        "queue_of_requests_by_the_kernels_workqueue",
        module::work_queue,
    ),
    (
        "queue_without_reactor_serves_modules_only",
        module::without_reactor,
    ),
    (
        "queue_takes_requests_where_nothing_may_sleep",
        module::atomic,
    ),
    ("queue_in_use_is_not_unloaded", module::unload),
    ("queue_keeps_what_it_acknowledged_over_kills", log::kills),
    ("queue_log_torn_and_flipped_is_noticed", log::damage),
    ("queue_on_a_full_disk_loses_nothing", log::full_disk),
    (
        "queue_log_with_more_than_there_may_be_is_read",
        log::more_than_before,
    ),
    ("queue_delays_survive_a_clock_set_back", log::clock_back),
];

const MODULE: &str = "/lib/virgo/virgo_queue.ko";
const KINGCOBRA: &str = "/lib/virgo/virgo_kingcobra.ko";

fn everywhere(cluster: &Cluster) -> Result<()> {
    for to in cluster.nodes() {
        let number = to.number();
        sh(&to, "virgo queue create t.all ack=60000")?;
        for from in cluster.nodes() {
            let name = from.name();
            sh(
                &from,
                &format!("virgo queue pub --node {number} t.all 'from {name}'"),
            )?;
        }
        let from = cluster.node(1);
        let said = sh(
            &from,
            &format!("virgo queue take --node {number} --count 2 t.all"),
        )?;
        ensure!(said == "from node1\nfrom node2", "{said}");
        let said = sh(
            &from,
            &format!("virgo queue take --node {number} --keep --json t.all"),
        )?;
        ensure!(said.contains("\"text\":\"from node3\""), "{said}");
        let id = id(&said)?;
        let (said, _) = fails(
            &from,
            &format!("virgo queue take --node {number} --timeout 300ms t.all"),
        )?;
        ensure!(said.contains("ETIMEDOUT"), "{said}");
        let ack = format!("virgo queue ack --node {number} t.all {id}");
        sh(&from, &ack)?;
        let (said, _) = fails(&from, &ack)?;
        ensure!(said.contains("ESTALE"), "{said}");
        sh(&from, &format!("virgo queue delete --node {number} t.all"))?;
        let (said, _) = fails(&from, &format!("virgo queue pub --node {number} t.all x"))?;
        ensure!(said.contains("ENOENT"), "{said}");
    }
    Ok(())
}

/// More lines than go in one call, here and to another node, until there is no room.
fn lines(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    for to in 1..=2 {
        sh(
            &node,
            &format!("virgo queue create --node {to} t.lines messages=1500"),
        )?;
        let publish = format!("virgo queue pub --node {to} --lines t.lines");
        let (said, _) = fails(&node, &format!("seq 1600 | {publish}"))?;
        ensure!(
            said.contains("published 1500 lines: cannot publish: the queue is full (ENOBUFS)"),
            "{said}"
        );
        let (said, _) = fails(&node, &format!("seq 1600 | {publish}"))?;
        ensure!(said.contains("virgo: cannot publish"), "{said}");
        let take = format!("virgo queue take --node {to} --count 1024 t.lines");
        let taken = sh(
            &node,
            &format!("{take} >/run/taken; {take} >>/run/taken; md5sum </run/taken"),
        )?;
        ensure!(
            taken == sh(&node, "seq 1500 | md5sum")?,
            "others were taken"
        );
        sh(
            &node,
            &format!("rm /run/taken; virgo queue delete --node {to} t.lines"),
        )?;
    }
    Ok(())
}

/// A program that serves, on node 2.
fn service(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let daemon = node2.spawn(["virgo", "queue", "serve", "t.shout", "tr", "a-z", "A-Z"])?;
    let result = within(Duration::from_secs(10), || {
        sh(&node1, "virgo queue req --node 2 t.shout 'hello, node2'")
    });
    let here = sh(&node2, "virgo queue req t.shout here");
    let sum = sh(
        &node1,
        "for i in $(seq 20); do virgo queue req --node 2 t.shout a$i; done | sort -u | wc -l",
    );
    daemon.kill()?;
    daemon.wait()?;
    ensure!(result? == "HELLO, NODE2");
    ensure!(here? == "HERE");
    ensure!(sum? == "20");
    let (said, took) = fails(&node1, "virgo queue req --node 2 --timeout 500ms t.shout x")?;
    ensure!(
        said.contains("ETIMEDOUT") && took < SLACK,
        "{said}, {took:?}"
    );
    sh(&node2, "virgo queue delete t.shout")?;
    Ok(())
}

/// More want messages of another node than may wait there at a time: each gets one.
fn many_takers(cluster: &Cluster) -> Result<()> {
    const TAKERS: usize = 20;
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "virgo queue create t.many ack=0")?;
    let script = format!(
        "for i in $(seq {TAKERS}); do virgo queue take --node 2 --timeout 60s t.many & done
         wait"
    );
    let takers = node1.spawn(["sh", "-c", &script])?;
    std::thread::sleep(Duration::from_secs(3));
    let publish = "virgo queue pub --node 2 --timeout 5s t.many";
    let published = sh(
        &node1,
        &format!("for i in $(seq {TAKERS}); do {publish} $i >&2 || exit 1; done"),
    );
    let taken = takers.wait_timeout(Duration::from_secs(90));
    sh(&node2, "virgo queue delete t.many")?;
    published?;
    let taken = numbers(&String::from_utf8_lossy(&taken?.stdout))?;
    ensure!(taken.len() == TAKERS, "taken: {taken:?}");
    Ok(())
}

/// The module with other parameters and nobody to do requests, for the time of `during`.
fn with<T>(node: &Node, parameters: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    sh(
        node,
        &format!("rmmod virgo_kingcobra; rmmod virgo_queue && insmod {MODULE} {parameters}"),
    )?;
    let result = during();
    sh(
        node,
        &format!(
            "lsmod | grep -q virgo_kingcobra && rmmod virgo_kingcobra
             rmmod virgo_queue && insmod {MODULE} && insmod {KINGCOBRA}"
        ),
    )?;
    result
}

fn numbers(text: &str) -> Result<BTreeSet<u32>> {
    let words = text.split(|between: char| between.is_whitespace() || between == ',');
    words
        .filter(|word| !word.is_empty())
        .map(|word| Ok(word.parse()?))
        .collect()
}

/// The id of the delivery in what `virgo queue take --json` says.
fn id(said: &str) -> Result<u64> {
    let (_, rest) = said.split_once("\"id\":").context("an id")?;
    let rest = rest.trim_start_matches('"');
    let end = rest.find(|c: char| !c.is_ascii_digit());
    Ok(rest
        .get(..end.unwrap_or(rest.len()))
        .unwrap_or("")
        .parse()?)
}
