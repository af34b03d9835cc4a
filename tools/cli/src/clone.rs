// SPDX-License-Identifier: GPL-2.0
//! Calls of functions and programs on any node: clone, jobs, wait, cancel.

use crate::{
    failure,
    options::{Clone, Wait, Where},
    output::{self, Output},
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{
    fmt::{self, Display, Formatter},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    process::ExitCode,
    time::Duration,
};
use virgo::{Call, Ended, Job, On, Outcome, Reason, Within, status::Status};

/// A call that did not run, or of which nobody knows.
#[derive(Debug)]
pub(crate) struct Failed {
    what: String,
    node: u32,
    /// Why.
    pub(crate) errno: i32,
    /// Why, as the node puts it.
    said: String,
}

impl Failed {
    /// That `what` has failed, with its outcome.
    pub(crate) fn new(what: &str, errno: i32, outcome: &Outcome) -> Self {
        Failed {
            what: what.to_owned(),
            node: outcome.node,
            errno,
            said: String::from_utf8_lossy(&outcome.stderr).into_owned(),
        }
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if self.node > 0 {
            write!(f, " on node {}", self.node)?;
        }
        write!(f, ": {}", Reason(self.errno))?;
        if !self.said.is_empty() {
            write!(f, ": {}", self.said)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failed {}

/// The library's calls, with a deadline if there is to be one.
fn within(timeout: Option<Duration>) -> Within {
    timeout.map(virgo::within).unwrap_or_default()
}

pub(crate) fn clone(output: Output, options: &Clone) -> Result<ExitCode> {
    // The command line has one word at least.
    let (target, args) = options.command.split_first().context("no target")?;
    let call = Call::new(target.as_bytes()).args(args.iter().map(|arg| arg.as_bytes()));
    let calls = match options.on {
        None => vec![call],
        Some(Where::On(on)) => vec![call.on(on)],
        Some(Where::All) => {
            let nodes = Status::default().config()?.nodes;
            let on = |number: u8| call.clone().on(On::Node(number.into()));
            nodes.iter().map(|node| on(node.number)).collect()
        }
    };
    let within = within(options.timeout);
    if options.asynchronous {
        let jobs = within.start_all(&calls)?;
        let json: Vec<_> = jobs
            .iter()
            .map(|job| json!({ "job": job.id().to_string(), "node": job.node() }))
            .collect();
        output.print(&one_or_all(options.on, json), || {
            jobs.iter().map(|job| format!("{}\n", job.id())).collect()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = within.run_all(&calls)?;
    let what = target.to_string_lossy().into_owned();
    let shown: Vec<_> = outcomes
        .iter()
        .map(|outcome| json_outcome(outcome, None))
        .collect();
    let json = one_or_all(options.on, shown);
    show(output, options.verbose, &json, &what, &outcomes)
}

/// Results as JSON: a list if all nodes were asked.
fn one_or_all(on: Option<Where>, mut results: Vec<Value>) -> Value {
    match on {
        Some(Where::All) => results.into(),
        _ => results.pop().unwrap_or_default(),
    }
}

pub(crate) fn wait(output: Output, options: &Wait) -> Result<ExitCode> {
    let mut jobs = [Job::from_id(options.job)];
    within(options.timeout).wait_any(&mut jobs)?;
    let [job] = jobs;
    let outcome = job.into_outcome().context("the kernel gives no outcome")?;
    let what = format!("job {}", options.job);
    let json = json_outcome(&outcome, Some(options.job));
    show(output, options.verbose, &json, &what, &[outcome])
}

/// Cancels all that can be cancelled.
pub(crate) fn cancel(output: Output, jobs: &[u64]) -> Result<ExitCode> {
    let mut cancelled = Vec::new();
    for &job in jobs {
        match virgo::cancel(&Job::from_id(job)) {
            Ok(()) => cancelled.push(job.to_string()),
            Err(error) => failure::report(output, &error.into()),
        }
    }
    output.print(&json!({ "cancelled": cancelled }), String::new)?;
    Ok(if cancelled.len() == jobs.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints what came of calls: their output to where it belongs, and returned values. Returns the
/// first status that is not 0.
fn show(
    output: Output,
    verbose: bool,
    json: &Value,
    what: &str,
    outcomes: &[Outcome],
) -> Result<ExitCode> {
    if output.json {
        output.print(json, String::new)?;
    }
    let mut first = 0;
    for outcome in outcomes {
        if verbose {
            eprintln!("virgo: node {}: {}", outcome.node, ended(outcome.ended));
        }
        match outcome.ended {
            Ended::Failed(errno) => {
                if !output.json {
                    // What it has printed until then, for instance until its deadline.
                    output::bytes(&outcome.stdout)?;
                }
                failure::report(output, &Failed::new(what, errno, outcome).into());
            }
            _ if output.json => (),
            _ => pass_on(outcome)?,
        }
        if first == 0 {
            first = status(outcome.ended);
        }
    }
    Ok(first.into())
}

/// Writes the output of a call to our own, and the value of a function as a line behind it.
fn pass_on(outcome: &Outcome) -> Result<()> {
    let mut out = outcome.stdout.clone();
    if let Ended::Returned(value) = outcome.ended {
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        writeln!(out, "{value}")?;
    }
    output::bytes(&out)?;
    io::stderr()
        .write_all(&outcome.stderr)
        .context("cannot write to standard error")?;
    if outcome.truncated {
        eprintln!("virgo: there was more output than a node keeps");
    }
    Ok(())
}

fn ended(ended: Ended) -> String {
    match ended {
        Ended::Returned(value) => format!("returned {value}"),
        Ended::Exited(status) => format!("ended with status {status}"),
        Ended::Killed(signal) => format!("killed by signal {signal}"),
        Ended::Failed(errno) => Reason(errno).to_string(),
    }
}

/// The status that a shell would have for it.
fn status(ended: Ended) -> u8 {
    match ended {
        Ended::Returned(_) => 0,
        Ended::Exited(status) => status as u8,
        Ended::Killed(signal) => 128u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
        Ended::Failed(_) => 1,
    }
}

fn json_outcome(outcome: &Outcome, job: Option<u64>) -> Value {
    let (state, value) = match outcome.ended {
        Ended::Returned(value) => ("returned", value),
        Ended::Exited(status) => ("exited", status.into()),
        Ended::Killed(signal) => ("killed", signal.into()),
        Ended::Failed(errno) => ("failed", errno.into()),
    };
    let mut json = json!({
        "node": outcome.node,
        "state": state,
        "value": value,
        "truncated": outcome.truncated,
    });
    if let Some(job) = job {
        json["job"] = job.to_string().into();
    }
    for (name, bytes) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
        let (kind, bytes) = output::json_bytes(bytes);
        match kind {
            "text" => json[name] = bytes,
            _ => json[format!("{name}_{kind}")] = bytes,
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ended: Ended) -> Outcome {
        Outcome {
            ended,
            node: 2,
            stdout: b"out".to_vec(),
            stderr: b"\xff".to_vec(),
            truncated: false,
        }
    }

    #[test]
    fn statuses_are_those_of_a_shell() {
        for (ended, expected) in [
            (Ended::Returned(7), 0),
            (Ended::Exited(0), 0),
            (Ended::Exited(3), 3),
            (Ended::Killed(9), 137),
            (Ended::Failed(libc::ENOENT), 1),
        ] {
            assert_eq!(status(ended), expected, "{ended:?}");
        }
    }

    #[test]
    fn a_failure_says_what_where_and_why() {
        let failed = Failed {
            what: "frob".to_owned(),
            node: 2,
            errno: libc::ENOENT,
            said: "no such function on this node".to_owned(),
        };
        assert_eq!(
            failed.to_string(),
            "frob on node 2: does not exist (ENOENT): no such function on this node"
        );
    }

    #[test]
    fn outcomes_become_json() {
        let expected = json!({
            "node": 2, "state": "exited", "value": 3, "truncated": false,
            "stdout": "out", "stderr_hex": "ff",
        });
        assert_eq!(json_outcome(&outcome(Ended::Exited(3)), None), expected);
        let json = json_outcome(&outcome(Ended::Returned(1)), Some(1 << 60));
        assert_eq!(json["job"], "1152921504606846976");
    }
}
