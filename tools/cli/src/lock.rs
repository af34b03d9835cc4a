// SPDX-License-Identifier: GPL-2.0
//! Cluster locks.

use crate::{
    eventnet::collect::{ask, nodes},
    fence,
    options::Lock,
    output::{self, Printer, note},
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    os::unix::{ffi::OsStrExt, process::CommandExt},
    process::{Command, ExitCode},
};
use virgo::lock::{Mode, Session, Wait};

/// The function that lists the locks of a node.
const LIST: &str = "lock_list";

/// Becomes a command that holds a lock.
pub(crate) fn run(options: &Lock) -> Result<ExitCode> {
    let mode = match options.shared {
        true => Mode::Pr,
        false => options.mode.unwrap_or(Mode::Ex),
    };
    let wait = match (options.tries, options.timeout) {
        (true, _) => Wait::Try,
        (false, Some(time)) => Wait::For(time),
        (false, None) => Wait::Forever,
    };
    let session = Session::open()?;
    let held = session.lock_with(options.name.as_bytes(), mode, wait)?;
    session.keep_on_exec()?;
    let error = Command::new(&options.command[0])
        .args(&options.command[1..])
        .env("VIRGO_LOCK_TOKEN", held.token.to_string())
        .env("VIRGO_LOCK_FENCE", fence::text(&options.name, held.token))
        .exec();
    // It has not become one: the lock ends with the session.
    drop(session);
    Err(error).with_context(|| options.command[0].to_string_lossy().into_owned())
}

/// A lock of a program.
#[derive(Debug, PartialEq, Serialize)]
struct Listed {
    node: u32,
    /// Escaped, if it is not text.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<String>,
    token: u64,
    uid: u32,
    session: u64,
    since_ms: u64,
    master: u32,
}

impl Listed {
    /// Takes a line of the list apart: the name is first, and may have blanks.
    fn read(node: u32, line: &str) -> Option<Self> {
        let mut words = line.rsplitn(8, ' ');
        let mut word = || words.next();
        let master = word()?.parse().ok()?;
        let since_ms = word()?.parse().ok()?;
        let session = word()?.parse().ok()?;
        let uid = word()?.parse().ok()?;
        let token = word()?.parse().ok()?;
        let mode = |word: &str| (word != "-").then(|| word.to_owned());
        let wanted = mode(word()?);
        let held = mode(word()?);
        Some(Listed {
            node,
            name: word()?.to_owned(),
            held,
            wanted,
            token,
            uid,
            session,
            since_ms,
            master,
        })
    }
}

/// Lists the locks of a node, or of all that answer.
pub(crate) fn list(output: Printer, node: Option<u32>) -> Result<ExitCode> {
    let mut all = Vec::new();
    let mut status = ExitCode::SUCCESS;
    for node in nodes(node)? {
        match ask(node, LIST, &[]) {
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer);
                all.extend(text.lines().filter_map(|line| Listed::read(node, line)));
            }
            Err(error) => {
                note(format_args!("virgo: node {node}: {error:#}"));
                status = ExitCode::FAILURE;
            }
        }
    }
    all.sort_by(|a, b| (&a.name, a.held.is_none()).cmp(&(&b.name, b.held.is_none())));
    output.print(&all, || table(&all))?;
    Ok(status)
}

fn table(all: &[Listed]) -> String {
    let header = ["LOCK", "NODE", "UID", "HAS", "WAITS FOR", "SINCE", "TOKEN"];
    let rows = all.iter().map(|lock| {
        let word = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "-".into());
        vec![
            output::printable(&lock.name),
            lock.node.to_string(),
            lock.uid.to_string(),
            word(&lock.held),
            word(&lock.wanted),
            format!("{}.{:03} s", lock.since_ms / 1000, lock.since_ms % 1000),
            lock.token.to_string(),
        ]
    });
    output::table(header.map(str::to_owned).to_vec(), 5, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_from_its_end() {
        let listed = Listed::read(2, "my lock EX - 1099511627777 1000 4 2500 3").unwrap();
        assert_eq!(listed.name, "my lock");
        assert_eq!((listed.held.as_deref(), listed.wanted), (Some("EX"), None));
        assert_eq!(
            (listed.token, listed.uid, listed.master),
            ((1 << 40) | 1, 1000, 3)
        );
        assert_eq!(Listed::read(1, "x EX"), None);
        assert!(table(&[listed_of("a")]).contains("2.500 s"));
    }

    fn listed_of(name: &str) -> Listed {
        Listed::read(1, &format!("{name} - PR 0 0 4 2500 3")).unwrap()
    }
}
