// SPDX-License-Identifier: GPL-2.0
//! Variables that are set on all nodes or on none, whoever dies or is cut off meanwhile.

use crate::{
    Test,
    support::{fails, field, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Context, Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("rollout_sets_variables_of_all_nodes_or_none", all_or_none),
    ("rollout_is_for_those_who_may_set_variables", rights),
    ("rollout_has_its_canary_first", canary),
    ("rollout_goes_back_when_its_check_fails", check),
    ("rollout_goes_back_without_its_owner", owner),
    ("rollout_goes_back_when_its_canary_dies", dead_canary),
    (
        "rollout_goes_back_when_its_coordinator_dies",
        dead_coordinator,
    ),
    ("rollout_goes_back_when_a_node_is_cut_off", cut_off),
    ("rollout_reaches_a_node_that_has_missed_it", missed),
    ("rollout_needs_the_disk", disk),
    ("analytics_changes_are_on_record", audit),
];

const PORT: u16 = 40000;
const FILE: &str = "/sys/kernel/debug/virgo/rollouts";
const FOLDER: &str = "/var/log/virgo_analytics";

/// What emulated nodes, which may stand still for a second, may take for anything that is not waited for.
const SOON: Duration = Duration::from_secs(20);

/// Gives all variables of all nodes their defaults, by loading the module anew with these parameters.
fn fresh(cluster: &Cluster, parameters: &str) -> Result<()> {
    for node in cluster.nodes() {
        load(&node, parameters)?;
    }
    Ok(())
}

fn load(node: &Node, parameters: &str) -> Result<()> {
    sh(
        node,
        &format!(
            "rmmod virgo_kernel_analytics \
             && insmod /lib/virgo/virgo_kernel_analytics.ko {parameters}"
        ),
    )?;
    Ok(())
}

/// The value of a variable, and where it comes from; `none` if there is none.
fn get(node: &Node, key: &str) -> Result<String> {
    sh(
        node,
        &format!(
            "awk -F '\\t' -v key={key} '$1 == \"variable\" && $2 == key \
             {{ print $13 \" \" $8; found = 1 }} END {{ if (!found) print \"none\" }}' \
             /sys/kernel/debug/virgo/analytics"
        ),
    )
}

fn expect(cluster: &Cluster, key: &str, values: [&str; 3]) -> Result<()> {
    for (node, value) in cluster.nodes().zip(values) {
        let got = get(&node, key)?;
        ensure!(
            got == value,
            "{key} of {} is {got}, not {value}",
            node.name()
        );
    }
    Ok(())
}

/// Runs `virgo analytics apply` with values.
fn apply(values: &str, options: &str) -> String {
    format!("printf '%s\\n' '{values}' | virgo analytics apply - {options}")
}

/// No node of these has part in a roll-out any more, and the last one has ended like that.
fn ended(nodes: &[Node], how: &str) -> Result<()> {
    within(SOON, || {
        for node in nodes {
            let shown = sh(node, &format!("cat {FILE}"))?;
            let last = shown.lines().rfind(|line| line.starts_with("ended"));
            ensure!(
                !shown.contains("held\t") && last.is_some_and(|line| line.contains(how)),
                "{}: {shown}",
                node.name()
            );
        }
        Ok(())
    })
}

fn all_or_none(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    sh(&node3, "virgo analytics set cloudfs_read_window=2")?;
    let said = sh(
        &node1,
        &apply("# learnt\ncloudfs_read_window=8\nlearnt={1, 2}", ""),
    )?;
    ensure!(said.contains("nodes 1,2,3"), "{said}");
    expect(cluster, "cloudfs_read_window", ["8 rollout"; 3])?;
    expect(cluster, "learnt", ["{1, 2} rollout"; 3])?;
    // Bad for all of them.
    for (values, why) in [
        ("other=1\ncloudfs_read_window=17", "out of the variable"),
        ("cloudfs_read_window=many", "expected an integer"),
        ("nonsense", "without '='"),
        ("# nothing", "no key=value"),
    ] {
        let (said, _) = fails(&node1, &apply(values, ""))?;
        ensure!(said.contains("node ") && said.contains(why), "{said}");
    }
    // Bad for one of them: it has no room for another variable.
    load(&node3, "max_keys=1")?;
    sh(&node3, "virgo analytics set taken=1")?;
    let (said, _) = fails(&node1, &apply("cloudfs_read_window=9\nother=1", ""))?;
    ensure!(
        said.contains("node 3: other: more variables than max_keys"),
        "{said}"
    );
    expect(
        cluster,
        "cloudfs_read_window",
        ["8 rollout", "8 rollout", "4 default"],
    )?;
    expect(cluster, "other", ["none"; 3])?;
    // It goes, what was held for it.
    ended(&[cluster.node(2)], "aborted")?;
    sh(
        &node3,
        "virgo analytics reset taken && virgo analytics set other=2",
    )?;
    load(&node3, "")?;
    // One that does not serve it at all.
    sh(&node3, "rmmod virgo_kernel_analytics")?;
    let refused = fails(&node1, &apply("learnt=3", ""));
    sh(&node3, "insmod /lib/virgo/virgo_kernel_analytics.ko")?;
    let (said, _) = refused?;
    ensure!(said.contains("node 3 does not answer"), "{said}");
    expect(
        cluster,
        "learnt",
        ["{1, 2} rollout", "{1, 2} rollout", "none"],
    )?;
    Ok(())
}

fn rights(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let roll = |values: &str| text(&node3, &node1, PORT, &[&format!("apply({values})")]);
    let denied = roll("a=1")?;
    ensure!(denied[0].starts_with("ERR EACCES only root"), "{denied:?}");
    let line = "callers = kernel_analytics 65534";
    with_config(&node1, line, || {
        let denied = roll("a=1")?;
        ensure!(
            denied[0].starts_with("ERR EACCES node ") && denied[0].contains("uid 65534"),
            "{denied:?}"
        );
        with_config(&node2, line, || {
            with_config(&node3, line, || {
                let done = roll("a=1,b={2,3}")?;
                ensure!(done[0].starts_with("rollout="), "{done:?}");
                // The stream is root's.
                let denied = roll("read_from_stream=1")?;
                ensure!(denied[0].starts_with("ERR EPERM"), "{denied:?}");
                Ok(())
            })
        })
    })?;
    expect(cluster, "a", ["1 rollout"; 3])?;
    expect(cluster, "b", ["{2,3} rollout"; 3])?;
    let (said, _) = fails(
        &node1,
        "su nobody -s /bin/sh -c 'echo a=2 | virgo analytics apply -' 2>&1",
    )?;
    ensure!(said.contains("ermission denied"), "{said}");
    expect(cluster, "a", ["1 rollout"; 3])
}

fn canary(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    let node1 = cluster.node(1);
    sh(&cluster.node(2), "virgo analytics set errors=3")?;
    let roll = apply(
        "cloudfs_read_window=8",
        "--canary node2 --for 15s --check \"errors <= 3 and cloudfs_read_window == 8\"",
    );
    let rolling = node1.spawn(["sh", "-c", &roll])?;
    let tried = within(SOON, || {
        expect(
            cluster,
            "cloudfs_read_window",
            ["4 default", "8 rollout", "4 default"],
        )
    });
    let shown = sh(&node1, "virgo analytics rollouts");
    // Nothing else is rolled out meanwhile.
    let busy = fails(&cluster.node(3), &apply("x=1", ""));
    let said = rolling.wait()?.text()?;
    tried?;
    let shown = shown?;
    ensure!(
        shown.contains("canary 2") && shown.contains("cloudfs_read_window: 4 -> 8"),
        "{shown}"
    );
    let (busy, _) = busy?;
    ensure!(busy.contains("takes part in roll-out"), "{busy}");
    ensure!(said.contains("nodes 1,2,3"), "{said}");
    expect(cluster, "cloudfs_read_window", ["8 rollout"; 3])?;
    expect(cluster, "x", ["none"; 3])
}

fn check(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "virgo analytics set errors=0 kept=old")?;
    let roll = apply(
        "cloudfs_read_window=8\nkept=new\nadded=1",
        "--canary 2 --for 60s --check \"errors < 5\"",
    );
    let rolling = node1.spawn(["sh", "-c", &roll])?;
    let tried = within(SOON, || {
        let got = get(&node2, "kept")?;
        ensure!(got == "new rollout", "{got}");
        Ok(())
    });
    sh(&node2, "virgo analytics set errors=7")?;
    let output = rolling.wait()?;
    tried?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.success() && said.contains("node 2: errors is 7, not errors < 5"),
        "{said}"
    );
    expect(cluster, "cloudfs_read_window", ["4 default"; 3])?;
    expect(cluster, "kept", ["none", "old cli", "none"])?;
    expect(cluster, "added", ["none"; 3])?;
    ended(&cluster.nodes().collect::<Vec<_>>(), "aborted")?;
    // What somebody has set meanwhile is not taken back.
    sh(
        &node1,
        &format!("echo 'begin 00000000000000c1 2 kept=new' >{FILE}"),
    )?;
    sh(&node2, "virgo analytics set kept=mine")?;
    sh(&node1, &format!("echo 'abort 00000000000000c1' >{FILE}"))?;
    expect(cluster, "kept", ["none", "mine cli", "none"])
}

