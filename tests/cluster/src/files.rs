// SPDX-License-Identifier: GPL-2.0
//! Files of other nodes: the three ways to them, attempts to leave an export, and trouble.

use crate::{
    Test,
    guest::told_how_much,
    rounds::Rounds,
    support::{DEADLINE, SLACK, fails, field, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use virgo_cluster::{Cluster, Node, RunningCommand};

pub const TESTS: &[(&str, Test)] = &[
    ("files_are_copied_between_nodes", copied),
    ("file_commands_by_text", by_text),
    ("bad_file_commands_lose_nothing", bad_text),
    ("files_go_with_their_session", sessions),
    ("nothing_outside_an_export_is_reached", jail),
    ("renames_during_a_walk_do_not_lead_out", race),
    ("a_restarted_node_has_no_open_files", restarted),
    ("files_of_a_dead_node_are_an_error_in_time", dead),
    ("a_copy_is_read_when_another_node_stands_still", still),
    ("the_file_service_is_unloaded_without_waiting", unload),
    ("a_copy_is_resumed_after_a_partition", resumed),
    ("what_was_synced_survives_a_kill", killed),
    ("leases_are_asked_back_and_waited_for", leases),
    ("several_requests_are_under_way", several),
    ("replies_that_nobody_takes_are_not_in_the_way", left_behind),
    ("a_slow_disk_holds_up_who_waits_for_it", slow_disk),
    ("a_file_system_that_hangs_holds_up_only_who_uses_it", hung),
    ("appends_are_done_once_on_a_bad_network", bad_network),
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

fn by_text(cluster: &Cluster) -> Result<()> {
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
fn bad_text(cluster: &Cluster) -> Result<()> {
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
fn sessions(cluster: &Cluster) -> Result<()> {
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

/// What must not be reached, from node 1 and on node 2 itself.
fn jail(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!(
            "mkdir -p {EXPORT}/jail/dir /tmp/outside && cd {EXPORT}/jail
             echo secret >/tmp/outside/secret; chmod 777 /tmp/outside; chmod 666 /tmp/outside/secret
             ln -s /tmp/outside/secret absolute; ln -s ../../../../../tmp/outside/secret relative
             ln -s /tmp/outside dirlink; ln -s ../../../../../tmp/outside dirlink2
             ln -s /proc/self/root procroot; ln -s /proc/1/root/tmp/outside/secret procfile
             ln -s /proc/self/cwd cwd; ln -s .. up; ln -s ../.. upup; ln -s loop loop
             ln -s {EXPORT}/jail/dir inside; ln -s dir within; echo fine >dir/file
             mkdir mnt && mount --bind /tmp/outside mnt; chown -R -h 65534:65534 . 2>/dev/null; true"
        ),
    )?;
    // What leads out, and what is inside all the same.
    let out = [
        "../../../../tmp/outside/secret",
        "dir/../../../../../tmp/outside/secret",
        "absolute",
        "relative",
        "dirlink/secret",
        "dirlink2/secret",
        "procroot/tmp/outside/secret",
        "procfile",
        "cwd/tmp/outside/secret",
        "upup/../../tmp/outside/secret",
        "up/../../../../tmp/outside/secret",
        "mnt/secret",
        "inside/file",
    ];
    let checks = || -> Result<()> {
        for node in [&node1, &node2] {
            for name in out {
                let path = format!("2:{EXPORT}/jail/{name}");
                for command in [
                    format!("virgo cat {path}"),
                    format!("virgo ls {path}"),
                    format!("virgo put /etc/hosts {path}"),
                ] {
                    let (said, _) = fails(node, &command)?;
                    ensure!(said.contains("EXDEV"), "{command}: {said}");
                    ensure!(!said.contains("secret\n"), "{command}: {said}");
                }
            }
            let (said, _) = fails(node, &format!("virgo cat 2:{EXPORT}/jail/loop"))?;
            ensure!(said.contains("ELOOP"), "{said}");
            for name in [
                "dir/file",
                "within/file",
                "up/jail/dir/file",
                "dir/../dir/./file",
            ] {
                let said = sh(node, &format!("virgo cat 2:{EXPORT}/jail/{name}"))?;
                ensure!(said == "fine", "{name}: {said}");
            }
            // Through links nothing is made, changed or removed outside.
            for command in [
                format!("virgo_cloud_unlink(2:{EXPORT}/jail/dirlink/secret)"),
                format!("virgo_cloud_unlink(2:{EXPORT}/jail/mnt/secret)"),
                format!("virgo_cloud_mkdir(2:{EXPORT}/jail/dirlink/new)"),
                format!("virgo_cloud_mkdir(2:{EXPORT}/jail/../../x)"),
                format!("virgo_cloud_rename(2:{EXPORT}/jail/dir/file,2:{EXPORT}/jail/dirlink/f)"),
                format!("virgo_cloud_rename(2:{EXPORT}/jail/mnt/secret,2:{EXPORT}/jail/s)"),
                format!("virgo_cloud_open(2:{EXPORT}/jail/dirlink/new,O_RDWR|O_CREAT)"),
                format!("virgo_cloud_open(2:{EXPORT}/jail/absolute,O_WRONLY|O_TRUNC)"),
                format!("virgo_cloud_readdir(2:{EXPORT}/jail/mnt)"),
                format!("virgo_cloud_stat(2:{EXPORT}/jail/dirlink/secret)"),
            ] {
                let replies = text(node, node, 50000, &[&command])?;
                ensure!(
                    replies[0].starts_with("ERR EXDEV "),
                    "{command}: {replies:?}"
                );
            }
        }
        let said = sh(&node2, "cat /tmp/outside/secret; ls /tmp/outside")?;
        ensure!(said == "secret\nsecret", "{said}");
        Ok(())
    };
    let result = checks();
    sh(
        &node2,
        &format!("umount {EXPORT}/jail/mnt; rm -r {EXPORT}/jail /tmp/outside"),
    )?;
    result
}

/// While directories are moved out of the export and back, `..` never leads out of it.
fn race(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let rounds = Rounds {
        debug: 20,
        slim: 100,
        soak: 5000,
    }
    .count();
    // Both on the disk of the export, one beside it: exported is only a part of the disk.
    sh(
        &node2,
        &format!(
            "cp /etc/virgo_cloud.conf /tmp/good && mkdir -p {EXPORT}/in/a/b {EXPORT}/out
             echo secret >{EXPORT}/secret; chmod 644 {EXPORT}/secret
             sed -i 's#export = {EXPORT} rw#export = {EXPORT}/in rw#' /etc/virgo_cloud.conf
             virgo config reload
             (until [ -e /tmp/stop ]; do mv {EXPORT}/in/a/b {EXPORT}/out; mv {EXPORT}/out/b {EXPORT}/in/a
              done; rm /tmp/stop) >/dev/null 2>&1 &"
        ),
    )?;
    let look = format!(
        "for i in $(seq {rounds}); do virgo cat 2:{EXPORT}/in/a/b/../../../secret
            virgo cat 2:{EXPORT}/in/a/b/../../secret; done 2>/tmp/errors; wc -l </tmp/errors"
    );
    let looked = sh(&node1, &look);
    sh(
        &node2,
        "touch /tmp/stop; while [ -e /tmp/stop ]; do sleep 0.1; done",
    )?;
    sh(
        &node2,
        &format!(
            "cp /tmp/good /etc/virgo_cloud.conf; virgo config reload
             rm -r {EXPORT}/in {EXPORT}/out {EXPORT}/secret"
        ),
    )?;
    let said = looked?;
    ensure!(!said.contains("secret"), "{said}");
    ensure!(
        said.parse::<usize>().is_ok_and(|lines| lines >= 2 * rounds),
        "{said}"
    );
    Ok(())
}

/// A session on node 1 that has a file of node 2 open, types `lines` once `harm` is done, and what
/// it is answered.
fn held(
    node1: &Node,
    harm: impl FnOnce() -> Result<()>,
    lines: &str,
) -> Result<(String, Duration)> {
    let script = format!(
        "rm -f /tmp/typed; mkfifo /tmp/typed; : >/tmp/said
         (echo \"auth $(cat /etc/virgo.key)\"; echo 'virgo_cloud_open(2:{EXPORT}/held)'; cat /tmp/typed) 2>&1 |
            nc 127.0.0.1 50000 >/tmp/said 2>&1 &
         while [ $(wc -l </tmp/said) -lt 2 ]; do sleep 0.05; done; cat /tmp/said"
    );
    let said = sh(node1, &script)?;
    ensure!(said == "OK\n0", "opening the file: '{said}'");
    harm()?;
    let start = Instant::now();
    let script = format!(
        "printf '{lines}\\nquit\\n' >/tmp/typed; n=0
         while [ $(wc -l </tmp/said) -lt 3 ] && [ $n -lt 400 ]; do n=$((n + 1)); sleep 0.05; done
         tail -n 1 /tmp/said"
    );
    Ok((sh(node1, &script)?, start.elapsed()))
}

fn restarted(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let restart = || {
        node2.restart()?;
        wait_until_whole(cluster)
    };
    let (said, _) = held(&node1, restart, "virgo_cloud_read(0,x,1,0)")?;
    ensure!(said.starts_with("ERR ESTALE "), "{said}");
    // What the session closes then is gone already, and it does not matter.
    sh(&node1, "virgo ls 2:/srv/ro")?;
    sh(&node2, &format!("rm -f {EXPORT}/held"))?;
    wait_until_open(&node2, 0)?;
    // The other way round: what a node had open is closed when it is back.
    let (said, _) = held(&node1, || wait_until_open(&node2, 1), "help")?;
    ensure!(said.contains("virgo_cloud_open"), "{said}");
    let hold = "(echo \"auth $(cat /etc/virgo.key)\"
        echo 'virgo_cloud_open(2:/srv/ro/readme,O_RDONLY)'; sleep 600) 2>&1 | nc 127.0.0.1 50000 >/dev/null 2>&1 &";
    sh(&node1, hold)?;
    within(Duration::from_secs(20), || {
        ensure!(open_on(&node2)? > 0);
        Ok(())
    })?;
    node1.restart()?;
    wait_until_whole(cluster)?;
    sh(&node1, "virgo ls 2:/srv/ro")?;
    sh(&node2, &format!("rm -f {EXPORT}/held"))?;
    wait_until_open(&node2, 0)
}

fn dead(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    const IN_TIME: &[&str] = &["EHOSTDOWN", "ETIMEDOUT", "ECONNRESET"];
    let is_error = |said: &str| IN_TIME.iter().any(|errno| said.contains(errno));
    let checks = || -> Result<()> {
        let (said, took) = held(&node1, || node2.pause(), "virgo_cloud_read(0,x,1,0)")?;
        ensure!(
            is_error(&said),
            "a read of an open file: '{said}' after {took:?}"
        );
        ensure!(took < DEADLINE + SLACK, "it took {took:?}");
        println!("a read with the node dead: {said} after {took:?}");
        for command in ["cat 2:/srv/ro/readme", "ls 2:/srv/ro"] {
            let (said, took) = fails(&node1, &format!("virgo {command}"))?;
            ensure!(is_error(&said), "{command}: '{said}' after {took:?}");
            ensure!(took < DEADLINE + SLACK, "it took {took:?}");
        }
        // A copy of it elsewhere is read instead.
        let said = sh(&node1, "virgo cat 2,3:/srv/ro/readme")?;
        ensure!(said.starts_with("This file"), "the copy: '{said}'");
        // Who waits can be killed at once.
        let waiting = node1.spawn(["sh", "-c", "exec virgo cat 2:/srv/ro/readme"])?;
        std::thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        sh(&node1, "pkill -KILL -x virgo; true")?;
        waiting.wait()?;
        let took = start.elapsed();
        ensure!(took < Duration::from_secs(3), "killed after {took:?}");
        Ok(())
    };
    let result = checks();
    node2.resume()?;
    wait_until_whole(cluster)?;
    result?;
    within(Duration::from_secs(20), || sh(&node1, "virgo ls 2:/srv/ro"))?;
    sh(&node2, &format!("rm -f {EXPORT}/held"))?;
    wait_until_open(&node2, 0)
}

/// A node that stands still takes half of the time at most; for a while it is not asked any more then.
fn still(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let read = || sh(&node1, "virgo cat 2,3:/srv/ro/readme");
    // So that there are connections.
    sh(&node1, "virgo ls 2:/srv/ro; virgo ls 3:/srv/ro")?;
    node2.pause()?;
    let start = Instant::now();
    let all = (0..8).map(|_| read()).collect::<Result<Vec<_>>>();
    let took = start.elapsed();
    node2.resume()?;
    wait_until_whole(cluster)?;
    ensure!(all?.iter().all(|said| said.starts_with("This file")));
    println!("8 copies were read in {took:?}");
    Ok(())
}

/// Text commands that wait for a node are not waited for.
fn unload(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, "virgo ls 2:/srv/ro")?;
    node2.pause()?;
    let session = node1.spawn([
        "sh",
        "-c",
        "(echo \"auth $(cat /etc/virgo.key)\"; echo 'virgo_cloud_stat(2:/srv/ro/readme)'; sleep 8) |
         nc 127.0.0.1 50000",
    ])?;
    std::thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    let unloaded = sh(&node1, "rmmod virgo_cloudfs");
    let took = start.elapsed();
    node2.resume()?;
    unloaded?;
    sh(&node1, "insmod /lib/virgo/virgo_cloudfs.ko")?;
    session.kill()?;
    session.wait()?;
    println!("rmmod took {took:?}");
    ensure!(took < Duration::from_millis(2500), "rmmod took {took:?}");
    wait_until_whole(cluster)
}

/// The link breaks in the middle of a copy; with --resume it goes on where it was.
fn resumed(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let mebibytes = Rounds {
        debug: 4,
        slim: 10,
        // What the disks of the guests hold beside what else is there.
        soak: 40,
    }
    .count();
    let bytes = mebibytes << 20;
    let make = format!("head -c {bytes} /dev/urandom >/tmp/large && md5sum </tmp/large");
    let sum = sh(&node1, &make)?;
    // So that there is time to cut it off.
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem delay 200ms",
    )?;
    let copy = node1.spawn(["virgo", "put", "/tmp/large", &format!("2:{EXPORT}/large")])?;
    let size = || -> Result<u64> {
        let script = format!("cat {EXPORT}/.virgo-part-* 2>/dev/null | wc -c");
        Ok(sh(&node2, &script)?.parse()?)
    };
    within(Duration::from_secs(60), || {
        ensure!(size()? > 1 << 20, "nothing is copied yet");
        Ok(())
    })?;
    cluster.cut(1, 2)?;
    let said = copy.wait_timeout(DEADLINE * 2 + SLACK);
    let (ended, left) = (said?, size()?);
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    cluster.heal()?;
    wait_until_whole(cluster)?;
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(!ended.success() && said.contains("--resume"), "{said}");
    ensure!(
        left > 1 << 20 && left < (mebibytes as u64) << 20,
        "{left} bytes were copied"
    );
    let writes = || -> Result<u64> {
        let stats = "grep '^frame write ' /sys/kernel/debug/virgo/cloudfs/stats | cut -d' ' -f3";
        Ok(sh(&node2, stats)?.parse()?)
    };
    let before = writes()?;
    sh(
        &node1,
        &format!("virgo put --resume --verify /tmp/large 2:{EXPORT}/large"),
    )?;
    let requests = writes()? - before;
    let rest = ((mebibytes as u64) << 20) - left;
    ensure!(
        requests <= rest / 65536 + 2,
        "{requests} writes for {rest} bytes"
    );
    ensure!(sh(&node2, &format!("md5sum <{EXPORT}/large"))? == sum);
    println!("cut off after {left} bytes, {requests} writes for the rest");
    sh(&node2, &format!("rm {EXPORT}/large"))?;
    sh(&node1, "rm /tmp/large")?;
    Ok(())
}

/// On a network with a long way to go, large reads and writes take less time than one request after
/// the other would.
fn several(cluster: &Cluster) -> Result<()> {
    const WAY: Duration = Duration::from_millis(200);
    const REQUESTS: u32 = 64;
    let node1 = cluster.node(1);
    let delay = format!("root netem delay {}ms", WAY.as_millis());
    sh(&node1, "head -c 4194304 /dev/urandom >/tmp/far")?;
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {delay}"))?;
    let timed = |command: String| -> Result<Duration> {
        let start = Instant::now();
        sh(&node1, &command)?;
        Ok(start.elapsed())
    };
    let put = timed(format!("virgo put /tmp/far 2:{EXPORT}/far"));
    let got = timed(format!("virgo cp 2:{EXPORT}/far /tmp/back"));
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    let (put, got) = (put?, got?);
    println!("written in {put:?}, read in {got:?}");
    ensure!(put.max(got) < REQUESTS * WAY);
    sh(&node1, "cmp /tmp/far /tmp/back && rm /tmp/far /tmp/back")?;
    sh(&cluster.node(2), &format!("rm {EXPORT}/far"))?;
    Ok(())
}

/// With less room on the way than a reply needs.
fn left_behind(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let small = "for way in rmem wmem; do
                     cat /proc/sys/net/ipv4/tcp_$way >/tmp/$way
                     echo '4096 8192 8192' >/proc/sys/net/ipv4/tcp_$way
                 done";
    let again = "for way in rmem wmem; do cat /tmp/$way >/proc/sys/net/ipv4/tcp_$way; done";
    let reconnect = "rmmod virgo_cloudfs && insmod /lib/virgo/virgo_cloudfs.ko";
    sh(&node2, small)?;
    sh(&node1, &format!("{small}; {reconnect}"))?;
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem delay 2ms",
    )?;
    let test = on_request(&node1, &["replies_that_nobody_takes_are_not_in_the_way"])?;
    let tested = test.wait_timeout(Duration::from_secs(300));
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, again)?;
    sh(&node1, &format!("{again}; {reconnect}"))?;
    wait_until_whole(cluster)?;
    tested?.text()?;
    Ok(())
}

/// Runs one of the tests of files that a suite by itself does not; variables may come before its
/// name.
pub(crate) fn on_request(node: &Node, words: &[&str]) -> Result<RunningCommand> {
    let (name, variables) = words.split_last().context("which?")?;
    let suite = ["virgo-cloudfs-tests", "--ignored", "--nocapture", name];
    node.spawn(told_how_much(&[variables, &suite].concat()))
}

/// Somebody has a lease on a file, or a delegation of a directory: who wants to change it waits until
/// that is given back, and nobody else does.
fn leases(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!(
            "mkdir -m 777 {EXPORT}/leased; echo 1 >{EXPORT}/leased/a; chmod 666 {EXPORT}/leased/a"
        ),
    )?;
    let attempts = [
        ("a", "virgo_open(2:{}/a,O_RDWR)", "0"),
        ("a", "virgo_open(2:{}/a,O_WRONLY|O_TRUNC)", "0"),
        ("a", "virgo_open(2:{}/a,O_RDONLY|O_TRUNC)", "0"),
        ("", "virgo_open(2:{}/b,O_WRONLY|O_CREAT)", "0"),
        ("", "virgo_cloud_mkdir(2:{}/c)", "made"),
        ("", "virgo_cloud_rename(2:{}/b,2:{}/d)", "renamed"),
        ("", "virgo_cloud_unlink(2:{}/d)", "removed"),
    ];
    // Node 2 may have been dead, and is not asked again at once.
    within(DEADLINE, || sh(&node1, "virgo cat 2:/srv/ro/readme"))?;
    let appears = |name: &str| {
        let patience = Duration::from_secs(20);
        within(patience, || sh(&node2, &format!("[ -e /run/{name} ]")))
    };
    for (held, command, expected) in attempts {
        // There is no lease on what is open for writing.
        wait_until_open(&node2, 0)?;
        let held = format!("VIRGO_HELD={EXPORT}/leased/{held}");
        let holder = on_request(&node2, &[&held, "leases::one_is_held"])?;
        appears("held")?;
        let command = command.replace("{}", &format!("{EXPORT}/leased"));
        let typed = format!(
            "printf 'auth %s\\n{command}\\nquit\\n' $(cat /etc/virgo.key) | nc 127.0.0.1 50000"
        );
        let waiting = node1.spawn(["sh", "-c", &typed])?;
        if let Err(e) = appears("asked") {
            let said = waiting.wait()?.text()?;
            return Err(e.context(format!("{command}: {said}")));
        }
        sh(&node1, "virgo cat 2:/srv/ro/readme")?;
        sh(&node2, "touch /run/release")?;
        let said = waiting.wait()?.text()?;
        ensure!(
            said.trim() == format!("OK\n{expected}"),
            "{command}: {said}"
        );
        holder.wait_timeout(Duration::from_secs(60))?.text()?;
        sh(&node2, "rm /run/held /run/asked /run/release")?;
    }
    sh(&node2, &format!("rm -r {EXPORT}/leased"))?;
    Ok(())
}

