// SPDX-License-Identifier: GPL-2.0
//! Functions of kernel modules: they go with their modules, and text may be diverted to one.

use crate::{
    Test,
    clone::{TEST_MODULE, UNREACHABLE, runs, wait_until_here},
    support::{fails, sh, text, with_config, within},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("functions_of_a_node_are_listed", list),
    ("functions_go_with_their_module", unload),
    ("modules_stay_while_their_functions_run", unload_inside),
    ("diverted_text_needs_a_queue", no_queue),
    ("diverted_text_arrives_and_is_not_run", diversion),
];

fn list(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let row = "virgo_test_slow milliseconds (number) sleeps, cancelled or not";
    let listed = |node: &Node, options: &str| -> Result<bool> {
        let said = sh(node, &format!("virgo functions {options}"))?;
        // The columns are as wide as what stands in them.
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let rows: Vec<_> = said.lines().map(words).collect();
        let has = |row: &str| rows.iter().any(|line| line == row);
        ensure!(
            said.starts_with("FUNCTION") && has("noop does nothing"),
            "{said}"
        );
        Ok(has(row))
    };
    ensure!(!listed(&node1, "--on 2")?);
    sh(&node2, "insmod /lib/virgo/tests/virgo_test_functions.ko")?;
    let seen = [
        listed(&node1, "--on 2")?,
        listed(&node2, "")?,
        listed(&node1, "")?,
        listed(&node2, "--on 1")?,
    ];
    let json = sh(&node1, "virgo functions --json --on 2")?;
    // Whoever may call may know.
    let user = sh(&node1, "su user -c 'virgo functions --on 2'");
    sh(&node2, "rmmod virgo_test_functions")?;
    ensure!(seen == [true, true, false, false], "{seen:?}");
    let expected = "{\"name\":\"virgo_test_slow\",\"arguments\":[{\"name\":\"milliseconds\",\
        \"kind\":\"number\"}],\"about\":\"sleeps, cancelled or not\"}";
    ensure!(json.starts_with("[{") && json.contains(expected), "{json}");
    user?;
    let (said, _) = fails(&node1, "virgo functions --on 9")?;
    ensure!(said.contains("functions: no such node (ENODEV)"), "{said}");
    Ok(())
}

fn unload(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let call = format!("virgo clone --on 2 {TEST_MODULE}");
    sh(&node1, &call)?;
    sh(&node2, &format!("rmmod {TEST_MODULE}"))?;
    let without = fails(&node1, &call);
    sh(&node2, &format!("insmod /lib/virgo/{TEST_MODULE}.ko"))?;
    let (said, _) = without?;
    ensure!(said.contains("ENOENT"), "{said}");
    sh(&node1, &call)?;

    // The functions that each node has belong to the module that runs them.
    let job = sh(
        &node1,
        "virgo clone --async --on 2 --timeout 200s sleep 200000",
    )?;
    wait_until_here(&node2, 1)?;
    let (said, _) = fails(&node2, "rmmod virgo_cpupooling")?;
    ensure!(said.contains("temporarily unavailable"), "{said}");
    sh(&node1, &format!("virgo cancel {job}"))?;
    fails(&node1, &format!("virgo wait {job}"))?;
    wait_until_here(&node2, 0)?;
    within(Duration::from_secs(10), || {
        sh(&node2, "rmmod virgo_cpupooling")
    })?;
    let local = fails(&node2, "virgo clone noop");
    let remote = fails(&node1, "virgo clone --on 2 noop");
    sh(&node2, "insmod /lib/virgo/virgo_cpupooling.ko")?;
    let (said, _) = local?;
    ensure!(
        said.contains("ENOSYS") && said.contains("virgo_cpupooling"),
        "{said}"
    );
    let (said, _) = remote?;
    ensure!(UNREACHABLE.iter().any(|name| said.contains(name)), "{said}");
    within(Duration::from_secs(20), || {
        sh(&node1, "virgo clone --on 2 noop")
    })?;
    Ok(())
}

