// SPDX-License-Identifier: GPL-2.0
//! EventNet: its messages and files, and the events that nodes record.

mod causes;

use crate::{
    Test,
    support::{fails, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use virgo_cluster::{Cluster, Node};
use virgo_eventnet::{Event, Graph, read_json, why::why};

pub const TESTS: &[(&str, Test)] = &[
    ("eventnet_messages", messages),
    ("eventnet_bad_messages", bad_messages),
    ("eventnet_files_edited_by_people", edited_files),
    ("eventnet_links_are_not_followed", links),
    ("eventnet_full_disk", full_disk),
    ("eventnet_what_waits_is_written_at_the_end", at_the_end),
    ("eventnet_edges_do_not_wait_for_vertices", full_vertices),
    ("eventnet_merges_leave_time_for_others", merges),
    ("eventnet_a_user_leaves_room_in_the_file_for_others", shares),
    ("eventnet_a_remote_call_on_all_nodes", remote_call),
    ("eventnet_a_call_that_fails", failed_call),
    ("eventnet_why_across_a_job", causes::across_job),
    ("eventnet_why_across_a_message", causes::across_message),
    ("eventnet_exports_and_answers", answers),
    ("eventnet_clocks_an_hour_apart", clocks_apart),
    ("eventnet_a_ring_overflows", overflow),
    ("eventnet_a_node_dies_while_events_are_read", dead_node),
    ("eventnet_modules_in_c", module_in_c),
    ("eventnet_unload_while_others_log", unload),
];

const PORT: u16 = 20000;
const FOLDER: &str = "/var/log/eventnet";
const PATIENCE: Duration = Duration::from_secs(20);

const UPDATED: &str = "EventNet updated";

/// Says something to the EventNet of a node; returns the answers.
fn say(node: &Node, messages: &[&str]) -> Result<Vec<String>> {
    text(node, node, PORT, messages)
}

/// Waits until a file of EventNet is this.
fn holds(node: &Node, file: &str, expected: &str) -> Result<()> {
    within(PATIENCE, || {
        let found = sh(node, &format!("cat {FOLDER}/{file}"))?;
        ensure!(found == expected.trim(), "{file} is {found:?}");
        Ok(())
    })
}

fn empty(node: &Node) -> Result<()> {
    sh(node, &format!("rm -rf {FOLDER}/*"))?;
    Ok(())
}

const EDGES: &str = "EventNetEdges.txt";
const VERTICES: &str = "EventNetVertices.txt";

/// Every spelling of the design notes, the code and its comments is taken, and written as the original
/// was to.
fn messages(cluster: &Cluster) -> Result<()> {
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
fn bad_messages(cluster: &Cluster) -> Result<()> {
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
fn edited_files(cluster: &Cluster) -> Result<()> {
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
fn links(cluster: &Cluster) -> Result<()> {
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
fn at_the_end(cluster: &Cluster) -> Result<()> {
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

fn full_disk(cluster: &Cluster) -> Result<()> {
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
fn full_vertices(cluster: &Cluster) -> Result<()> {
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
fn merges(cluster: &Cluster) -> Result<()> {
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
fn shares(cluster: &Cluster) -> Result<()> {
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

/// A number that node 1 says of what was lost.
fn loss(cluster: &Cluster, name: &str) -> Result<u64> {
    let loss = sh(&cluster.node(1), "virgo --json eventnet loss --node 1")?;
    let (_, count) = loss
        .split_once(&format!("\"{name}\":"))
        .context("no count")?;
    let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

fn switch(cluster: &Cluster, how: &str) -> Result<()> {
    sh(&cluster.node(1), &format!("virgo eventnet {how}"))?;
    Ok(())
}

/// What all nodes have recorded.
fn recorded(cluster: &Cluster) -> Result<Graph> {
    let json = sh(&cluster.node(1), "virgo eventnet export --format json")?;
    Ok(Graph::new(read_json(json.as_bytes())?))
}

/// The last call of this name on node 1.
fn last_call<'a>(graph: &'a Graph, name: &str) -> Result<&'a Event> {
    last_call_on(1, graph, name)
}

fn last_call_on<'a>(node: u8, graph: &'a Graph, name: &str) -> Result<&'a Event> {
    let calls = graph
        .events()
        .iter()
        .filter(|event| event.id.node == node && event.point == "call" && event.text == name);
    calls.last().with_context(|| format!("no call {name}"))
}

/// Sets the clocks of all nodes to this machine's: those of nodes that were paused are behind.
fn set_clocks(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        sh(&node, &format!("date -s @{now}"))?;
    }
    Ok(())
}

/// A get from another node leaves six events on two nodes, each caused by the one before.
fn remote_call(cluster: &Cluster) -> Result<()> {
    set_clocks(cluster)?;
    let node = cluster.node(1);
    let id = sh(&node, "virgo malloc 100 --place 2")?;
    switch(cluster, "on")?;
    sh(&node, &format!("virgo get {id} --length 5"))?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let faults = graph.faults();
    ensure!(faults.is_empty(), "{faults:?}");
    let call = last_call(&graph, "get2")?;
    let why = why(&graph, call.id)?;
    let points: Vec<_> = why
        .hops
        .iter()
        .map(|hop| (hop.to.id.node, hop.to.point.as_str()))
        .collect();
    let expected = [
        (1, "send"),
        (2, "receive"),
        (2, "reply"),
        (1, "done"),
        (1, "return"),
    ];
    ensure!(points == expected, "{points:?}");
    ensure!(why.first.id == call.id && why.missing.is_none(), "{why:?}");
    // Switched off nothing is recorded.
    let before = graph.events().len();
    sh(&node, &format!("virgo get {id} --length 5"))?;
    let after = recorded(cluster)?.events().len();
    ensure!(before == after, "{before} events became {after}");
    // One kind, and one call of so many.
    switch(cluster, "on --kinds memory --one-in 5")?;
    sh(
        &node,
        &format!("for i in $(seq 20); do virgo get {id} --length 5 >/dev/null || exit; done"),
    )?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let new: Vec<_> = graph
        .events()
        .iter()
        .filter(|event| event.seq_after(after, &graph))
        .collect();
    ensure!(new.iter().all(|event| event.kind == "memory"), "{new:?}");
    let calls = new.iter().filter(|event| event.point == "call").count();
    ensure!((2..=8).contains(&calls), "{calls} of 20 calls");
    sh(&node, &format!("virgo free {id}"))?;
    Ok(())
}

/// Events of a graph beyond its first so many.
trait Later {
    fn seq_after(&self, count: usize, graph: &Graph) -> bool;
}

impl Later for Event {
    fn seq_after(&self, count: usize, graph: &Graph) -> bool {
        let mut stamps: Vec<_> = graph.events().iter().map(|event| event.stamp).collect();
        stamps.sort_unstable();
        stamps.get(count).is_some_and(|first| self.stamp >= *first)
    }
}

/// A call that finds no node in time says so in its events, and why tells where the time went.
fn failed_call(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let id = sh(&node, "virgo malloc 100 --place 2")?;
    switch(cluster, "on --kinds memory")?;
    cluster.node(2).pause()?;
    let failed = fails(&node, &format!("virgo get {id} --length 5"));
    cluster.node(2).resume()?;
    set_clocks(cluster)?;
    failed?;
    wait_until_whole(cluster)?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let failed = graph
        .events()
        .iter()
        .filter(|event| event.id.node == 1 && event.point == "return" && event.status != 0);
    let mut explained = false;
    for call in failed {
        let why = why(&graph, call.id)?;
        let longest = why.hops.iter().max_by_key(|hop| hop.nanos);
        explained |= longest.is_some_and(|hop| {
            let is_wait = hop.to.point == "done" && hop.to.status != 0;
            is_wait && hop.from.point == "send" && hop.nanos > 1_000_000_000
        });
    }
    ensure!(explained, "no call has waited");
    sh(&node, &format!("virgo free {id}"))?;
    Ok(())
}

/// The command line says what happened before what, and writes all formats.
fn answers(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let id = sh(&node, "virgo malloc 100 --place 2")?;
    switch(cluster, "on --kinds memory")?;
    sh(
        &node,
        &format!("virgo get {id} --length 5; virgo free {id}"),
    )?;
    switch(cluster, "off")?;
    let graph = recorded(cluster)?;
    let call = last_call(&graph, "get2")?.id;
    let end = graph
        .events()
        .iter()
        .find(|event| event.begin == Some(call));
    let end = end.context("the call has no end")?.id;
    sh(&node, "virgo eventnet export --format json >/tmp/events")?;
    let input = "--input /tmp/events";
    sh(
        &node,
        &format!("virgo eventnet before {call} {end} {input}"),
    )?;
    fails(
        &node,
        &format!("virgo eventnet before {end} {call} {input}"),
    )?;
    let path = sh(&node, &format!("virgo eventnet path {call} {end} {input}"))?;
    ensure!(path.contains("receive from node1"), "{path}");
    let why = sh(&node, &format!("virgo eventnet why {call} {input}"))?;
    ensure!(why.contains("longest") && why.contains("in all"), "{why}");
    sh(&node, &format!("virgo eventnet order {input}"))?;
    for format in ["dot", "shiviz", "perfetto", "otlp"] {
        let text = sh(
            &node,
            &format!("virgo eventnet export --format {format} {input}"),
        )?;
        ensure!(text.len() > 100, "{format}: {text}");
    }
    let (said, _) = fails(
        &node,
        &format!("virgo eventnet export --format svg {input}"),
    )?;
    ensure!(said.contains("graphviz"), "{said}");
    // A cycle, made by hand: each of two events is caused by the other.
    sh(
        &node,
        "cat >/tmp/cycle <<end
{\"id\":\"1:1\",\"cause\":\"2:1\",\"kind\":\"log\",\"point\":\"local\",\"wall_ns\":1,\"stamp\":1,\"mono_ns\":1,\"clock\":[1,1]}
{\"id\":\"2:1\",\"cause\":\"1:1\",\"kind\":\"log\",\"point\":\"local\",\"wall_ns\":1,\"stamp\":1,\"mono_ns\":1,\"clock\":[1,1]}
end",
    )?;
    let (said, _) = fails(&node, "virgo eventnet order --input /tmp/cycle")?;
    ensure!(said.contains("a cycle") && said.contains("stamp"), "{said}");
    Ok(())
}

/// A node whose clock is an hour ahead does not take the others along; the one whose clock goes back has
/// growing stamps all the same. What cannot be is told.
fn clocks_apart(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let now = "date +%s";
    let ahead = || loss(cluster, "clocks_ahead");
    let before = ahead()?;
    sh(&node2, &format!("date -s @$(($({now}) + 3600))"))?;
    switch(cluster, "on --kinds memory")?;
    let used = sh(&node1, "id=$(virgo malloc 100 --place 2) && virgo free $id");
    let back = sh(&node2, &format!("date -s @$(($({now}) - 3600))"));
    let again = sh(&node1, "id=$(virgo malloc 100 --place 2) && virgo free $id");
    switch(cluster, "off")?;
    used.and(back).and(again)?;
    ensure!(ahead()? > before, "no stamp was ahead");
    let wall = sh(&node1, now)?.parse::<u64>()?;
    let graph = recorded(cluster)?;
    let latest = graph
        .events()
        .iter()
        .filter(|event| event.id.node == 1)
        .map(|event| event.wall_ns)
        .max();
    let latest = latest.context("no events")? / 1_000_000_000;
    ensure!(latest < wall + 60, "node 1 says {latest}, it is {wall}");
    let said = format!("{:?}", graph.faults());
    ensure!(said.contains("Stamp"), "{said}");
    let mut last = 0;
    for event in graph.events().iter().filter(|event| event.id.node == 2) {
        ensure!(event.stamp > last, "{event:?}");
        last = event.stamp;
    }
    // Its hybrid clock stays an hour ahead until it is loaded anew.
    node2.restart()?;
    wait_until_whole(cluster)
}

/// A ring that is full forgets its oldest events, and says how many.
fn overflow(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    sh(
        &node,
        "insmod /lib/virgo/tests/virgo_test_functions.ko; virgo eventnet on --kinds log --node 1",
    )?;
    let logged = sh(
        &node,
        "virgo clone --on 1 virgo_test_log 20000 'the ring is full'",
    );
    let off = switch(cluster, "off");
    let dump = sh(
        &node,
        "virgo eventnet export --format json --node 1 2>&1 >/tmp/events; tail -n 1 /tmp/events; wc -l </tmp/events",
    );
    sh(&node, "rmmod virgo_test_functions")?;
    logged?;
    off?;
    let dump = dump?;
    ensure!(
        dump.contains("events were replaced by later ones"),
        "{dump}"
    );
    ensure!(dump.contains("the ring is full"), "{dump}");
    Ok(())
}

/// What the others have recorded is there, and what is missing is told.
fn dead_node(cluster: &Cluster) -> Result<()> {
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    switch(cluster, "on --kinds memory")?;
    sh(&node1, "id=$(virgo malloc 100 --place 2) && virgo free $id")?;
    node3.kill()?;
    let dump = sh(&node1, "virgo eventnet dump 2>&1");
    node3.restart()?;
    wait_until_whole(cluster)?;
    switch(cluster, "off")?;
    let dump = dump?;
    ensure!(dump.contains("node 3: its events are missing"), "{dump}");
    ensure!(dump.contains("memory receive from node1"), "{dump}");
    Ok(())
}

/// A module in C says things, also in an interrupt.
fn module_in_c(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    empty(&node)?;
    switch(cluster, "on --kinds log")?;
    let loaded = sh(
        &node,
        "insmod /lib/virgo/tests/virgo_test_eventnet.ko && sleep 0.3 && rmmod virgo_test_eventnet",
    );
    switch(cluster, "off")?;
    loaded?;
    holds(&node, EDGES, "7001,7002")?;
    holds(&node, VERTICES, "7001 - 1,2 - (1,2)")?;
    let dump = sh(&node, "virgo eventnet dump --node 2")?;
    ensure!(dump.contains("said by a module in C"), "{dump}");
    ensure!(dump.contains("said in an interrupt"), "{dump}");
    Ok(())
}

/// virgo_eventnet goes and comes while others log messages for its files; what it has taken it has
/// written, and what came meanwhile is counted.
fn unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    empty(&node)?;
    let result = sh(
        &node,
        "insmod /lib/virgo/tests/virgo_test_functions.ko || exit
         (for i in $(seq 20); do virgo clone --on 1 virgo_test_log 500 'eventnet_edgemsg#1#2'; done) >/dev/null 2>&1 &
         for i in $(seq 10); do
             n=0; until rmmod virgo_eventnet 2>/dev/null; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.05; done
             insmod /lib/virgo/virgo_eventnet.ko || exit
         done
         wait; n=0; until rmmod virgo_test_functions; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.05; done",
    );
    result?;
    let odd = sh(&node, &format!("grep -vc '^1,2$' {FOLDER}/{EDGES}; true"))?;
    ensure!(odd == "0" || odd.is_empty(), "{odd} lines are not whole");
    // What is said without it, or at too great a length, is lost, which is told.
    let before = loss(cluster, "messages_lost")?;
    let long = format!("eventnet_vertextmsg#1#{}1#1,2", "1,".repeat(150));
    sh(
        &node,
        &format!(
            "insmod /lib/virgo/tests/virgo_test_functions.ko && rmmod virgo_eventnet || exit
             virgo clone --on 1 virgo_test_log 7 'eventnet_edgemsg#1#2' || exit
             insmod /lib/virgo/virgo_eventnet.ko || exit
             virgo clone --on 1 virgo_test_log 2 '{long}' && rmmod virgo_test_functions"
        ),
    )?;
    let lost = loss(cluster, "messages_lost")? - before;
    ensure!(lost == 9, "{lost} messages were lost");
    ensure!(
        say(&node, &["eventnet_edgemsg#3#4"])? == [UPDATED],
        "it does not answer"
    );
    Ok(())
}
