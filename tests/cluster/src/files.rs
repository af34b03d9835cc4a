// SPDX-License-Identifier: GPL-2.0
//! Files of other nodes: the three ways to them, attempts to leave an export, and trouble.

mod jail;
mod lost;
mod text;
mod waiting;

use crate::{
    Test,
    guest::told_how_much,
    support::{fails, field, sh, text, within},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node, RunningCommand};

pub const TESTS: &[(&str, Test)] = &[
    ("files_are_copied_between_nodes", copied),
    ("file_commands_by_text", text::by_text),
    ("bad_file_commands_lose_nothing", text::bad_text),
    ("files_go_with_their_session", text::sessions),
    ("files_go_with_their_export", text::revoked),
    ("nothing_outside_an_export_is_reached", jail::jail),
    ("renames_during_a_walk_do_not_lead_out", jail::race),
    ("a_restarted_node_has_no_open_files", lost::restarted),
    ("files_of_a_dead_node_are_an_error_in_time", lost::dead),
    ("a_copy_is_read_when_another_node_stands_still", lost::still),
    ("the_file_service_is_unloaded_without_waiting", lost::unload),
    ("a_copy_is_resumed_after_a_partition", lost::resumed),
    ("what_was_synced_survives_a_kill", lost::killed),
    ("leases_are_asked_back_and_waited_for", waiting::leases),
    ("several_requests_are_under_way", waiting::several),
    (
        "replies_that_nobody_takes_are_not_in_the_way",
        waiting::left_behind,
    ),
    ("a_slow_disk_holds_up_who_waits_for_it", waiting::slow_disk),
    (
        "a_file_system_that_hangs_holds_up_only_who_uses_it",
        waiting::hung,
    ),
    (
        "what_a_removed_node_has_waiting_is_not_done",
        waiting::removed,
    ),
    ("appends_are_done_once_on_a_bad_network", lost::bad_network),
];

const EXPORT: &str = "/var/log/virgo_fs";

/// Files that other nodes have open on a node.
fn open_on(node: &Node) -> Result<u64> {
    let replies = text(node, node, 50000, &["stats"])?;
    field(replies.first().map_or("", String::as_str), "open")
}

pub(crate) fn wait_until_open(node: &Node, count: u64) -> Result<()> {
    within(Duration::from_secs(20), || {
        let open = open_on(node)?;
        ensure!(open == count, "{open} files open on {}", node.name());
        Ok(())
    })
}

/// By command line, text and system call: the same bytes.
fn copied(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    sh(&node1, "seq 100000 >/tmp/numbers")?;
    let sum = sh(&node1, "md5sum </tmp/numbers")?;
    sh(
        &node1,
        &format!("virgo put --verify /tmp/numbers 2:{EXPORT}/numbers"),
    )?;
    ensure!(sh(&node2, &format!("md5sum <{EXPORT}/numbers"))? == sum);
    sh(
        &node3,
        &format!("virgo cp --verify node2:{EXPORT}/numbers 1:{EXPORT}/again"),
    )?;
    ensure!(sh(&node1, &format!("md5sum <{EXPORT}/again"))? == sum);
    ensure!(sh(&node3, &format!("virgo cat 1:{EXPORT}/again | md5sum"))? == sum);
    let listed = sh(&node3, &format!("virgo ls -l 2:{EXPORT}"))?;
    ensure!(
        listed.contains("numbers") && listed.contains("588895"),
        "{listed}"
    );
    // A tree there and back.
    sh(
        &node1,
        &format!(
            "mkdir -p /tmp/tree/a/b && echo 1 >/tmp/tree/a/one && echo 2 >/tmp/tree/a/b/two
             virgo cp -r /tmp/tree 3:{EXPORT}/tree && virgo cp -r 3:{EXPORT}/tree /tmp/back
             diff -r /tmp/tree /tmp/back"
        ),
    )?;
    let (said, _) = fails(&node1, &format!("virgo cp 2:{EXPORT}/nothing /tmp"))?;
    ensure!(said.contains("does not exist"), "{said}");
    let (said, _) = fails(&node1, "virgo cat 2:/etc/passwd")?;
    ensure!(
        said.contains("EACCES") && said.contains("export ="),
        "{said}"
    );
    sh(
        &node1,
        &format!("rm -r {EXPORT}/again /tmp/tree /tmp/back /tmp/numbers"),
    )?;
    sh(&node2, &format!("rm {EXPORT}/numbers"))?;
    sh(&node3, &format!("rm -r {EXPORT}/tree"))?;
    for node in cluster.nodes() {
        wait_until_open(&node, 0)?;
    }
    Ok(())
}

/// Runs one of the tests of files that a suite by itself does not; variables may come before its
/// name.
pub(crate) fn on_request(node: &Node, words: &[&str]) -> Result<RunningCommand> {
    let (name, variables) = words.split_last().context("which?")?;
    let suite = ["virgo-cloudfs-tests", "--ignored", "--nocapture", name];
    node.spawn(told_how_much(&[variables, &suite].concat()))
}
