// SPDX-License-Identifier: GPL-2.0
//! Printing events, and what is asked about them.

use crate::output::{self, Printer, bytes, printable};
use anyhow::{Context, Result};
use serde::Serialize;
use std::process::ExitCode;
use virgo_eventnet::{
    Event, EventId, Graph, Step,
    why::{Hop, Measure, why as chain_of},
    write_json,
};

/// Prints events as lines of JSON.
pub(super) fn json_lines(events: &[Event]) -> Result<()> {
    let mut out = Vec::new();
    write_json(events, &mut out)?;
    bytes(&out)
}

/// Time of day in UTC, to a microsecond.
fn time(event: &Event) -> String {
    let micros = event.wall_ns / 1000;
    let seconds = micros / 1_000_000 % 86_400;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{:06}",
        seconds % 60,
        micros % 1_000_000
    )
}

fn cells(event: &Event) -> Vec<String> {
    vec![
        event.id.to_string(),
        time(event),
        event
            .cause
            .map_or("-".to_owned(), |cause| cause.to_string()),
        printable(&event.label()).replace(['\n', '\t'], " "),
    ]
}

pub(super) fn table<'a>(events: impl Iterator<Item = &'a Event>) -> Result<()> {
    let header = ["EVENT", "TIME", "CAUSE", "WHAT"].map(str::to_owned);
    let mut text = output::table(header.to_vec(), usize::MAX, events.map(cells).collect());
    text.push('\n');
    bytes(text.as_bytes())
}

/// As a table, but each line for itself.
pub(super) fn lines<'a>(events: impl Iterator<Item = &'a Event>) -> Result<()> {
    let lines: String = events.map(|event| cells(event).join("  ") + "\n").collect();
    bytes(lines.as_bytes())
}

pub(super) fn order(output: Printer, graph: &Graph) -> Result<ExitCode> {
    let order = graph.order();
    match output.json {
        true => json_lines(&order.events.iter().copied().cloned().collect::<Vec<_>>())?,
        false => table(order.events.into_iter())?,
    }
    let faults = graph.faults();
    for fault in &faults {
        output::note(format_args!("virgo: {fault}"));
    }
    Ok(match faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn known(graph: &Graph, id: EventId) -> Result<&Event> {
    graph
        .get(id)
        .with_context(|| format!("no event {id} was recorded, or it was lost"))
}

fn answer(yes: bool) -> ExitCode {
    match yes {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

pub(super) fn before(output: Printer, graph: &Graph, a: EventId, b: EventId) -> Result<ExitCode> {
    let (first, second) = (known(graph, a)?, known(graph, b)?);
    let said = match (first.is_before(second), second.is_before(first)) {
        (true, _) => "before",
        (_, true) => "after",
        _ if a == b => "same",
        _ => "concurrent",
    };
    output.print(&said, || match said {
        "before" => format!("{a} happened before {b}"),
        "after" => format!("{a} happened after {b}"),
        "same" => format!("{a} is {b}"),
        _ => format!("{a} and {b} happened independently"),
    })?;
    Ok(answer(said == "before"))
}

#[derive(Serialize)]
struct PathStep<'a> {
    by: &'static str,
    event: &'a Event,
}

pub(super) fn path(output: Printer, graph: &Graph, a: EventId, b: EventId) -> Result<ExitCode> {
    let first = known(graph, a)?;
    known(graph, b)?;
    let path = graph.path(a, b);
    let is_there = path.is_some();
    let mut steps = vec![PathStep {
        by: "start",
        event: first,
    }];
    for step in path.into_iter().flatten() {
        let (by, id) = match step {
            Step::Next(id) => ("order", id),
            Step::Caused(id) => ("cause", id),
        };
        steps.push(PathStep {
            by,
            event: known(graph, id)?,
        });
    }
    if !is_there {
        steps.clear();
    }
    output.print(&steps, || match is_there {
        false => format!("{a} did not lead to {b}, or events between them were lost"),
        true => {
            let header = ["BY", "EVENT", "TIME", "CAUSE", "WHAT"].map(str::to_owned);
            let rows = steps.iter().map(|step| {
                let mut row = vec![step.by.to_owned()];
                row.extend(cells(step.event));
                row
            });
            output::table(header.to_vec(), usize::MAX, rows.collect())
        }
    })?;
    Ok(answer(is_there))
}

/// A time for people.
fn duration(nanos: i64) -> String {
    let micros = nanos.unsigned_abs() as f64 / 1000.0;
    let sign = if nanos < 0 { "-" } else { "" };
    match micros {
        0.0..1000.0 => format!("{sign}{micros:.1} us"),
        1000.0..1e6 => format!("{sign}{:.2} ms", micros / 1e3),
        _ => format!("{sign}{:.3} s", micros / 1e6),
    }
}

#[derive(Serialize)]
struct JsonHop<'a> {
    nanos: i64,
    measure: &'static str,
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    meanwhile: Option<String>,
}

fn json_hop<'a>(graph: &Graph, hop: &Hop<'a>) -> JsonHop<'a> {
    JsonHop {
        nanos: hop.nanos,
        measure: match hop.measure {
            Measure::Exact => "exact",
            Measure::HalfOfRoundTrip => "half_of_round_trip",
            Measure::WallClocks => "wall_clocks",
        },
        event: hop.to,
        meanwhile: meanwhile(graph, hop),
    }
}