/// A copy waits for a disk that is too slow for it; other files of that node are read meanwhile.
fn slow_disk(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let quick = format!("2:{EXPORT}/quick");
    // Read once, so that the next time is no news to the disk.
    sh(
        &node1,
        &format!(
            "head -c 2000000 /dev/urandom >/tmp/slow &&
             echo quick >/tmp/quick && virgo put /tmp/quick {quick} && virgo cat {quick}"
        ),
    )?;
    node2.throttle_disk(64 << 10)?;
    let copy = node1.spawn(["virgo", "put", "/tmp/slow", &format!("2:{EXPORT}/slow")])?;
    std::thread::sleep(Duration::from_secs(2));
    let start = Instant::now();
    let read = sh(&node1, &format!("virgo cat {quick}"));
    let took = start.elapsed();
    let copied = copy.wait();
    node2.throttle_disk(0)?;
    let copied = copied?;
    sh(&node1, "rm /tmp/slow /tmp/quick")?;
    sh(
        &node2,
        &format!("rm -f {EXPORT}/slow {EXPORT}/.virgo-part-* {EXPORT}/quick"),
    )?;
    ensure!(read? == "quick");
    let said = String::from_utf8_lossy(&copied.stderr);
    ensure!(
        said.contains("ETIMEDOUT"),
        "the disk was not too slow: {said}"
    );
    println!("read in {took:?}");
    Ok(())
}

