// SPDX-License-Identifier: GPL-2.0

//! Allocating: where the pieces go.

use crate::{cluster::Mempool, object::Map, orphans::Orphan, pool::Owner};
use core::mem::size_of;
use kernel::{prelude::*, sync::atomic::Relaxed};
use linux::crypto;
use virgo_proto::{
    balance::{self, Policy},
    config::MAX_NODES,
    mempool::{op, AllocArgs, AllocReply, MAX_PIECES, PIECE, SHARED},
    vuid::{bit, NodeId, Vuid},
};
use virgo_utils::{Backlog, User};

/// Where an allocation is to go.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Where the policy says.
    Policy(Policy),
    /// To this node.
    Node(NodeId),
}

impl Mempool {
    /// Allocates `size` bytes, which are zero, and returns the id. May sleep, killably.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for no bytes; [`ENODEV`] for an unknown node; [`ENOMEM`] when the pools are
    /// full; and what calls to other nodes fail with, if no node can take it.
    pub(crate) fn malloc(
        &self,
        user: &User<'_>,
        size: u64,
        shared: bool,
        target: Target,
    ) -> Result<u64> {
        if size == 0 {
            return Err(EINVAL);
        }
        let owner = Owner {
            uid: user.uid,
            shared,
        };
        if size <= self.chunk {
            return self.piece(user, owner, size, target, false);
        }
        let count = size.div_ceil(self.chunk);
        if count > MAX_PIECES {
            return Err(ENOMEM);
        }
        let mut pieces = Pieces {
            pool: self,
            uid: user.uid,
            ids: KVVec::with_capacity(count as usize, GFP_KERNEL)?,
        };
        let (mut left, mut told) = (size, 0);
        while left > 0 {
            if left > self.all_room(user, target, told) {
                return Err(ENOMEM);
            }
            let bytes = left.min(self.chunk);
            let id = self.piece(user, owner, bytes, target, true)?;
            // There is capacity for all.
            pieces.ids.push(id, GFP_KERNEL)?;
            told |= bit(Vuid::node_of(id));
            left -= bytes;
        }
        let mut ids = KVVec::new();
        ids.extend_from_slice(&pieces.ids, GFP_KERNEL)?;
        let map = Map {
            size,
            chunk: self.chunk,
            ids,
        };
        let id = self.pool.keep_map(user.config, owner, map)?;
        pieces.ids.clear();
        Ok(id)
    }

    /// The most that the nodes of `target` can still take, as far as is known: those of `told`
    /// have just said how much they have left. So an allocation that is much too large fails
    /// before it has filled all pools.
    fn all_room(&self, user: &User<'_>, target: Target, told: u64) -> u64 {
        let room = |node| match told & bit(node) {
            0 if node != user.config.me => u64::MAX,
            _ => self.room(user, node),
        };
        match target {
            Target::Node(node) => room(node),
            Target::Policy(_) => {
                let nodes = user.config.nodes.iter().map(|(node, _)| node);
                nodes
                    .filter(|&node| user.config.used & bit(node) != 0)
                    .fold(0, |sum: u64, node| sum.saturating_add(room(node)))
            }
        }
    }

    /// Allocates on one node; where the policy chooses, on another one if that cannot.
    fn piece(
        &self,
        user: &User<'_>,
        owner: Owner,
        size: u64,
        target: Target,
        of_map: bool,
    ) -> Result<u64> {
        let policy = match target {
            Target::Node(node) => {
                user.config.nodes.address(node).ok_or(ENODEV)?;
                return self.piece_on(user, owner, size, node, of_map);
            }
            Target::Policy(policy) => policy,
        };
        let mut candidates = [0; MAX_NODES];
        let mut room = [0; MAX_NODES];
        let mut count = 0;
        for (node, _) in user.config.nodes.iter() {
            let used = user.config.used & bit(node) != 0;
            if let (true, Some(to), Some(free)) =
                (used, candidates.get_mut(count), room.get_mut(count))
            {
                *to = node;
                *free = self.room(user, node);
                count += 1;
            }
        }
        let mut error = ENOMEM;
        while count > 0 {
            let known = room.get(..count).unwrap_or_default();
            let chosen = balance::choose(policy, known, crypto::random_u32()).unwrap_or(0);
            let node = candidates.get(chosen).copied().unwrap_or(user.config.me);
            match self.piece_on(user, owner, size, node, of_map) {
                Err(
                    e @ (ENOMEM | EHOSTDOWN | EKEYREJECTED | EPERM | EPROTO | ECONNRESET
                    | ETIMEDOUT),
                ) if !user.deadline.passed() => {
                    error = e;
                }
                result => return result,
            }
            count -= 1;
            candidates.swap(chosen, count);
            room.swap(chosen, count);
        }
        Err(error)
    }

    fn piece_on(
        &self,
        user: &User<'_>,
        owner: Owner,
        size: u64,
        node: NodeId,
        of_map: bool,
    ) -> Result<u64> {
        if self.is_here(user, node) {
            return self.pool.alloc(user.config, owner, size, None);
        }
        let mut flags = 0;
        if owner.shared {
            flags |= SHARED;
        }
        if of_map {
            flags |= PIECE;
        }
        let args = AllocArgs {
            size: size.into(),
            uid: owner.uid.into(),
            flags: flags.into(),
        };
        let mut reply = [0; size_of::<AllocReply>()];
        let result = self.ask(user, node, op::ALLOC, args.as_bytes(), b"", &mut reply);
        let reply = match result {
            Ok(_) => AllocReply::read_from_bytes(&reply).map_err(|_| EPROTO)?,
            Err(e) => {
                self.set_room(node, 0);
                return Err(e);
            }
        };
        self.set_room(node, reply.free.get());
        match Vuid::node_of(reply.id.get()) == node {
            true => Ok(reply.id.get()),
            false => Err(EPROTO),
        }
    }

    fn room(&self, user: &User<'_>, node: NodeId) -> u64 {
        if node == user.config.me {
            return self.pool.budget().free();
        }
        let room = self.room.get(usize::from(node).wrapping_sub(1));
        room.map_or(0, |room| room.load(Relaxed))
    }

    fn set_room(&self, node: NodeId, free: u64) {
        if let Some(room) = self.room.get(usize::from(node).wrapping_sub(1)) {
            room.store(free, Relaxed);
        }
    }
}

/// Pieces of an allocation that is not complete: they become orphans when this is dropped.
struct Pieces<'a> {
    pool: &'a Mempool,
    uid: u32,
    ids: KVVec<u64>,
}

impl Drop for Pieces<'_> {
    fn drop(&mut self) {
        let uid = self.uid;
        for &id in &self.ids {
            Backlog::add(&self.pool.orphans, Orphan { id, uid });
        }
    }
}