/// A module stays while a call of its function runs, whether anybody waits for it or not, and can
/// go afterwards.
fn unload_inside(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "insmod /lib/virgo/tests/virgo_test_functions.ko")?;
    let unload = "rmmod virgo_test_functions";
    let busy = || -> Result<()> {
        let (said, _) = fails(&node2, unload)?;
        ensure!(said.contains("temporarily unavailable"), "{said}");
        Ok(())
    };
    let call = "virgo clone --on 2 virgo_test_slow 3000";
    let running = node1.spawn(["sh", "-c", call])?;
    wait_until_here(&node2, 1)?;
    busy()?;
    let said = running.wait()?.text()?;
    ensure!(said == "3000", "{said}");

    let job = sh(
        &node1,
        "virgo clone --async --on 2 --timeout 20s virgo_test_slow 3000",
    )?;
    wait_until_here(&node2, 1)?;
    sh(&node1, &format!("virgo cancel {job}"))?;
    fails(&node1, &format!("virgo wait {job}"))?;
    busy()?;
    within(Duration::from_secs(20), || sh(&node2, unload))?;
    let (said, _) = fails(&node1, call)?;
    ensure!(said.contains("ENOENT"), "{said}");
    wait_until_here(&node2, 0)
}

/// Types lines on a node that diverts text, and returns the replies.
fn divert(node: &Node, lines: &[&str]) -> Result<Vec<String>> {
    with_config(node, "use_as_kingcobra_service = yes", || {
        // System calls are not text.
        sh(node, "virgo clone --on 2 noop")?;
        text(node, node, 10000, lines)
    })
}

/// Unloads the queue, for the time of `during`.
fn without_queue<T>(node: &Node, during: impl FnOnce() -> Result<T>) -> Result<T> {
    sh(node, "rmmod virgo_queue")?;
    let result = during();
    sh(node, "insmod /lib/virgo/virgo_queue.ko")?;
    result
}

/// While the queue has asked for it, text goes there; there is none, and nothing is run instead.
fn no_queue(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let before = runs(&node)?;
    let commands = [TEST_MODULE, "clone noop", "functions"];
    let replies = without_queue(&node, || divert(&node, &commands))?;
    for reply in &replies[..2] {
        ensure!(reply.starts_with("ERR ENODEV "), "{reply}");
    }
    ensure!(replies[2].contains("noop: "), "{}", replies[2]);
    ensure!(runs(&node)? == before, "it has run all the same");
    let replies = text(&node, &node, 10000, &["noop"])?;
    ensure!(replies[0].ends_with("returned=0"), "{replies:?}");
    Ok(())
}

/// A queue gets the text word for word, without what says how to call it.
fn diversion(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let lines = [
        (TEST_MODULE, TEST_MODULE),
        ("/bin/sh -c ls", "/bin/sh -c ls"),
        (
            "  any (text),  \"quoted\" 'or' $HOME; not ",
            "  any (text),  \"quoted\" 'or' $HOME; not ",
        ),
        (
            "<request id=\"1\"/>\t\u{fc}",
            "<request id=\"1\"/>\\t\\xc3\\xbc",
        ),
        ("clone on=1 async echo \"a  b\"", "echo \"a  b\""),
    ];
    let before = runs(&node)?;
    let typed: Vec<_> = lines.iter().map(|&(line, _)| line).collect();
    let (replies, called) = without_queue(&node, || {
        sh(&node, "insmod /lib/virgo/tests/virgo_test_push.ko")?;
        let replies = divert(&node, &[&typed[..], &["full", "stats"]].concat());
        // By system call it is a function like others, and what is called is called.
        let called = sh(
            &node,
            "virgo clone --on 2 kingcobra_push called && virgo jobs",
        );
        sh(&node, "rmmod virgo_test_push")?;
        Ok((replies, called))
    })?;
    let replies = replies?;
    let console = node.console()?;
    for ((line, pushed), reply) in lines.iter().zip(&replies) {
        ensure!(reply == "queued", "'{line}': {reply}");
        let said = format!("virgo_test_push: uid 65534 pushed '{pushed}'");
        ensure!(console.contains(&said), "not in the log: {said}");
    }
    let [.., full, stats] = &replies[..] else {
        anyhow::bail!("{replies:?}");
    };
    ensure!(full.starts_with("ERR EAGAIN "), "{full}");
    ensure!(stats.starts_with("calls="), "{stats}");
    ensure!(console.contains("virgo_test_push: uid 0 pushed 'called'"));
    called?;
    ensure!(runs(&node)? == before, "it has run all the same");
    Ok(())
}
