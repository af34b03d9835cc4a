// SPDX-License-Identifier: GPL-2.0
//! What may be wrong with this machine as a node of a cluster, and what to do about it.

mod checks;
mod finding;
mod machine;
mod reach;

pub(crate) use checks::PORTS;

use crate::{config, output::Printer};
use anyhow::Result;
use finding::{Finding, Level};
use machine::Machine;
use std::{path::Path, process::ExitCode};
use virgo::status::Status;

/// Looks at everything. Fails if there is a problem; warnings are none.
pub(crate) fn run(output: Printer) -> Result<ExitCode> {
    let machine = Machine::look(Path::new("/"));
    let mut findings = checks::all(&machine);
    findings.extend(configuration(&config::faults()));
    findings.extend(reach::all(&Status::default(), &machine));
    output.print(&findings, || text(&findings))?;
    Ok(match findings.iter().any(|f| f.level == Level::Problem) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// Files, keys and addresses, as 'virgo config check' judges them.
fn configuration(faults: &[String]) -> Vec<Finding> {
    let advice = "correct the file, then: virgo config check && virgo config reload";
    match faults {
        [] => vec![Finding::ok(
            "configuration",
            "files, keys and addresses are good",
        )],
        faults => faults
            .iter()
            .map(|fault| Finding::problem("configuration", fault, advice))
            .collect(),
    }
}

fn text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let level = match finding.level {
            Level::Ok => "ok     ",
            Level::Warning => "WARNING",
            Level::Problem => "PROBLEM",
        };
        let mut line = format!("{level} {}: {}\n", finding.check, finding.seen);
        if let Some(advice) = &finding.advice {
            line += &format!("        -> {advice}\n");
        }
        line
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_below_what_was_seen() {
        let findings = [
            Finding::ok("memory", "much"),
            Finding::problem("device", "none", "make one"),
        ];
        let expected = "ok      memory: much\nPROBLEM device: none\n        -> make one\n";
        assert_eq!(text(&findings), expected);
    }

    #[test]
    fn each_fault_of_the_configuration_is_a_problem() {
        let found = configuration(&["a:1: no".into(), "b: no".into()]);
        assert!(found.iter().all(|finding| finding.level == Level::Problem));
        assert_eq!(found.len(), 2);
        assert_eq!(configuration(&[])[0].level, Level::Ok);
    }
}
