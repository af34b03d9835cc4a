// SPDX-License-Identifier: GPL-2.0
//! Cluster locks.

mod bakery;
mod fencing;
mod links;
mod room;

use crate::{
    Test,
    rounds::Rounds,
    support::{fails, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Context, Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use virgo_cluster::{Cluster, Node, RunningCommand};

pub const TESTS: &[(&str, Test)] = &[
    ("locks_exclude_all_nodes", exclusion),
    ("locks_are_shared_tried_and_converted", modes),
    ("lock_names_and_wrong_unlocks", bad_input),
    ("lock_of_a_killed_process_is_free", killed_owner),
    ("lock_of_a_killed_node_moves", killed_node),
    ("locks_of_a_minority", minority),
    ("locks_and_a_broken_link", links::broken),
    ("lock_of_a_paused_node_has_an_old_token", paused),
    ("late_writers_to_memory_are_refused", fencing::memory),
    ("late_publishers_are_refused", fencing::queue),
    ("late_writers_to_files_are_refused", fencing::file),
    (
        "late_writers_by_an_open_file_are_refused",
        fencing::open_file,
    ),
    (
        "file_systems_without_attributes_have_no_fences",
        fencing::no_attributes,
    ),
    (
        "fence_of_a_durable_queue_survives_kills",
        fencing::durable_queue,
    ),
    ("locks_and_a_clock_that_is_set_back", clock_set_back),
    ("many_locks", room::many),
    ("names_at_a_master_are_charged_to_their_user", room::charged),
    ("names_that_nobody_uses_are_given_back", room::given_back),
    ("a_held_lock_costs_no_time", idle),
    ("bakery_lock_of_modules_in_c", bakery::module_in_c),
    ("bakery_lock_of_few_participants", bakery::few),
    ("module_with_a_lock_stays_until_stop", unload),
];

/// The port of virgo_cloudsync.
const PORT: u16 = 55000;

/// A lock moves from a dead node in two seconds; an emulated guest on a shared machine needs three times that.
const MOVED: Duration = Duration::from_secs(6);

/// Whatever happens to nodes is over then.
const SETTLED: Duration = Duration::from_secs(30);

/// Loads the module of these nodes anew.
fn load(cluster: &Cluster, nodes: &[u8], options: &str) -> Result<()> {
    for node in nodes {
        let node = cluster.node(*node);
        within(SETTLED, || sh(&node, "rmmod virgo_cloudsync"))?;
        let insmod = format!("insmod /lib/virgo/virgo_cloudsync.ko {options}");
        sh(&node, &insmod)?;
    }
    settled(cluster)
}

/// A process of `node` that holds `name` until its standard input ends, and says its token first.
fn hold(node: &Node, name: &str, options: &str) -> Result<RunningCommand> {
    let file = format!("/tmp/held.{name}");
    sh(node, &format!("rm -f {file}"))?;
    let running = node.spawn([
        "sh",
        "-c",
        &format!("exec virgo lock {name} {options} -- sh -c 'echo $VIRGO_LOCK_TOKEN >{file}; exec sleep 1000'"),
    ])?;
    within(SETTLED, || token(node, name))?;
    Ok(running)
}

/// The token of who holds `name` on `node` by [`hold`].
fn token(node: &Node, name: &str) -> Result<u64> {
    let said = sh(node, &format!("cat /tmp/held.{name}"))?;
    said.parse()
        .with_context(|| format!("'{said}' is no token"))
}

/// Locks and unlocks `name`; its token, and how long it took.
fn once(node: &Node, name: &str) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let said = sh(
        node,
        &format!("virgo lock {name} --timeout 30s -- sh -c 'echo $VIRGO_LOCK_TOKEN'"),
    )?;
    Ok((said.parse()?, start.elapsed()))
}

/// All nodes are in one view, and locks work.
fn settled(cluster: &Cluster) -> Result<()> {
    within(SETTLED, || {
        for node in cluster.nodes() {
            once(&node, "settled")?;
        }
        let views = cluster.nodes().map(|node| {
            sh(
                &node,
                "sed -n 's/^view \\([0-9]*\\).*/\\1/p' /sys/kernel/debug/virgo/cloudsync/state",
            )
        });
        let views: Vec<String> = views.collect::<Result<_>>()?;
        ensure!(
            views.iter().all(|view| *view == views[0]),
            "views {views:?}"
        );
        Ok(())
    })
}

/// Three nodes add to a number that lies in the pool, each reading and writing it in two steps.
fn exclusion(cluster: &Cluster) -> Result<()> {
    let rounds = Rounds {
        debug: 3,
        slim: 10,
        soak: 200,
    }
    .count();
    let node1 = cluster.node(1);
    let id = sh(&node1, "virgo malloc 16 --shared --place 2")?;
    sh(&node1, &format!("virgo set {id} 'x0 '"))?;
    sh(&node1, "rm -f /tmp/tokens")?;
    let step = format!(
        "n=$(virgo get {id} --length 8); n=${{n#x}}; n=${{n%% *}}; \
         virgo set {id} \"x$((n + 1)) \"; echo $VIRGO_LOCK_TOKEN $((n + 1))"
    );
    let script = format!(
        "for i in $(seq {rounds}); do virgo lock counter --timeout 60s -- sh -c '{}' || exit; done",
        step
    );
    let jobs: Vec<_> = cluster
        .nodes()
        .map(|node| node.spawn(["sh", "-c", &script]))
        .collect::<Result<_>>()?;
    let mut seen = Vec::new();
    for job in jobs {
        for line in job.wait_timeout(Duration::from_secs(300))?.text()?.lines() {
            let (token, count) = line.split_once(' ').context("two numbers")?;
            seen.push((count.parse::<u64>()?, token.parse::<u64>()?));
        }
    }
    sh(&node1, &format!("virgo free {id}"))?;
    // Nobody has lost what another has added, and the order of the tokens is that of the entries.
    seen.sort_unstable();
    let counts: Vec<u64> = seen.iter().map(|(count, _)| *count).collect();
    let expected: Vec<u64> = (1..=3 * rounds as u64).collect();
    ensure!(counts == expected, "{seen:?}");
    ensure!(
        seen.windows(2).all(|pair| pair[0].1 < pair[1].1),
        "{seen:?}"
    );
    Ok(())
}

fn modes(cluster: &Cluster) -> Result<()> {
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let first = hold(&node1, "shared", "--shared")?;
    let second = hold(&node2, "shared", "--shared")?;
    ensure!(
        token(&node1, "shared")? == token(&node2, "shared")?,
        "readers share a token"
    );
    let (said, _) = fails(&node3, "virgo lock shared --try -- true")?;
    ensure!(said.contains("EAGAIN"), "{said}");
    let (said, took) = fails(&node3, "virgo lock shared --timeout 500ms -- true")?;
    ensure!(said.contains("ETIMEDOUT"), "{said}");
    ensure!(took < Duration::from_secs(5), "{took:?}");
    let listed = sh(&node3, "virgo locks --json")?;
    for node in ["\"node\":1", "\"node\":2"] {
        ensure!(
            listed.contains(node) && listed.contains("\"held\":\"PR\""),
            "{listed}"
        );
    }
    // A writer that waits goes before readers that come later.
    let writer = node3.spawn(["sh", "-c", "virgo lock shared --timeout 60s -- true"])?;
    within(SETTLED, || {
        let listed = sh(&node3, "virgo locks")?;
        ensure!(listed.contains("EX"), "{listed}");
        Ok(())
    })?;
    // Until the master knows it, and node 1.
    sleep(Duration::from_secs(2));
    let (said, _) = fails(&node1, "virgo lock shared --shared --try -- true")?;
    ensure!(said.contains("EAGAIN"), "{said}");
    first.kill()?;
    second.kill()?;
    writer.wait_timeout(SETTLED)?.text()?;
    // By text, in one session.
    let said = text(
        &node2,
        &node2,
        PORT,
        &[
            "lock typed PR",
            "convert typed EX",
            "convert typed NL",
            "unlock typed",
            "unlock typed",
        ],
    )?;
    ensure!(said.len() == 5, "{said:?}");
    ensure!(
        said[0].contains("PR") && said[1].contains("EX") && said[2].contains("NL"),
        "{said:?}"
    );
    ensure!(said[3] == "OK" && said[4].contains("ENOENT"), "{said:?}");
    Ok(())
}

fn bad_input(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    for (len, error) in [
        (0, Some("EINVAL")),
        (1, None),
        (255, None),
        (256, Some("ENAMETOOLONG")),
    ] {
        let name = "n".repeat(len);
        let command = format!("virgo lock '{name}' --timeout 5s -- true");
        match error {
            None => drop(sh(&node1, &command)?),
            Some(error) => {
                let (said, _) = fails(&node1, &command)?;
                ensure!(said.contains(error), "{len}: {said}");
            }
        }
    }
    let held = hold(&node1, "mine", "")?;
    // Another session, another user, another node.
    for node in [&node1, &node2] {
        let said = text(
            node,
            node,
            PORT,
            &["unlock mine", "lock mine try", "convert mine NL"],
        )?;
        ensure!(
            said[0].contains("ENOENT") && said[1].contains("EAGAIN"),
            "{said:?}"
        );
        ensure!(said[2].contains("ENOENT"), "{said:?}");
    }
    held.kill()?;
    let said = text(
        &node2,
        &node2,
        PORT,
        &[
            "lock own",
            "lock own",
            "unlock own 1",
            "unlock own 0",
            "unlock",
            "lock own XX",
            "lock own PR timeout=0",
        ],
    )?;
    ensure!(said[0].contains("token="), "{said:?}");
    ensure!(
        said[1].contains("EALREADY") && said[2].contains("ESTALE"),
        "{said:?}"
    );
    ensure!(
        said[3..].iter().all(|line| line.contains("EINVAL")),
        "{said:?}"
    );
    // It ended with the session.
    once(&node1, "own")?;
    Ok(())
}

fn killed_owner(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let held = hold(&node1, "owner", "")?;
    let before = token(&node1, "owner")?;
    let waits = node2.spawn([
        "sh",
        "-c",
        "virgo lock owner --timeout 60s -- sh -c 'echo $VIRGO_LOCK_TOKEN'",
    ])?;
    sleep(Duration::from_millis(500));
    held.kill()?;
    let after: u64 = waits.wait_timeout(SETTLED)?.text()?.trim().parse()?;
    ensure!(after > before, "{after} after {before}");
    // Who waits and is killed is not waited for.
    let held = hold(&node1, "owner", "")?;
    let waits = node2.spawn(["sh", "-c", "exec virgo lock owner -- true"])?;
    sleep(Duration::from_millis(500));
    waits.kill()?;
    let third = cluster
        .node(3)
        .spawn(["sh", "-c", "virgo lock owner --timeout 60s -- true"])?;
    sleep(Duration::from_millis(500));
    held.kill()?;
    third.wait_timeout(SETTLED)?.text()?;
    Ok(())
}

/// Each node in turn holds a lock and is killed; so each was once the master of some.
fn killed_node(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    for victim in [3, 2] {
        settled(cluster)?;
        let (victim, heir) = (
            cluster.node(victim),
            if victim == 3 { &node2 } else { &node1 },
        );
        let mut before = Vec::new();
        for i in 0..4 {
            let name = format!("moves{i}");
            hold(&victim, &name, "")?;
            before.push(token(&victim, &name)?);
        }
        let kept = hold(&node1, "kept", "")?;
        // Other locks go on meanwhile.
        let others = heir.spawn([
            "sh",
            "-c",
            "for i in $(seq 20); do virgo lock other$i --timeout 30s -- true || exit; done",
        ])?;
        let start = Instant::now();
        victim.kill()?;
        let mut times = Vec::new();
        for (i, before) in before.iter().enumerate() {
            let (after, _) = once(heir, &format!("moves{i}"))?;
            times.push(start.elapsed());
            ensure!(after > *before, "{after} after {before}");
        }
        let first = times[0];
        others.wait_timeout(SETTLED)?.text()?;
        let (said, _) = fails(heir, "virgo lock kept --try -- true")?;
        let restarted = victim.restart();
        println!("moved after {:.2} s", first.as_secs_f64());
        ensure!(
            said.contains("EAGAIN"),
            "what a live node has was given away: {said}"
        );
        ensure!(first < MOVED, "moved after {first:?}");
        restarted?;
        kept.kill()?;
        wait_until_whole(cluster)?;
    }
    settled(cluster)
}

fn minority(cluster: &Cluster) -> Result<()> {
    settled(cluster)?;
    let (node1, node2, node3) = (cluster.node(1), cluster.node(2), cluster.node(3));
    let held = hold(&node3, "split", "")?;
    let before = token(&node3, "split")?;
    // By text: the lock is there, and then it is not.
    let (session, log) = session(&node3, "split3")?;
    cluster.cut(1, 3)?;
    cluster.cut(2, 3)?;
    let result = (|| {
        // The majority goes on, also with what the minority had.
        let (after, _) = once(&node1, "split")?;
        ensure!(after > before, "{after} after {before}");
        once(&node1, "split3")?;
        // Then who had it on the other side has lost it already, though it hears of nothing.
        let listed = sh(&node3, "virgo locks --node 3 --json")?;
        for name in ["split", "split3"] {
            let lost = format!("\"name\":\"{name}\",\"held\"");
            ensure!(!listed.contains(&lost), "{listed}");
        }
        sh(&node3, "echo >/tmp/go.split3")?;
        within(SETTLED, || {
            let said = sh(&node3, &format!("cat {log}"))?;
            ensure!(said.contains("ESTALE"), "{said}");
            Ok(())
        })?;
        once(&node2, "fresh")?;
        // The minority grants nothing, neither new nor known names.
        for name in ["split2", "fresh", "settled"] {
            let (said, _) = fails(&node3, &format!("virgo lock {name} --timeout 2s -- true"))?;
            ensure!(said.contains("EHOSTDOWN"), "{name}: {said}");
        }
        Ok(())
    })();
    cluster.heal()?;
    result?;
    held.kill()?;
    session.kill()?;
    wait_until_whole(cluster)?;
    settled(cluster)
}

/// A text session that locks `name`, and unlocks it when /tmp/go.NAME is there. What it was answered is in the
/// file that is returned.
fn session(node: &Node, name: &str) -> Result<(RunningCommand, String)> {
    let log = format!("/tmp/session.{name}");
    sh(node, &format!("rm -f {log} /tmp/go.{name}"))?;
    let script = format!(
        "(echo \"auth $(cat /etc/virgo_text.key)\"; echo 'lock {name}'; \
          while [ ! -e /tmp/go.{name} ]; do sleep 0.1; done; echo 'unlock {name}'; exec sleep 1000) | \
         nc 127.0.0.1 {PORT} >{log}"
    );
    let running = node.spawn(["sh", "-c", &script])?;
    within(SETTLED, || {
        let said = sh(node, &format!("cat {log}"))?;
        ensure!(said.contains("token="), "{said}");
        Ok(())
    })?;
    Ok((running, log))
}

/// A node that was paused past its lease has a token that is older than who has the lock then.
fn paused(cluster: &Cluster) -> Result<()> {
    settled(cluster)?;
    let (node1, node3) = (cluster.node(1), cluster.node(3));
    let held = hold(&node3, "sleeper", "")?;
    let before = token(&node3, "sleeper")?;
    node3.pause()?;
    let after = once(&node1, "sleeper");
    node3.resume()?;
    let (after, _) = after?;
    ensure!(after > before, "{after} after {before}");
    // It learns that the lock is lost.
    within(SETTLED, || {
        let listed = sh(&node3, "virgo locks --node 3 --json")?;
        ensure!(
            !listed.contains("\"name\":\"sleeper\",\"held\""),
            "{listed}"
        );
        Ok(())
    })?;
    held.kill()?;
    wait_until_whole(cluster)?;
    settled(cluster)
}

fn clock_set_back(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    let held = hold(&node2, "clock", "")?;
    let now: u64 = sh(&node2, "date +%s")?.parse()?;
    sh(&node2, &format!("date -s @{}", now - 3600))?;
    let result = (|| {
        let (said, _) = fails(&cluster.node(1), "virgo lock clock --try -- true")?;
        ensure!(said.contains("EAGAIN"), "{said}");
        once(&node2, "clock2")?;
        Ok(())
    })();
    let later: u64 = sh(&node2, "date +%s")?.parse()?;
    sh(&node2, &format!("date -s @{}", later + 3600))?;
    held.kill()?;
    result
}

/// Whoever holds a lock and does nothing else costs its node next to nothing.
fn idle(cluster: &Cluster) -> Result<()> {
    settled(cluster)?;
    let node1 = cluster.node(1);
    let held = hold(&node1, "idle", "")?;
    let used = || -> Result<u64> {
        let ticks = sh(
            &node1,
            "cat /proc/[0-9]*/stat 2>/dev/null | awk '$2 ~ /kworker/ { n += $14 + $15 } END { print n + 0 }'",
        )?;
        Ok(ticks.parse()?)
    };
    let before = used()?;
    sleep(Duration::from_secs(5));
    let ticks = used()? - before;
    held.kill()?;
    ensure!(ticks < 100, "{ticks} of 500 ticks");
    Ok(())
}

fn unload(cluster: &Cluster) -> Result<()> {
    let node3 = cluster.node(3);
    let held = hold(&node3, "pinned", "")?;
    let (said, _) = fails(&node3, "rmmod virgo_cloudsync")?;
    ensure!(
        said.contains("unavailable") || said.contains("busy"),
        "{said}"
    );
    let waits = node3.spawn(["sh", "-c", "virgo lock pinned -- true"])?;
    sleep(Duration::from_millis(500));
    sh(&node3, "echo stop >/sys/kernel/debug/virgo/cloudsync/peers")?;
    let said = waits.wait_timeout(SETTLED)?;
    ensure!(!said.success(), "who waits is told");
    held.kill()?;
    within(SETTLED, || sh(&node3, "rmmod virgo_cloudsync"))?;
    // The others go on without it, and with its next incarnation.
    once(&cluster.node(1), "pinned")?;
    sh(&node3, "insmod /lib/virgo/virgo_cloudsync.ko")?;
    settled(cluster)?;
    // A node alone, by configuration.
    with_config(&node3, "quorum = 1", || {
        once(&node3, "alone")?;
        Ok(())
    })?;
    settled(cluster)
}
