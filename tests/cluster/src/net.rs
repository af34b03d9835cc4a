// SPDX-License-Identifier: GPL-2.0
//! `virgo net`: queues of VIRGO's own sockets and of others, and what is dropped.

use crate::{
    Test,
    support::{fails, sh, within},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("net_module_in_c_looks_in_all_contexts", module_in_c),
    ("net_own_sockets_are_listed", own),
    ("net_own_sockets_come_and_go_while_watched", load),
    ("net_sockets_of_programs_are_found", foreign),
    ("net_who_watches_keeps_no_socket_open", closing),
    ("net_errors_say_what_to_do", errors),
    ("net_drops_have_the_names_of_the_kernel", drops),
    ("net_left_over_instances_are_removed", left_over),
    ("net_unload_while_sockets_are_watched", unload),
];

/// In a loop of a shell: ends by an error if `condition` does not hold within ten seconds.
fn until(condition: &str) -> String {
    format!(
        "n=0; until {condition}; do n=$((n + 1)); [ $n -lt 100 ] || {{ echo 'not within 10 s: {}' >&2; exit 1; }}; sleep 0.1; done",
        condition.replace('\'', "")
    )
}

fn module_in_c(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let loaded = sh(
        &node,
        "dmesg -c >/dev/null; insmod /lib/virgo/tests/virgo_test_skbuff.ko && rmmod virgo_test_skbuff",
    );
    let said = sh(&node, "dmesg")?;
    ensure!(loaded.is_ok(), "{loaded:?}: {said}");
    for expected in [
        "virgo_skbuff: socket ",
        "127.0.0.1:7990",
        "  send: ",
        "    head: seq ",
    ] {
        ensure!(said.contains(expected), "{expected}: {said}");
    }
    Ok(())
}

/// Listeners, datagrams, sessions and links, each by its service.
fn own(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, "id=$(virgo malloc 100 --place 2) && virgo free $id")?;
    let here = sh(&node1, "virgo net queues")?;
    let there = sh(&node2, "virgo net queues")?;
    let has = |said: &str, words: [&str; 3]| {
        said.lines()
            .any(|line| line.starts_with(words[0]) && words[1..].iter().all(|w| line.contains(w)))
    };
    for (said, words) in [
        (&here, ["mempool listener", "listen", "0.0.0.0:30000"]),
        (&here, ["queue listener", "listen", "0.0.0.0:60000"]),
        (&here, ["mempool datagrams", "udp", "0.0.0.0:30000"]),
        (&here, ["mempool link", "established", "10.9.0.2:30000"]),
        (&there, ["mempool session", "established", "10.9.0.2:30000"]),
    ] {
        ensure!(has(said, words), "{words:?} in {said}");
    }
    // By either end, and by inode.
    let link = sh(&node1, "virgo net queues 10.9.0.2:30000")?;
    ensure!(
        link.contains("mempool link") && link.contains("round trip"),
        "{link}"
    );
    let json = sh(&node1, "virgo net queues --json 10.9.0.2:30000")?;
    let inode = after(&json, "\"inode\":");
    let again = sh(&node1, &format!("virgo net queues --json {inode}"))?;
    ensure!(after(&again, "\"inode\":") == inode, "{json}\n{again}");
    for member in [
        "\"own\":true",
        "\"service\":\"mempool\"",
        "\"role\":\"link\"",
        "\"snd_una\":",
    ] {
        ensure!(again.contains(member), "{member} in {again}");
    }
    Ok(())
}

/// The digits behind the first `mark`.
fn after(text: &str, mark: &str) -> String {
    let text = text.split_once(mark).map_or("", |(_, text)| text);
    text.chars().take_while(char::is_ascii_digit).collect()
}

