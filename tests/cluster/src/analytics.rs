// SPDX-License-Identifier: GPL-2.0
//! Variables that steer the kernel: every way by which they are set, and what must not come through.

mod stream;

use crate::{
    Test,
    support::{fails, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("analytics_are_set_and_explained", doors),
    ("analytics_are_set_by_those_who_may", rights),
    (
        "analytics_watchers_lose_nothing_that_they_do_not_watch",
        watched_among_others,
    ),
    (
        "analytics_out_of_bounds_are_refused_from_everywhere",
        bounds,
    ),
    ("analytics_file_is_taken_whole_or_not_at_all", files),
    ("analytics_file_may_change_while_it_is_read", changing_file),
    ("analytics_file_is_read_for_text_sessions", reloaded_by_text),
    ("analytics_come_over_a_stream", stream::stream),
    ("analytics_stream_survives_its_host", stream::hostile),
    ("analytics_of_a_user_have_a_quota", quota),
    (
        "analytics_of_users_and_the_stream_have_shares",
        stream::shares,
    ),
    ("analytics_that_are_the_same_are_no_change", same),
    (
        "analytics_refused_by_their_module_are_a_change",
        late_declaration,
    ),
    ("analytics_unload_gives_defaults_back", unload),
    ("analytics_steer_pool_and_balancer", steering),
    ("analytics_limit_the_bandwidth_of_the_queue", bandwidth),
];

const PORT: u16 = 40000;

const PATIENCE: Duration = Duration::from_secs(40);
const FILE: &str = "/etc/virgo_kernel_analytics.conf";

/// Gives all variables their defaults, by loading the module anew with these parameters.
fn fresh(node: &Node, parameters: &str) -> Result<()> {
    sh(
        node,
        &format!(
            "rm -f {FILE}; rmmod virgo_kernel_analytics \
             && insmod /lib/virgo/virgo_kernel_analytics.ko {parameters}"
        ),
    )?;
    Ok(())
}

fn get(node: &Node, key: &str) -> Result<String> {
    sh(node, &format!("virgo analytics get {key}"))
}

fn doors(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    sh(
        &node,
        "virgo analytics set SRC=111.123.180.44 match=True \"fds={'22', '20'}\"",
    )?;
    ensure!(get(&node, "fds")? == "{'22', '20'}");
    ensure!(get(&node, "SRC")? == "111.123.180.44");
    // All of it or nothing.
    let (said, _) = fails(&node, "virgo analytics set '#a=1' X=5")?;
    ensure!(said.contains("comment"), "{said}");
    let (said, _) = fails(&node, "virgo analytics set SRC=1 nonsense")?;
    ensure!(said.contains("without '='"), "{said}");
    ensure!(get(&node, "SRC")? == "111.123.180.44");
    // The reason that is shown is of what was tried last.
    let (said, _) = fails(&node, "virgo analytics reset nobodys")?;
    ensure!(said.contains("nobodys: nobody has set it"), "{said}");
    let control = "/sys/kernel/debug/virgo/analytics";
    fails(&node, &format!("echo nonsense >{control}"))?;
    fails(&node, &format!("grep ^rejected {control}"))?;
    sh(&node, "virgo analytics set match=False")?;
    let history = sh(&node, "virgo analytics history match")?;
    let lines: Vec<_> = history.lines().collect();
    ensure!(
        matches!(lines[..], [a, b] if a.ends_with("match=True") && b.ends_with("match=False")),
        "{history}"
    );
    let explained = sh(&node, "virgo analytics explain read_from_stream")?;
    ensure!(
        explained.contains("nobody has set it") && explained.contains("from false to true"),
        "{explained}"
    );
    let watched = sh(
        &node,
        "virgo analytics watch m --count 2 >/tmp/watched & sleep 1
         virgo analytics set a=1 m1=1 m2=2; wait; cat /tmp/watched",
    )?;
    ensure!(
        watched.contains("m1=1") && watched.contains("m2=2") && !watched.contains("a=1"),
        "{watched}"
    );
    sh(&node, "virgo analytics reset SRC")?;
    let (said, _) = fails(&node, "virgo analytics get SRC")?;
    ensure!(said.contains("no variable"), "{said}");
    let (said, _) = fails(&node, "virgo analytics reset SRC")?;
    ensure!(said.contains("nobody has set it"), "{said}");
    let json = sh(&node, "virgo --json analytics list match")?;
    ensure!(json.contains("\"value\":\"False\""), "{json}");
    Ok(())
}

/// Whoever watches some variables is not told that changes are lost if those of others are.
fn watched_among_others(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    sh(&node, "virgo analytics set before=1")?;
    fresh(&node, "history=16")?;
    let told = sh(
        &node,
        &format!(
            "(echo \"auth $(cat /etc/virgo_text.key)\"; echo 'watch(mine)'; sleep 6; echo quit) |
                 nc 127.0.0.1 {PORT} >/tmp/told & sleep 1
             for round in 1 2 3 4; do
                 for i in 1 2 3 4 5 6 7 8 9 10; do
                     echo \"set other=$i\" >/sys/kernel/debug/virgo/analytics || exit
                 done; sleep 0.5
             done
             echo 'set mine=1' >/sys/kernel/debug/virgo/analytics; wait; cat /tmp/told"
        ),
    )?;
    ensure!(
        told.contains("key=\"mine\"") && !told.contains("lost="),
        "{told}"
    );
    let history = sh(&node, "virgo analytics history | wc -l")?;
    ensure!(history == "16", "{history} changes are kept");
    fresh(&node, "")
}

fn rights(cluster: &Cluster) -> Result<()> {
    let (node, other) = (cluster.node(1), cluster.node(2));
    fresh(&node, "")?;
    let denied = text(
        &other,
        &node,
        PORT,
        &["set(a=1)", "reset(a)", "reload", "list()"],
    )?;
    ensure!(
        denied[..3]
            .iter()
            .all(|line| line.starts_with("ERR EACCES")),
        "{denied:?}"
    );
    ensure!(denied[3].contains("read_from_stream=false"), "{denied:?}");
    let (said, _) = fails(
        &node,
        "su nobody -s /bin/sh -c 'virgo analytics set a=1' 2>&1",
    )?;
    ensure!(said.contains("ermission denied"), "{said}");
    with_config(&node, "callers = kernel_analytics 65534", || {
        let replies = text(
            &other,
            &node,
            PORT,
            &[
                "watch(a)",
                "set(a=1,b=2)",
                "set(a={1,2})",
                "get(a)",
                "explain(a)",
                "set(read_from_stream=1)",
                "set(c=1,streaming_kernel_analytics_host=1.2.3.4)",
                "reset(read_from_stream)",
            ],
        )?;
        // The stream is root's, and so is where it comes from.
        let denied = replies.iter().filter(|line| line.starts_with("ERR EPERM"));
        ensure!(denied.count() == 3, "{replies:?}");
        ensure!(get(&node, "read_from_stream")? == "false");
        ensure!(
            replies.iter().any(|line| line == "set=2")
                && replies.iter().any(|line| line == "{1,2}")
                && replies.iter().any(|line| line.contains("uid=65534")),
            "{replies:?}"
        );
        Ok(())
    })?;
    let denied = text(&other, &node, PORT, &["set(a=1)"])?;
    ensure!(denied[0].starts_with("ERR EACCES"), "{denied:?}");
    Ok(())
}

fn bounds(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    let off = "false";
    let (said, _) = fails(&node, "virgo analytics set read_from_stream=2")?;
    ensure!(said.contains("read_from_stream: expected"), "{said}");
    with_config(&node, "callers = kernel_analytics 65534", || {
        let replies = text(&node, &node, PORT, &["set(cloudfs_read_window=many)"])?;
        ensure!(
            replies[0].starts_with("ERR EINVAL cloudfs_read_window"),
            "{replies:?}"
        );
        Ok(())
    })?;
    for (pair, expected) in [
        ("localhost_load=hello", "a load"),
        ("localhost_load=-1", "a load"),
        (
            "streaming_kernel_analytics_host=nonsense",
            "an IPv4 address",
        ),
    ] {
        let (said, _) = fails(&node, &format!("virgo analytics set {pair}"))?;
        ensure!(said.contains(expected), "{pair}: {said}");
    }
    sh(
        &node,
        &format!("printf 'a=1\\nread_from_stream=-1\\n' >{FILE}"),
    )?;
    let (said, _) = fails(&node, "virgo analytics reload")?;
    ensure!(
        said.contains(&format!("{FILE}:2: read_from_stream")),
        "{said}"
    );
    ensure!(get(&node, "read_from_stream")? == off);
    let (said, _) = fails(&node, "virgo analytics get a")?;
    ensure!(said.contains("no variable"), "{said}");
    sh(&node, &format!("rm {FILE}"))?;
    Ok(())
}

/// The file is the same for everybody who may have it read: also a session of text, whose work has no root of its own.
fn reloaded_by_text(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    load(&node, "echo a=1")?;
    with_config(&node, "callers = kernel_analytics 65534", || {
        sh(&node, &format!("echo a=2,b=3 >{FILE}"))?;
        let said = text(&node, &node, PORT, &["reload"])?;
        ensure!(said == ["set=2"], "{said:?}");
        Ok(())
    })?;
    ensure!(get(&node, "a")? == "2" && get(&node, "b")? == "3");
    fresh(&node, "")
}

/// Puts what a shell command prints into the file, and reads that.
fn load(node: &Node, make: &str) -> Result<()> {
    sh(
        node,
        &format!("{{ {make}; }} >{FILE} && virgo analytics reload"),
    )?;
    Ok(())
}

fn files(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "max_file_bytes=16777216")?;
    load(&node, "printf 'a=1,b={x,y}\\n# more\\nc=3,c=4'")?;
    ensure!(get(&node, "b")? == "{x,y}" && get(&node, "c")? == "4");
    sh(&node, "virgo analytics set mine=1")?;
    for (make, line, reason) in [
        ("printf 'a=2\\nkey'", ":2", "without '='"),
        ("printf 'a=2\\nb=\\377'", ":2", "not UTF-8"),
        ("printf 'a=2,b={1'", ":1", "not closed"),
        ("seq 1000000 | sed 's/.*/k&=1/'", ":4093", "max_keys"),
        (
            "head -c 10485760 /dev/zero | tr '\\0' x",
            ":1",
            "without '='",
        ),
        ("head -c 17825792 /dev/zero", "", "longer than"),
    ] {
        let (said, _) = fails(
            &node,
            &format!("{{ {make}; }} >{FILE}; virgo analytics reload"),
        )?;
        ensure!(
            said.contains(&format!("{FILE}{line}: ")) && said.contains(reason),
            "{make}: {said}"
        );
        ensure!(get(&node, "a")? == "1", "{make} has changed something");
    }
    sh(&node, &format!("printf 'a=3' >{FILE}; chmod 666 {FILE}"))?;
    let (said, _) = fails(&node, "virgo analytics reload")?;
    ensure!(said.contains("nobody else may write"), "{said}");
    sh(&node, &format!("rm {FILE}; mkdir {FILE}"))?;
    let (said, _) = fails(&node, "virgo analytics reload")?;
    ensure!(said.contains("not a regular file"), "{said}");
    sh(&node, &format!("rmdir {FILE}"))?;
    // What the file does not say any more is gone; what came by another way stays.
    load(&node, "printf 'b=5'")?;
    let (said, _) = fails(&node, "virgo analytics get a")?;
    ensure!(said.contains("no variable"), "{said}");
    ensure!(get(&node, "b")? == "5" && get(&node, "mine")? == "1");
    load(&node, ":")?;
    fails(&node, "virgo analytics get b")?;
    fresh(&node, "")
}

