// SPDX-License-Identifier: GPL-2.0
//! The processor pool of this node.

use super::format::{FormatError, lines, number};
use std::str::FromStr;

/// The processor pool of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Cpupool {
    /// Calls made here whose results were not taken, the oldest first.
    pub made: Vec<Made>,
    /// Calls that run or wait to run here.
    pub running: Vec<Running>,
    /// What this node knows of the others' load and its own, by number.
    pub seen: Vec<Seen>,
}

/// A call that was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Made {
    /// The job. As text for JSON, whose numbers lose digits of 64 bits.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub job: u64,
    /// The node that it went to; 0 if it went nowhere yet.
    pub node: u8,
    /// Who made it.
    pub uid: u32,
    /// `running`, `returned`, `exited`, `killed` or `failed`.
    pub state: String,
}

/// A call that runs or waits to run here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Running {
    /// The job, on the node that made it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub job: u64,
    /// The node that made it.
    pub from: u8,
    /// Who made it there.
    pub uid: u32,
    /// What it calls.
    pub name: String,
}

/// What this node knows of a node's load.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Seen {
    /// The node.
    pub node: u8,
    /// What it has said; `None` if that was too long ago.
    pub load: Option<Load>,
    /// Calls that went there since.
    pub sent: u32,
}

/// How loaded a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Load {
    /// Calls that run or wait.
    pub calls: u32,
    /// Tasks that run or want to.
    pub runnable: u32,
    /// Processors.
    pub processors: u32,
    /// Share of the last measurement's time in which they were busy, in percent.
    pub busy: u32,
    /// Free memory, in MiB.
    pub free_mib: u32,
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

impl FromStr for Cpupool {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut pool = Self::default();
        lines(text, |words| {
            match *words {
                ["job", job, node, uid, state, ..] => pool.made.push(Made {
                    job: number(job)?,
                    node: number(node)?,
                    uid: number(uid)?,
                    state: state.to_owned(),
                }),
                ["call", job, from, uid, ref name @ ..] => pool.running.push(Running {
                    job: number(job)?,
                    from: number(from)?,
                    uid: number(uid)?,
                    name: name.join(" "),
                }),
                ["load", node, ref load @ .., sent] => pool.seen.push(Seen {
                    node: number(node)?,
                    load: read_load(load)?,
                    sent: number(sent)?,
                }),
                // What newer modules say.
                _ => (),
            }
            Ok(())
        })?;
        Ok(pool)
    }
}

fn read_load(words: &[&str]) -> Result<Option<Load>, &'static str> {
    match *words {
        ["-", ..] => Ok(None),
        [calls, runnable, processors, busy, free_mib] => Ok(Some(Load {
            calls: number(calls)?,
            runnable: number(runnable)?,
            processors: number(processors)?,
            busy: number(busy)?,
            free_mib: number(free_mib)?,
        })),
        _ => Err("expected five numbers of a load"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_the_module_writes_it() {
        let text = "job 8872364716235 2 1000 running\njob 8872364716236 0 0 failed\n\
            call 77 3 65534 sleep\nload 1 0 2 2 15 200 0\nload 2 - - - - - 7\n";
        let pool: Cpupool = text.parse().unwrap();
        let made = Made {
            job: 8872364716235,
            node: 2,
            uid: 1000,
            state: "running".to_owned(),
        };
        assert_eq!((pool.made.len(), &pool.made[0]), (2, &made));
        let running = Running {
            job: 77,
            from: 3,
            uid: 65534,
            name: "sleep".to_owned(),
        };
        assert_eq!(pool.running, [running]);
        let load = Load {
            calls: 0,
            runnable: 2,
            processors: 2,
            busy: 15,
            free_mib: 200,
        };
        let seen = [
            Seen {
                node: 1,
                load: Some(load),
                sent: 0,
            },
            Seen {
                node: 2,
                load: None,
                sent: 7,
            },
        ];
        assert_eq!(pool.seen, seen);
    }

    #[test]
    fn faults_are_found() {
        for (text, reason) in [
            ("job x 2 0 running\n", "line 1: expected a number"),
            (
                "load 1 0 0 0 0\n",
                "line 1: expected five numbers of a load",
            ),
        ] {
            assert_eq!(text.parse::<Cpupool>().unwrap_err().to_string(), reason);
        }
    }
}