/// At 10 Hz, while links carry load and are broken all the time: each look is whole, none is late.
fn load(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let said = sh(
        &node,
        "virgo net watch --interval 100ms --count 60 --json >/tmp/looks & watch=$!
         id=$(virgo malloc 8M --place 2) || exit
         while kill -0 $watch 2>/dev/null; do
             head -c 8388608 /dev/zero | virgo set $id 2>/dev/null || true
             echo stop >/sys/kernel/debug/virgo/mempool/peers; echo start >/sys/kernel/debug/virgo/mempool/peers
         done
         wait $watch; status=$?; virgo free $id; wc -l </tmp/looks; exit $status",
    )?;
    ensure!(said == "60", "{said} looks");
    let looks = sh(
        &node,
        "grep -c '\"role\":\"link\"' /tmp/looks; grep -c '\"busy\":true' /tmp/looks; true",
    )?;
    println!(
        "looks with links, and with busy sockets: {}",
        looks.replace('\n', ", ")
    );
    ensure!(!looks.starts_with("0\n"), "no link was seen");
    Ok(())
}

/// A program whose peer does not read; by address, and by inode.
fn foreign(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let script = format!(
        "nc -l -p 7980 -e /bin/sleep 1000 >/dev/null 2>&1 &
         {listening}
         (head -c 50000000 /dev/zero | nc 127.0.0.1 7980) >/dev/null 2>&1 & sender=$!
         {full}
         virgo net queues 127.0.0.1:7980 >/tmp/text; status=$?
         virgo net queues --json 127.0.0.1:7980 >/tmp/json
         inode=$(grep -o '\"inode\":[0-9]*' /tmp/json | head -n 1 | cut -d: -f2)
         virgo net queues --json $inode >/tmp/by_inode; by_inode=$?
         killall nc sleep; wait
         echo $status $by_inode; cat /tmp/text; cat /tmp/json; grep -c \"\\\"inode\\\":$inode,\" /tmp/by_inode",
        listening = until("grep -q ':1F2C 00000000:0000 0A' /proc/net/tcp"),
        full = until("virgo net queues --json 127.0.0.1:7980 2>/dev/null | grep -q '\"unsent\":[1-9]'"),
    );
    let said = sh(&node, &script)?;
    ensure!(said.starts_with("0 0\n"), "{said}");
    for expected in ["nc[", "sleep[", "head", "tail", "\"program\":\"nc\""] {
        ensure!(said.contains(expected), "{expected}: {said}");
    }
    ensure!(said.ends_with("\n1"), "{said}");
    Ok(())
}

/// The other end sees the end of a connection at once though it is watched; then the watch ends, too. Both ends have
/// an input that stays open: nc gives a connection up when its input or the other's ends.
fn closing(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let script = format!(
        "(sleep 1000 | nc -l -p 7981) >/dev/null 2>&1 &
         {listening}
         (sleep 1000 | nc 127.0.0.1 7981) >/dev/null 2>&1 &
         {connected}
         virgo net watch 127.0.0.1:7981 --interval 10ms --json >/tmp/looks 2>/tmp/said & watch=$!
         {looking}
         kill -9 $(pidof nc); wait $watch; echo $?; killall sleep; tail -n 1 /tmp/looks; cat /tmp/said",
        listening = until("grep -q ':1F2D 00000000:0000 0A' /proc/net/tcp"),
        connected = until("grep -q ':1F2D .* 01 ' /proc/net/tcp"),
        looking = until("[ $(wc -l </tmp/looks) -gt 20 ]"),
    );
    let said = sh(&node, &script)?;
    ensure!(said.starts_with("0\n"), "{said}");
    ensure!(said.contains("was closed meanwhile"), "{said}");
    Ok(())
}

