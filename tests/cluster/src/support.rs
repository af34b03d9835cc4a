// SPDX-License-Identifier: GPL-2.0
//! What the tests have in common.

use crate::rounds::Rounds;
use anyhow::{Context, Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use virgo_cluster::{Cluster, Node, NodeState};

/// The longest that a call waits for another node, as the guests are configured.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What starting a command in an emulated guest may add to the time of a call.
pub const SLACK: Duration = Duration::from_secs(5);

/// Runs a shell script, which must succeed, and returns what it prints, trimmed.
pub fn sh(node: &Node, script: &str) -> Result<String> {
    let output = node.run(["sh", "-c", script])?;
    let text = output
        .text()
        .with_context(|| format!("on {}: {script}", node.name()))?;
    Ok(text.trim().to_owned())
}

/// Runs a shell script, which must fail, and returns what it says and how long it took.
pub fn fails(node: &Node, script: &str) -> Result<(String, Duration)> {
    let start = Instant::now();
    let output = node.run(["sh", "-c", script])?;
    let said = [&output.stderr[..], &output.stdout].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(
        !output.success(),
        "on {}: {script} should have failed, and said {said}",
        node.name()
    );
    Ok((said, start.elapsed()))
}

/// Tries until it works, for at most `limit`; the last error otherwise.
pub fn within<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => sleep(Duration::from_millis(200)),
            result => return result,
        }
    }
}

/// Types commands into a text session on `port` of `to`, from `from`, after authenticating.
/// Returns the replies without the one to `auth`.
pub fn text(from: &Node, to: &Node, port: u16, commands: &[&str]) -> Result<Vec<String>> {
    let address = to.address();
    // The session ends when its answers are sent, and with it nc.
    let output = from
        .spawn_with_input(
            [
                "sh",
                "-c",
                &format!("(echo \"auth $(cat /etc/virgo_text.key)\"; cat) | nc {address} {port}"),
            ],
            (commands.join("\n") + "\nquit\n").into_bytes(),
        )?
        .wait()?
        .text()?;
    let mut lines = output.lines().map(str::to_owned);
    let first = lines.next();
    ensure!(
        first.as_deref() == Some("OK"),
        "auth was answered by {first:?}"
    );
    Ok(lines.collect())
}

/// Adds lines to the configuration of a node for the time of `during`.
pub fn with_config<T>(node: &Node, lines: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let file = "/etc/virgo_cloud.conf";
    sh(
        node,
        &format!("cp {file} /tmp/good && echo '{lines}' >>{file}"),
    )?;
    let result = sh(node, "virgo config reload").and_then(|_| during());
    sh(node, &format!("mv /tmp/good {file} && virgo config reload"))?;
    result
}

/// Bytes that the pool of a node has in use.
pub fn used(node: &Node) -> Result<u64> {
    let replies = text(node, node, 30000, &["stats"])?;
    field(replies.first().map_or("", String::as_str), "used")
}

/// The number called `name` in a reply to `stats`.
pub fn field(reply: &str, name: &str) -> Result<u64> {
    let value = reply
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .with_context(|| format!("no {name} in {reply:?}"))?;
    Ok(value.parse()?)
}

/// Takes a part of each pool before the tests, so that those which fill pools have less to do. More
/// than half of each is left: a user's share.
pub fn take_ballast(cluster: &Cluster) -> Result<()> {
    let mebibytes = Rounds {
        debug: 24,
        slim: 0,
        soak: 0,
    };
    let jobs: Vec<_> = cluster
        .nodes()
        .map(|node| {
            let take = format!("virgo malloc 8M --place {}", node.number());
            let times = mebibytes.count() / 8;
            node.spawn([
                "sh",
                "-c",
                &format!("for i in $(seq {times}); do {take} || exit; done"),
            ])
        })
        .collect::<Result<_>>()?;
    for job in jobs {
        job.wait()?.text().context("taking ballast")?;
    }
    Ok(())
}

/// Puts right what a test that has failed may have left: ends cuts and pauses, boots dead nodes.
pub fn repair(cluster: &Cluster) {
    let mend = |node: Node| match node.state()? {
        NodeState::Running(_) => Ok(()),
        NodeState::Paused => node.resume(),
        NodeState::Silent | NodeState::Dead => node.restart(),
    };
    let mended = cluster
        .heal()
        .and_then(|()| cluster.nodes().try_for_each(mend))
        .and_then(|()| wait_until_whole(cluster));
    if let Err(e) = mended {
        println!("cannot repair the cluster: {e:#}");
    }
}

/// All nodes reach each other again.
pub fn wait_until_whole(cluster: &Cluster) -> Result<()> {
    within(Duration::from_secs(30), || {
        for from in cluster.nodes() {
            for to in cluster.nodes() {
                let id = sh(&from, &format!("virgo malloc 64 --place {}", to.number()))?;
                sh(&from, &format!("virgo free {id}"))?;
            }
        }
        Ok(())
    })
}
