// SPDX-License-Identifier: GPL-2.0
//! Queues of this node and of others, while links break and modules go.

use crate::{
    Test,
    rounds::Rounds,
    support::{DEADLINE, SLACK, fails, field, sh, text, wait_until_whole, within},
};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeSet, time::Duration};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("queue_is_used_from_every_node", everywhere),
    ("queue_lines_are_messages", lines),
    ("queue_lines_of_unknown_fate_are_an_error", unknown_fate),
    ("queue_service_answers_other_nodes", service),
    ("queue_gives_again_what_a_restarted_node_had", restarted),
    ("queue_takes_once_on_a_bad_network", bad_network),
    ("queue_asks_once_on_a_bad_network", bad_network_requests),
    ("queue_takers_have_their_turn", many_takers),
    (
        "queue_message_of_a_killed_taker_goes_to_the_next",
        killed_taker,
    ),
    ("queue_of_a_dead_node_is_an_error_in_time", dead_node),
    ("queue_of_requests_by_the_kernels_workqueue", work_queue),
    ("queue_without_reactor_serves_modules_only", without_reactor),
    ("queue_takes_requests_where_nothing_may_sleep", atomic),
    ("queue_in_use_is_not_unloaded", unload),
    ("queue_keeps_what_it_acknowledged_over_kills", kills),
    ("queue_log_torn_and_flipped_is_noticed", damage),
    ("queue_on_a_full_disk_loses_nothing", full_disk),
    (
        "queue_log_with_more_than_there_may_be_is_read",
        more_than_before,
    ),
    ("queue_delays_survive_a_clock_set_back", clock_back),
];

const MODULE: &str = "/lib/virgo/virgo_queue.ko";
const KINGCOBRA: &str = "/lib/virgo/virgo_kingcobra.ko";

fn everywhere(cluster: &Cluster) -> Result<()> {
    for to in cluster.nodes() {
        let number = to.number();
        sh(&to, "virgo queue create t.all ack=60000")?;
        for from in cluster.nodes() {
            let name = from.name();
            sh(
                &from,
                &format!("virgo queue pub --node {number} t.all 'from {name}'"),
            )?;
        }
        let from = cluster.node(1);
        let said = sh(
            &from,
            &format!("virgo queue take --node {number} --count 2 t.all"),
        )?;
        ensure!(said == "from node1\nfrom node2", "{said}");
        let said = sh(
            &from,
            &format!("virgo queue take --node {number} --keep --json t.all"),
        )?;
        ensure!(said.contains("\"text\":\"from node3\""), "{said}");
        let id = id(&said)?;
        let (said, _) = fails(
            &from,
            &format!("virgo queue take --node {number} --timeout 300ms t.all"),
        )?;
        ensure!(said.contains("ETIMEDOUT"), "{said}");
        let ack = format!("virgo queue ack --node {number} t.all {id}");
        sh(&from, &ack)?;
        let (said, _) = fails(&from, &ack)?;
        ensure!(said.contains("ESTALE"), "{said}");
        sh(&from, &format!("virgo queue delete --node {number} t.all"))?;
        let (said, _) = fails(&from, &format!("virgo queue pub --node {number} t.all x"))?;
        ensure!(said.contains("ENOENT"), "{said}");
    }
    Ok(())
}

/// The id of the delivery in what `virgo queue take --json` says.
fn id(said: &str) -> Result<u64> {
    let (_, rest) = said.split_once("\"id\":").context("an id")?;
    let rest = rest.trim_start_matches('"');
    let end = rest.find(|c: char| !c.is_ascii_digit());
    Ok(rest
        .get(..end.unwrap_or(rest.len()))
        .unwrap_or("")
        .parse()?)
}

/// What is taken for a program that was killed while it waited goes to the next one, at once.
fn killed_taker(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    for to in 1..=2 {
        sh(
            &node,
            &format!("virgo queue create --node {to} t.killed ack=0 deliveries=1"),
        )?;
        for round in 0..5 {
            let take = format!("virgo queue take --node {to} --timeout 30s t.killed");
            let kill = format!("{take} & taker=$!; sleep 1.5; kill -9 $taker; wait $taker");
            sh(&node, &format!("{kill}; true"))?;
            let publish = format!("virgo queue pub --node {to} t.killed {round}");
            sh(&node, &publish)?;
            let said = sh(
                &node,
                &format!("virgo queue take --node {to} --json --timeout 10s t.killed"),
            )?;
            ensure!(said.contains("\"deliveries\":1"), "{round} on {to}: {said}");
        }
        sh(&node, &format!("virgo queue delete --node {to} t.killed"))?;
    }
    Ok(())
}