/// Somebody rewrites the file all the time: each reading is of a whole file, or refused.
/// A file that is written slowly, and again and again, is taken whole or not at all.
fn changing_file(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    let said = sh(
        &node,
        &format!(
            "rm -f /tmp/stop
             ( until [ -e /tmp/stop ]; do
                 for n in 1 2; do
                     for part in a b c d e f; do echo k$part=$n; sleep 0.05; done >{FILE}
                     sleep 0.7
                 done
               done ) >/dev/null 2>&1 &
             for i in 1 2 3 4 5 6 7 8 9 10; do
                 virgo analytics reload 2>/dev/null || continue
                 virgo analytics list k | awk '$1 ~ /^k[a-f]$/ {{ print $2 }}' | sort | uniq -c
             done
             touch /tmp/stop; wait"
        ),
    )?;
    ensure!(!said.is_empty(), "it was never taken");
    for line in said.lines() {
        // All six variables have the same value.
        let words: Vec<_> = line.split_whitespace().collect();
        ensure!(matches!(words[..], ["6", "1" | "2"]), "cut: {said}");
    }
    fresh(&node, "")
}

fn quota(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "max_bytes=65536")?;
    with_config(&node, "callers = kernel_analytics 65534", || {
        let value = "v".repeat(4000);
        let sets: Vec<_> = (0..12).map(|i| format!("set(k{i}={value})")).collect();
        let sets: Vec<_> = sets.iter().map(String::as_str).collect();
        let replies = text(&node, &node, PORT, &sets)?;
        ensure!(
            replies[0] == "set=1" && replies[11].starts_with("ERR EDQUOT"),
            "{replies:?}"
        );
        Ok(())
    })?;
    // Others still have room, however often they replace a value.
    sh(
        &node,
        "i=0; while [ $i -lt 500 ]; do i=$((i + 1))
             echo \"set root=$i\" >/sys/kernel/debug/virgo/analytics || exit
         done",
    )?;
    ensure!(get(&node, "root")? == "500");
    sh(&node, "virgo analytics set root=1")?;
    ensure!(get(&node, "root")? == "1");
    fresh(&node, "")
}