/// What else a node did during a hop, if that is more than half of it.
fn meanwhile(graph: &Graph, hop: &Hop<'_>) -> Option<String> {
    let other = hop.meanwhile.as_ref()?;
    let is_much = i64::try_from(other.nanos).is_ok_and(|nanos| nanos > hop.nanos / 2);
    // What it was its beginning says.
    let begin = other.longest.begin.and_then(|begin| graph.get(begin));
    let what = begin.unwrap_or(other.longest);
    is_much.then(|| {
        format!(
            "meanwhile other recorded work ended on node{1} ({0} in all); the longest took {2}: {3} ({4})",
            other.count,
            hop.to.id.node,
            duration(other.nanos as i64),
            printable(&what.label()),
            what.id,
        )
    })
}

pub(super) fn why(output: Printer, graph: &Graph, id: EventId) -> Result<()> {
    let why = chain_of(graph, id)?;
    let hops: Vec<_> = why.hops.iter().map(|hop| json_hop(graph, hop)).collect();
    output.print(&hops, || {
        let longest = why.hops.iter().map(|hop| hop.nanos).max().unwrap_or(0);
        let row = |nanos: String, mark: &str, event: &Event| {
            vec![
                nanos,
                mark.to_owned(),
                format!("node{}", event.id.node),
                event.id.to_string(),
                printable(&event.label()).replace(['\n', '\t'], " "),
            ]
        };
        let mut rows = vec![row(String::new(), "", why.first)];
        for hop in &why.hops {
            let mark = match hop.nanos == longest {
                true => "<-- longest",
                false => "",
            };
            let about = match hop.measure {
                Measure::Exact => "",
                Measure::HalfOfRoundTrip => "~",
                Measure::WallClocks => "?",
            };
            rows.push(row(format!("{about}{}", duration(hop.nanos)), mark, hop.to));
        }
        let header = ["TIME", "", "NODE", "EVENT", "WHAT"].map(str::to_owned);
        let mut text = output::table(header.to_vec(), usize::MAX, rows);
        text += &format!("\n{} in all", duration(why.nanos));
        if let Some(missing) = why.missing {
            text += &format!("\nwhat led to the first of these, {missing}, is not known: it was lost, or not recorded");
        }
        for note in why.hops.iter().filter_map(|hop| meanwhile(graph, hop)) {
            text += "\n";
            text += &note;
        }
        let marks: [(Measure, &str); 2] = [
            (
                Measure::HalfOfRoundTrip,
                "~ half of what the round trip took on its way",
            ),
            (
                Measure::WallClocks,
                "? by the wall clocks of two nodes, which may differ",
            ),
        ];
        for (measure, meaning) in marks {
            if why.hops.iter().any(|hop| hop.measure == measure) {
                text += "\n";
                text += meaning;
            }
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times = [1_234, 1_234_567, 1_234_567_890, -500].map(duration);
        assert_eq!(times, ["1.2 us", "1.23 ms", "1.235 s", "-0.5 us"]);
    }
}