/// More lines than go in one call, here and to another node, until there is no room.
fn lines(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    for to in 1..=2 {
        sh(
            &node,
            &format!("virgo queue create --node {to} t.lines messages=1500"),
        )?;
        let publish = format!("virgo queue pub --node {to} --lines t.lines");
        let (said, _) = fails(&node, &format!("seq 1600 | {publish}"))?;
        ensure!(
            said.contains("published 1500 lines: cannot publish: the queue is full (ENOBUFS)"),
            "{said}"
        );
        let (said, _) = fails(&node, &format!("seq 1600 | {publish}"))?;
        ensure!(said.contains("virgo: cannot publish"), "{said}");
        let take = format!("virgo queue take --node {to} --count 1024 t.lines");
        let taken = sh(
            &node,
            &format!("{take} >/run/taken; {take} >>/run/taken; md5sum </run/taken"),
        )?;
        ensure!(
            taken == sh(&node, "seq 1500 | md5sum")?,
            "others were taken"
        );
        sh(
            &node,
            &format!("rm /run/taken; virgo queue delete --node {to} t.lines"),
        )?;
    }
    Ok(())
}

/// The time is over while some are on their way: a number would have them sent again.
fn unknown_fate(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "virgo queue create t.slow")?;
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem rate 8mbit",
    )?;
    let failed = fails(
        &node1,
        "line=$(head -c 6000 /dev/zero | tr '\\0' x)
         for i in $(seq 1024); do echo $i$line; done |
             virgo queue pub --node 2 --timeout 3s --lines t.slow",
    );
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    let there = sh(
        &node2,
        "virgo queue take --count 1024 t.slow | tr -d x >/run/there
         n=$(wc -l </run/there)
         seq $n | cmp - /run/there && echo $n
         rm /run/there; virgo queue delete t.slow",
    )?;
    let (said, _) = failed?;
    ensure!(
        said.contains("published 0 or more lines: cannot publish") && said.contains("ETIMEDOUT"),
        "{said}"
    );
    let there: u32 = there.trim().parse()?;
    ensure!((1..1024).contains(&there), "{there} are there");
    Ok(())
}

/// A program that serves, on node 2.
fn service(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let daemon = node2.spawn(["virgo", "queue", "serve", "t.shout", "tr", "a-z", "A-Z"])?;
    let result = within(Duration::from_secs(10), || {
        sh(&node1, "virgo queue req --node 2 t.shout 'hello, node2'")
    });
    let here = sh(&node2, "virgo queue req t.shout here");
    let sum = sh(
        &node1,
        "for i in $(seq 20); do virgo queue req --node 2 t.shout a$i; done | sort -u | wc -l",
    );
    daemon.kill()?;
    daemon.wait()?;
    ensure!(result? == "HELLO, NODE2");
    ensure!(here? == "HERE");
    ensure!(sum? == "20");
    let (said, took) = fails(&node1, "virgo queue req --node 2 --timeout 500ms t.shout x")?;
    ensure!(
        said.contains("ETIMEDOUT") && took < SLACK,
        "{said}, {took:?}"
    );
    sh(&node2, "virgo queue delete t.shout")?;
    Ok(())
}

/// What a node has taken others get when it is there again without memory of it.
fn restarted(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        "virgo queue create t.lives ack=0; virgo queue pub t.lives kept",
    )?;
    sh(&node1, "virgo queue take --node 2 --keep t.lives")?;
    let (said, _) = fails(&node2, "virgo queue take --timeout 300ms t.lives")?;
    ensure!(said.contains("ETIMEDOUT"), "{said}");
    node1.restart()?;
    wait_until_whole(cluster)?;
    // Its first request tells that it has a new life.
    let _ = node1.run([
        "virgo",
        "queue",
        "take",
        "--node",
        "2",
        "--timeout",
        "1s",
        "--keep",
        "t.none",
    ])?;
    let said = sh(
        &node2,
        "virgo queue take --json t.lives; virgo queue delete t.lives",
    )?;
    ensure!(said.contains("\"deliveries\":2"), "{said}");
    Ok(())
}

