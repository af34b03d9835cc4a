// SPDX-License-Identifier: GPL-2.0
//! Which packets are dropped, why and where.

use super::{
    drop_trace::{DropTrace, Dropped},
    sleep_until, until_signal,
};
use crate::output::{self, Printer};
use anyhow::Result;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How often what was traced is read.
const PERIOD: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct Counts {
    seconds: f64,
    /// Drops that were not counted, since more came than the kernel keeps for 50 ms.
    lost: u64,
    drops: Vec<Count>,
}

#[derive(Serialize, Debug, PartialEq, Eq)]
struct Count {
    reason: String,
    place: String,
    count: u64,
}

pub(super) fn run(output: Printer, time: Option<Duration>) -> Result<ExitCode> {
    let ended = until_signal()?;
    let mut trace = DropTrace::start()?;
    let start = Instant::now();
    let end = time.and_then(|time| start.checked_add(time));
    let mut found = BTreeMap::new();
    let mut lost = 0;
    let mut is_over = false;
    // Once more after the end: what has come until then counts.
    while !is_over {
        let next = Instant::now() + PERIOD;
        is_over = !sleep_until(end.map_or(next, |end| end.min(next)), &ended)
            || end.is_some_and(|end| Instant::now() >= end);
        trace.read(|dropped| match dropped {
            Dropped::Packet { reason, place } => {
                *found
                    .entry((reason.to_owned(), place.to_owned()))
                    .or_insert(0) += 1;
            }
            Dropped::Lost(events) => lost += events,
        })?;
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(trace);
    let counts = Counts {
        seconds,
        lost,
        drops: sorted(found),
    };
    output.print(&counts, || {
        let rows = counts.drops.iter().map(|count| {
            vec![
                count.reason.clone(),
                count.place.clone(),
                count.count.to_string(),
            ]
        });
        output::table(
            ["REASON", "PLACE", "COUNT"].map(str::to_owned).to_vec(),
            2,
            rows.collect(),
        )
    })?;
    if counts.lost > 0 && !output.json {
        output::note(format_args!(
            "virgo: {} more drops came too fast to be counted by reason",
            counts.lost
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The most frequent ones first.
fn sorted(found: BTreeMap<(String, String), u64>) -> Vec<Count> {
    let mut counts: Vec<_> = found
        .into_iter()
        .map(|((reason, place), count)| Count {
            reason,
            place,
            count,
        })
        .collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.count));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_drops_come_first() {
        let key = |reason: &str| (reason.to_owned(), "f".to_owned());
        let found = BTreeMap::from([(key("A"), 1), (key("B"), 3), (key("C"), 1)]);
        let reasons: Vec<_> = sorted(found).into_iter().map(|c| c.reason).collect();
        assert_eq!(reasons, ["B", "A", "C"]);
    }
}
