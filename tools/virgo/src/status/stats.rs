// SPDX-License-Identifier: GPL-2.0
//! Counters of a service.

use super::format::{FormatError, lines, number};
use std::str::FromStr;

/// The counters of a service, since its module was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Stats {
    /// What the service does.
    pub operations: Vec<Operation>,
}

/// Counters of an operation. Times are in nanoseconds, and `None` before the first call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Operation {
    /// How it is asked for: `text` (a command), `frame` (by another node), `call` (a system call).
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How often it was carried out.
    pub calls: u64,
    /// How often that failed.
    pub errors: u64,
    /// Mean time.
    pub mean_ns: Option<u64>,
    /// Median, rounded down to a power of two.
    pub p50_ns: Option<u64>,
    /// 99th percentile, rounded down to a power of two.
    pub p99_ns: Option<u64>,
}

impl FromStr for Stats {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut operations = Vec::new();
        lines(text, |words| {
            let [kind, name, calls, errors, mean, p50, p99, ..] = *words else {
                return Err("expected seven fields");
            };
            operations.push(Operation {
                kind: kind.to_owned(),
                name: name.to_owned(),
                calls: number(calls)?,
                errors: number(errors)?,
                mean_ns: nanoseconds(mean)?,
                p50_ns: nanoseconds(p50)?,
                p99_ns: nanoseconds(p99)?,
            });
            Ok(())
        })?;
        Ok(Self { operations })
    }
}

fn nanoseconds(word: &str) -> Result<Option<u64>, &'static str> {
    match word {
        "-" => Ok(None),
        _ => number(word).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read_as_the_module_writes_them() {
        let text = "# sessions 0\n# kind name calls errors mean_ns p50_ns p99_ns\n\
            call malloc 3 1 5000 4096 8192\ntext virgo_cloud_get 0 0 - - -\n";
        let operations = text.parse::<Stats>().unwrap().operations;
        assert_eq!(operations.len(), 2);
        assert_eq!(operations[0].errors, 1);
        assert_eq!(operations[0].p99_ns, Some(8192));
        assert_eq!(operations[1].name, "virgo_cloud_get");
        assert_eq!(operations[1].mean_ns, None);
    }

    #[test]
    fn a_missing_field_is_found() {
        let error = "call malloc 3 1 5000 4096\n".parse::<Stats>().unwrap_err();
        assert_eq!(error.to_string(), "line 1: expected seven fields");
    }
}
