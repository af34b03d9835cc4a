// SPDX-License-Identifier: GPL-2.0
//! Names and addresses of the nodes, and the links between them.
//!
//! Every pair of nodes has a link of its own: one network card at each end and nothing between
//! them, so that there is no switch to run, and cutting a pair off touches no other. The MAC
//! address tells the guest which node is at the other end; see `qemu/guest/init`.

use std::net::Ipv4Addr;

/// The most nodes that a cluster can have.
pub const MAX_NODES: u8 = 8;

/// What node `number` is called.
pub fn name(number: u8) -> String {
    format!("node{number}")
}

/// The number of the node called `name`, whether or not there is such a node.
pub fn number(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("node")?;
    let number = digits.parse().ok()?;
    // Not `node01` or `node+1`.
    (digits == format!("{number}")).then_some(number)
}

/// The address of node `number`.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, number)
}

/// The MAC address of the card of node `from` that leads to node `to`.
pub(crate) fn mac(from: u8, to: u8) -> String {
    format!("52:54:00:09:{from:02x}:{to:02x}")
}

/// What QEMU calls the link to node `to`.
pub(crate) fn link(to: u8) -> String {
    format!("link{to}")
}

/// The other nodes of a cluster of `nodes`, as node `number` sees it.
pub(crate) fn peers(number: u8, nodes: u8) -> impl Iterator<Item = u8> {
    (1..=nodes).filter(move |&peer| peer != number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for n in 1..=MAX_NODES {
            assert_eq!(number(&name(n)), Some(n));
        }
    }

    #[test]
    fn other_spellings_are_no_names() {
        for wrong in [
            "", "node", "node01", "node+1", "node-1", "node1 ", "Node1", "1", "node256",
        ] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn both_ends_of_a_link_differ() {
        assert_eq!(mac(1, 3), "52:54:00:09:01:03");
        assert_eq!(mac(3, 1), "52:54:00:09:03:01");
    }

    #[test]
    fn nobody_is_their_own_peer() {
        assert_eq!(peers(2, 3).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(peers(1, 1).count(), 0);
    }
}
