// SPDX-License-Identifier: GPL-2.0
//! Messages to EventNet, and the files that it keeps them in.

use super::PATIENCE;
use crate::support::{sh, text, with_config, within};
use anyhow::{Result, ensure};
use std::time::Instant;
use virgo_cluster::{Cluster, Node};

pub(super) const PORT: u16 = 20000;

pub(super) const FOLDER: &str = "/var/log/eventnet";

pub(super) const UPDATED: &str = "EventNet updated";

/// Says something to the EventNet of a node; returns the answers.
pub(super) fn say(node: &Node, messages: &[&str]) -> Result<Vec<String>> {
    text(node, node, PORT, messages)
}

/// Waits until a file of EventNet is this.
pub(super) fn holds(node: &Node, file: &str, expected: &str) -> Result<()> {
    within(PATIENCE, || {
        let found = sh(node, &format!("cat {FOLDER}/{file}"))?;
        ensure!(found == expected.trim(), "{file} is {found:?}");
        Ok(())
    })
}

pub(super) fn empty(node: &Node) -> Result<()> {
    sh(node, &format!("rm -rf {FOLDER}/*"))?;
    Ok(())
}

pub(super) const EDGES: &str = "EventNetEdges.txt";

pub(super) const VERTICES: &str = "EventNetVertices.txt";

/// Every spelling of the design notes, the code and its comments is taken, and written as the original
/// was to.
pub fn messages(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    let said = [
        "eventnet_edgemsg#1#2#",
        "eventnet_edgemsg#2#3",
        "eventnet_edgmsg#9#3#4",
        // A duplicate is an edge of its own, and unknown vertices are no fault.
        "eventnet_edgemsg#1#2",
        "eventnet_vertexmsg#1#15#16#",
        "eventnet_vertxtmsg#1-11,12-11,12",
        "eventnet_vertextmsg#2#5,6#(5,6)",
        "eventnet_vertexmsg#1#15#16#",
    ];
    let answers = say(&node, &said)?;
    ensure!(answers == [UPDATED; 8], "{answers:?}");
    holds(&node, EDGES, "1,2\n2,3\n3,4\n1,2")?;
    let vertices = "1 - 15,11,12,16 - (15,16)#(11,12)\n2 - 5,6 - (5,6)";
    within(PATIENCE, || {
        let found = sh(&node, &format!("cat {FOLDER}/{VERTICES}"))?;
        // In how many steps they were written is not known, and with it the order of partakers.
        let same = |line: &str| {
            let mut parts: Vec<_> = line.split(&[' ', ',', '#', '-'][..]).collect();
            parts.sort_unstable();
            parts.join(" ")
        };
        let lines = |text: &str| text.lines().map(same).collect::<Vec<_>>();
        ensure!(lines(&found) == lines(vertices), "{found}");
        Ok(())
    })
}

/// What is no message is refused with a reason, and the session goes on.
pub fn bad_messages(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    let digits = "9".repeat(60_000);
    let long = format!("eventnet_edgemsg#1#{digits}");
    let too_long = format!("eventnet_edgemsg#1#{}", "9".repeat(1_000_000));
    let bad = [
        "eventnet_edgemsg",
        "eventnet_edgemsg#1",
        "eventnet_edgemsg#1#2#3#4",
        "eventnet_edgemsg#a#2",
        "eventnet_edgemsg#-1#2",
        "eventnet_edgemsg#3#3",
        "eventnet_edgmsg#x#1#2",
        "eventnet_edgemsg#1#18446744073709551616",
        &long,
        "eventnet_vertexmsg#1",
        "eventnet_vertextmsg#1#2,x#3,4",
        "eventnet_vertextmsg#1#2,3#3,4,5",
        "eventnet_vertxtmsg#1-2,3-(3,4",
        "eventnet_nonsense#1#2",
    ];
    let answers = say(&node, &bad)?;
    ensure!(answers.len() == bad.len(), "{answers:?}");
    for (message, answer) in bad.iter().zip(&answers) {
        let start = message.get(..40).unwrap_or(message);
        ensure!(answer.starts_with("ERR EINVAL "), "{start}: {answer}");
    }
    let answers = say(&node, &[&too_long, "eventnet_edgemsg#1#2"])?;
    ensure!(answers.len() == 2, "{answers:?}");
    ensure!(answers[0].starts_with("ERR EMSGSIZE "), "{answers:?}");
    ensure!(answers[1] == UPDATED, "{answers:?}");
    holds(&node, EDGES, "1,2")?;
    Ok(())
}

