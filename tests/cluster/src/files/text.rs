// SPDX-License-Identifier: GPL-2.0
//! File commands of text sessions.

use super::{EXPORT, wait_until_open};
use crate::support::{sh, text};
use anyhow::{Context, Result, ensure};
use virgo_cluster::{Cluster, Node};

/// A session, each line with its reply.
fn session(from: &Node, lines: &[(&str, &str)]) -> Result<()> {
    let commands: Vec<_> = lines.iter().map(|(command, _)| *command).collect();
    let replies = text(from, from, 50000, &commands)?;
    for (index, (command, expected)) in lines.iter().enumerate() {
        let reply = replies
            .get(index)
            .with_context(|| format!("{command}: no reply"))?;
        ensure!(reply == expected, "{command}: {reply}, expected {expected}");
    }
    ensure!(replies.len() == lines.len(), "{replies:?}");
    Ok(())
}

pub fn by_text(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    for to in cluster.nodes() {
        let n = to.number();
        let dir = format!("{n}:{EXPORT}/text");
        session(
            &node1,
            &[
                (&format!("virgo_cloud_mkdir({dir})"), "made"),
                (&format!("virgo_cloud_open({dir}/a,b)"), "0"),
                (
                    &format!("virgo_open({dir}/new,O_WRONLY|O_CREAT|O_EXCL)"),
                    "1",
                ),
                // More than there is: only what there is.
                ("virgo_cloud_write(0,some, \"data\" (x),1000,0)", "16"),
                ("virgo_cloud_write(0,XXXX,2,0)", "2"),
                ("virgo_cloud_read(0,none,1000,0)", "XXme, \"data\" (x)"),
                ("virgo_cloud_read(0,,4,5)", " \"da"),
                ("virgo_cloud_read(0,data_read,10,1000)", ""),
                ("virgo_cloud_truncate(0,4)", "truncated"),
                ("virgo_cloud_fsync(0)", "on disk"),
                ("virgo_read(1,x,1,0)", "ERR EBADF not open in this session"),
                ("virgo_cloud_close(0)", "closed"),
                ("virgo_cloud_close(0)", "ERR EBADF not open in this session"),
                // The lowest number that is free.
                (&format!("virgo_cloud_open({dir}/a,b)"), "0"),
                (
                    &format!("virgo_cloud_rename({dir}/new,{dir}/old)"),
                    "renamed",
                ),
                (&format!("virgo_cloud_unlink({dir}/a,b)"), "removed"),
                (&format!("virgo_cloud_readdir({dir}/)"), "old"),
                (&format!("virgo_cloud_unlink({dir}/old)"), "removed"),
                (&format!("virgo_cloud_rmdir({dir})"), "removed"),
                ("json on", "OK"),
                (
                    "virgo_cloud_read(0,x,4,0)",
                    "{\"ok\":true,\"result\":\"XXme\"}",
                ),
            ],
        )?;
        wait_until_open(&to, 0)?;
    }
    let replies = text(
        &node1,
        &node1,
        50000,
        &["virgo_stat(2:/srv/ro/readme)", "virgo_readdir(2:/srv/ro)"],
    )?;
    ensure!(
        replies[0].starts_with("kind=\"file\" mode=\"0644\" size=33 mtime="),
        "{replies:?}"
    );
    ensure!(
        replies[1].contains("readme") && replies[1].contains('/'),
        "{replies:?}"
    );
    Ok(())
}

