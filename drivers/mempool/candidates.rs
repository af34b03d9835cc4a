// SPDX-License-Identifier: GPL-2.0

//! The nodes that an allocation may go to.

use crate::{
    cluster::Mempool,
    target::AllocTarget, //
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
        NodeId,
        NodeSetIter, //
    }, //
};
use virgo_utils::{
    Attempt,
    User, //
};

/// The nodes that are left for an allocation, and what is known of them.
///
/// Those that could not be reached lately are tried when all others have failed.
pub(crate) struct Candidates {
    policy: Policy,
    nodes: [NodeId; MAX_NODES],
    /// Bytes that each is taken to have left.
    room: [u64; MAX_NODES],
    /// So many of them are left.
    count: usize,
    /// Nodes that are passed over as long as there are others.
    down: u64,
    /// Why those that are not left any more could not take it.
    error: Option<Error>,
}

impl Candidates {
    /// All nodes of `target`.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if there is no such node.
    pub(crate) fn new(pool: &Mempool, user: &User<'_>, target: AllocTarget) -> Result<Self> {
        let mut this = Candidates {
            policy: Policy::Random,
            nodes: [0; MAX_NODES],
            room: [0; MAX_NODES],
            count: 0,
            down: 0,
            error: None,
        };
        match target {
            AllocTarget::Node(node) => {
                user.config.nodes.address(node).ok_or(ENODEV)?;
                this.add(node, u64::MAX);
            }
            AllocTarget::Policy(policy) => {
                this.policy = policy;
                let nodes = user.config.nodes.iter().map(|(node, _)| node);
                let nodes = nodes.filter(|&node| user.config.used & bit(node) != 0);
                let mut up = 0;
                for node in nodes {
                    match pool.is_down(user, node) {
                        true => this.down |= bit(node),
                        false => up |= bit(node),
                    }
                }
                let known_rooms = NodeSetIter(up).filter_map(|node| pool.room(user, node));
                let unknown = balance::unknown_room(known_rooms);
                for node in NodeSetIter(up) {
                    this.add(node, pool.room(user, node).unwrap_or(unknown));
                }
                this.use_down();
            }
        }
        Ok(this)
    }

    fn add(&mut self, node: NodeId, free: u64) {
        let at = self.count;
        if let (Some(to), Some(room)) = (self.nodes.get_mut(at), self.room.get_mut(at)) {
            *to = node;
            *room = free;
            self.count += 1;
        }
    }

    /// If no other nodes are left, those that could not be reached lately are candidates, too.
    fn use_down(&mut self) {
        if self.count == 0 {
            let down = core::mem::take(&mut self.down);
            NodeSetIter(down).for_each(|node| self.add(node, u64::MAX));
        }
    }

    /// The index of the node that gets the next piece.
    ///
    /// # Errors
    ///
    /// Why all those that were left have failed.
    pub(crate) fn choose(&self) -> Result<usize> {
        let room = self.room.get(..self.count).unwrap_or_default();
        balance::choose(self.policy, room, crypto::random_u32()).ok_or(self.error.unwrap_or(ENOMEM))
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

    /// A request to one of them for `user`: it leaves time for the others, if there are any.
    pub(crate) fn attempt<'a>(&self, user: &User<'a>) -> Attempt<'a> {
        match self.count > 1 || self.down != 0 {
            true => Attempt::before_others(user),
            false => Attempt::last(user),
        }
    }

    /// The node with this index cannot take it: the last one takes its index.
    ///
    /// That a user has used up a share is said before what else is wrong: it is the user's to mend. That
    /// pools are full comes before what is wrong with nodes that are out of reach.
    pub(crate) fn remove(&mut self, at: usize, error: Error) {
        self.error = match (self.error, error) {
            (Some(first @ EDQUOT), _) => Some(first),
            (Some(first @ ENOMEM), e) if e != EDQUOT => Some(first),
            (_, e) => Some(e),
        };
        if let Some(last) = self.count.checked_sub(1).filter(|&last| at <= last) {
            self.nodes.swap(at, last);
            self.room.swap(at, last);
            self.count = last;
        }
        self.use_down();
    }
}

impl Mempool {
    /// Bytes that node `node` has left, if that is known.
    fn room(&self, user: &User<'_>, node: NodeId) -> Option<u64> {
        match node == user.config.me {
            true => Some(self.pool.room()),
            false => self.rooms.of(node),
        }
    }

    /// Whether node `node` could not be reached lately.
    fn is_down(&self, user: &User<'_>, node: NodeId) -> bool {
        node != user.config.me && self.rooms.is_down(node)
    }

    /// Whether another node may be able to do what one has failed to do with error `e`.
    pub(crate) fn another_may(user: &User<'_>, e: Error) -> bool {
        matches!(
            e,
            EDQUOT | ENOMEM | EHOSTDOWN | EKEYREJECTED | EPERM | EPROTO | ECONNRESET | ETIMEDOUT
        ) && !user.deadline.passed()
    }

    /// Notes that node `node` has answered a request to allocate `size` bytes by error `e`, or not at
    /// all.
    pub(crate) fn note_failure(&self, attempt: &Attempt<'_>, node: NodeId, size: u64, e: Error) {
        match e {
            // It does not have room for so many.
            ENOMEM => self.rooms.revise(node, |room| {
                room.unwrap_or(u64::MAX).min(size.saturating_sub(1))
            }),
            e if attempt.is_nodes_fault(&self.client, node, e) => self.rooms.lost(node),
            _ => (),
        }
    }
}