fn same(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    sh(
        &node,
        "for i in 1 2 3; do virgo analytics set a=1 || exit; done",
    )?;
    let history = sh(&node, "virgo analytics history a")?;
    ensure!(history.lines().count() == 1, "{history}");
    // What the file says again stays, and what it does not say is gone.
    load(&node, "echo b=1,c=1")?;
    load(&node, "echo b=1,a=1")?;
    ensure!(get(&node, "b")? == "1");
    fails(&node, "virgo analytics get c")?;
    let history = sh(&node, "virgo analytics history b")?;
    ensure!(history.lines().count() == 1, "{history}");
    // From elsewhere it is a change.
    let history = sh(&node, "virgo analytics history a")?;
    ensure!(history.lines().count() == 2, "{history}");
    fresh(&node, "")
}

/// A value is set before the module is loaded that reads it, which does not take it.
fn late_declaration(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    let loaded = sh(
        &node,
        "rmmod virgo_cloudfs && virgo analytics set cloudfs_read_window=many
         insmod /lib/virgo/virgo_cloudfs.ko",
    );
    wait_until_whole(cluster)?;
    loaded?;
    ensure!(get(&node, "cloudfs_read_window")? == "4");
    let history = sh(&node, "virgo analytics history cloudfs_read_window")?;
    let lines: Vec<_> = history.lines().collect();
    ensure!(
        matches!(lines[..], [set, refused] if set.ends_with("=many")
            && refused.contains("default") && refused.ends_with("=4")),
        "{history}"
    );
    fresh(&node, "")
}

