// SPDX-License-Identifier: GPL-2.0
//! Files that others have open on a node: what one user, or a file system that hangs, keeps from others,
//! and when they are closed.

use crate::{
    Test,
    files::{on_request, wait_until_open},
    support::{DEADLINE, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("users_who_write_leave_workers_for_others", streams),
    ("a_close_that_hangs_keeps_no_other_file_open", hanging_close),
    ("files_of_a_removed_node_are_closed", removed_node),
];

const EXPORT: &str = "/var/log/virgo_fs";

fn streams(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, &format!("virgo ls 2:{EXPORT}"))?;
    node2.throttle_disk(256 << 10)?;
    let test = on_request(&node1, &["streams::users_who_write_leave_room_for_another"])?;
    let tested = test.wait_timeout(Duration::from_secs(120));
    node2.throttle_disk(0)?;
    let said = tested?.text()?;
    println!("{}", said.lines().find(|l| l.contains("Ok(")).unwrap_or(""));
    wait_until_open(&node2, 0)
}

/// A session of node 1 that types this, and then nothing. Returns the process to be killed.
fn session(node1: &Node, lines: &[String]) -> Result<String> {
    let typed: String = lines
        .iter()
        .map(|line| format!("echo '{line}'; "))
        .collect();
    let script = format!(
        "(echo \"auth $(cat /etc/virgo_text.key)\"; {typed} sleep 600) 2>&1 |
            nc 10.9.0.1 50000 >/tmp/said 2>&1 & echo $!"
    );
    let pid = sh(node1, &script)?;
    within(DEADLINE * 2, || {
        let said = sh(node1, "cat /tmp/said")?;
        ensure!(said.lines().count() == lines.len() + 1, "{said}");
        ensure!(!said.contains("ERR "), "{said}");
        Ok(())
    })?;
    Ok(pid)
}

/// Files that were removed are freed when they are closed, which a frozen disk keeps waiting. Others of
/// another file system are closed meanwhile; and who has closed the first ones has not got rid of them.
fn hanging_close(cluster: &Cluster) -> Result<()> {
    const SHARE: usize = 10;
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let other = "/tmp/space";
    sh(
        &node2,
        &format!(
            "mkdir -p {other} && mount -t tmpfs -o size=4m tmpfs {other} && chown 65534:65534 {other}
             echo plain >{EXPORT}/plain && chmod 644 {EXPORT}/plain
             rmmod virgo_cloudfs && insmod /lib/virgo/virgo_cloudfs.ko max_open={}",
            2 * SHARE
        ),
    )?;
    wait_until_whole(cluster)?;
    let removed = |dir: &str, count: usize| -> Vec<String> {
        let lines = (0..count).map(|n| {
            [
                format!("virgo_open(2:{dir}/gone,O_RDWR|O_CREAT)"),
                format!("virgo_cloud_write({n},gone,4,0)"),
                format!("virgo_cloud_unlink(2:{dir}/gone)"),
            ]
        });
        lines.flatten().collect()
    };
    let blocks = || {
        sh(
            &node2,
            &format!("df {other} | tail -n 1 | awk '{{ print $3 }}'"),
        )
    };
    let open_plain = || -> Result<String> {
        let replies = text(
            &node1,
            &node1,
            50000,
            &[&format!("virgo_open(2:{EXPORT}/plain,O_RDONLY)")],
        )?;
        Ok(replies.first().cloned().unwrap_or_default())
    };
    let checks = || -> Result<()> {
        let before = blocks()?;
        let hanging = session(&node1, &removed(EXPORT, SHARE))?;
        sh(&node2, "fsfreeze --freeze /run/disk")?;
        let frozen = (|| -> Result<()> {
            sh(&node1, &format!("kill {hanging}"))?;
            wait_until_open(&node2, 0)?;
            std::thread::sleep(Duration::from_secs(1));
            let said = open_plain()?;
            ensure!(said.starts_with("ERR EDQUOT "), "{said}");
            Ok(())
        })();
        // Root's, who has no share.
        let closed = (|| -> Result<()> {
            let script =
                format!("virgo put /etc/hosts 2:{other}/big && virgo cat 2:{other}/big >/dev/null");
            sh(&node1, &script)?;
            sh(&node2, &format!("rm {other}/big"))?;
            within(DEADLINE, || {
                let now = blocks()?;
                ensure!(now == before, "{now} blocks are in use, {before} before");
                Ok(())
            })
        })();
        sh(&node2, "fsfreeze --unfreeze /run/disk")?;
        frozen?;
        closed?;
        within(DEADLINE * 2, || {
            let said = open_plain()?;
            ensure!(said == "0", "{said}");
            Ok(())
        })
    };
    let result = with_config(&node2, &format!("export = {other} rw"), checks);
    sh(
        &node2,
        &format!(
            "umount {other}; rm -f {EXPORT}/plain {EXPORT}/gone
             rmmod virgo_cloudfs && insmod /lib/virgo/virgo_cloudfs.ko"
        ),
    )?;
    wait_until_whole(cluster)?;
    result
}

/// Node 1 has another address now: whoever has it gets none of its files, and they are closed.
fn removed_node(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let opened = "virgo_open(2:/srv/ro/readme,O_RDONLY)".to_owned();
    let pid = session(&node1, &[opened.clone(), opened])?;
    wait_until_open(&node2, 2)?;
    let files = "/etc/virgo_cloud.conf /etc/virgo_client.conf";
    let left = sh(
        &node2,
        &format!(
            "cp -p {files} /tmp/ && sed -i 's/10.9.0.1\\b/10.9.0.77/' {files} && virgo config reload"
        ),
    )
    .and_then(|_| wait_until_open(&node2, 0));
    sh(
        &node2,
        "cp -p /tmp/virgo_cloud.conf /tmp/virgo_client.conf /etc/ && virgo config reload",
    )?;
    sh(&node1, &format!("kill {pid}"))?;
    wait_until_whole(cluster)?;
    left
}