/// The files are edited, cut and removed while they are in use; nothing that people have written
/// there is lost, and what is said goes on to be written.
pub fn edited_files(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    say(&node, &["eventnet_edgemsg#1#2", "eventnet_vertexmsg#1#5#6"])?;
    holds(&node, EDGES, "1,2")?;
    holds(&node, VERTICES, "1 - 5,6 - (5,6)")?;
    // A last line without its end, a line that means nothing, and one as the original wrote it.
    sh(
        &node,
        &format!(
            "cd {FOLDER}; printf 3,4 >>{EDGES}
             printf 'a remark\\n2  -  7,8  -  (7,8)\\000' >>{VERTICES}"
        ),
    )?;
    say(&node, &["eventnet_edgemsg#5#6", "eventnet_vertexmsg#1#5#9"])?;
    holds(&node, EDGES, "1,2\n3,4\n5,6")?;
    within(PATIENCE, || {
        let found = sh(&node, &format!("tr -d '\\000' <{FOLDER}/{VERTICES}"))?;
        ensure!(
            found == "1 - 5,6,9 - (5,6)#(5,9)\na remark\n2  -  7,8  -  (7,8)",
            "{found}"
        );
        Ok(())
    })?;
    sh(&node, &format!("cd {FOLDER}; : >{EDGES}; rm {VERTICES}"))?;
    say(&node, &["eventnet_edgemsg#7#8", "eventnet_vertexmsg#3#1#2"])?;
    holds(&node, EDGES, "7,8")?;
    holds(&node, VERTICES, "3 - 1,2 - (1,2)")
}

/// Neither the folder nor a file may be a symbolic link, and without the folder nothing is made. What
/// was said is written when that is put right.
pub fn links(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    let errno = || -> Result<String> {
        sh(
            &node,
            "sed -n 's/^messages .* errno //p' /sys/kernel/debug/virgo/eventnet/state",
        )
    };
    let refused = || {
        within(PATIENCE, || {
            let errno = errno()?;
            ensure!(errno != "0", "errno is {errno}");
            Ok(())
        })
    };
    sh(
        &node,
        &format!("echo precious >/tmp/precious; ln -s /tmp/precious {FOLDER}/{EDGES}"),
    )?;
    say(&node, &["eventnet_edgemsg#1#2"])?;
    refused()?;
    sh(
        &node,
        &format!("[ \"$(cat /tmp/precious)\" = precious ] && rm {FOLDER}/{EDGES}"),
    )?;
    holds(&node, EDGES, "1,2")?;
    // It is a mount point, so something else has to stand in its place.
    sh(
        &node,
        &format!(
            "umount {FOLDER} && mkdir /tmp/elsewhere && rmdir {FOLDER} && ln -s /tmp/elsewhere {FOLDER}"
        ),
    )?;
    say(&node, &["eventnet_edgemsg#3#4"])?;
    refused()?;
    sh(
        &node,
        &format!("[ -z \"$(ls /tmp/elsewhere)\" ] && rm {FOLDER}"),
    )?;
    // Missing.
    refused()?;
    sh(
        &node,
        &format!("mkdir {FOLDER} && mount --bind /run/disk/eventnet {FOLDER}"),
    )?;
    holds(&node, EDGES, "1,2\n3,4")?;
    sh(&node, "rmdir /tmp/elsewhere")?;
    within(PATIENCE, || {
        let errno = errno()?;
        ensure!(errno == "0", "errno is {errno}");
        Ok(())
    })
}