fn errors(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    for (command, expected) in [
        (
            "virgo net queues 4294967295",
            "no socket with inode 4294967295",
        ),
        ("virgo net queues 192.0.2.1:9", "no socket at 192.0.2.1:9"),
        ("virgo net queues 192.0.2.1:9", "'ss -tuane'"),
        (
            "virgo net queues nonsense",
            "expected an inode, or ADDRESS:PORT",
        ),
        ("virgo net watch --interval 1ms", "at least 10ms"),
        ("su user -c 'virgo net queues'", "only root"),
        ("su user -c 'virgo net watch'", "only root"),
        (
            "su user -c 'virgo net drops --for 1s'",
            "only root may trace",
        ),
        ("virgo net queues --json 192.0.2.1:9", "\"advice\":"),
    ] {
        let (said, _) = fails(&node, command)?;
        ensure!(said.contains(expected), "{command}: {said}");
    }
    // One that is not found does not keep the others.
    let (said, _) = fails(&node, "virgo net queues 0.0.0.0:30000 192.0.2.1:9")?;
    ensure!(
        said.contains("mempool listener") && said.contains("no socket at"),
        "{said}"
    );
    // A watch ends when it is told to, and prints whole lines until then.
    let said = sh(
        &node,
        "virgo net watch --json --interval 50ms >/tmp/looks & watch=$!; sleep 2
         kill -INT $watch; wait $watch; echo $?; tail -c 1 /tmp/looks | od -An -c",
    )?;
    ensure!(said.starts_with('0') && said.contains("\\n"), "{said}");
    Ok(())
}

fn instances(node: &Node) -> Result<String> {
    sh(node, "ls /sys/kernel/tracing/instances")
}

/// To a port that nobody has, and to a socket that has no room.
fn drops(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    let said = sh(
        &node,
        "virgo net drops --for 4s >/tmp/drops 2>/tmp/said & drops=$!; sleep 1.5
         ls /sys/kernel/tracing/instances
         virgo-sockets-tests what_goes_to_a_closed_port >/dev/null || exit
         wait $drops; echo status $?; cat /tmp/drops /tmp/said",
    )?;
    ensure!(
        said.contains("virgo-drops-") && said.contains("status 0"),
        "{said}"
    );
    let row = said.lines().find(|line| line.starts_with("NO_SOCKET"));
    ensure!(
        row.is_some_and(|row| row.contains("udp") && !row.ends_with(" 0")),
        "{said}"
    );
    ensure!(instances(&node)?.is_empty(), "an instance is left");
    // The suite's socket that has no room.
    let said = sh(
        &node,
        "virgo net drops --json >/tmp/drops & drops=$!; sleep 1.5
         virgo-sockets-tests what_has_no_room >/dev/null || exit
         sleep 0.2; kill -TERM $drops; wait $drops; echo status $?; cat /tmp/drops",
    )?;
    ensure!(
        said.contains("status 0") && said.contains("\"reason\":\"SOCKET_RCVBUFF\""),
        "{said}"
    );
    ensure!(instances(&node)?.is_empty(), "an instance is left");
    Ok(())
}

/// Of who was killed, though not of who runs.
fn left_over(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        &format!(
            "virgo net drops >/dev/null & {one}; kill -9 $!; wait; mkdir /sys/kernel/tracing/instances/others
             [ $(ls /sys/kernel/tracing/instances | wc -l) = 2 ] || exit 1
             virgo net drops >/dev/null & {own}
             virgo net drops --for 100ms >/dev/null || exit 1
             [ $(ls /sys/kernel/tracing/instances | wc -l) = 2 ] || exit 1
             kill -INT $!; wait; [ \"$(ls /sys/kernel/tracing/instances)\" = others ] || exit 1
             rmdir /sys/kernel/tracing/instances/others",
            one = until("ls /sys/kernel/tracing/instances | grep -q virgo-drops-"),
            own = until("ls /sys/kernel/tracing/instances | grep -q \"virgo-drops-$!-\""),
        ),
    )?;
    Ok(())
}

/// What is watched goes with its module; the device keeps virgo_config only.
fn unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        &format!(
            "virgo net watch --interval 10ms --json >/tmp/looks & watch=$!
             {looking}
             rmmod virgo_sample_echo && for i in $(seq 10); do
                 rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko || exit 1
             done
             insmod /lib/virgo/virgo_sample_echo.ko || exit 1
             kill -0 $watch && kill -INT $watch && wait $watch
             grep -q 'mempool\",\"role\":\"listener' /tmp/looks",
            looking = until("[ -s /tmp/looks ]"),
        ),
    )?;
    within(Duration::from_secs(30), || {
        sh(&node, "id=$(virgo malloc 10 --place 3) && virgo free $id")
    })?;
    Ok(())
}