/// Begins a roll-out of `k=new` with node 2 as its canary, at node 1, and has somebody say that he is there.
fn trying(cluster: &Cluster, number: &str) -> Result<()> {
    for node in cluster.nodes() {
        sh(&node, "virgo analytics set k=old")?;
    }
    let node1 = cluster.node(1);
    sh(&node1, &format!("echo 'begin {number} 2 k=new' >{FILE}"))?;
    sh(
        &node1,
        &format!("(while echo 'keep {number}' >{FILE}; do sleep 0.3; done) >/dev/null 2>&1 &"),
    )?;
    expect(cluster, "k", ["old cli", "new rollout", "old cli"])
}

fn owner(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, "echo k=new >/tmp/k")?;
    let rolling = node1.spawn([
        "virgo",
        "analytics",
        "apply",
        "/tmp/k",
        "--canary",
        "2",
        "--for",
        "1h",
    ])?;
    let tried = within(SOON, || {
        let got = get(&node2, "k")?;
        ensure!(got == "new rollout", "{got}");
        Ok(())
    });
    rolling.kill()?;
    rolling.wait()?;
    tried?;
    let start = Instant::now();
    within(SOON, || expect(cluster, "k", ["none"; 3]))?;
    println!(
        "the canary is back {:?} after its owner was killed",
        start.elapsed()
    );
    ended(&cluster.nodes().collect::<Vec<_>>(), "aborted")?;
    let shown = sh(&node1, "virgo analytics rollouts")?;
    ensure!(shown.contains("nobody has asked for it"), "{shown}");
    Ok(())
}