/// While the disk is full answers come at once; what there is no room for is refused, and the rest is
/// written when there is room. No line is written in part.
/// The module goes before what the full disk has kept back is tried again: that is written, and what has come
/// after it.
pub fn at_the_end(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    sh(
        &node,
        &format!(
            "umount {FOLDER} && mount -t tmpfs -o size=64k tmpfs {FOLDER}
             dd if=/dev/zero of={FOLDER}/filler bs=4096 count=16 2>/dev/null; true"
        ),
    )?;
    say(&node, &["eventnet_edgemsg#1#3000"])?;
    within(PATIENCE, || {
        let state = sh(&node, "cat /sys/kernel/debug/virgo/eventnet/state")?;
        ensure!(state.contains("errno 28"), "{state}");
        Ok(())
    })?;
    say(&node, &["eventnet_edgemsg#2#3000"])?;
    let found = sh(
        &node,
        &format!("rm {FOLDER}/filler && rmmod virgo_eventnet && grep -c ',3000$' {FOLDER}/{EDGES}"),
    );
    sh(
        &node,
        &format!(
            "umount {FOLDER} && mount --bind /run/disk/eventnet {FOLDER} && insmod /lib/virgo/virgo_eventnet.ko"
        ),
    )?;
    let found = found?;
    ensure!(found == "2", "{found} lines");
    Ok(())
}

pub fn full_disk(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    sh(
        &node,
        &format!("umount {FOLDER} && mount -t tmpfs -o size=64k tmpfs {FOLDER}"),
    )?;
    sh(
        &node,
        &format!("dd if=/dev/zero of={FOLDER}/filler bs=4096 count=16 2>/dev/null; true"),
    )?;
    let lines: Vec<String> = (0..50)
        .map(|n| format!("eventnet_edgemsg#{n}#1000"))
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let answers = say(&node, &lines)?;
    ensure!(
        answers.iter().all(|answer| answer == UPDATED),
        "{answers:?}"
    );
    within(PATIENCE, || {
        let state = sh(&node, "cat /sys/kernel/debug/virgo/eventnet/state")?;
        ensure!(state.contains("errno 28"), "{state}");
        Ok(())
    })?;
    let many = sh(
        &node,
        "(echo \"auth $(cat /etc/virgo_text.key)\"; seq 20000 | sed 's/.*/eventnet_edgemsg#&#999999/'; echo quit) |
         nc 127.0.0.1 20000 | cut -c1-11 | sort | uniq -c",
    )?;
    // A user has a share, counted in bytes of which a message has 64 at least: modules still have room.
    ensure!(many.contains("ERR EDQUOT"), "{many}");
    let taken = many.lines().find(|line| line.ends_with("EventNet up"));
    let taken = taken.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    ensure!(
        taken.is_some_and(|taken| taken + 50 <= 128 * 1024 / 64),
        "{many}"
    );
    sh(
        &node,
        "insmod /lib/virgo/tests/virgo_test_functions.ko \
         && virgo clone --on 1 virgo_test_log 100 'eventnet_edgemsg#1#2000' && rmmod virgo_test_functions",
    )?;
    sh(&node, &format!("rm {FOLDER}/filler"))?;
    within(PATIENCE, || {
        let found = sh(
            &node,
            &format!(
                "grep -c ',1000$' {FOLDER}/{EDGES}; grep -c ',2000$' {FOLDER}/{EDGES}
                 grep -vc '^[0-9]*,[0-9]*$' {FOLDER}/{EDGES}; true"
            ),
        )?;
        ensure!(found == "50\n100\n0", "{found}");
        Ok(())
    })?;
    sh(
        &node,
        &format!("umount {FOLDER} && mount --bind /run/disk/eventnet {FOLDER}"),
    )?;
    Ok(())
}

/// A file of vertices that takes no more keeps nobody from adding edges.
pub fn full_vertices(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    let state = |expected: &'static str| {
        within(PATIENCE, || {
            let state = sh(&node, "cat /sys/kernel/debug/virgo/eventnet/state")?;
            ensure!(state.contains(expected), "{state}");
            Ok(())
        })
    };
    sh(
        &node,
        &format!("dd if=/dev/zero of={FOLDER}/{VERTICES} bs=1M seek=17 count=0 2>/dev/null"),
    )?;
    say(&node, &["eventnet_vertexmsg#1#5#6"])?;
    state("errno 27")?;
    say(&node, &["eventnet_edgemsg#1#2"])?;
    holds(&node, EDGES, "1,2")?;
    // The same vertex as often as it may wait: its edges have their own room.
    let many = sh(
        &node,
        "(echo \"auth $(cat /etc/virgo_text.key)\"; seq 3000 | sed 's/.*/eventnet_vertexmsg#1#5#6/'; echo quit) |
         nc 127.0.0.1 20000 | grep -c EDQUOT",
    )?;
    ensure!(many != "0", "none is refused");
    let answers = say(&node, &["eventnet_edgemsg#3#4"])?;
    ensure!(answers == [UPDATED], "{answers:?}");
    holds(&node, EDGES, "1,2\n3,4")?;
    sh(&node, &format!("rm {FOLDER}/{VERTICES}"))?;
    holds(&node, VERTICES, "1 - 5,6 - (5,6)")?;
    state("errno 0")
}