/// While nothing can be written to the disk of node 2, and many wait for that, the same node uses another
/// file system there at once, and does not take the connection for broken. Later all go on.
fn hung(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let other = "/tmp/other";
    sh(
        &node2,
        &format!("mkdir -p {other} && chown 65534:65534 {other} && echo there >{other}/there"),
    )?;
    let connections = || {
        let peers = "/sys/kernel/debug/virgo/cloudfs/peers";
        sh(&node1, &format!("awk '$1 == 2 {{ print $3 }}' {peers}"))
    };
    let checks = || -> Result<()> {
        sh(&node1, &format!("virgo ls 2:{EXPORT}"))?;
        let before = connections()?;
        sh(&node2, "fsfreeze --freeze /run/disk")?;
        let waiting = (0..40)
            .map(|n| node1.spawn(["virgo", "put", "/etc/hosts", &format!("2:{EXPORT}/hung{n}")]))
            .collect::<Result<Vec<_>, _>>();
        std::thread::sleep(Duration::from_secs(2));
        let start = Instant::now();
        let done = sh(
            &node1,
            &format!(
                "virgo cat 2:{other}/there && virgo put /etc/hosts 2:{other}/new &&
                 virgo ls 2:{other}"
            ),
        );
        let took = start.elapsed();
        // Nothing is heard any more.
        std::thread::sleep(2 * DEADLINE);
        let after = connections();
        sh(&node2, "fsfreeze --unfreeze /run/disk")?;
        for copy in waiting? {
            copy.wait()?;
        }
        let (done, after) = (done?, after?);
        ensure!(before == after, "{before} and {after} connections");
        ensure!(done == "there\nnew\nthere", "{done}");
        println!("others took {took:?}");
        ensure!(took < SLACK + DEADLINE, "{took:?}");
        sh(&node1, &format!("virgo put /etc/hosts 2:{EXPORT}/after"))?;
        wait_until_open(&node2, 0)
    };
    let result = with_config(&node2, &format!("export = {other} rw"), checks);
    sh(
        &node2,
        &format!("rm -rf {other} {EXPORT}/hung* {EXPORT}/after {EXPORT}/.virgo-*"),
    )?;
    result
}