/// Has node 1 run `command` with numbers in `i`, while packets to and from node 2 are lost, repeated
/// and out of order, and the link is cut in the middle. Returns how many numbers there were, and
/// those for which the command succeeded.
fn on_a_bad_network(cluster: &Cluster, command: &str) -> Result<(u32, BTreeSet<u32>)> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let netem = "root netem loss 5% duplicate 20% delay 2ms 2ms reorder 25%";
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {netem}"))?;
    sh(&node2, &format!("/usr/sbin/tc qdisc add dev node1 {netem}"))?;
    let count = Rounds {
        debug: 10,
        slim: 60,
        soak: 1000,
    }
    .count();
    let script = format!("for i in $(seq {count}); do {command} >&2 2>/dev/null && echo $i; done");
    let running = node1.spawn(["sh", "-c", &script])?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.cut(1, 2)?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.heal()?;
    let output = running.wait_timeout(Duration::from_secs(600));
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    wait_until_whole(cluster)?;
    let done = numbers(&String::from_utf8_lossy(&output?.stdout))?;
    Ok((count as u32, done))
}

/// On a bad network each message that was accepted is there, and none is there twice.
fn bad_network(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    sh(&node2, "virgo queue create t.once ack=0")?;
    let (count, accepted) = on_a_bad_network(cluster, "virgo queue pub --node 2 t.once $i")?;
    let there = sh(
        &node2,
        "n=$(virgo queue list --json | tr '{' '\\n' | grep t.once | sed 's/.*\"ready\":\\([0-9]*\\).*/\\1/')
         virgo queue take --count $n t.once; virgo queue delete t.once",
    )?;
    let lines = there.lines().count();
    let there = numbers(&there)?;
    ensure!(lines == there.len(), "some are there twice: {there:?}");
    ensure!(
        accepted.is_subset(&there),
        "accepted {accepted:?}, there {there:?}"
    );
    println!(
        "{count} published, {} accepted, {lines} there",
        accepted.len()
    );
    Ok(())
}

/// On a bad network the service gets each request that was answered, and none twice.
fn bad_network_requests(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    let asked = "/run/asked";
    sh(&node2, &format!("touch {asked}"))?;
    let service = node2.spawn(["virgo", "queue", "serve", "t.asked", "tee", "-a", asked])?;
    let result = on_a_bad_network(cluster, "virgo queue req --node 2 t.asked $i,");
    service.kill()?;
    service.wait()?;
    let got = sh(
        &node2,
        &format!("cat {asked}; rm {asked}; virgo queue delete t.asked"),
    )?;
    let (count, answered) = result?;
    let got = got.trim_end_matches(',');
    let times = got.split(',').count();
    let got = numbers(got)?;
    ensure!(times == got.len(), "some came twice: {got:?}");
    ensure!(
        answered.is_subset(&got),
        "answered {answered:?}, got {got:?}"
    );
    ensure!(!answered.is_empty(), "none was answered");
    println!("{count} asked, {} answered, {times} got", answered.len());
    Ok(())
}

/// More want messages of another node than may wait there at a time: each gets one.
fn many_takers(cluster: &Cluster) -> Result<()> {
    const TAKERS: usize = 20;
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "virgo queue create t.many ack=0")?;
    let script = format!(
        "for i in $(seq {TAKERS}); do virgo queue take --node 2 --timeout 60s t.many & done
         wait"
    );
    let takers = node1.spawn(["sh", "-c", &script])?;
    std::thread::sleep(Duration::from_secs(3));
    let publish = "virgo queue pub --node 2 --timeout 5s t.many";
    let published = sh(
        &node1,
        &format!("for i in $(seq {TAKERS}); do {publish} $i >&2 || exit 1; done"),
    );
    let taken = takers.wait_timeout(Duration::from_secs(90));
    sh(&node2, "virgo queue delete t.many")?;
    published?;
    let taken = numbers(&String::from_utf8_lossy(&taken?.stdout))?;
    ensure!(taken.len() == TAKERS, "taken: {taken:?}");
    Ok(())
}

fn numbers(text: &str) -> Result<BTreeSet<u32>> {
    let words = text.split(|between: char| between.is_whitespace() || between == ',');
    words
        .filter(|word| !word.is_empty())
        .map(|word| Ok(word.parse()?))
        .collect()
}

