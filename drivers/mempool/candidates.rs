// SPDX-License-Identifier: GPL-2.0

//! The nodes that an allocation may go to.

use crate::{
    cluster::Mempool,
    placement::Target, //
};
use kernel::prelude::*;
use linux::crypto;
use virgo_proto::{
    balance::{
        self,
        Policy, //
    },
    config::MAX_NODES,
    vuid::{
        bit,
        NodeId, //
    }, //
};
use virgo_utils::User;

/// The nodes that are left for an allocation, and what is known of them.
pub(crate) struct Candidates {
    policy: Policy,
    nodes: [NodeId; MAX_NODES],
    /// Bytes that each is taken to have left.
    room: [u64; MAX_NODES],
    /// So many of them are left.
    count: usize,
    /// Why those that are not left any more could not take it.
    error: Error,
}

impl Candidates {
    /// All nodes of `target`.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if there is no such node.
    pub(crate) fn new(pool: &Mempool, user: &User<'_>, target: Target) -> Result<Self> {
        let mut this = Candidates {
            policy: Policy::Random,
            nodes: [0; MAX_NODES],
            room: [0; MAX_NODES],
            count: 0,
            error: ENOMEM,
        };
        match target {
            Target::Node(node) => {
                user.config.nodes.address(node).ok_or(ENODEV)?;
                this.add(pool, user, node);
            }
            Target::Policy(policy) => {
                this.policy = policy;
                let nodes = user.config.nodes.iter().map(|(node, _)| node);
                nodes
                    .filter(|&node| user.config.used & bit(node) != 0)
                    .for_each(|node| this.add(pool, user, node));
            }
        }
        Ok(this)
    }

    fn add(&mut self, pool: &Mempool, user: &User<'_>, node: NodeId) {
        let at = self.count;
        if let (Some(to), Some(room)) = (self.nodes.get_mut(at), self.room.get_mut(at)) {
            *to = node;
            *room = pool.room(user, node);
            self.count += 1;
        }
    }

    /// The index of the node that gets the next piece.
    ///
    /// # Errors
    ///
    /// Why all those that were left have failed.
    pub(crate) fn choose(&self) -> Result<usize> {
        let room = self.room.get(..self.count).unwrap_or_default();
        balance::choose(self.policy, room, crypto::random_u32()).ok_or(self.error)
    }

    /// How many are left.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The nodes that are left.
    pub(crate) fn nodes(&self) -> &[NodeId] {
        self.nodes.get(..self.count).unwrap_or_default()
    }

    /// The node with this index; 0 if there is none.
    pub(crate) fn node(&self, at: usize) -> NodeId {
        self.nodes.get(at).copied().unwrap_or_default()
    }

    /// The node with this index is going to have `bytes` less.
    pub(crate) fn plan(&mut self, at: usize, bytes: u64) {
        if let Some(room) = self.room.get_mut(at) {
            *room = room.saturating_sub(bytes);
        }
    }

    /// The node with this index has `free` bytes left.
    pub(crate) fn told(&mut self, at: usize, free: u64) {
        if let Some(room) = self.room.get_mut(at) {
            *room = free;
        }
    }

    /// The node with this index cannot take it: the last one takes its index.
    ///
    /// That a user has used up a share is said before what else is wrong: it is the user's to mend.
    pub(crate) fn remove(&mut self, at: usize, error: Error) {
        if self.error != EDQUOT {
            self.error = error;
        }
        if let Some(last) = self.count.checked_sub(1).filter(|&last| at <= last) {
            self.nodes.swap(at, last);
            self.room.swap(at, last);
            self.count = last;
        }
    }
}
