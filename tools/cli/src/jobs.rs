// SPDX-License-Identifier: GPL-2.0
//! `virgo jobs`: the calls that were made on a node and whose results were not taken, and ending
//! them there. The node's function `jobs` lists them, and says who may see what.

use crate::{
    call_error::CallError,
    output::{self, Printer},
};
use anyhow::{Context, Result, ensure};
use virgo::{
    Call, Ended, On, Outcome,
    status::{Made, Status},
};

/// The functions of each node.
const LIST: &str = "jobs";
const CANCEL: &str = "cancel_job";

/// Most bytes of a node's list: another node might never come to an end.
const MAX_LISTED: usize = 256 << 20;

pub(crate) fn list(output: Printer, uid: Option<u32>, node: Option<u32>) -> Result<()> {
    let node = match node {
        Some(node) => node,
        None => Status::default().config()?.me.into(),
    };
    let uid = uid.map_or("-1".to_owned(), |uid| uid.to_string());
    let made = read_all(|behind| {
        let call = Call::new(LIST).args([&uid, &behind.to_string()]);
        Ok(run(LIST, call, node)?.stdout)
    })?;
    output.print(&made, || table(&made))
}

/// Reads lists by `ask`, which gives the jobs behind one, until there are no more.
fn read_all(mut ask: impl FnMut(u64) -> Result<Vec<u8>>) -> Result<Vec<Made>> {
    let (mut made, mut bytes) = (Vec::new(), 0);
    loop {
        let behind = made.last().map_or(0, |last: &Made| last.job);
        let list = ask(behind)?;
        bytes += list.len();
        ensure!(bytes <= MAX_LISTED, "the node's list of jobs has no end");
        let some = read(&String::from_utf8_lossy(&list))?;
        if some.is_empty() {
            return Ok(made);
        }
        ensure_in_order(behind, &some)?;
        made.extend(some);
    }
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

/// Jobs come in order. Those of a node that keeps to no order are no list.
fn ensure_in_order(behind: u64, made: &[Made]) -> Result<()> {
    let jobs = std::iter::once(behind).chain(made.iter().map(|made| made.job));
    ensure!(
        jobs.is_sorted_by(|a, b| a < b),
        "the node's list of jobs is not in order"
    );
    Ok(())
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

    #[test]
    fn a_list_without_an_end_is_given_up() {
        // Few jobs, of which much is said.
        let state = "x".repeat(1 << 20);
        let mut asked = 0;
        let all = read_all(|behind| {
            asked += 1;
            // The test ends also if that does not.
            match asked <= 2 * (MAX_LISTED >> 20) {
                true => Ok(format!("{} 3 0 {state}\n", behind + 1).into_bytes()),
                false => Ok(Vec::new()),
            }
        });
        assert!(all.is_err());
        let all = read_all(|behind| match behind {
            0 => Ok(b"1 3 0 running\n".to_vec()),
            _ => Ok(Vec::new()),
        });
        assert_eq!(all.unwrap().len(), 1);
    }

    #[test]
    fn a_list_without_order_might_never_end() {
        let made = read("12 3 0 running\n15 3 0 running\n").unwrap();
        assert!(ensure_in_order(0, &made).is_ok());
        for behind in [12, 15, 20] {
            assert!(ensure_in_order(behind, &made).is_err());
        }
    }
}
