// SPDX-License-Identifier: GPL-2.0
//! Who may have a session: keys, configurations that change, and strangers by the hundred.

use crate::{
    Test,
    guest::told_how_much,
    support::{self, fails, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Context, Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use virgo_cluster::{Cluster, Node, RunningCommand};

pub const TESTS: &[(&str, Test)] = &[
    (
        "cluster_key_opens_text_sessions_on_loopback_only",
        cluster_key,
    ),
    ("text_sessions_act_as_the_uid_of_their_key", text_keys),
    ("bad_keys_of_text_sessions_are_refused", bad_text_keys),
    ("reload_ends_text_sessions_of_another_key", key_of_text),
    ("reload_ends_text_sessions_from_elsewhere", remote_text),
    ("reload_ends_sessions_of_the_old_key", cluster_key_changes),
    ("reload_ends_sessions_of_removed_nodes", removed_node),
    ("reload_leaves_other_sessions_alone", reload_of_the_same),
    ("sessions_are_listed_and_ended", list_and_end),
    ("strangers_keep_no_session_waiting", strangers),
];

/// Types `auth` with the key in a file, and `stats`, from `from` to `to`. Returns all that is said.
fn answers(from: &Node, to: &str, key: &str) -> Result<String> {
    sh(
        from,
        &format!("(echo \"auth $(cat {key})\"; echo stats; echo quit) | nc {to} 30000"),
    )
}

fn cluster_key(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let key = "/etc/virgo.key";
    let said = answers(&node, "127.0.0.1", key)?;
    ensure!(said.starts_with("OK\ncalls="), "on loopback: {said}");
    for to in [2, 1] {
        let address = cluster.node(to).address().to_string();
        let said = answers(&node, &address, key)?;
        ensure!(said.starts_with("ERR EKEYREJECTED "), "{address}: {said}");
        let said = answers(&node, &address, "/etc/virgo_text.key")?;
        ensure!(said.starts_with("OK\ncalls="), "{address}: {said}");
    }
    Ok(())
}

fn text_keys(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let make = "head -c 32 /dev/urandom | base64 >/tmp/alice.key; chmod 600 /tmp/alice.key";
    sh(&node, make)?;
    with_config(&node, "text_key = 1000 /tmp/alice.key", || {
        let command = |key: &str, command: &str| {
            sh(
                &node,
                &format!(
                    "(echo \"auth $(cat {key})\"; echo '{command}'; echo quit) |
                     nc 10.9.0.2 30000 | tail -n 1"
                ),
            )
        };
        let id = command("/tmp/alice.key", "virgo_cloud_malloc(10)")?;
        let said = command("/etc/virgo_text.key", &format!("virgo_cloud_get({id})"))?;
        ensure!(said.starts_with("ERR EPERM "), "{said}");
        let said = command("/tmp/alice.key", &format!("virgo_cloud_free({id})"))?;
        ensure!(said == "kernel memory freed", "{said}");
        Ok(())
    })
}

fn bad_text_keys(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let other = "head -c 32 /dev/urandom | base64 >/tmp/t.key; chmod 600 /tmp/t.key";
    for (make, expected) in [
        ("rm -f /tmp/t.key", "/tmp/t.key: does not exist"),
        ("chmod 644 /tmp/t.key", "/tmp/t.key: must be root's"),
        ("chown 1 /tmp/t.key", "/tmp/t.key: must be root's"),
        ("echo short >/tmp/t.key", "/tmp/t.key: shorter than 16"),
        (
            "cat /etc/virgo.key >/tmp/t.key",
            "/tmp/t.key: the same key as",
        ),
        (
            "cat /etc/virgo_text.key >/tmp/t.key",
            "/tmp/t.key: the same key as",
        ),
    ] {
        let lines = "cp /etc/virgo_cloud.conf /tmp/good
            echo 'text_key = 7 /tmp/t.key' >>/etc/virgo_cloud.conf";
        sh(&node, &format!("{other}; {make}; {lines}"))?;
        let reload = fails(&node, "virgo config reload");
        let check = fails(&node, "virgo config check");
        sh(
            &node,
            "mv /tmp/good /etc/virgo_cloud.conf; rm -f /tmp/t.key",
        )?;
        for (said, _) in [reload?, check?] {
            ensure!(said.contains(expected), "{make}: {said}");
        }
    }
    sh(&node, "virgo config reload")?;
    Ok(())
}

/// A text session from `from` to `to` that goes on for as long as it is let.
fn endless(from: &Node, to: &Node) -> Result<RunningCommand> {
    let address = to.address();
    let session = from.spawn([
        "sh",
        "-c",
        &format!(
            "(echo \"auth $(cat /etc/virgo_text.key)\"; while echo stats; do sleep 0.2; done) |
             nc {address} 30000 >/tmp/endless"
        ),
    ])?;
    within(Duration::from_secs(10), || {
        ensure!(sh(from, "cat /tmp/endless")?.contains("calls="));
        Ok(())
    })?;
    Ok(session)
}

/// A session that a reload with other files on `to` must end.
fn ended_by(from: &Node, to: &Node, change: &str, undo: &str) -> Result<()> {
    let session = endless(from, to)?;
    let changed = sh(to, &format!("{change}; virgo config reload"));
    let start = Instant::now();
    let ended = session.wait_timeout(Duration::from_secs(5));
    let took = start.elapsed();
    sh(to, &format!("{undo}; virgo config reload"))?;
    changed?;
    ended.with_context(|| format!("the session goes on {took:?} after the reload"))?;
    Ok(())
}

const KEEP: &str = "cp -p /etc/virgo.key /etc/virgo_text.key /etc/virgo_c*.conf /tmp/";
const UNDO: &str = "cp -p /tmp/virgo.key /tmp/virgo_text.key /tmp/virgo_c*.conf /etc/";

fn key_of_text(cluster: &Cluster) -> Result<()> {
    let change = format!("{KEEP}; head -c 32 /dev/urandom | base64 >/etc/virgo_text.key");
    ended_by(&cluster.node(1), &cluster.node(2), &change, UNDO)
}

fn remote_text(cluster: &Cluster) -> Result<()> {
    let change = format!("{KEEP}; sed -i s/remote_text.*// /etc/virgo_cloud.conf");
    ended_by(&cluster.node(1), &cluster.node(2), &change, UNDO)
}

/// Sessions of `node` in the memory pool of `on`.
fn sessions_of(on: &Node, node: u8) -> Result<usize> {
    let all = sh(on, "cat /sys/kernel/debug/virgo/mempool/sessions")?;
    let is_wanted = |line: &&str| {
        let words: Vec<_> = line.split(' ').collect();
        words[1] == "node" && words[3] == node.to_string()
    };
    Ok(all.lines().filter(is_wanted).count())
}

/// Node 1's connection to node 2, which `change` there ends, and which cannot be made anew.
fn node_ended_by(cluster: &Cluster, change: &str, expected: &str) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node1, "virgo free $(virgo malloc 10 --place 2)")?;
    ensure!(sessions_of(&node2, 1)? > 0, "no session of node 1");
    let changed = sh(&node2, &format!("{KEEP}; {change}; virgo config reload"));
    let left = changed.and_then(|_| {
        within(Duration::from_secs(3), || {
            ensure!(sessions_of(&node2, 1)? == 0, "node 1 is still connected");
            Ok(())
        })?;
        fails(&node1, "virgo malloc 10 --place 2")
    });
    sh(&node2, &format!("{UNDO}; virgo config reload"))?;
    let (said, _) = left?;
    ensure!(said.contains(expected), "{said}");
    wait_until_whole(cluster)
}

