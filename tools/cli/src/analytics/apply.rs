// SPDX-License-Identifier: GPL-2.0
//! `virgo analytics apply` and `rollouts`: variables of all nodes.

use super::check::Check;
use crate::{
    eventnet::collect::ask,
    options::Apply,
    output::{self, Printer, note, printable, table},
};
use anyhow::{Context, Result, bail, ensure};
use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::json;
use std::{
    fs,
    io::Read,
    path::Path,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};
use virgo::status::{Rollouts, Status};

/// The function that says what a variable of a node is.
const GET: &str = "analytics_get";

/// How often the canary is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Numbers of roll-outs are chosen at random: no two have the same.
fn number() -> Result<u64> {
    let mut bytes = [0; 8];
    let n = getrandom(&mut bytes, GetRandomFlags::empty())?;
    ensure!(n == bytes.len(), "no random numbers");
    // Nothing has number 0.
    Ok(u64::from_ne_bytes(bytes).max(1))
}

fn read(file: &Path) -> Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file).with_context(|| file.display().to_string());
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("standard input")?;
    Ok(text)
}

pub(crate) fn apply(output: Printer, options: &Apply) -> Result<()> {
    let status = Status::default();
    let text = read(&options.file)?;
    let number = number()?;
    match options.canary {
        None => status.apply_rollout(number, &text)?,
        Some(canary) => {
            status.begin_rollout(number, canary, &text)?;
            watch(&status, number, canary, options)?;
            status.commit_rollout(number)?;
        }
    }
    let all = status.rollouts()?;
    let mine = all.coordinated.filter(|one| one.number == number);
    let (nodes, untold) = mine.map(|one| (one.nodes, one.untold)).unwrap_or_default();
    if !untold.is_empty() {
        note(format_args!(
            "virgo: node {untold} has not said that it knows; it asks for it when it can"
        ));
    }
    let id = format!("{number:016x}");
    output.print(
        &json!({ "rollout": id, "nodes": nodes, "untold": untold }),
        || format!("rolled out to nodes {nodes} as {id}"),
    )
}

/// Looks at the canary until its time is over.
fn watch(status: &Status, number: u64, canary: u8, options: &Apply) -> Result<()> {
    let start = Instant::now();
    loop {
        if let Some(check) = &options.check {
            check_canary(status, number, canary, check)?;
        }
        // Without this the nodes go back by themselves.
        status.keep_rollout(number)?;
        let left = options.time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(PERIOD));
    }
}

fn check_canary(status: &Status, number: u64, canary: u8, check: &Check) -> Result<()> {
    let value = |key: &str| {
        let said = ask(canary.into(), GET, &[key.to_owned()])?;
        Ok(String::from_utf8(said)?)
    };
    let Err(why) = check.holds(value) else {
        return Ok(());
    };
    // It may have ended for that reason already.
    let ended = status.abort_rollout(number);
    if let Err(error) = ended {
        bail!("node {canary}: {why}; {error}");
    }
    bail!("node {canary}: {why}; all nodes have the old values");
}

/// Shows the roll-outs that this node knows.
pub(crate) fn rollouts(output: Printer) -> Result<()> {
    let all = Status::default().rollouts()?;
    output.print(&all, || text(&all))
}

fn time(ms: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    time.map_or_else(
        || "-".to_owned(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

fn text(all: &Rollouts) -> String {
    let mut rows = Vec::new();
    let mut add = |number: u64, node: String, state: String, uid: u32, ms: u64, more: String| {
        let cells = [
            format!("{number:016x}"),
            node,
            state,
            uid.to_string(),
            time(ms),
            more,
        ];
        rows.push(cells.map(|cell| printable(&cell)).to_vec());
    };
    if let Some(one) = &all.coordinated {
        let mut more = format!("nodes {}", one.nodes);
        if let Some(canary) = one.canary {
            more += &format!(", canary {canary}");
        }
        if !one.untold.is_empty() {
            more += &format!(", not told {}", one.untold);
        }
        if let Some(reason) = &one.reason {
            more += &format!(": {reason}");
        }
        let state = format!("{} here", one.phase);
        add(one.number, "-".into(), state, one.uid, one.ms, more);
    }
    if let Some(held) = &all.held {
        let values: Vec<_> = held
            .values
            .iter()
            .map(|value| {
                let old = value.old.as_deref().unwrap_or("-");
                format!("{}: {old} -> {}", value.key, value.new)
            })
            .collect();
        add(
            held.number,
            held.node.to_string(),
            held.stage.clone(),
            held.uid,
            held.ms,
            values.join(", "),
        );
    }
    for ended in all.ended.iter().rev() {
        add(
            ended.number,
            ended.node.to_string(),
            ended.outcome.clone(),
            ended.uid,
            ended.ms,
            String::new(),
        );
    }
    let header = ["ROLL-OUT", "OF NODE", "STATE", "UID", "SINCE", ""];
    table(header.map(str::to_owned).to_vec(), header.len(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_old_and_new() {
        let shown = "coordinated\t00000000000000ab\ttrying\t0\t1000\t2\t1,2,3\t-\t-\n\
                     held\t00000000000000ab\t1\tprepared\t0\t1000\n\
                     value\t00000000000000ab\twindow\tcli\t8\t4\n\
                     ended\t00000000000000aa\t3\taborted\t7\t900\n";
        let text = text(&shown.parse().unwrap());
        for part in [
            "window: 4 -> 8",
            "trying here",
            "canary 2",
            "aborted",
            "1970-01-01T00:00:01Z",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn numbers_differ() {
        assert_ne!(number().unwrap(), number().unwrap());
    }
}
