// SPDX-License-Identifier: GPL-2.0
//! Calls of functions and programs on any node: clone, jobs, wait, cancel.

use crate::{
    call_error::CallError,
    failure,
    options::{Clone, WaitOptions, Where},
    output::{self, Printer},
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use virgo::{Call, Ended, Job, On, Outcome, Reason, Within, status::Status};

/// The library's calls, with a deadline if there is to be one.
fn within(timeout: Option<Duration>) -> Within<'static> {
    timeout.map(virgo::within).unwrap_or_default()
}

pub(crate) fn clone(output: Printer, options: &Clone) -> Result<ExitCode> {
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
    let is_list = options.on == Some(Where::All);
    let within = within(options.timeout);
    let mut results = Results::new(output, options.verbose, &target.to_string_lossy());
    if options.asynchronous {
        let mut jobs = Vec::new();
        for started in each(calls, move |call| within.start(&call)) {
            match started {
                Ok(job) => jobs.push(job),
                Err(error) => results.fail(&error.into()),
            }
        }
        print_jobs(output, &jobs, is_list)?;
        return Ok(results.status());
    }
    for outcome in each(calls, move |call| within.run(&call)) {
        match outcome {
            Ok(outcome) => results.add(outcome, None)?,
            Err(error) => results.fail(&error.into()),
        }
    }
    results.print_json(is_list)?;
    Ok(results.status())
}

/// Does something with each of `calls` at the same time, and gives what comes of it as it comes: a
/// node that does not answer keeps nobody from seeing what the others have done.
fn each<T: Send + 'static>(
    calls: Vec<Call>,
    act: impl Fn(Call) -> T + Send + Sync + 'static,
) -> impl Iterator<Item = T> {
    let act = Arc::new(act);
    let (sender, results) = mpsc::channel();
    for call in calls {
        let (sender, act) = (sender.clone(), act.clone());
        // They end with the program, at the latest.
        thread::spawn(move || {
            // Nobody listens any more if the output cannot be written.
            let _ = sender.send(act(call));
        });
    }
    results.into_iter()
}

/// Prints the numbers of jobs. Without them nobody can take the results, so if they cannot be
/// printed the jobs are cancelled, and their results taken.
fn print_jobs(output: Printer, jobs: &[Job], is_list: bool) -> Result<()> {
    let json = jobs
        .iter()
        .map(|job| json!({ "job": job.id().to_string(), "node": job.node() }));
    let printed = match one_or_all(is_list, json.collect()) {
        Some(json) => output.print(&json, || {
            jobs.iter().map(|job| format!("{}\n", job.id())).collect()
        }),
        None => Ok(()),
    };
    printed.inspect_err(|_| {
        for job in jobs {
            let mut cancelled = [job.clone()];
            let gone = virgo::cancel(job).and_then(|()| virgo::wait_any(&mut cancelled));
            if let Err(error) = gone {
                failure::report(output, &error.into());
            }
        }
    })
}

/// Results as JSON: a list if all nodes were asked.
fn one_or_all(is_list: bool, mut results: Vec<Value>) -> Option<Value> {
    match is_list {
        true => Some(results.into()),
        false => results.pop(),
    }
}

pub(crate) fn wait(output: Printer, options: &WaitOptions) -> Result<ExitCode> {
    let mut jobs = [Job::from_id(options.job)];
    within(options.timeout).wait_any(&mut jobs)?;
    let [job] = jobs;
    let outcome = job.into_outcome().context("the kernel gives no outcome")?;
    let mut results = Results::new(output, options.verbose, &format!("job {}", options.job));
    results.add(outcome, Some(options.job))?;
    results.print_json(false)?;
    Ok(results.status())
}

/// Cancels all that can be cancelled.
pub(crate) fn cancel(output: Printer, jobs: &[u64]) -> Result<ExitCode> {
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

/// What has come of calls so far.
struct Results {
    output: Printer,
    verbose: bool,
    /// What was called.
    what: String,
    /// For JSON: the nodes' numbers, and what came of the calls there.
    json: Vec<(u32, Value)>,
    /// Numbers of nodes, and the statuses that are not 0.
    statuses: Vec<(u32, u8)>,
}

impl Results {
    fn new(output: Printer, verbose: bool, what: &str) -> Self {
        Self {
            output,
            verbose,
            what: what.to_owned(),
            json: Vec::new(),
            statuses: Vec::new(),
        }
    }

    /// Prints what came of a call, its output to where it belongs; keeps it for JSON.
    fn add(&mut self, outcome: Outcome, job: Option<u64>) -> Result<()> {
        if self.verbose {
            let ended = ended(outcome.ended);
            output::note(format_args!("virgo: node {}: {ended}", outcome.node));
        }
        let status = status(outcome.ended);
        if status != 0 {
            self.statuses.push((outcome.node, status));
        }
        if self.output.json {
            let json = json_outcome(&outcome, job);
            self.json.push((outcome.node, json));
        }
        match outcome.ended {
            Ended::Failed(errno) => {
                if !self.output.json {
                    // What it has printed until then, for instance until its deadline.
                    output::bytes(&outcome.stdout)?;
                }
                let error = CallError::new(&self.what, errno, &outcome);
                failure::report(self.output, &error.into());
                Ok(())
            }
            _ if self.output.json => Ok(()),
            _ => pass_on(&outcome),
        }
    }

    /// A call was not made.
    fn fail(&mut self, error: &anyhow::Error) {
        failure::report(self.output, error);
        self.statuses.push((u32::MAX, 1));
    }

    /// Prints the JSON of all, in the order of the nodes.
    fn print_json(&mut self, is_list: bool) -> Result<()> {
        self.json.sort_by_key(|&(node, _)| node);
        let json = self.json.drain(..).map(|(_, json)| json).collect();
        match one_or_all(is_list, json) {
            Some(json) if self.output.json => self.output.print(&json, String::new),
            _ => Ok(()),
        }
    }

    /// 0 if all went well; otherwise the status of that node with the lowest number where it did
    /// not.
    fn status(&self) -> ExitCode {
        let first = self.statuses.iter().min_by_key(|&&(node, _)| node);
        first.map_or(0, |&(_, status)| status).into()
    }
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
        output::note(format_args!(
            "virgo: there was more output than a node keeps"
        ));
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
    use std::sync::Mutex;

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
    fn the_status_is_that_of_the_first_node_that_failed() {
        let quiet = Printer { json: true };
        let mut results = Results::new(quiet, false, "x");
        assert_eq!(results.status(), ExitCode::SUCCESS);
        // In the order in which they answer.
        for (node, ended) in [
            (3, Ended::Exited(7)),
            (1, Ended::Exited(0)),
            (2, Ended::Exited(5)),
        ] {
            let outcome = Outcome {
                node,
                ..outcome(ended)
            };
            results.add(outcome, None).unwrap();
        }
        results.statuses.push((u32::MAX, 1));
        assert_eq!(results.status(), ExitCode::from(5));
    }

    /// Who answers late does not keep the others back.
    #[test]
    fn results_come_as_they_are_there() {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let calls = vec![Call::new("late"), Call::new("soon")];
        let mut results = each(calls, move |call| {
            if call == Call::new("late") {
                wait.lock().unwrap().recv().unwrap();
            }
            call
        });
        assert_eq!(results.next(), Some(Call::new("soon")));
        go.send(()).unwrap();
        assert_eq!(results.next(), Some(Call::new("late")));
        assert_eq!(results.next(), None);
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
