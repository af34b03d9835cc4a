// SPDX-License-Identifier: GPL-2.0
//! What must hold on a canary: `NAME OP NUMBER`, joined by `and`.
//!
//! Written by hand: keys have `.`, `-`, `:` and `/` in them, which expression crates take for operators, and there
//! is nothing else in it.

use std::{fmt, str::FromStr};
use virgo_proto::analytics::{list::unquoted, number, pairs};

/// A check: all of its parts hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check(Vec<Comparison>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Comparison {
    key: String,
    relation: Relation,
    /// In millionths.
    limit: i64,
    /// As it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
    Other,
}

/// Longer ones first: the first that fits is it.
const RELATIONS: [(&str, Relation); 6] = [
    ("<=", Relation::LessOrEqual),
    (">=", Relation::MoreOrEqual),
    ("==", Relation::Equal),
    ("!=", Relation::Other),
    ("<", Relation::Less),
    (">", Relation::More),
];

impl Relation {
    fn holds(self, value: i64, limit: i64) -> bool {
        match self {
            Relation::Less => value < limit,
            Relation::LessOrEqual => value <= limit,
            Relation::More => value > limit,
            Relation::MoreOrEqual => value >= limit,
            Relation::Equal => value == limit,
            Relation::Other => value != limit,
        }
    }
}

/// A number in millionths; booleans are 0 and 1.
fn read(text: &str) -> Option<i64> {
    let text = unquoted(text.trim());
    number::decimal(text)
        .or_else(|| number::boolean(text).map(|is_true| i64::from(is_true) * number::SCALE))
}

impl FromStr for Comparison {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |what: &str| format!("{text:?}: {what}; expected NAME OP NUMBER");
        let at = text
            .find(['<', '>', '=', '!'])
            .ok_or_else(|| wrong("no <, <=, >, >=, == or !="))?;
        let (key, rest) = text.split_at(at);
        let key = key.trim();
        pairs::check_key(key).map_err(wrong)?;
        let (limit, relation) = RELATIONS
            .iter()
            .find_map(|(sign, relation)| Some((rest.strip_prefix(sign)?, *relation)))
            .ok_or_else(|| wrong("no <, <=, >, >=, == or !="))?;
        Ok(Comparison {
            key: key.to_owned(),
            relation,
            limit: read(limit).ok_or_else(|| wrong("no number"))?,
            text: text.to_owned(),
        })
    }
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `and` stands between blanks: it may be part of a key.
        let words: Vec<_> = text.split_whitespace().collect();
        let parts = words.split(|word| *word == "and");
        parts
            .map(|words| words.join(" ").parse())
            .collect::<Result<_, _>>()
            .map(Check)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|part| part.text.as_str()).collect();
        f.write_str(&parts.join(" and "))
    }
}

impl Check {
    /// Whether it holds, when `value` says what a variable is. `Err` says what does not hold, or cannot be known.
    pub(crate) fn holds(
        &self,
        mut value: impl FnMut(&str) -> anyhow::Result<String>,
    ) -> Result<(), String> {
        for part in &self.0 {
            let said = value(&part.key).map_err(|error| format!("{}: {error:#}", part.key))?;
            match read(&said) {
                Some(number) if part.relation.holds(number, part.limit) => (),
                Some(_) => return Err(format!("{} is {said}, not {}", part.key, part.text)),
                None => return Err(format!("{} is {said:?}, which is no number", part.key)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    fn holds(check: &str) -> Result<(), String> {
        check.parse::<Check>()?.holds(|key| match key {
            "load" => Ok("1.5".into()),
            "run_ms.a-b/c" => Ok("'20'".into()),
            "on" => Ok("true".into()),
            "word" => Ok("hello".into()),
            _ => bail!("no such variable"),
        })
    }

    #[test]
    fn numbers_are_compared() {
        for good in [
            "load < 2",
            "load<=1.5",
            "load > -1 and run_ms.a-b/c == 20",
            "on == 1 and load != 2 and load >= 1.5",
            "on==true",
        ] {
            assert_eq!(holds(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("load < 1.5", "load is 1.5, not load < 1.5"),
            ("load < 2 and load > 2", "not load > 2"),
            ("word == 1", "no number"),
            ("missing < 1", "no such variable"),
        ] {
            assert!(holds(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn what_is_no_check_is_refused() {
        for bad in [
            "",
            "load",
            "load < 1 and",
            "< 1",
            "load < x",
            "load =< 1",
            "load < 1 or load > 2",
            "a b < 1",
            "load = 1",
        ] {
            assert!(bad.parse::<Check>().is_err(), "{bad}");
        }
        let check = "a<1   and b >= 2".parse::<Check>().unwrap();
        assert_eq!(check.to_string(), "a<1 and b >= 2");
    }
}
