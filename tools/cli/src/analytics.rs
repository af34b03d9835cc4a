// SPDX-License-Identifier: GPL-2.0
//! `virgo analytics`: the variables that steer the kernel.

mod apply;
pub(crate) mod check;

use crate::{
    options::AnalyticsCommand,
    output::{self, Printer, printable, table},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    thread::sleep,
    time::{Duration, SystemTime},
};
use virgo::status::{Change, Status, Variable};

/// How often the module is asked for changes.
const PERIOD: Duration = Duration::from_millis(50);

pub(crate) fn run(output: Printer, command: &AnalyticsCommand) -> Result<()> {
    let status = Status::default();
    match command {
        AnalyticsCommand::List { prefix } => list(output, &status, prefix.as_deref()),
        AnalyticsCommand::Get { key } => {
            let value = find(&status, key)?.value;
            output.print(&json!({ "key": key, "value": value }), || printable(&value))
        }
        AnalyticsCommand::Set { pairs } => {
            let pairs = pairs.join(",");
            ensure!(
                !pairs.contains('\n'),
                "a line end in a value: it stands for nothing that the kernel could keep"
            );
            Ok(status.set_analytics(&pairs)?)
        }
        AnalyticsCommand::Reset { key } => Ok(status.reset_analytics(key)?),
        AnalyticsCommand::Watch { prefix, count } => {
            watch(output, &status, prefix.as_deref(), *count)
        }
        AnalyticsCommand::History { prefix } => {
            let mut changes = status.analytics()?.changes;
            changes.retain(|change| matches(&change.key, prefix.as_deref()));
            output.print(&changes, || {
                let lines: Vec<_> = changes.iter().map(line).collect();
                lines.join("\n")
            })
        }
        AnalyticsCommand::Explain { key } => explain(output, &find(&status, key)?),
        AnalyticsCommand::Reload => Ok(status.reload_analytics()?),
        AnalyticsCommand::Apply(options) => apply::apply(output, options),
        AnalyticsCommand::Rollouts => apply::rollouts(output),
    }
}

fn matches(key: &str, prefix: Option<&str>) -> bool {
    prefix.is_none_or(|prefix| key.starts_with(prefix))
}

fn find(status: &Status, key: &str) -> Result<Variable> {
    let all = status.analytics()?;
    let found = all
        .variables
        .into_iter()
        .find(|variable| variable.key == key);
    found.with_context(|| format!("no variable is called {key}; 'virgo analytics list' shows them"))
}

fn list(output: Printer, status: &Status, prefix: Option<&str>) -> Result<()> {
    let mut variables = status.analytics()?.variables;
    variables.retain(|variable| matches(&variable.key, prefix));
    output.print(&variables, || {
        let header = ["KEY", "VALUE", "UNIT", "SOURCE", "SINCE", "READER"];
        let row = |variable: &Variable| {
            let declared = variable.declared.as_ref();
            [
                variable.key.clone(),
                variable.value.clone(),
                declared.map_or_else(String::new, |declared| declared.unit.clone()),
                variable.source.clone(),
                ago(variable.since_ms),
                declared.map_or("-".to_owned(), |declared| declared.reader.clone()),
            ]
            .map(|cell| printable(&cell))
            .to_vec()
        };
        table(
            header.map(str::to_owned).to_vec(),
            header.len(),
            variables.iter().map(row).collect(),
        )
    })
}

/// How long ago that was, for people.
fn ago(ms: u64) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.as_millis());
    let passed = now.saturating_sub(ms.into()) / 1000;
    let passed = Duration::from_secs(u64::try_from(passed).unwrap_or(u64::MAX));
    humantime::format_duration(passed).to_string()
}

fn line(change: &Change) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(change.ms));
    let time = time.map_or_else(
        || "-".to_owned(),
        |time| humantime::format_rfc3339_millis(time).to_string(),
    );
    let Change {
        number,
        key,
        source,
        uid,
        value,
        ..
    } = change;
    match source.as_str() {
        "none" => printable(&format!("{number} {time} {key} is no more")),
        _ => printable(&format!(
            "{number} {time} {source} uid {uid}: {key}={value}"
        )),
    }
}

/// Prints each change once, in order; says how many were lost if more were made than the module keeps.
fn watch(output: Printer, status: &Status, prefix: Option<&str>, count: Option<u64>) -> Result<()> {
    let last = |changes: &[Change]| changes.last().map(|change| change.number);
    let mut seen = last(&status.analytics()?.changes).unwrap_or(0);
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let changes = status.analytics()?.changes;
        let lost = changes
            .first()
            .map_or(0, |first| first.number.saturating_sub(seen + 1));
        if seen > 0 && lost > 0 {
            output::note(format_args!(
                "virgo: {lost} changes were too fast to be seen"
            ));
        }
        for change in changes.iter().filter(|change| change.number > seen) {
            if left > 0 && matches(&change.key, prefix) {
                output.print(change, || line(change))?;
                left -= 1;
            }
        }
        seen = last(&changes).unwrap_or(seen);
        sleep(PERIOD);
    }
    Ok(())
}

fn explain(output: Printer, variable: &Variable) -> Result<()> {
    output.print(variable, || {
        let Variable {
            key,
            value,
            source,
            uid,
            since_ms,
            ..
        } = variable;
        let mut text = format!("{key} = {value}\n");
        text += &match source.as_str() {
            "default" => "nobody has set it: this is its default\n".to_owned(),
            _ => format!("set {} ago by uid {uid} ({source})\n", ago(*since_ms)),
        };
        match &variable.declared {
            None => text += "no module has declared it: it is kept as text\n",
            Some(declared) => {
                text += &format!("{}: {}\n", declared.reader, declared.about);
                text += &format!("type {}", declared.kind);
                if let (Some(min), Some(max), Some(default)) =
                    (&declared.min, &declared.max, &declared.default)
                {
                    text += &format!(", from {min} to {max}, by default {default}");
                }
                if !declared.unit.is_empty() {
                    text += &format!(", in {}", declared.unit);
                }
            }
        }
        printable(&text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_line() {
        let change = Change {
            number: 4,
            ms: 1000,
            key: "load".to_owned(),
            source: "cli".to_owned(),
            uid: 0,
            value: "1.5".to_owned(),
        };
        assert_eq!(
            line(&change),
            "4 1970-01-01T00:00:01.000Z cli uid 0: load=1.5"
        );
        let gone = Change {
            source: "none".to_owned(),
            ..change
        };
        assert!(line(&gone).ends_with("load is no more"));
    }

    #[test]
    fn keys_are_chosen_by_their_beginning() {
        assert!(matches("queue.rate", Some("queue.")));
        assert!(matches("queue.rate", None));
        assert!(!matches("queue.rate", Some("rate")));
    }
}