fn dead_canary(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    trying(cluster, "00000000000000d1")?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    node2.kill()?;
    let result = ended(&[node1.clone(), node3.clone()], "aborted")
        .and_then(|()| sh(&node1, "virgo analytics rollouts"));
    node2.restart()?;
    let shown = result?;
    ensure!(shown.contains("node 2 "), "{shown}");
    wait_until_whole(cluster)?;
    expect(cluster, "k", ["old cli", "none", "old cli"])?;
    sh(&node3, &apply("k=next", ""))?;
    expect(cluster, "k", ["next rollout"; 3])
}

fn dead_coordinator(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    trying(cluster, "00000000000000e1")?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    node1.kill()?;
    let start = Instant::now();
    let result = within(SOON, || {
        let got = get(&node2, "k")?;
        ensure!(got == "old cli", "{got}");
        Ok(())
    })
    .and_then(|()| {
        println!(
            "the canary is back {:?} after its coordinator has died",
            start.elapsed()
        );
        within(SOON, || {
            for node in [&node2, &node3] {
                let shown = sh(node, &format!("cat {FILE}"))?;
                ensure!(shown.contains("\tdoubt\t"), "{}: {shown}", node.name());
            }
            Ok(())
        })?;
        // What they do by themselves goes on.
        sh(&node3, "virgo analytics set k=older")
    });
    node1.restart()?;
    result?;
    wait_until_whole(cluster)?;
    // They ask the more seldom the longer it takes.
    within(2 * SOON, || {
        ended(&[node2.clone(), node3.clone()], "aborted")
    })?;
    expect(cluster, "k", ["none", "old cli", "older cli"])?;
    sh(&node1, &apply("k=next", ""))?;
    expect(cluster, "k", ["next rollout"; 3])
}

fn cut_off(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    trying(cluster, "00000000000000f1")?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    cluster.cut(1, 3)?;
    // The canary is told; who is cut off has the old values all the time, and learns the end from node 2.
    let result = within(SOON, || expect(cluster, "k", ["old cli"; 3]))
        .and_then(|()| ended(&[node1.clone(), node2.clone(), node3.clone()], "aborted"));
    let shown = sh(&node1, "virgo analytics rollouts");
    cluster.heal()?;
    result?;
    let shown = shown?;
    ensure!(shown.contains("node 3 does not answer"), "{shown}");
    wait_until_whole(cluster)
}