/// A node is killed as soon as a copy is acknowledged: it is on the disk. 100 times in a soak.
fn killed(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let rounds = Rounds {
        debug: 1,
        slim: 3,
        soak: 100,
    }
    .count();
    for round in 0..rounds {
        let make = "head -c 200000 /dev/urandom >/tmp/kept && md5sum </tmp/kept";
        let sum = sh(&node1, make)?;
        sh(&node1, &format!("virgo put /tmp/kept 2:{EXPORT}/kept"))?;
        node2.kill()?;
        node2.restart()?;
        // Whoever was told that it is dead does not ask it again at once.
        within(DEADLINE, || sh(&node1, "virgo cat 2:/srv/ro/readme"))?;
        let found = sh(&node2, &format!("md5sum <{EXPORT}/kept"))?;
        ensure!(found == sum, "round {round}: {found}, not {sum}");
    }
    println!("{rounds} kills");
    wait_until_whole(cluster)?;
    sh(&node2, &format!("rm {EXPORT}/kept"))?;
    sh(&node1, "rm /tmp/kept")?;
    Ok(())
}

fn bad_network(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let netem = "root netem loss 5% duplicate 20% delay 2ms 2ms reorder 25%";
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {netem}"))?;
    sh(&node2, &format!("/usr/sbin/tc qdisc add dev node1 {netem}"))?;
    let work = on_request(&node1, &["appends_are_done_once"])?;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        cluster.cut(1, 2)?;
        std::thread::sleep(Duration::from_millis(700));
        cluster.heal()?;
    }
    let ended = work.wait_timeout(Duration::from_secs(300))?;
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    wait_until_whole(cluster)?;
    let said = ended.text()?;
    let line = said.lines().find(|line| line.contains("acknowledged"));
    println!("{}", line.context("nothing was done")?);
    Ok(())
}