fn dead_node(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "virgo queue create t.dead")?;
    let waiting = node1.spawn([
        "virgo",
        "queue",
        "take",
        "--node",
        "2",
        "--timeout",
        "60s",
        "t.dead",
    ])?;
    std::thread::sleep(Duration::from_secs(1));
    node2.kill()?;
    let results = [
        "pub t.dead --node 2 x",
        "req t.dead --node 2 x",
        "take t.dead --node 2",
    ]
    .map(|command| fails(&node1, &format!("virgo queue {command}")));
    // Who waits is told by the deadline of its own.
    waiting.kill()?;
    waiting.wait()?;
    node2.restart()?;
    for result in results {
        let (said, took) = result?;
        let known = ["EHOSTDOWN", "ETIMEDOUT", "ECONNRESET"];
        ensure!(known.iter().any(|name| said.contains(name)), "{said}");
        ensure!(took < DEADLINE + SLACK, "it took {took:?}");
    }
    wait_until_whole(cluster)?;
    let (said, _) = fails(&node1, "virgo queue pub t.dead --node 2 x")?;
    ensure!(said.contains("ENOENT"), "its queues are gone: {said}");
    Ok(())
}

/// The module with other parameters and nobody to do requests, for the time of `during`.
fn with<T>(node: &Node, parameters: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    sh(
        node,
        &format!("rmmod virgo_kingcobra; rmmod virgo_queue && insmod {MODULE} {parameters}"),
    )?;
    let result = during();
    sh(
        node,
        &format!(
            "lsmod | grep -q virgo_kingcobra && rmmod virgo_kingcobra
             rmmod virgo_queue && insmod {MODULE} && insmod {KINGCOBRA}"
        ),
    )?;
    result
}

fn pushed(node: &Node) -> Result<u64> {
    let replies = text(node, node, 60000, &["queue requests"])?;
    field(replies.first().map_or("", String::as_str), "pushed")
}

fn work_queue(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    with(&node, "use_workqueue=1", || {
        let lines = ["one request"; 50];
        let replies = text(&node, &node, 60000, &lines)?;
        ensure!(replies.iter().all(|reply| reply == "queued"), "{replies:?}");
        // Nobody handles them, so they come to the queue.
        within(Duration::from_secs(5), || {
            let pushed = pushed(&node)?;
            ensure!(pushed == 50, "{pushed} have come");
            Ok(())
        })?;
        // Those that somebody handles do not.
        sh(&node, &format!("insmod {KINGCOBRA}"))?;
        let said = sh(
            &node,
            "virgo clone --on 3 kingcobra_push handled; sleep 1; virgo kingcobra log",
        )?;
        ensure!(said.contains("request  handled"), "{said}");
        Ok(())
    })
}

/// Made and taken under a lock with interrupts off: the debug kernel would say who sleeps.
fn atomic(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "rmmod virgo_kingcobra && insmod /lib/virgo/tests/virgo_test_functions.ko",
    )?;
    let said = sh(&node, "virgo clone --on 3 virgo_test_requests 10");
    sh(
        &node,
        &format!("rmmod virgo_test_functions && insmod {KINGCOBRA}"),
    )?;
    let nanos: u64 = said?.parse()?;
    ensure!(nanos > 0, "took no time");
    Ok(())
}

fn without_reactor(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    with(&node, "reactor=0", || {
        let (_, _) = fails(&node, "nc -w 2 127.0.0.1 60000 </dev/null")?;
        sh(&node, "virgo clone --on 3 kingcobra_push 'a request'")?;
        let said = sh(&node, "virgo queue take requests")?;
        ensure!(said == "a request", "{said}");
        Ok(())
    })
}