/// A node that is cut off when all others get the new values gets them when it is back.
fn missed(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "rollout_lease_ms=8000")?;
    trying(cluster, "00000000000000a1")?;
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    cluster.cut(1, 3)?;
    cluster.cut(2, 3)?;
    let result = sh(&node1, &format!("echo 'commit 00000000000000a1' >{FILE}"))
        .context("decided while the lease of node 3 goes on")
        .and_then(|_| expect(cluster, "k", ["new rollout", "new rollout", "old cli"]))
        .and_then(|()| {
            within(SOON, || {
                let shown = sh(&node3, &format!("cat {FILE}"))?;
                ensure!(shown.contains("\tdoubt\t"), "{shown}");
                Ok(())
            })
        })
        .and_then(|()| {
            let shown = sh(&node1, "virgo analytics rollouts")?;
            ensure!(shown.contains("not told 3"), "{shown}");
            Ok(())
        });
    cluster.heal()?;
    result?;
    within(2 * SOON, || expect(cluster, "k", ["new rollout"; 3]))?;
    ended(&[node3], "committed")?;
    wait_until_whole(cluster)
}

fn disk(cluster: &Cluster) -> Result<()> {
    fresh(cluster, "")?;
    let node1 = cluster.node(1);
    // A folder in the place of the file that is written.
    sh(
        &node1,
        &format!("rm -rf {FOLDER}/decided.new && mkdir {FOLDER}/decided.new"),
    )?;
    let refused = fails(&node1, &apply("k=1", ""));
    sh(&node1, &format!("rmdir {FOLDER}/decided.new"))?;
    let (said, _) = refused?;
    ensure!(said.contains(FOLDER), "{said}");
    expect(cluster, "k", ["none"; 3])?;
    sh(&node1, &apply("k=1", ""))?;
    expect(cluster, "k", ["1 rollout"; 3])?;
    // What was decided is known after a restart of the module.
    let number = sh(
        &node1,
        &format!("awk '$1 == \"coordinated\" {{ print $2 }}' {FILE}"),
    )?;
    load(&node1, "")?;
    sh(&node1, &apply("k=2", ""))?;
    let decided = sh(
        &node1,
        &format!("od -An -v -tx8 -w8 {FOLDER}/decided | head -2 | tail -1"),
    )?;
    ensure!(decided == number, "{decided} was decided, not {number}");
    Ok(())
}

fn audit(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    sh(&node, &format!("rm -rf {FOLDER}/audit*"))?;
    fresh(cluster, "audit_bytes=65536")?;
    sh(
        &node,
        "virgo analytics set 'k=say \"it\"'; virgo analytics reset k",
    )?;
    sh(&cluster.node(1), &apply("k=2", ""))?;
    let lines = within(SOON, || {
        let lines = sh(&node, &format!("cat {FOLDER}/audit"))?;
        ensure!(lines.contains("rollout"), "{lines}");
        Ok(lines)
    })?;
    for part in [
        "\"node\":2,\"uid\":0,\"source\":\"cli\",\"key\":\"k\",\"old\":null,\"new\":\"say \\\"it\\\"\"}",
        "\"source\":\"cli\",\"key\":\"k\",\"old\":\"say \\\"it\\\"\",\"new\":null}",
        "\"key\":\"k\",\"old\":null,\"new\":\"2\"}",
    ] {
        ensure!(lines.contains(part), "no {part} in {lines}");
    }
    let number = sh(
        &cluster.node(1),
        &format!("awk '$1 == \"coordinated\" {{ print $2 }}' {FILE}"),
    )?;
    ensure!(
        lines.contains(&format!("\"source\":\"rollout\",\"rollout\":\"{number}\"")),
        "{lines}"
    );
    // A file that is as long as it may be is put aside.
    let fill =
        "v=$(printf '%04000d' 0); for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        echo \"set fill=$i$v\" >/sys/kernel/debug/virgo/analytics; done";
    sh(&node, fill)?;
    sleep(Duration::from_secs(1));
    sh(&node, "virgo analytics set fill=1")?;
    within(SOON, || {
        sh(
            &node,
            &format!("test -s {FOLDER}/audit.1 && test -s {FOLDER}/audit"),
        )
    })?;
    // The disk refuses: it is told, and what waits is written later.
    sh(
        &node,
        &format!("mv {FOLDER}/audit /tmp/audit && mkdir {FOLDER}/audit"),
    )?;
    sh(&node, "virgo analytics set late=1")?;
    let told = within(SOON, || {
        let stats = text(&node, &node, PORT, &["stats"])?;
        ensure!(field(&stats[0], "audit_failed")? == 1, "{stats:?}");
        Ok(())
    });
    sh(&node, &format!("rmdir {FOLDER}/audit"))?;
    told?;
    within(SOON, || sh(&node, &format!("grep late {FOLDER}/audit")))?;
    let stats = text(&node, &node, PORT, &["stats"])?;
    ensure!(
        field(&stats[0], "audit_lost")? == 0 && field(&stats[0], "audit_failed")? == 0,
        "{stats:?}"
    );
    Ok(())
}