fn unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    sh(&node, "virgo analytics set a=1 read_from_stream=1")?;
    fresh(&node, "")?;
    ensure!(get(&node, "read_from_stream")? == "false");
    fails(&node, "virgo analytics get a")?;
    // While others set and look.
    sh(
        &node,
        "( until [ -e /tmp/stop ]; do virgo analytics set x=$$,y=2; virgo analytics list; done
           rm /tmp/stop ) >/dev/null 2>&1 &
         for i in $(seq 10); do
             until rmmod virgo_kernel_analytics 2>/dev/null; do :; done
             insmod /lib/virgo/virgo_kernel_analytics.ko || exit 1
         done; touch /tmp/stop; wait",
    )?;
    fresh(&node, "")
}

fn steering(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    fresh(&node, "")?;
    // The pool is full from now on; what is there stays.
    let id = sh(&node, "virgo malloc 1000 --place 1")?;
    sh(&node, "virgo analytics set mempool_bytes=1")?;
    let (said, _) = fails(&node, "virgo malloc 1000 --place 1")?;
    ensure!(said.contains("ENOMEM"), "{said}");
    sh(&node, &format!("virgo get {id} --length 1"))?;
    sh(&node, "virgo analytics reset mempool_bytes")?;
    let more = sh(&node, "virgo malloc 1000 --place 1")?;
    sh(&node, &format!("virgo free {id} {more}"))?;
    // A learnt load counts as so many runnable tasks, times the weight.
    let runnable = || -> Result<u32> {
        sh(&node, "virgo clone --on 1 noop")?;
        let state = sh(
            &node,
            "grep '^load 1 ' /sys/kernel/debug/virgo/cpupooling/state",
        )?;
        Ok(state.split(' ').nth(3).context("no load")?.parse()?)
    };
    let before = runnable()?;
    sh(
        &node,
        "virgo analytics set 'localhost_load=[31.5 1 1 2/99 7]' cpupooling_load_weight=2",
    )?;
    within(PATIENCE, || {
        let now = runnable()?;
        ensure!(now >= 64, "{before} were runnable, now {now}");
        Ok(())
    })?;
    let nodes = sh(
        &node,
        "for i in 1 2 3 4 5 6; do virgo clone --on least node; done",
    )?;
    ensure!(!nodes.lines().any(|line| line.trim() == "1"), "{nodes}");
    let (said, _) = fails(&node, "virgo analytics set cpupooling_load_weight=0")?;
    ensure!(
        said.contains("cpupooling_load_weight: out of the"),
        "{said}"
    );
    fresh(&node, "")
}