fn unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    let open = node.spawn(["virgo", "queue", "sub", "t.open"])?;
    // Somebody waits for a reply that does not come.
    sh(&node, "virgo queue create t.owed")?;
    let owed = cluster.node(1).spawn([
        "virgo",
        "queue",
        "req",
        "--node",
        "3",
        "--timeout",
        "60s",
        "t.owed",
        "x",
    ])?;
    within(Duration::from_secs(10), || {
        let said = sh(&node, "virgo queue list")?;
        ensure!(said.contains("_sub."), "{said}");
        Ok(())
    })?;
    let busy = fails(&node, "rmmod virgo_queue");
    open.kill()?;
    open.wait()?;
    let (said, _) = busy.context("with an open descriptor")?;
    ensure!(said.contains("temporarily unavailable"), "{said}");
    // With sessions, messages and timers: all of that ends.
    let session = node.spawn([
        "sh",
        "-c",
        "(echo \"auth $(cat /etc/virgo.key)\"; echo 'create t.u ack=100'; echo 'sub t.u ack'
          for i in $(seq 50); do echo pub t.u $i; done; sleep 60) | nc 127.0.0.1 60000",
    ])?;
    within(Duration::from_secs(10), || {
        ensure!(sh(&node, "virgo queue list")?.contains("t.u"));
        Ok(())
    })?;
    within(Duration::from_secs(10), || {
        let said = sh(
            &node,
            "virgo queue list --json | tr '{' '\\n' | grep t.owed",
        )?;
        ensure!(said.contains("\"ready\":1"), "{said}");
        Ok(())
    })?;
    within(Duration::from_secs(10), || {
        sh(&node, &format!("rmmod virgo_queue && insmod {MODULE}"))
    })?;
    let owed = owed.wait_timeout(Duration::from_secs(10))?;
    let said = String::from_utf8_lossy(&owed.stderr);
    ensure!(
        !owed.success() && said.contains("ECONNRESET"),
        "who waited for a reply was told: {said}"
    );
    session.wait_timeout(Duration::from_secs(90))?;
    let said = sh(&node, "virgo queue list")?;
    ensure!(!said.contains("t.u"), "{said}");
    Ok(())
}

/// Node 2 is killed at any moment while node 1 publishes to it and takes from it: whatever node 2
/// has acknowledged is there afterwards, whatever was acknowledged as done does not come again if
/// that had reached the disk, and nothing else is there.
fn kills(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let count = Rounds {
        debug: 1,
        slim: 5,
        soak: 1000,
    }
    .count();
    sh(
        &node2,
        "virgo queue create t.kept durable messages=100000 ack=0",
    )?;
    let mut accepted = BTreeSet::new();
    for round in 0..count {
        // Each line that is kept was acknowledged. In batches, so that there are many at a time.
        let script = format!(
            "i=0; >/run/kept; while :; do
                 for j in 1 2 3 4 5 6 7 8; do echo $(({round} * 1000000 + i * 8 + j)); done >/tmp/batch
                 virgo queue pub --node 2 --timeout 2s --lines t.kept </tmp/batch >/dev/null 2>&1 ||
                     break
                 cat /tmp/batch >>/run/kept; i=$((i + 1))
             done
             cat /run/kept"
        );
        let publisher = node1.spawn(["sh", "-c", &script])?;
        within(Duration::from_secs(30), || sh(&node1, "[ -s /run/kept ]"))?;
        std::thread::sleep(Duration::from_millis(500 + (round as u64 * 137) % 900));
        node2.kill()?;
        let said = publisher.wait_timeout(Duration::from_secs(60))?.text()?;
        accepted.extend(numbers(&said)?);
        node2.restart()?;
    }
    wait_until_whole(cluster)?;
    let there = sh(
        &node2,
        "while virgo queue take --timeout 500ms --count 1000 t.kept 2>/dev/null; do :; done",
    )?;
    let lines = there.lines().count();
    let there = numbers(&there)?;
    let missing: Vec<_> = accepted.difference(&there).collect();
    ensure!(
        missing.is_empty(),
        "acknowledged and not there: {missing:?}"
    );
    ensure!(
        lines == there.len(),
        "{} are there twice",
        lines - there.len()
    );
    println!(
        "{count} kills: {} acknowledged, {lines} there",
        accepted.len()
    );
    // What was taken is gone for good once something was written after it.
    sh(&node2, "virgo queue pub t.kept last")?;
    node2.restart()?;
    wait_until_whole(cluster)?;
    let said = sh(
        &node2,
        "virgo queue take --count 9 t.kept; virgo queue delete t.kept",
    )?;
    ensure!(said == "last", "{said}");
    Ok(())
}

