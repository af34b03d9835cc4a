// SPDX-License-Identifier: GPL-2.0
//! Copies that careless users make: to one name at a time, into themselves, of what is no file.

use crate::{
    Test,
    rounds::Rounds,
    support::{fails, sh},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("of_two_copies_to_one_name_one_is_done", two_at_a_time),
    ("odd_names_and_files_are_copied_or_told", odd),
    ("a_copy_into_itself_is_refused", into_itself),
    (
        "a_long_listing_takes_few_requests_more_than_a_short_one",
        long_listing,
    ),
];

const EXPORT: &str = "/var/log/virgo_fs";

/// Two nodes put different files to one name: one of them is there, whole, and only its sender is told
/// so. Nothing is left of the other.
fn two_at_a_time(cluster: &Cluster) -> Result<()> {
    let senders = [cluster.node(1), cluster.node(3)];
    let node2 = cluster.node(2);
    // So that both are under way together.
    let slow = "/usr/sbin/tc qdisc add dev node2 root netem delay 50ms";
    let quick = "/usr/sbin/tc qdisc del dev node2 root";
    for sender in &senders {
        sh(sender, "head -c 3000000 /dev/urandom >/tmp/mine")?;
        sh(sender, slow)?;
    }
    let rounds = Rounds {
        debug: 2,
        slim: 4,
        soak: 50,
    }
    .count();
    let result = (0..rounds).try_for_each(|round| {
        let target = format!("2:{EXPORT}/one");
        // The first time there is no such file.
        let copies = senders
            .each_ref()
            .map(|node| node.spawn(["virgo", "put", "/tmp/mine", &target]));
        let mut done = Vec::new();
        for (copy, sender) in copies.into_iter().zip(&senders) {
            let ended = copy?.wait_timeout(Duration::from_secs(120))?;
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            if ended.success() {
                done.push(sh(sender, "md5sum </tmp/mine")?);
            } else {
                ensure!(said.contains("by another copy meanwhile"), "{said}");
            }
        }
        let found = sh(&node2, &format!("md5sum <{EXPORT}/one"))?;
        ensure!(done == [found], "round {round}: {done:?} are told so");
        let left = sh(&node2, &format!("ls -A {EXPORT} | grep virgo- || true"))?;
        ensure!(left.is_empty(), "round {round}: {left}");
        Ok(())
    });
    for sender in &senders {
        sh(sender, quick)?;
        sh(sender, "rm /tmp/mine")?;
    }
    sh(
        &node2,
        &format!("rm -f {EXPORT}/one {EXPORT}/.virgo-part-* {EXPORT}/.virgo-claim-*"),
    )?;
    result
}

/// Names are bytes, there and back; what is no file is told and left out.
fn odd(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node1,
        "mkdir -p /tmp/odd/sub && cd /tmp/odd && long=$(printf %0255d 0) &&
         for name in \"$(printf '\\377\\376')\" \"$(printf 'a\\nb')\" \"$(printf 'c\\033[2J')\" -r ' ' $long; do
             echo \"$name\" >\"./$name\"
         done; echo of 0444 >sub/kept; chmod 444 sub/kept",
    )?;
    let there = format!("2:{EXPORT}/odd");
    let result = (|| -> Result<()> {
        // Twice: the second time there is something of each name.
        for _ in 0..2 {
            let put = format!("cd /tmp && rm -rf back && virgo cp -r odd 2:{EXPORT}");
            sh(&node1, &put)?;
            let got = format!("cd /tmp && virgo cp -r {there} back && diff -r odd back");
            sh(&node1, &got)?;
        }
        let listed = sh(&node1, &format!("virgo ls {there} | md5sum"))?;
        // By their bytes.
        let sorted =
            "printf ' \\n-r\\n%0255d\\na\\nb\\nc\\033[2J\\nsub\\n\\377\\376\\n' 0 | md5sum";
        ensure!(listed == sh(&node1, sorted)?);
        let odd = sh(
            &node1,
            &format!("virgo cat {there}/\"$(printf '\\377\\376')\" | md5sum"),
        )?;
        ensure!(odd == sh(&node1, "printf '\\377\\376\\n' | md5sum")?);
        sh(
            &node2,
            &format!(
                "cd {EXPORT}/odd && mkfifo pipe && mknod null c 1 3 && ln -s ../sub sub/again &&
                 ln -s nowhere dangling && mkdir closed && chmod 700 closed"
            ),
        )?;
        let copy = format!("rm -rf /tmp/back; virgo cp -r {there} /tmp/back");
        let (said, _) = fails(&node1, &copy)?;
        for told in [
            "pipe is a pipe",
            "null is a device",
            "sub/again is a directory that leads to itself",
            "dangling does not exist",
            "closed",
        ] {
            ensure!(said.contains(told), "{told}: {said}");
        }
        ensure!(!said.contains('\u{1b}'), "{said}");
        sh(&node1, "cd /tmp && rmdir back/closed && diff -r odd back")?;
        Ok(())
    })();
    sh(&node2, &format!("rm -rf {EXPORT}/odd"))?;
    sh(&node1, "rm -rf /tmp/odd /tmp/back")?;
    result
}