/// Ten megabits at one megabit a second.
fn bandwidth(cluster: &Cluster) -> Result<()> {
    let (node, other) = (cluster.node(1), cluster.node(2));
    fresh(&node, "")?;
    sh(
        &other,
        "virgo queue create limited messages=4000 bytes=8000000",
    )?;
    sh(
        &node,
        "yes $(printf 'x%.0s' $(seq 999)) | head -n 1250 >/tmp/lines",
    )?;
    let publish = || -> Result<f64> {
        let took = sh(
            &node,
            "s=$(cut -d' ' -f1 /proc/uptime)
             virgo queue pub limited --node 2 --timeout 60s --lines </tmp/lines >/dev/null || exit
             echo $s $(cut -d' ' -f1 /proc/uptime)",
        )?;
        let times: Vec<f64> = took.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        Ok(times[1] - times[0])
    };
    let free = publish()?;
    sh(&node, "virgo analytics set MaxNetworkBandwidth=1")?;
    let limited = publish()?;
    println!("10 Mbit in {free:.2} s without a limit, {limited:.2} s with 1 Mbit/s");
    // What goes first is free, what goes last is not waited for.
    ensure!((9.0..11.0).contains(&limited), "{limited}");
    sh(&other, "virgo queue delete limited")?;
    fresh(&node, "")
}
