// SPDX-License-Identifier: GPL-2.0
//! Who is connected to the services.

use crate::{
    options::SessionsOptions,
    output::{self, Printer},
};
use anyhow::{Result, ensure};
use std::{collections::BTreeMap, time::Duration};
use virgo::status::{SessionStatus, Status};

const HEADER: [&str; 6] = ["SERVICE", "SESSION", "KIND", "FROM", "WHO", "AGE"];

pub(crate) fn run(output: Printer, options: &SessionsOptions) -> Result<()> {
    let status = Status::default();
    match (&options.service, options.end) {
        (Some(service), Some(number)) => end(&status, service, number),
        (service, _) => show(output, &status, service.as_deref()),
    }
}

fn end(status: &Status, service: &str, number: u64) -> Result<()> {
    let found = status.end_session(service, number)?;
    ensure!(found, "{service} has no session {number}");
    Ok(())
}

fn show(output: Printer, status: &Status, service: Option<&str>) -> Result<()> {
    let services = match service {
        Some(service) => vec![service.to_owned()],
        None => status.services()?,
    };
    let mut all = BTreeMap::new();
    for service in services {
        let sessions = status.sessions(&service)?.sessions;
        all.insert(service, sessions);
    }
    output.print(&all, || {
        let rows = all.iter().flat_map(|(service, sessions)| {
            let row = |session| row(service, session);
            sessions.iter().map(row)
        });
        output::table(HEADER.map(str::to_owned).to_vec(), 5, rows.collect())
    })
}

fn row(service: &str, session: &SessionStatus) -> Vec<String> {
    let who = match (session.kind.as_str(), session.who) {
        ("node", Some(node)) => format!("node {node}"),
        (_, Some(uid)) => format!("uid {uid}"),
        (_, None) => "-".to_owned(),
    };
    vec![
        service.to_owned(),
        session.number.to_string(),
        session.kind.clone(),
        session.from.to_string(),
        who,
        format!("{:?}", Duration::from_secs(session.age_s)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_who_it_is() {
        let session = |kind: &str, who| SessionStatus {
            number: 7,
            kind: kind.to_owned(),
            from: "10.9.0.2:41000".parse().unwrap(),
            who,
            age_s: 90,
        };
        let row = |kind, who| row("mempool", &session(kind, who)).join(" ");
        let start = |kind| format!("mempool 7 {kind} 10.9.0.2:41000");
        assert_eq!(
            row("node", Some(2)),
            format!("{} node 2 90s", start("node"))
        );
        assert_eq!(row("text", Some(0)), format!("{} uid 0 90s", start("text")));
        assert_eq!(
            row("unproven", None),
            format!("{} - 90s", start("unproven"))
        );
    }
}
