// SPDX-License-Identifier: GPL-2.0
//! The nodes of the cluster, and whether they are reached.

use crate::output::{self, Printer};
use anyhow::Result;
use libc::{EDQUOT, ENOMEM};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};
use virgo::{
    Allocation, Place,
    status::{Peer, Status},
};

/// How long a node has for answering a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Node {
    number: u8,
    address: Ipv4Addr,
    /// Whether it is the one that this program runs on.
    this: bool,
    /// The services that have used it.
    services: BTreeMap<String, Peer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ping: Option<Ping>,
}

/// What came of asking a node's memory pool for a byte.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Ping {
    Ns(u64),
    Error(String),
}

/// Shows the nodes. Fails if one was asked and has not answered.
pub(crate) fn show(output: Printer, ping: bool) -> Result<ExitCode> {
    let nodes = look(&Status::default(), ping)?;
    output.print(&nodes, || table(&nodes, ping))?;
    Ok(status(&nodes))
}

fn status(nodes: &[Node]) -> ExitCode {
    let is_silent = |node: &Node| matches!(node.ping, Some(Ping::Error(_)));
    match nodes.iter().any(is_silent) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn look(status: &Status, pinging: bool) -> Result<Vec<Node>> {
    let config = status.config()?;
    let mut nodes: Vec<_> = config
        .nodes
        .iter()
        .map(|node| Node {
            number: node.number,
            address: node.address,
            this: node.number == config.me,
            services: BTreeMap::new(),
            ping: None,
        })
        .collect();
    if pinging {
        // All at once: those that are silent take no longer than one.
        thread::scope(|scope| {
            for node in &mut nodes {
                scope.spawn(|| node.ping = Some(ping(node.number)));
            }
        });
    }
    // After the pings, which make connections.
    for service in status.services()? {
        for peer in status.peers(&service)?.peers {
            if let Some(node) = nodes.iter_mut().find(|node| node.number == peer.node) {
                node.services.insert(service.clone(), peer);
            }
        }
    }
    Ok(nodes)
}

fn ping(number: u8) -> Ping {
    let start = Instant::now();
    let allocation = Allocation::new(1)
        .place(Place::Node(number.into()))
        .timeout(PING_TIMEOUT)
        .allocate();
    let time = start.elapsed();
    let freed = match allocation {
        // A full pool is an answer, too.
        Err(error) if matches!(error.errno(), ENOMEM | EDQUOT) => Ok(()),
        allocation => allocation.and_then(|id| virgo::within(PING_TIMEOUT).free(id)),
    };
    match freed {
        Ok(()) => Ping::Ns(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        Err(error) => Ping::Error(error.to_string()),
    }
}

fn table(nodes: &[Node], pinging: bool) -> String {
    let mut header = vec!["NODE", "ADDRESS", "SERVICES"];
    if pinging {
        header.push("PING");
    }
    let rows = nodes.iter().map(|node| {
        let mut row = vec![
            node.number.to_string(),
            node.address.to_string(),
            services(node),
        ];
        match &node.ping {
            Some(Ping::Ns(time)) => row.push(format!("{:.1?}", Duration::from_nanos(*time))),
            Some(Ping::Error(error)) => row.push(error.clone()),
            None => (),
        }
        row
    });
    let header = header.into_iter().map(str::to_owned).collect();
    output::table(header, usize::MAX, rows.collect())
}

fn services(node: &Node) -> String {
    let used = node
        .services
        .iter()
        .map(|(service, peer)| format!("{service} {}", peer.state));
    let used: Vec<_> = node
        .this
        .then(|| "this node".to_owned())
        .into_iter()
        .chain(used)
        .collect();
    if used.is_empty() {
        return "-".to_owned();
    }
    used.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_node_that_does_not_answer_is_a_failure() {
        let node = |ping| Node {
            number: 1,
            address: Ipv4Addr::LOCALHOST,
            this: false,
            services: BTreeMap::new(),
            ping,
        };
        let silent = || node(Some(Ping::Error("node is down".to_owned())));
        assert_eq!(status(&[node(None)]), ExitCode::SUCCESS);
        assert_eq!(status(&[node(Some(Ping::Ns(1)))]), ExitCode::SUCCESS);
        let both = [silent(), node(Some(Ping::Ns(1)))];
        assert_eq!(status(&both), ExitCode::FAILURE);
    }

    #[test]
    fn nodes_are_shown_with_their_services() {
        let folder = tempfile::tempdir().unwrap();
        let config = "self 1\nnode 1 10.9.0.1\nnode 2 10.9.0.2\nnode 3 10.9.0.3\n";
        fs::write(folder.path().join("config"), config).unwrap();
        fs::create_dir(folder.path().join("mempool")).unwrap();
        let peers = "# node state connections calls\n3 up 1 0\n";
        fs::write(folder.path().join("mempool/peers"), peers).unwrap();
        fs::write(folder.path().join("mempool/stats"), "").unwrap();

        let nodes = look(&Status::at(folder.path()), false).unwrap();
        let expected = "NODE  ADDRESS   SERVICES\n\
                        1     10.9.0.1  this node\n\
                        2     10.9.0.2  -\n\
                        3     10.9.0.3  mempool up";
        assert_eq!(table(&nodes, false), expected);
    }
}
