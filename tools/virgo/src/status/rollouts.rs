// SPDX-License-Identifier: GPL-2.0
//! The roll-outs that this node knows.

use super::format::{FormatError, number};
use std::str::FromStr;

/// What this node knows of roll-outs of variables to all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Rollouts {
    /// The one that was begun here last.
    pub coordinated: Option<Coordinated>,
    /// The one that this node takes part in.
    pub held: Option<HeldRollout>,
    /// Those that it has taken part in, the oldest first: the last 16.
    pub ended: Vec<EndedRollout>,
    /// Why what was tried last has failed.
    pub rejected: Option<String>,
}

/// A roll-out that was begun at this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Coordinated {
    /// Its number, which is random.
    pub number: u64,
    /// `preparing`, `trying`, `ready`, `deciding`, `committed` or `aborted`.
    pub phase: String,
    /// The uid that has begun it.
    pub uid: u32,
    /// When, in milliseconds since 1970.
    pub ms: u64,
    /// The node that has the new values first.
    pub canary: Option<u8>,
    /// All nodes, with commas between their numbers.
    pub nodes: String,
    /// Those that have not said that they know how it has ended.
    pub untold: String,
    /// Why it has ended with the old values.
    pub reason: Option<String>,
}

/// A roll-out that this node takes part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct HeldRollout {
    /// Its number.
    pub number: u64,
    /// Where it was begun.
    pub node: u8,
    /// `prepared`, `trial`, or `doubt`: with the old values, and without a word of who coordinates it.
    pub stage: String,
    /// The uid that has begun it.
    pub uid: u32,
    /// When it has come to this node, in milliseconds since 1970.
    pub ms: u64,
    /// Its values.
    pub values: Vec<RolloutValue>,
}

/// A value of a roll-out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RolloutValue {
    /// Of which variable.
    pub key: String,
    /// The new value.
    pub new: String,
    /// The value that it replaces, if there is one.
    pub old: Option<String>,
    /// Where that comes from.
    pub source: Option<String>,
}

/// A roll-out that this node has taken part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct EndedRollout {
    /// Its number.
    pub number: u64,
    /// Where it was begun.
    pub node: u8,
    /// `committed` or `aborted`.
    pub outcome: String,
    /// The uid that has begun it.
    pub uid: u32,
    /// When it has ended, in milliseconds since 1970.
    pub ms: u64,
}

impl FromStr for Rollouts {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut all = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let fields: Vec<_> = text.split('\t').collect();
            all.add(&fields)
                .map_err(|reason| FormatError { line, reason })?;
        }
        Ok(all)
    }
}

fn hexadecimal(text: &str) -> Result<u64, &'static str> {
    u64::from_str_radix(text, 16).map_err(|_| "expected a hexadecimal number")
}

/// A field that is `-` if there is nothing in it.
fn field(text: &str) -> Option<String> {
    (text != "-").then(|| text.to_owned())
}

impl Rollouts {
    fn add(&mut self, fields: &[&str]) -> Result<(), &'static str> {
        match *fields {
            [
                "coordinated",
                id,
                phase,
                uid,
                ms,
                canary,
                nodes,
                untold,
                reason,
            ] => {
                self.coordinated = Some(Coordinated {
                    number: hexadecimal(id)?,
                    phase: phase.to_owned(),
                    uid: number(uid)?,
                    ms: number(ms)?,
                    canary: Some(number(canary)?).filter(|canary| *canary != 0),
                    nodes: field(nodes).unwrap_or_default(),
                    untold: field(untold).unwrap_or_default(),
                    reason: field(reason),
                });
            }
            ["held", id, node, stage, uid, ms] => {
                self.held = Some(HeldRollout {
                    number: hexadecimal(id)?,
                    node: number(node)?,
                    stage: stage.to_owned(),
                    uid: number(uid)?,
                    ms: number(ms)?,
                    values: Vec::new(),
                });
            }
            ["value", _, key, source, new, old] => {
                let source = field(source);
                let held = self.held.as_mut().ok_or("a value of no roll-out")?;
                held.values.push(RolloutValue {
                    key: key.to_owned(),
                    new: new.to_owned(),
                    old: source.is_some().then(|| old.to_owned()),
                    source,
                });
            }
            ["ended", id, node, outcome, uid, ms] => self.ended.push(EndedRollout {
                number: hexadecimal(id)?,
                node: number(node)?,
                outcome: outcome.to_owned(),
                uid: number(uid)?,
                ms: number(ms)?,
            }),
            ["rejected", why] => self.rejected = Some(why.to_owned()),
            ["coordinated" | "held" | "value" | "ended" | "rejected", ..] => {
                return Err("unexpected number of fields");
            }
            // Of a later version.
            _ => (),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_the_module_writes_it() {
        let text = "coordinated\tffffffffffffffff\taborted\t0\t5\t0\t1,2\t2\tnode 2: no\n\
                    held\t0000000000000007\t2\tdoubt\t9\t6\n\
                    value\t0000000000000007\ta\t-\tx, y\t\n\
                    value\t0000000000000007\tb\tdefault\t1\t0\n\
                    ended\t0000000000000001\t1\tcommitted\t0\t4\n\
                    rejected\tnode 2: no\nlater\tversion\n";
        let all: Rollouts = text.parse().unwrap();
        let coordinated = all.coordinated.unwrap();
        assert_eq!(coordinated.number, u64::MAX);
        assert_eq!((coordinated.canary, &coordinated.untold[..]), (None, "2"));
        assert_eq!(coordinated.reason.as_deref(), Some("node 2: no"));
        let held = all.held.unwrap();
        assert_eq!(held.values[0].old, None);
        assert_eq!(held.values[1].old.as_deref(), Some("0"));
        assert_eq!(all.ended[0].outcome, "committed");
        assert!("value\t7\ta\t-\t1\t\n".parse::<Rollouts>().is_err());
        assert!("ended\t7\n".parse::<Rollouts>().is_err());
    }
}
