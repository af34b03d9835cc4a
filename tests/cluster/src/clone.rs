// SPDX-License-Identifier: GPL-2.0
//! Calls that run on other nodes, while nodes die, links break, and modules go.

mod choice;
mod jobs;
mod lost;
mod waiting;

use crate::{
    Test,
    support::{DEADLINE, SLACK, fails, field, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("clone_runs_on_every_node", everywhere),
    ("clone_says_what_failed", failures),
    ("jobs_are_waited_for_and_cancelled", jobs::jobs),
    ("calls_end_in_time_if_their_node_is_killed", lost::killed),
    ("calls_end_in_time_if_their_node_is_paused", lost::paused),
    ("calls_end_in_time_if_their_node_is_cut_off", lost::cut_off),
    ("calls_of_a_restarted_node_are_ended", lost::restarted),
    ("calls_are_done_once_on_a_bad_network", lost::bad_network),
    ("calls_end_when_their_node_dies", lost::node_dies),
    ("a_call_that_its_node_has_lost_ends", lost::lost),
    (
        "a_node_that_does_not_answer_delays_no_other",
        lost::no_answer,
    ),
    (
        "a_lost_call_is_noticed_while_its_node_is_busy",
        lost::lost_of_busy,
    ),
    ("waiting_calls_end_when_the_module_goes", waiting::unload),
    ("stop_ends_those_who_wait_for_calls", waiting::stop),
    (
        "waiting_calls_obey_the_new_configuration",
        waiting::reconfigured,
    ),
    ("a_user_in_a_hurry_marks_no_node", choice::hurry),
    ("a_node_out_of_reach_delays_no_report", lost::reports),
    ("callers_out_of_reach_block_nobody", lost::callers_gone),
    ("jobs_are_their_users_and_roots", jobs::owners),
    ("callers_are_listed", callers),
    (
        "arguments_count_for_the_callers_memory_cgroup",
        jobs::memory_cgroup,
    ),
    ("a_registry_chooses_for_others", choice::registry),
    ("a_slow_node_gets_fewer_calls", choice::balance),
];

/// The errors that a node out of reach may give.
pub const UNREACHABLE: &[&str] = &["EHOSTDOWN", "ETIMEDOUT", "ECONNRESET"];

pub const TEST_MODULE: &str = "virgo_cloud_test_kernelspace";

/// Calls that run or wait on a node.
fn here(node: &Node) -> Result<u64> {
    let replies = text(node, node, 10000, &["stats"])?;
    field(replies.first().map_or("", String::as_str), "here")
}

/// Waits until as many calls run or wait on a node.
pub fn wait_until_here(node: &Node, count: u64) -> Result<()> {
    within(Duration::from_secs(20), || {
        let here = here(node)?;
        ensure!(
            here == count,
            "{here} calls run on {}, expected {count}",
            node.name()
        );
        Ok(())
    })
}

/// Waits until each node has memory of each, and calls run on it: that is another connection.
fn wait_until_called(cluster: &Cluster) -> Result<()> {
    wait_until_whole(cluster)?;
    within(Duration::from_secs(30), || {
        for from in cluster.nodes() {
            sh(&from, "virgo clone --on all noop")?;
        }
        Ok(())
    })
}

fn everywhere(cluster: &Cluster) -> Result<()> {
    for from in cluster.nodes() {
        for to in cluster.nodes() {
            let number = to.number();
            let said = sh(&from, &format!("virgo clone --on {number} echo hello"))?;
            ensure!(said == "hello\n5", "{said}");
        }
        let said = sh(
            &from,
            "virgo clone --on all node | grep -v processors | sort | xargs",
        )?;
        ensure!(said == "1 2 3", "{said}");
        let said = sh(&from, "virgo clone --json --on 2 echo x")?;
        ensure!(
            said.contains("\"stdout\":\"x\"") && said.contains("\"node\":2"),
            "{said}"
        );
        for policy in ["least", "random", "two"] {
            sh(&from, &format!("virgo clone --on {policy} noop"))?;
        }
    }
    Ok(())
}

fn failures(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    for (call, expected) in [
        (
            "nothing",
            "nothing on node 2: does not exist (ENOENT): no such function",
        ),
        (
            "sleep x",
            "sleep on node 2: not valid (EINVAL): an argument must be a number",
        ),
        ("noop 1", "wrong number of arguments"),
        ("/bin/sh -c ls", "/bin/sh on node 2: not allowed (EACCES)"),
        ("/usr/bin/../../bin/sh", "EACCES"),
        ("/lib/libc.so.6:system", "'library' line"),
    ] {
        let (said, _) = fails(&node1, &format!("virgo clone --on 2 {call}"))?;
        ensure!(said.contains(expected), "{call}: {said}");
    }
    for (line, expected) in [
        (
            "clone on=2 nothing",
            "ERR ENOENT node 2: no such function on this node",
        ),
        (
            "clone on=2 sleep x",
            "ERR EINVAL node 2: an argument must be a number",
        ),
        (
            "clone on=2 /bin/sh -c ls",
            "ERR EACCES node 2: not allowed: /etc/virgo_cloud.conf of this node has no \
             'executable' line for this path and these arguments",
        ),
        // The function itself says so, without a reason.
        ("clone on=2 sleep -1", "ERR EINVAL node 2: not valid"),
        ("clone on=9 noop", "ERR ENODEV no such node"),
    ] {
        let replies = text(&node1, &node1, 10000, &[line])?;
        ensure!(replies == [expected], "{line}: {replies:?}");
    }
    let (said, _) = fails(&node1, "virgo clone --on 9 noop")?;
    ensure!(said.contains("ENODEV"), "{said}");
    let (said, took) = fails(&node1, "virgo clone --on 2 --timeout 300ms sleep 60000")?;
    ensure!(
        said.contains("ETIMEDOUT") && said.contains("--timeout"),
        "{said}"
    );
    ensure!(took < DEADLINE + SLACK, "it took {took:?}");
    wait_until_here(&cluster.node(2), 0)
}

/// What has `callers` lines is called by those and by root; the node that is called decides.
fn callers(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let program = "/usr/lib/virgo/test/virgo_cloud_test_main";
    let library = "/usr/lib/virgo/test/libvirgo_test.so";
    let calls = [
        "echo x",
        &format!("{program} exit 0"),
        &format!("{library}:virgo_test_sum 1"),
    ];
    let uid = sh(&node1, "id -u user")?;
    let as_user = |call: &str| format!("su user -c 'virgo clone --on 2 {call}'");
    let lines = |uids: &str| {
        format!("callers = echo {uids}\ncallers = {program} {uids}\ncallers = {library} {uids}")
    };
    with_config(&node2, &lines("7"), || {
        for call in &calls {
            let (said, _) = fails(&node1, &as_user(call))?;
            ensure!(
                said.contains("EACCES") && said.contains("'callers' lines"),
                "{call}: {said}"
            );
            sh(&node1, &format!("virgo clone --on 2 {call}"))?;
        }
        sh(&node1, &as_user("noop")).map(drop)
    })?;
    with_config(&node2, &lines(&format!("7,{uid}")), || {
        for call in &calls {
            sh(&node1, &as_user(call))?;
        }
        Ok(())
    })
}

/// How often the test module's function has run on a node, as the node's log says.
pub fn runs(node: &Node) -> Result<usize> {
    let said = format!("{TEST_MODULE}: called by uid");
    Ok(node.console()?.matches(&said).count())
}
