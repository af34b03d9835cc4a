// SPDX-License-Identifier: GPL-2.0
//! The variables that steer this node's modules.

use super::format::{FormatError, number};
use std::str::FromStr;

/// All variables of this node, and the last changes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Analytics {
    /// They, sorted by key.
    pub variables: Vec<Variable>,
    /// Changes, the oldest first. Their numbers are consecutive.
    pub changes: Vec<Change>,
    /// Why what was tried last was refused.
    pub rejected: Option<String>,
}

/// A variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Variable {
    /// Its key.
    pub key: String,
    /// Its value, as it was written.
    pub value: String,
    /// Where that comes from: `default`, `file`, `stream`, `text`, `cli`, `rollout`.
    pub source: String,
    /// The uid that has set it.
    pub uid: u32,
    /// When, in milliseconds since 1970.
    pub since_ms: u64,
    /// What a module has declared, if one has.
    pub declared: Option<Declared>,
}

/// What a module has declared of a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Declared {
    /// `integer`, `decimal`, `boolean`, `text` or `list`.
    pub kind: String,
    /// What it is counted in.
    pub unit: String,
    /// Lowest value of a number.
    pub min: Option<String>,
    /// Highest value of a number.
    pub max: Option<String>,
    /// Value of a number that nobody has set.
    pub default: Option<String>,
    /// The module that reads it.
    pub reader: String,
    /// What it changes.
    pub about: String,
}

/// A change of a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Change {
    /// Its number.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub ms: u64,
    /// Of which variable.
    pub key: String,
    /// Where the value comes from; `none` if the variable is no more.
    pub source: String,
    /// The uid that has set it.
    pub uid: u32,
    /// The value from then on.
    pub value: String,
}

impl FromStr for Analytics {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut all = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let fields: Vec<_> = text.split('\t').collect();
            all.add(&fields)
                .map_err(|reason| FormatError { line, reason })?;
        }
        all.variables.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }
}

impl Analytics {
    fn add(&mut self, fields: &[&str]) -> Result<(), &'static str> {
        match *fields {
            [
                "variable",
                key,
                kind,
                unit,
                min,
                max,
                default,
                source,
                uid,
                since,
                reader,
                about,
                value,
            ] => {
                let bound = |text: &str| (text != "-").then(|| text.to_owned());
                let declared = (kind != "-").then(|| Declared {
                    kind: kind.to_owned(),
                    unit: unit.to_owned(),
                    min: bound(min),
                    max: bound(max),
                    default: bound(default),
                    reader: reader.to_owned(),
                    about: about.to_owned(),
                });
                self.variables.push(Variable {
                    key: key.to_owned(),
                    value: value.to_owned(),
                    source: source.to_owned(),
                    uid: number(uid)?,
                    since_ms: number(since)?,
                    declared,
                });
            }
            ["change", change, ms, key, source, uid, value] => self.changes.push(Change {
                number: number(change)?,
                ms: number(ms)?,
                key: key.to_owned(),
                source: source.to_owned(),
                uid: number(uid)?,
                value: value.to_owned(),
            }),
            ["rejected", why] => self.rejected = Some(why.to_owned()),
            ["variable" | "change" | "rejected", ..] => return Err("unexpected number of fields"),
            // Of a later version.
            _ => (),
        }
        Ok(())
    }

    /// The variable with this key.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&Variable> {
        self.variables.iter().find(|variable| variable.key == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_the_module_writes_it() {
        let text = "variable\tz\tdecimal\tMbit/s\t0\t100\t0\tfile\t0\t5\tqueue\tlimits it\t1.5\n\
                    variable\ta\t-\t-\t-\t-\t-\ttext\t7\t6\t-\t-\tx, y\n\
                    change\t3\t5\tz\tfile\t0\t1.5\n\
                    rejected\tz: out of the variable's bounds\n\
                    something\tnew\n";
        let all: Analytics = text.parse().unwrap();
        assert_eq!(all.variables[0].key, "a");
        assert_eq!(all.variables[0].value, "x, y");
        assert_eq!(all.variables[0].declared, None);
        let declared = all.variable("z").unwrap().declared.as_ref().unwrap();
        assert_eq!(declared.max.as_deref(), Some("100"));
        assert_eq!(all.changes[0].number, 3);
        assert!(all.rejected.is_some_and(|why| why.contains("bounds")));
        assert!("variable\ta\n".parse::<Analytics>().is_err());
    }
}
