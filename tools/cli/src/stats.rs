// SPDX-License-Identifier: GPL-2.0
//! Counters of the services.

use crate::output::{self, Printer};
use anyhow::Result;
use std::{collections::BTreeMap, time::Duration};
use virgo::status::{Operation, Status};

const HEADER: [&str; 8] = [
    "SERVICE", "KIND", "NAME", "CALLS", "ERRORS", "MEAN", "P50", "P99",
];

pub(crate) fn show(output: Printer, service: Option<String>) -> Result<()> {
    let status = Status::default();
    let services = match service {
        Some(service) => vec![service],
        None => status.services()?,
    };
    let mut stats = BTreeMap::new();
    for service in services {
        let operations = status.stats(&service)?.operations;
        stats.insert(service, operations);
    }
    output.print(&stats, || {
        let rows = stats.iter().flat_map(|(service, operations)| {
            let row = |operation| row(service, operation);
            operations.iter().map(row)
        });
        output::table(HEADER.map(str::to_owned).to_vec(), 3, rows.collect())
    })
}

fn row(service: &str, operation: &Operation) -> Vec<String> {
    vec![
        service.to_owned(),
        operation.kind.clone(),
        operation.name.clone(),
        operation.calls.to_string(),
        operation.errors.to_string(),
        time(operation.mean_ns),
        time(operation.p50_ns),
        time(operation.p99_ns),
    ]
}

fn time(nanoseconds: Option<u64>) -> String {
    match nanoseconds {
        Some(nanoseconds) => format!("{:.1?}", Duration::from_nanos(nanoseconds)),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time(None), "-");
        assert_eq!(time(Some(256)), "256.0ns");
        assert_eq!(time(Some(1_234_567)), "1.2ms");
    }
}
