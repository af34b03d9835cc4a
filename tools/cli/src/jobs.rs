// SPDX-License-Identifier: GPL-2.0
//! `virgo jobs`: the calls that were made on a node and whose results were not taken, and ending
//! them there. The node's function `jobs` lists them, and says who may see what.

use crate::{
    call_error::CallError,
    output::{self, Output},
};
use anyhow::{Context, Result};
use virgo::{
    Call, Ended, On, Outcome,
    status::{Made, Status},
};

/// The functions of each node.
const LIST: &str = "jobs";
const CANCEL: &str = "cancel_job";

pub(crate) fn list(output: Output, uid: Option<u32>, node: Option<u32>) -> Result<()> {
    let node = match node {
        Some(node) => node,
        None => Status::default().config()?.me.into(),
    };
    let uid = uid.map_or("-1".to_owned(), |uid| uid.to_string());
    let mut made = Vec::new();
    loop {
        let behind = made.last().map_or(0, |last: &Made| last.job);
        let call = Call::new(LIST).args([&uid, &behind.to_string()]);
        let outcome = run(LIST, call, node)?;
        let some = read(&String::from_utf8_lossy(&outcome.stdout))?;
        if some.is_empty() {
            break;
        }
        made.extend(some);
    }
    output.print(&made, || table(&made))
}

/// Ends jobs that were made on node `node`.
pub(crate) fn cancel_on(node: u32, jobs: &[u64]) -> Result<()> {
    for job in jobs {
        run(CANCEL, Call::new(CANCEL).arg(job.to_string()), node)?;
    }
    Ok(())
}

fn run(name: &str, call: Call, node: u32) -> Result<Outcome> {
    let outcome = virgo::run(&call.on(On::Node(node)))?;
    match outcome.ended {
        Ended::Failed(errno) => Err(CallError::new(name, errno, &outcome).into()),
        _ => Ok(outcome),
    }
}

/// Takes lines `JOB NODE UID STATE` apart.
fn read(list: &str) -> Result<Vec<Made>> {
    let made = |line: &str| {
        let mut words = line.split(' ');
        Some(Made {
            job: words.next()?.parse().ok()?,
            node: words.next()?.parse().ok()?,
            uid: words.next()?.parse().ok()?,
            state: words.next()?.to_owned(),
        })
    };
    let list = list.lines().map(made).collect::<Option<_>>();
    list.context("the node's list of jobs is none")
}

fn table(made: &[Made]) -> String {
    let header = ["JOB", "NODE", "UID", "STATE"].map(str::to_owned).to_vec();
    let rows = made.iter().map(|made| {
        vec![
            made.job.to_string(),
            made.node.to_string(),
            made.uid.to_string(),
            made.state.clone(),
        ]
    });
    output::table(header, usize::MAX, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_read_and_lined_up() {
        let made = read("12 3 0 running\n").unwrap();
        assert_eq!(
            table(&made),
            "JOB  NODE  UID  STATE\n12   3     0    running"
        );
        assert!(read("12 3 0").is_err() && read("x 3 0 running").is_err());
        assert_eq!(read("").unwrap(), []);
    }
}