/// Each is one error, and the session goes on.
pub fn bad_text(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let long = format!("virgo_cloud_open(/{})", "x".repeat(5000));
    let longest = format!(
        "virgo_cloud_open({EXPORT}/{})",
        "x".repeat(4095 - EXPORT.len() - 1)
    );
    let bad = [
        ("virgo_cloud_open", "EINVAL"),
        ("virgo_cloud_open()", "EINVAL"),
        ("virgo_cloud_open(relative)", "EINVAL"),
        ("virgo_cloud_open(/a\0b)", "EINVAL"),
        ("virgo_cloud_open(9:/srv/ro/readme)", "ENODEV"),
        ("virgo_cloud_open(x:/srv/ro/readme)", "ENODEV"),
        ("virgo_cloud_open(/srv/ro/nothing,O_RDONLY)", "ENOENT"),
        (
            "virgo_cloud_open(/srv/ro/readme,O_RDONLY|O_BOGUS)",
            "EINVAL",
        ),
        ("virgo_cloud_open(/srv/ro/readme,O_RDWR)", "EROFS"),
        ("virgo_cloud_open(/etc/passwd)", "EACCES"),
        ("virgo_cloud_open(/srv/ro/../../etc/passwd)", "EXDEV"),
        (&longest, "ENAMETOOLONG"),
        (&long, "ENAMETOOLONG"),
        ("virgo_cloud_read", "EINVAL"),
        ("virgo_cloud_read(0)", "EINVAL"),
        ("virgo_cloud_read(0,x,1)", "EINVAL"),
        ("virgo_cloud_read(0,x,y,0)", "EINVAL"),
        ("virgo_cloud_read(0,x,-1,0)", "EINVAL"),
        ("virgo_cloud_read(0,x,1,-1)", "EINVAL"),
        ("virgo_cloud_read(0,x,18446744073709551616,0)", "EINVAL"),
        ("virgo_cloud_read(0,x,1,9223372036854775808)", "EINVAL"),
        ("virgo_cloud_read(-1,x,1,0)", "EBADF"),
        ("virgo_cloud_read(2147483648,x,1,0)", "EBADF"),
        ("virgo_cloud_read(1,x,1,0)", "EBADF"),
        ("virgo_cloud_write(0)", "EINVAL"),
        ("virgo_cloud_write(0,x)", "EINVAL"),
        ("virgo_cloud_write(0,x,1)", "EINVAL"),
        ("virgo_cloud_write(0,x,-1,0)", "EINVAL"),
        ("virgo_cloud_write(0,x,1,0)", "EBADF"),
        ("virgo_cloud_close", "EINVAL"),
        ("virgo_cloud_close(x)", "EBADF"),
        ("virgo_cloud_close(7)", "EBADF"),
        ("virgo_cloud_truncate(0)", "EINVAL"),
        ("virgo_cloud_truncate(0,1)", "EINVAL"),
        ("virgo_cloud_fsync()", "EINVAL"),
        ("virgo_cloud_stat()", "EINVAL"),
        ("virgo_cloud_rename(/a)", "EINVAL"),
        ("virgo_cloud_rename(/srv/ro/readme,/srv/ro/x)", "EROFS"),
        ("virgo_cloud_rename(1:/srv/ro/readme,2:/srv/ro/x)", "EXDEV"),
        ("virgo_cloud_unlink(/srv/ro/readme)", "EROFS"),
        ("virgo_cloud_rmdir(/var/log/virgo_fs)", "EBUSY"),
        ("virgo_cloud_mkdir(/var/log/virgo_fs)", "EBUSY"),
        ("virgo_cloud_readdir(/srv/ro/readme)", "ENOTDIR"),
        // Of several lines, which only JSON can show.
        ("virgo_cloud_read(0,x,1000,0)", "EILSEQ"),
        ("virgo_cloud_seek(0,1)", "ENOSYS"),
    ];
    let mut commands = vec!["virgo_cloud_open(/srv/ro/numbers)"];
    commands.extend(bad.iter().map(|(command, _)| *command));
    commands.push("virgo_cloud_read(0,x,1,0)");
    let replies = text(&node, &node, 50000, &commands)?;
    ensure!(replies.len() == commands.len(), "{replies:?}");
    for ((command, errno), reply) in bad.iter().zip(&replies[1..]) {
        let short: String = command.chars().take(60).collect();
        let expected = format!("ERR {errno} ");
        ensure!(
            reply.starts_with(&expected),
            "{short}: {reply}, expected {errno}"
        );
    }
    ensure!(
        replies.last().is_some_and(|reply| reply == "1"),
        "{replies:?}"
    );
    Ok(())
}