fn cluster_key_changes(cluster: &Cluster) -> Result<()> {
    let change = "head -c 32 /dev/urandom | base64 >/etc/virgo.key";
    node_ended_by(cluster, change, "EKEYREJECTED")
}

fn removed_node(cluster: &Cluster) -> Result<()> {
    // Node 1 has another address now.
    let change = "sed -i 's/10.9.0.1\\b/10.9.0.77/' /etc/virgo_cloud.conf /etc/virgo_client.conf";
    node_ended_by(cluster, change, "EPERM")
}

fn reload_of_the_same(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let session = endless(&node1, &node2)?;
    sh(&node1, "virgo free $(virgo malloc 10 --place 2)")?;
    let before = sh(&node2, "grep node /sys/kernel/debug/virgo/mempool/sessions")?;
    with_config(&node2, "deadline_ms = 4000", || {
        sleep(Duration::from_secs(2));
        sh(&node1, "pidof nc").context("the session has ended")?;
        Ok(())
    })?;
    let after = sh(&node2, "grep node /sys/kernel/debug/virgo/mempool/sessions")?;
    let numbers = |text: &str| {
        let words = text.lines().map(|line| line.split(' ').next());
        words
            .map(|word| word.map(str::to_owned))
            .collect::<Vec<_>>()
    };
    ensure!(numbers(&before) == numbers(&after), "{before}\n{after}");
    session.kill()?;
    sh(&node1, "killall nc; :")?;
    Ok(())
}

