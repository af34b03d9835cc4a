// SPDX-License-Identifier: GPL-2.0
//! How a service reaches itself on other nodes.

use super::format::{FormatError, lines, number};
use std::str::FromStr;

/// The nodes that a service of this node has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Peers {
    /// They, by number.
    pub peers: Vec<Peer>,
}

/// A node that a service of this node has used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Peer {
    /// Number of the node.
    pub node: u8,
    /// `up` while there is a connection, otherwise `down`.
    pub state: String,
    /// Connections made so far.
    pub connections: u64,
    /// Calls that wait for an answer.
    pub calls: u64,
}

impl FromStr for Peers {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let mut peers = Vec::new();
        lines(text, |words| {
            let [node, state, connections, calls, ..] = *words else {
                return Err("expected four fields");
            };
            peers.push(Peer {
                node: number(node)?,
                state: state.to_owned(),
                connections: number(connections)?,
                calls: number(calls)?,
            });
            Ok(())
        })?;
        Ok(Self { peers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read_as_the_module_writes_them() {
        let text = "# node state connections calls\n2 up 3 1\n3 down 0 0\n";
        let peers = text.parse::<Peers>().unwrap().peers;
        let expected = Peer {
            node: 2,
            state: "up".to_owned(),
            connections: 3,
            calls: 1,
        };
        assert_eq!(peers[0], expected);
        assert_eq!((peers.len(), peers[1].node), (2, 3));
    }

    #[test]
    fn a_service_without_peers_has_none() {
        assert_eq!("".parse(), Ok(Peers::default()));
    }
}