/// Numbers of one session mean nothing in another; what it has open is closed with it.
pub fn sessions(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let hold = "(echo \"auth $(cat /etc/virgo.key)\"
        for i in $(seq 65); do echo 'virgo_cloud_open(2:/srv/ro/readme,O_RDONLY)'; done
        sleep 600) 2>&1 | nc 127.0.0.1 50000 >/tmp/said 2>&1 & echo $!";
    let pid = sh(&node1, hold)?;
    wait_until_open(&node2, 64)?;
    let said = sh(&node1, "cat /tmp/said")?;
    ensure!(said.ends_with("ERR EMFILE too many open"), "{said}");
    let replies = text(&node1, &node1, 50000, &["virgo_cloud_read(3,x,1,0)"])?;
    ensure!(replies[0].starts_with("ERR EBADF "), "{replies:?}");
    sh(&node1, &format!("kill {pid}"))?;
    wait_until_open(&node2, 0)
}

/// What is not exported any more is closed, and what is only for reading if it was open for writing.
pub fn revoked(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    // A session that goes on from one command of the shell to the next.
    sh(
        &node1,
        "rm -f /tmp/in; mkfifo /tmp/in
         nc 127.0.0.1 50000 </tmp/in >/tmp/said 2>&1 &
         sleep 600 >/tmp/in 2>&1 & echo $! >/tmp/pid
         echo \"auth $(cat /etc/virgo.key)\" >/tmp/in
         i=0; until [ -s /tmp/said ]; do i=$((i + 1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done",
    )?;
    let ask = |command: &str| -> Result<String> {
        let ask = format!(
            "n=$(wc -l </tmp/said); echo '{command}' >/tmp/in
             i=0; until [ $(wc -l </tmp/said) -gt $n ]; do
                 i=$((i + 1)); [ $i -lt 100 ] || exit 1; sleep 0.1
             done; tail -n 1 /tmp/said"
        );
        sh(&node1, &ask)
    };
    let make = format!("echo some >{EXPORT}/some && chown 65534:65534 {EXPORT}/some");
    sh(&node2, &make)?;
    for (fd, file) in [
        format!("2:{EXPORT}/some,O_RDWR"),
        format!("2:{EXPORT}/some,O_RDONLY"),
        "2:/srv/ro/readme,O_RDONLY".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let opened = ask(&format!("virgo_cloud_open({file})"))?;
        ensure!(opened == fd.to_string(), "{file}: {opened}");
    }
    wait_until_open(&node2, 3)?;
    let change = format!("s#export = {EXPORT} rw#export = {EXPORT} ro#; /export = .srv.ro ro/d");
    sh(
        &node2,
        &format!(
            "cp /etc/virgo_cloud.conf /tmp/good
             sed -i '{change}' /etc/virgo_cloud.conf && virgo config reload"
        ),
    )?;
    let result = wait_until_open(&node2, 1).and_then(|()| {
        let replies = [
            ask("virgo_cloud_write(0,other,5,0)")?,
            ask("virgo_cloud_read(1,x,4,0)")?,
            ask("virgo_cloud_read(2,x,4,0)")?,
        ];
        ensure!(
            replies[0].starts_with("ERR ESTALE")
                && replies[1] == "some"
                && replies[2].starts_with("ERR ESTALE"),
            "{replies:?}"
        );
        Ok(())
    });
    sh(
        &node2,
        "mv /tmp/good /etc/virgo_cloud.conf && virgo config reload",
    )?;
    sh(
        &node1,
        "kill $(cat /tmp/pid); rm -f /tmp/in /tmp/said /tmp/pid",
    )?;
    result?;
    wait_until_open(&node2, 0)
}