/// Harms the log of node 3 while its module is not loaded.
fn damage(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        &format!("virgo queue create t.harm durable ack=0; rmmod virgo_queue; insmod {MODULE}"),
    )?;
    // Now in the file that is written, one behind the other.
    sh(
        &node,
        "for i in 1 2 3 4 5; do virgo queue pub t.harm message-$i; done; rmmod virgo_queue",
    )?;
    let harm = "cd /var/log/virgo_queue; f=messages.0; [ -s $f ] || f=messages.1
        at=$(strings -t d $f | grep message-3 | awk '{ print $1 }'); [ -n \"$at\" ] || exit 1
        printf X | dd of=$f bs=1 seek=$at conv=notrunc 2>/dev/null
        size=$(wc -c <$f); dd if=/dev/null of=$f bs=1 seek=$((size - 5)) 2>/dev/null";
    sh(&node, &format!("{harm}; insmod {MODULE}"))?;
    let said = sh(
        &node,
        "virgo queue take --count 9 t.harm; virgo queue delete t.harm",
    )?;
    ensure!(said == "message-1\nmessage-2\nmessage-4", "{said}");
    let console = node.console()?;
    ensure!(
        console.contains("bytes are damaged and lost") && console.contains("are cut"),
        "the log says nothing of it"
    );
    // Anything at all in the files.
    sh(
        &node,
        &format!(
            "rmmod virgo_queue; for f in 0 1; do head -c 100000 /dev/urandom \
                 >/var/log/virgo_queue/messages.$f; done; insmod {MODULE}; virgo queue list"
        ),
    )?;
    Ok(())
}

fn full_disk(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "virgo queue create t.disk durable ack=0 messages=100000; virgo queue pub t.disk first",
    )?;
    sh(
        &node,
        "dd if=/dev/zero of=/run/disk/fill bs=1M 2>/dev/null; sync; :",
    )?;
    let said = sh(
        &node,
        "for i in $(seq 200); do head -c 60000 /dev/zero | virgo queue pub t.disk 2>&1 || break; done",
    );
    let alive = sh(
        &node,
        "virgo queue create t.memory; virgo queue pub t.memory x; virgo queue delete t.memory",
    );
    // Without room for a new file it goes on in the old one.
    let again = sh(&node, &format!("rmmod virgo_queue; insmod {MODULE}"));
    let first = sh(&node, "virgo queue take t.disk");
    sh(&node, "rm /run/disk/fill")?;
    again?;
    let said = said?;
    ensure!(said.contains("ENOSPC"), "{said}");
    alive?;
    ensure!(first? == "first");
    sh(&node, "virgo queue pub t.disk second")?;
    // All that was accepted is there, and all can be read.
    sh(&node, &format!("rmmod virgo_queue; insmod {MODULE}"))?;
    let last = sh(
        &node,
        "while virgo queue take --timeout 300ms t.disk >/tmp/message 2>/dev/null; do
             tr -d '\\000' </tmp/message >/tmp/last
         done
         cat /tmp/last; rm /tmp/message /tmp/last; virgo queue delete t.disk",
    )?;
    ensure!(last == "second", "{last}");
    Ok(())
}

/// A message in several queues counts once, but is in the log for each of them.
fn more_than_before(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    with(&node, "max_bytes=1048576", || {
        sh(
            &node,
            &format!(
                "for i in 1 2 3; do virgo queue create t.sum$i durable 'bind=t.one.>'; done
                for i in $(seq 12); do head -c 60000 /dev/zero | virgo queue pub t.one.x || exit 1; done
                rmmod virgo_queue && insmod {MODULE} max_bytes=1048576"
            ),
        )?;
        let (said, _) = fails(&node, "virgo queue pub t.one.x y")?;
        ensure!(
            said.contains("ENOBUFS") || said.contains("ENOMEM"),
            "{said}"
        );
        for i in 1..=3 {
            let taken = sh(
                &node,
                &format!("virgo queue take --count 20 t.sum{i} | wc -c"),
            )?;
            ensure!(taken == "720012", "{taken} bytes in queue {i}");
            sh(&node, &format!("virgo queue delete t.sum{i}"))?;
        }
        Ok(())
    })
}

fn clock_back(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "virgo queue create t.clock durable; virgo queue pub t.clock --delay 3s late",
    )?;
    let back = format!("date -s @$(($(date +%s) - 3600)); rmmod virgo_queue; insmod {MODULE}");
    sh(&node, &back)?;
    let said = sh(
        &node,
        "virgo queue take --timeout 20s t.clock; virgo queue delete t.clock",
    );
    sh(&node, "date -s @$(($(date +%s) + 3600))")?;
    ensure!(said? == "late");
    Ok(())
}