/// Nothing is made, however the two are named.
fn into_itself(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!("mkdir -p {EXPORT}/d/sub; echo 1 >{EXPORT}/d/a; chown -R 65534 {EXPORT}/d"),
    )?;
    let dir = format!("{EXPORT}/d");
    let try_copy = |from: &Node, source: &str, target: &str| -> Result<()> {
        let command = format!("timeout 30 virgo cp -r {source} {target}");
        let (said, _) = fails(from, &command)?;
        ensure!(said.contains("into itself"), "{command}: {said}");
        Ok(())
    };
    let result = (|| -> Result<()> {
        for from in [&node1, &node2] {
            try_copy(from, &format!("2:{dir}"), &format!("2:{dir}/copy"))?;
            try_copy(from, &format!("node2:{dir}/"), &format!("2:{dir}/sub/copy"))?;
            try_copy(from, &format!("2:{dir}"), &format!("2:{EXPORT}"))?;
        }
        // On node 2 itself, where it is a file of this machine as well.
        try_copy(&node2, &dir, &format!("2:{dir}/copy"))?;
        try_copy(&node2, &format!("2:{dir}"), &format!("{dir}/copy"))?;
        let found = sh(&node2, &format!("cd {dir} && find . | sort"))?;
        ensure!(found == ".\n./a\n./sub", "{found}");
        // Of the same name on another node, it is another one.
        sh(&node1, &format!("virgo cp -r 2:{dir} 1:{dir}"))?;
        sh(
            &node1,
            &format!("virgo cp -r 2:{dir} 1:{dir}/copy && rm -r {dir}"),
        )?;
        Ok(())
    })();
    sh(&node2, &format!("rm -rf {dir}"))?;
    result
}

/// What is known of the files comes with their names: a long listing takes few requests more than a
/// short one.
fn long_listing(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let files = Rounds {
        debug: 1000,
        slim: 6000,
        soak: 6000,
    }
    .count();
    sh(
        &node2,
        &format!("mkdir {EXPORT}/many && cd {EXPORT}/many && seq {files} | xargs touch"),
    )?;
    let requests = || -> Result<usize> {
        let stats = "/sys/kernel/debug/virgo/cloudfs/stats";
        let sum = format!("awk '/^frame / {{ sum += $3 }} END {{ print sum }}' {stats}");
        Ok(sh(&node2, &sum)?.parse()?)
    };
    let counted = |options: &str| -> Result<usize> {
        let before = requests()?;
        let list = format!("virgo ls {options} 2:{EXPORT}/many | wc -l");
        let lines: usize = sh(&node1, &list)?.parse()?;
        ensure!(lines >= files, "{lines} lines of {files} files");
        Ok(requests()? - before)
    };
    let result = counted("").and_then(|short| Ok((short, counted("-l")?)));
    sh(&node2, &format!("rm -r {EXPORT}/many"))?;
    let (short, long) = result?;
    println!("{files} files: {short} requests without, {long} with -l");
    ensure!(
        short > 0 && long < short * 2 + 10,
        "{long} requests, and {short} without -l"
    );
    Ok(())
}
