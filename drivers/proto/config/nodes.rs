// SPDX-License-Identifier: GPL-2.0

//! The nodes of a cluster.

use super::limits::MAX_NODES;
use crate::vuid::NodeId;
use core::net::Ipv4Addr;

/// The nodes of a cluster: the node at index `i` has number `i + 1`.
///
/// # Invariants
///
/// No address is there twice.
#[derive(Clone, Copy, Debug)]
pub struct Nodes {
    addresses: [Ipv4Addr; MAX_NODES],
    count: usize,
}

impl Nodes {
    /// No node.
    pub const fn new() -> Self {
        Nodes {
            addresses: [Ipv4Addr::UNSPECIFIED; MAX_NODES],
            count: 0,
        }
    }

    /// Appends a node. An address that is there already is passed over, as the original's sample
    /// files name one machine twice.
    ///
    /// # Errors
    ///
    /// The reason, when the list is full or the address cannot be a node's.
    pub fn add(&mut self, address: Ipv4Addr) -> Result<(), &'static str> {
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            return Err("0.0.0.0, multicast and broadcast are not the address of a machine");
        }
        if self.iter().any(|(_, known)| known == address) {
            return Ok(());
        }
        // INVARIANT: `address` is not among the first `count`.
        let place = self
            .addresses
            .get_mut(self.count)
            .ok_or("more than 64 nodes")?;
        *place = address;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// The nodes with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Ipv4Addr)> + '_ {
        (1..).zip(self.addresses.iter().copied().take(self.count))
    }

    /// The address of node `id`.
    pub fn address(&self, id: NodeId) -> Option<Ipv4Addr> {
        let index = usize::from(id).checked_sub(1)?;
        self.addresses
            .get(index)
            .copied()
            .filter(|_| index < self.count)
    }

    /// The number of the node at `address`.
    pub fn number(&self, address: Ipv4Addr) -> Option<NodeId> {
        self.iter()
            .find(|&(_, known)| known == address)
            .map(|(id, _)| id)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self::new()
    }
}