/// Whoever says the same vertex again and again has the file written anew, but not all the time.
pub fn merges(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    say(&node, &["eventnet_vertexmsg#1#5#6"])?;
    holds(&node, VERTICES, "1 - 5,6 - (5,6)")?;
    let start = Instant::now();
    let written = sh(
        &node,
        &format!(
            "(echo \"auth $(cat /etc/virgo_text.key)\"
              for i in $(seq 100); do echo eventnet_vertexmsg#1#5#$i; sleep 0.05; done; echo quit) |
                 nc 127.0.0.1 20000 >/dev/null &
             while kill -0 $! 2>/dev/null; do stat -c '%i %z' {FOLDER}/{VERTICES}; sleep 0.02; done | uniq | wc -l"
        ),
    )?;
    let took = start.elapsed();
    println!("{written} files in {took:?}");
    ensure!(
        written.parse::<u64>()? <= took.as_secs() + 2,
        "{written} files were written in {took:?}"
    );
    within(PATIENCE, || {
        let found = sh(&node, &format!("cat {FOLDER}/{VERTICES}"))?;
        ensure!(found.contains("(5,100)"), "{found}");
        Ok(())
    })
}

/// A user has half of what the file may grow by; the other half stays for others.
pub fn shares(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let load = |with: &str| {
        let script = format!("rmmod virgo_eventnet && insmod /lib/virgo/virgo_eventnet.ko {with}");
        sh(&node, &script)
    };
    empty(&node)?;
    let make = "head -c 32 /dev/urandom | base64 >/tmp/alice.key; chmod 600 /tmp/alice.key";
    sh(&node, make)?;
    load("max_file_mb=1")?;
    let size = || sh(&node, &format!("wc -c <{FOLDER}/{VERTICES} || echo 0"));
    let partakers: Vec<_> = (0..7000).map(|n| (1_000_000 + n).to_string()).collect();
    let partakers = partakers.join(",");
    let say_one = |key: &str, id: u32| -> Result<String> {
        let typed = format!("eventnet_vertextmsg#{id}#{partakers}#1,2\nquit\n");
        let script = format!("(echo \"auth $(cat {key})\"; cat) | nc 127.0.0.1 20000 | tail -n 1");
        let output = node.spawn_with_input(["sh", "-c", &script], typed.into_bytes())?;
        Ok(output.wait()?.text()?.trim().to_owned())
    };
    let checks = || -> Result<()> {
        let mut refused = String::new();
        for id in 1..=30 {
            let before = size()?;
            refused = say_one("/etc/virgo_text.key", id)?;
            if refused != UPDATED {
                break;
            }
            // What waits to be written has a share of its own.
            within(PATIENCE, || {
                ensure!(size()? != before, "it is not written");
                Ok(())
            })?;
        }
        ensure!(refused.starts_with("ERR EDQUOT "), "{refused}");
        let full: u64 = size()?.parse()?;
        ensure!((400_000..600_000).contains(&full), "{full} bytes");
        let said = say_one("/tmp/alice.key", 100)?;
        ensure!(said == UPDATED, "{said}");
        within(PATIENCE, || {
            ensure!(size()?.parse::<u64>()? > full, "it is not written");
            Ok(())
        })?;
        // When people have cut the file there is room again.
        sh(&node, &format!(": >{FOLDER}/{VERTICES}"))?;
        say_one("/tmp/alice.key", 101)?;
        within(PATIENCE, || {
            let said = say_one("/etc/virgo_text.key", 1)?;
            ensure!(said == UPDATED, "{said}");
            Ok(())
        })
    };
    let result = with_config(&node, "text_key = 1000 /tmp/alice.key", checks);
    load("")?;
    result
}