fn list_and_end(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let session = endless(&node1, &node2)?;
    // Its user sees it, and does not see the nodes.
    let own = text(&node2, &node2, 30000, &["sessions"])?;
    let own = own.first().context("no answer")?;
    ensure!(own.contains(":text:10.9.0.1:"), "{own}");
    ensure!(!own.contains(":node:"), "{own}");
    let refused = text(&node2, &node2, 30000, &["end_session(1)", "end_session(x)"])?;
    ensure!(refused[0].starts_with("ERR ENOENT "), "{refused:?}");
    ensure!(refused[1].starts_with("ERR EINVAL "), "{refused:?}");
    // Root sees all and ends any.
    let all = sh(&node2, "virgo sessions mempool")?;
    let line = all
        .lines()
        .find(|line| line.contains(" text ") && line.contains("10.9.0.1:"));
    let line = line.with_context(|| format!("no session from node 1 in {all}"))?;
    let number = line.split_whitespace().nth(1).context("no number")?;
    sh(&node2, &format!("virgo sessions --end {number} mempool"))?;
    session
        .wait_timeout(Duration::from_secs(3))
        .context("the session goes on")?;
    let (said, _) = fails(&node2, "virgo sessions --end 999999 mempool")?;
    ensure!(said.contains("no session"), "{said}");
    Ok(())
}

/// Node 1 does not know node 3 for a while, from which come hundreds of connections a second. Node 2
/// reconnects again and again, and people type.
fn strangers(cluster: &Cluster) -> Result<()> {
    let [node1, node2, node3] = [1, 2, 3].map(|number| cluster.node(number));
    let change = "sed -i 's/, 10.9.0.3//' /etc/virgo_cloud.conf /etc/virgo_client.conf";
    sh(&node1, &format!("{KEEP}; {change}; virgo config reload"))?;
    let result = befriended(&node1, &node2, &node3);
    sh(&node1, &format!("{UNDO}; virgo config reload"))?;
    let slowest = result?;
    println!("the slowest of node 2's calls took {slowest:?}");
    wait_until_whole(cluster)
}

/// Has node 3 flood node 1 while node 2 uses it. Returns how long the slowest use took.
fn befriended(node1: &Node, node2: &Node, node3: &Node) -> Result<Duration> {
    let peers = "/sys/kernel/debug/virgo/mempool/peers";
    let work =
        format!("echo stop >{peers}; echo start >{peers}; virgo free $(virgo malloc 10 --place 1)");
    let time = |what: &str| -> Result<Duration> {
        let start = Instant::now();
        match what {
            "frames" => sh(node2, &work).map(drop)?,
            _ => support::text(node2, node1, 30000, &["stats"]).map(drop)?,
        }
        Ok(start.elapsed())
    };
    let mut usual = Duration::ZERO;
    for _ in 0..5 {
        usual = usual.max(time("frames")?).max(time("text")?);
    }
    let flood = node3.spawn(told_how_much(&[
        "VIRGO_TARGET=10.9.0.1",
        "virgo-wire-tests",
        "--ignored",
        "crowd::flood_of_strangers",
    ]))?;
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    let start = Instant::now();
    // It takes a moment to begin, and 20 s.
    sleep(Duration::from_secs(2));
    while start.elapsed() < Duration::from_secs(18) {
        slowest = slowest.max(time("frames").context("node 2's calls")?);
        slowest = slowest.max(time("text").context("a text session from node 2")?);
        rounds += 1;
    }
    let said = flood.wait()?.text()?;
    ensure!(said.contains("1 passed"), "{said}");
    let made = said.lines().find(|line| line.contains(" connections"));
    println!("a flood of {}", made.unwrap_or("?"));
    ensure!(rounds > 3, "{rounds} rounds");
    // The machine has more to do than usual.
    let limit = usual * 3 + Duration::from_secs(1);
    ensure!(
        slowest < limit,
        "{slowest:?}, usually {usual:?}, in one of {rounds} rounds"
    );
    Ok(slowest)
}
