// SPDX-License-Identifier: GPL-2.0
//! The command line, as its users would use it, carefully or not.

use crate::{
    Test,
    support::{DEADLINE, SLACK, fails, sh, used, wait_until_whole, within},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use virgo_cluster::Cluster;

pub const TESTS: &[(&str, Test)] = &[
    ("cli_frees_what_it_cannot_name", unnamed),
    ("cli_ping_of_a_silent_node_is_a_failure", silent_node),
    ("cli_reports_each_node_as_it_answers", one_silent_of_all),
    ("cli_says_why_a_queue_is_refused", reasons),
    ("cli_limits_are_the_same_in_both_directions", limits),
    ("cli_loses_no_message_that_it_cannot_print", unprinted),
    ("cli_empties_queues", purge),
    ("cli_publishes_what_there_is", inputs),
    ("cli_does_all_that_can_be_done", partly),
    ("cli_services_outlive_what_they_cannot_answer", services),
    ("cli_puts_what_comes_by_a_pipe", from_pipe),
    ("cli_reads_from_any_node_and_writes_to_one", places),
    ("cli_tells_who_is_slow_what_was_lost", slow),
    ("cli_is_silent_when_nobody_reads_on", closed_pipes),
];

/// Ids and jobs that cannot be printed are known to nobody.
fn unnamed(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let before = used(&node)?;
    let (said, _) = fails(&node, "virgo malloc 64K --place 1 >/dev/full")?;
    ensure!(said.contains("cannot write to standard output"), "{said}");
    // In a pipe that is closed when the id comes.
    fails(
        &node,
        "set -o pipefail; (sleep 1; virgo malloc 64K --place 1) | true",
    )?;
    ensure!(used(&node)? == before, "{before} bytes were in use");
    let jobs = sh(&node, "virgo jobs")?;
    fails(&node, "virgo clone --on 2 --async sleep 60000 >/dev/full")?;
    within(Duration::from_secs(10), || {
        let now = sh(&node, "virgo jobs")?;
        ensure!(now == jobs, "{now}");
        Ok(())
    })
}

fn silent_node(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    let said = sh(&node1, "virgo nodes --ping --json")?;
    ensure!(said.matches("\"ns\"").count() == 3, "{said}");
    cluster.node(2).pause()?;
    let result = fails(&node1, "virgo nodes --ping");
    cluster.node(2).resume()?;
    wait_until_whole(cluster)?;
    let (said, _) = result?;
    let row = |number: &str| said.lines().find(|line| line.starts_with(number));
    ensure!(
        row("2").is_some_and(|row| row.contains("ETIMEDOUT") || row.contains("EHOSTDOWN")),
        "{said}"
    );
    ensure!(row("3").is_some_and(|row| row.ends_with('s')), "{said}");
    Ok(())
}

/// The others are seen while one is waited for.
fn one_silent_of_all(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    cluster.node(2).pause()?;
    let script = "virgo clone --on all echo here >/run/said 2>/run/errors & call=$!
         n=0; until [ $(grep -c here /run/said) = 2 ]; do n=$((n + 1)); [ $n -lt 30 ]; sleep 0.1; done
         kill -0 $call && echo running; wait $call; echo status $?; cat /run/errors";
    let result = sh(&node1, script);
    cluster.node(2).resume()?;
    wait_until_whole(cluster)?;
    let said = result?;
    ensure!(
        said.starts_with("running\nstatus 1\n") && said.contains("echo on node 2: "),
        "{said}"
    );
    let (_, took) = fails(&node1, "virgo clone --on all /not/allowed")?;
    ensure!(took < DEADLINE + SLACK, "{took:?}");
    Ok(())
}

/// As in text sessions, and the limit is named.
fn reasons(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let long = "a".repeat(129);
    for (command, expected) in [
        ("create t.why nonsense=1", "expected topic, durable"),
        ("create t.why messages=0", "messages: expected 1 to 1048576"),
        ("create t..why", "expected a name"),
        ("create --node 2 t.why ack=x", "ack: expected milliseconds"),
        ("sub t.why from=x", "from: expected a position"),
        ("sub '>.x'", "expected a name or a pattern"),
        (&format!("create {long}"), "a name has at most 128 bytes"),
        (
            &format!("pub --node 2 {long} x"),
            "a name has at most 128 bytes",
        ),
        ("pub t.why x", "no queue or topic of this name"),
        ("take --timeout 301s t.why", "at most 300s"),
    ] {
        let (said, _) = fails(&node, &format!("virgo queue {command}"))?;
        ensure!(said.contains(expected), "{command}: {said}");
    }
    Ok(())
}

/// 65536 bytes are a message, a request and a reply, here and on another node; one more is none.
fn limits(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let largest = "head -c 65536 /dev/zero | tr '\\0' x";
    let more = "head -c 65537 /dev/zero | tr '\\0' x";
    let sum = sh(&node1, &format!("({largest}; echo) | md5sum"))?;
    for number in [1, 2] {
        let to = format!("--node {number} t.largest");
        sh(&node1, &format!("virgo queue create {to}"))?;
        sh(&node1, &format!("{largest} | virgo queue pub {to}"))?;
        sh(&node1, &format!("{largest} | virgo queue pub --lines {to}"))?;
        for _ in 0..2 {
            let taken = sh(&node1, &format!("virgo queue take {to} | md5sum"))?;
            ensure!(taken == sum, "another message came from node {number}");
        }
        for how in ["", "--lines "] {
            let (said, _) = fails(&node1, &format!("{more} | virgo queue pub {how}{to}"))?;
            ensure!(said.contains("at most 65536 bytes"), "{said}");
        }
        let (said, _) = fails(&node1, &format!("virgo queue pub {to} \"$({more})\""))?;
        ensure!(said.contains("at most 65536 bytes"), "{said}");
        sh(&node1, &format!("virgo queue delete {to}"))?;
    }
    let service = node2.spawn(["virgo", "queue", "serve", "t.echo", "cat"])?;
    let ask = |node, request: &str| {
        let script = format!("virgo queue req --node 2 t.echo \"$({request})\" | md5sum");
        within(Duration::from_secs(10), || {
            sh(node, "virgo queue req --node 2 t.echo x")
        })?;
        sh(node, &script)
    };
    let sums = [ask(&node1, largest), ask(&node2, largest)];
    let refused = fails(
        &node1,
        &format!("virgo queue req --node 2 t.echo \"$({more})\""),
    );
    service.kill()?;
    service.wait()?;
    sh(&node2, "virgo queue delete t.echo")?;
    for found in sums {
        ensure!(found? == sum, "another reply came");
    }
    let (said, _) = refused?;
    ensure!(said.contains("at most 65536 bytes"), "{said}");
    Ok(())
}

fn purge(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    for number in [1, 2] {
        let to = format!("--node {number} t.purged");
        let script = format!(
            "virgo queue create {to} keep=5; seq 4 | virgo queue pub --lines {to}
             virgo queue take {to} >/dev/null; virgo queue take --keep {to} >/dev/null
             virgo queue purge {to}; virgo queue purge --json {to}; virgo queue delete {to}"
        );
        let said = sh(&node, &script)?;
        ensure!(said == "purged=4\n{\"purged\":0}", "{said}");
    }
    let (said, _) = fails(&node, "virgo queue purge t.purged")?;
    ensure!(
        said.contains("cannot empty the queue: no queue or topic of this name"),
        "{said}"
    );
    Ok(())
}

fn unprinted(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    for number in [1, 2] {
        let to = format!("--node {number} t.unprinted");
        sh(&node, &format!("virgo queue create {to} ack=0"))?;
        sh(&node, &format!("seq 3 | virgo queue pub --lines {to}"))?;
        for how in ["", "--keep "] {
            let take = format!("virgo queue take {how}--count 3 {to}");
            let (said, _) = fails(&node, &format!("{take} >/dev/full"))?;
            ensure!(said.contains("cannot write to standard output"), "{said}");
        }
        let said = sh(
            &node,
            &format!(
                "virgo queue take --timeout 2s --count 3 {to} | sort; virgo queue delete {to}"
            ),
        )?;
        ensure!(said == "1\n2\n3", "{said}");
    }
    Ok(())
}

/// No input is no line; input without end is an error and not the end of the machine.
fn inputs(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    sh(&node, "virgo queue create t.inputs")?;
    let said = sh(&node, "virgo queue pub --lines --json t.inputs </dev/null")?;
    ensure!(said.contains("\"published\":0"), "{said}");
    for how in ["", "--lines"] {
        let (said, took) = fails(&node, &format!("virgo queue pub {how} t.inputs </dev/zero"))?;
        ensure!(
            said.contains("at most 65536 bytes") && took < SLACK,
            "{said}, after {took:?}"
        );
    }
    let (said, _) = fails(&node, "virgo queue take --timeout 200ms t.inputs")?;
    ensure!(said.contains("no message in time (ETIMEDOUT)"), "{said}");
    // No input is a message without bytes, since one was asked for.
    sh(&node, "virgo queue pub t.inputs </dev/null")?;
    let said = sh(
        &node,
        "virgo queue take --json t.inputs; virgo queue delete t.inputs",
    )?;
    ensure!(said.contains("\"text\":\"\""), "{said}");
    Ok(())
}

/// One that fails keeps no other from being done, and the status tells.
fn partly(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    sh(
        &node,
        "virgo queue create t.partly ack=0; seq 2 | virgo queue pub --lines t.partly",
    )?;
    let taken = sh(&node, "virgo queue take --keep --json --count 2 t.partly")?;
    let ids = taken.lines().filter_map(|line| {
        let (_, rest) = line.split_once("\"id\":\"")?;
        rest.split('"').next()
    });
    let ids: Vec<_> = ids.collect();
    ensure!(ids.len() == 2, "{taken}");
    let (said, _) = fails(
        &node,
        &format!("virgo queue ack t.partly {} 987654 {}", ids[0], ids[1]),
    )?;
    ensure!(said.contains("ESTALE"), "{said}");
    let list = sh(
        &node,
        "virgo queue list --json | tr '{' '\\n' | grep t.partly; virgo queue delete t.partly",
    )?;
    ensure!(list.contains("\"leased\":0"), "{list}");
    // That nothing came is what the time is for.
    let said = sh(&node, "virgo queue sub t.partly --timeout 300ms 2>&1")?;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

/// A reply that is too large, and a command that fails, are told at once; the service goes on.
fn services(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let command = "read what; case $what in big) exec head -c 70000 /dev/zero;; bad) exit 3;; esac; echo fine";
    let service = node2.spawn(["virgo", "queue", "serve", "t.serve", "sh", "-c", command])?;
    let king = node2.spawn(["virgo", "kingcobra", "serve", "sh", "-c", command])?;
    let ask = |request: &str| fails(&node1, &format!("virgo {request}"));
    let up = within(Duration::from_secs(10), || {
        sh(&node1, "virgo queue req --node 2 t.serve x")?;
        ensure!(sh(&node2, "virgo queue list")?.contains("kingcobra.service"));
        Ok(())
    });
    let results = [
        (ask("queue req --node 2 t.serve big"), "ERR EMSGSIZE"),
        (
            ask("queue req --node 2 t.serve bad"),
            "ERR EIO sh: exit status: 3",
        ),
        (ask("kingcobra ask --node 2 big"), "ERR EMSGSIZE"),
        (
            ask("kingcobra ask --node 2 --json bad"),
            "ERR EIO sh: exit status: 3",
        ),
    ];
    let after = [
        sh(&node1, "virgo queue req --node 2 t.serve x"),
        sh(&node1, "virgo kingcobra ask --node 2 x"),
    ];
    for daemon in [service, king] {
        daemon.kill()?;
        daemon.wait()?;
    }
    sh(
        &node2,
        "virgo queue delete t.serve; virgo queue delete kingcobra.service",
    )?;
    up?;
    for (result, expected) in results {
        let (said, took) = result?;
        ensure!(
            said.contains(expected) && took < SLACK,
            "{said}, after {took:?}"
        );
    }
    for said in after {
        let said = said?;
        ensure!(said.ends_with("fine"), "{said}");
    }
    Ok(())
}

fn closed_pipes(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let file = "/var/log/virgo_fs/long";
    sh(
        &node2,
        &format!("mkdir -p /var/log/virgo_fs; seq 100000 >{file}"),
    )?;
    let said = sh(
        &node1,
        &format!("virgo cat 2:{file} 2>/run/errors | head -1; cat /run/errors"),
    );
    let long = "head -c 60000 /dev/zero | tr '\\0' x; echo";
    let queue = sh(
        &node1,
        &format!(
            "virgo queue create t.pipe; for i in 1 2 3; do {long}; done | virgo queue pub --lines t.pipe
             virgo queue take --count 3 t.pipe 2>/run/errors | head -c 3; cat /run/errors
             rm /run/errors; virgo queue delete t.pipe"
        ),
    );
    sh(&node2, &format!("rm {file}"))?;
    ensure!(said? == "1");
    ensure!(queue? == "xxx");
    Ok(())
}

fn from_pipe(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let dir = "/var/log/virgo_fs";
    sh(
        &node2,
        &format!("mkdir -p {dir}; touch {dir}/piped; ls {dir} | sort >/run/before"),
    )?;
    let sum = sh(&node1, "seq 200000 | md5sum")?;
    let copied = sh(
        &node1,
        &format!("seq 200000 | virgo put - 2:{dir}/piped && virgo cat 2:{dir}/piped | md5sum"),
    );
    let into = fails(&node1, &format!("virgo put - 2:{dir} </dev/null"));
    // Empty, and not there.
    let nowhere = fails(&node1, &format!("virgo put - 2:{dir}/none/x </dev/null"));
    let left = sh(
        &node2,
        &format!("ls {dir} | sort | cmp - /run/before; rm {dir}/piped"),
    );
    ensure!(copied? == sum, "another file came");
    let (said, _) = into?;
    ensure!(said.contains("is a directory"), "{said}");
    let (said, _) = nowhere?;
    ensure!(said.contains("ENOENT"), "{said}");
    left?;
    Ok(())
}

/// Names that leave open which node are for reading, everywhere; errors say so.
fn places(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    let dir = "/var/log/virgo_fs";
    for node in cluster.nodes().skip(1) {
        sh(&node, &format!("mkdir -p {dir}/d; echo copy >{dir}/d/f"))?;
    }
    let read = sh(
        &node1,
        &format!(
            "virgo cat 2,3:{dir}/d/f; virgo ls 2,3:{dir}/d; virgo ls -l 2,3:{dir}/d/f | grep -c rw
             virgo cp 2,3:{dir}/d/f /run/f && cat /run/f; virgo cp -r 3,2:{dir}/d /run/d && cat /run/d/f
             rm -r /run/f /run/d"
        ),
    );
    let written = fails(
        &node1,
        &format!("echo x >/run/x; virgo put /run/x 2,3:{dir}/x"),
    );
    let chosen = fails(
        &node1,
        &format!("virgo put /run/x random:{dir}/x; s=$?; rm /run/x; exit $s"),
    );
    let none = fails(&node1, &format!("virgo ls 2,3:{dir}/none 2:{dir}/d"));
    for node in cluster.nodes().skip(1) {
        sh(&node, &format!("rm -r {dir}/d"))?;
    }
    ensure!(read? == "copy\nf\n1\ncopy\ncopy");
    for refused in [written, chosen] {
        let (said, _) = refused?;
        ensure!(said.contains("say one, NODE:/PATH"), "{said}");
    }
    let (said, _) = none?;
    ensure!(said.contains("ENOENT") && said.ends_with("f\n"), "{said}");
    Ok(())
}

/// A subscriber that is too slow is told how much was lost, since the oldest goes; who publishes, if
/// a subscription refuses what it has no room for, and another one does not. Who acknowledges
/// too late is told, too, and does not take the message from whoever has it then.
fn slow(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let slow = node.spawn([
        "sh",
        "-c",
        "mkfifo /run/slow; exec 3<>/run/slow
         virgo queue sub t.slow policy=reject messages=2 --timeout 20s >/run/slow 2>/dev/null &
         virgo queue sub t.slow messages=2 --timeout 20s >/run/slow 2>/run/told; wait",
    ])?;
    within(Duration::from_secs(10), || {
        ensure!(sh(&node, "virgo queue list")?.matches("_sub.").count() == 2);
        Ok(())
    })?;
    // More than the pipe holds, so that the subscriber waits for whoever reads that.
    let lines = "for i in $(seq 20); do head -c 60000 /dev/zero | tr '\\0' x; echo; done";
    let publish = format!("({lines}) | virgo queue pub --lines t.slow");
    let said = sh(&node, &format!("{publish} 2>&1; {publish} --json"));
    let told = sh(&node, "timeout 5 cat /run/slow >/dev/null; cat /run/told");
    slow.kill()?;
    slow.wait()?;
    sh(&node, "rm /run/slow /run/told")?;
    let said = said?;
    ensure!(
        said.starts_with("lost=") && said.contains("\"published\":20"),
        "{said}"
    );
    let told = told?;
    ensure!(told.starts_with("lost="), "{told}");
    for number in [1, 2] {
        let to = format!("--node {number} t.late");
        sh(
            &node,
            &format!("virgo queue create {to} ack=300; virgo queue pub {to} x"),
        )?;
        let take = || {
            let said = sh(&node, &format!("virgo queue take --keep --json {to}"))?;
            let id = said
                .split_once("\"id\":\"")
                .and_then(|(_, id)| id.split('"').next());
            Ok(id.context("no id")?.to_owned())
        };
        let (first, second): (Result<String>, Result<String>) = (take(), take());
        let (first, second) = (first?, second?);
        ensure!(first != second, "{first} twice");
        let (said, _) = fails(&node, &format!("virgo queue ack {to} {first}"))?;
        ensure!(said.contains("ESTALE"), "{said}");
        sh(&node, &format!("virgo queue delete {to}"))?;
    }
    Ok(())
}
