// SPDX-License-Identifier: GPL-2.0
//! Whether this machine and the other nodes reach each other, port by port.

use super::{checks::PORTS, finding::Finding, machine::Machine};
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};
use virgo::{
    Call, Ended, On,
    status::{NodeAddress, Status},
};

/// How long another node has for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What came of connecting to a port of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connected {
    Yes,
    /// The machine is there, and nobody listens.
    Refused,
    /// Nothing came back.
    Silent,
}

/// Asks all other nodes, at the same time.
pub(super) fn all(status: &Status, machine: &Machine) -> Vec<Finding> {
    let config = match status.config() {
        Ok(config) => config,
        Err(_) if !machine.modules.iter().any(|name| name == "config") => return Vec::new(),
        Err(error) => {
            let seen = format!("not looked at: {error}");
            return vec![Finding::warning("peers", seen, "run virgo doctor as root")];
        }
    };
    let others: Vec<_> = config
        .nodes
        .iter()
        .filter(|node| node.number != config.me)
        .collect();
    if others.is_empty() {
        return vec![Finding::ok("peers", "this node is alone")];
    }
    thread::scope(|scope| {
        let asked: Vec<_> = others
            .iter()
            .map(|node| scope.spawn(|| ask(**node, machine)))
            .collect();
        asked
            .into_iter()
            .flat_map(|node| node.join().unwrap_or_default())
            .collect()
    })
}

fn ask(node: NodeAddress, machine: &Machine) -> Vec<Finding> {
    let services = PORTS.iter().filter(|(service, port)| {
        machine.modules.iter().any(|name| name == service) && machine.listening.contains(port)
    });
    let there: Vec<_> = services
        .map(|&(service, port)| (service, port, connect(node.address, port)))
        .collect();
    let mut findings = vec![way_there(node, &there)];
    if there.contains(&("cpupooling", 10000, Connected::Yes)) {
        let call = Call::new("noop").on(On::Node(node.number.into()));
        let outcome = virgo::within(TIMEOUT).run(&call);
        findings.push(way_back(node, outcome.map(|outcome| outcome.ended)));
    }
    findings
}

fn connect(address: Ipv4Addr, port: u16) -> Connected {
    let address = SocketAddr::from((address, port));
    match TcpStream::connect_timeout(&address, TIMEOUT) {
        Ok(_) => Connected::Yes,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Connected::Refused,
        Err(_) => Connected::Silent,
    }
}

fn way_there(node: NodeAddress, there: &[(&str, u16, Connected)]) -> Finding {
    let with = |how| {
        let ports = there
            .iter()
            .filter(move |(_, _, connected)| *connected == how);
        let ports: Vec<_> = ports.map(|(_, port, _)| port.to_string()).collect();
        ports.join(",")
    };
    let (refused, silent) = (with(Connected::Refused), with(Connected::Silent));
    let name = format!("node {} ({})", node.number, node.address);
    if !silent.is_empty() {
        let advice = format!(
            "see whether that machine runs, and let TCP port {silent} through its firewall from this one's address"
        );
        return Finding::problem(
            "peers",
            format!("{name} does not answer at port {silent}"),
            advice,
        );
    }
    if !refused.is_empty() {
        let seen = format!("nobody listens at port {refused} of {name}");
        return Finding::problem(
            "peers",
            seen,
            "load the modules there, or see virgo doctor there",
        );
    }
    Finding::ok("peers", format!("{name} can be reached at each port"))
}

/// The result of a call comes by a connection that the other node makes.
fn way_back(node: NodeAddress, ended: virgo::Result<Ended>) -> Finding {
    let name = format!("node {} ({})", node.number, node.address);
    match ended {
        Ok(Ended::Returned(_)) => Finding::ok(
            "peers",
            format!("{name} has done a call, and brought the result"),
        ),
        Ok(Ended::Failed(libc::ETIMEDOUT)) => Finding::problem(
            "peers",
            format!("{name} was asked for a call, and did not bring the result"),
            "let TCP port 10000 through this machine's firewall from that node's address",
        ),
        Ok(other) => Finding::problem(
            "peers",
            format!("{name} was asked for a call, which ended so: {other:?}"),
            "see virgo doctor there",
        ),
        Err(error) => Finding::problem(
            "peers",
            format!("{name} was asked for a call: {error}"),
            "docs: operations, 'Trouble', says what the error means",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    const NODE: NodeAddress = NodeAddress {
        number: 2,
        address: Ipv4Addr::new(192, 0, 2, 2),
    };

    #[test]
    fn all_silent_ports_are_named() {
        let there = [
            ("mempool", 30000, Connected::Silent),
            ("queue", 60000, Connected::Silent),
            ("cloudfs", 50000, Connected::Yes),
        ];
        let finding = way_there(NODE, &there);
        assert_eq!(finding.level, Level::Problem);
        assert!(finding.seen.ends_with("port 30000,60000"), "{finding:?}");
        assert!(
            finding
                .advice
                .is_some_and(|advice| advice.contains("firewall"))
        );
    }

    #[test]
    fn who_refuses_is_told_from_who_is_silent() {
        let finding = way_there(NODE, &[("mempool", 30000, Connected::Refused)]);
        assert_eq!(finding.level, Level::Problem);
        assert!(finding.seen.contains("nobody listens"), "{finding:?}");
        let finding = way_there(NODE, &[("mempool", 30000, Connected::Yes)]);
        assert_eq!(finding.level, Level::Ok);
    }

    #[test]
    fn a_result_that_comes_is_the_way_back() {
        assert_eq!(way_back(NODE, Ok(Ended::Returned(0))).level, Level::Ok);
        let late = Ended::Failed(libc::ETIMEDOUT);
        assert_eq!(way_back(NODE, Ok(late)).level, Level::Problem);
    }
}
