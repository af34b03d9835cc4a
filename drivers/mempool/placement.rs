// SPDX-License-Identifier: GPL-2.0

//! Allocating: where the pieces go.

use crate::{
    candidates::Candidates,
    cluster::Mempool,
    pool::Owner, //
};
use core::mem::size_of;
use kernel::prelude::*;
use virgo_proto::{
    balance::Policy,
    mempool::{
        op,
        AllocArgs,
        AllocReply,
        SHARED, //
    },
    vuid::{
        NodeId,
        Vuid, //
    }, //
};
use virgo_utils::User;

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
    /// full; [`EDQUOT`] when the user has all of them that one user may have; and what calls to other
    /// nodes fail with, if no node can take it.
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
        if size > self.chunk {
            return self.malloc_split(user, owner, size, target);
        }
        let mut candidates = Candidates::new(self, user, target)?;
        loop {
            let at = candidates.choose()?;
            let node = candidates.node(at);
            match self.malloc_on(user, owner, size, node) {
                Err(e) if Self::another_may(user, e) => candidates.remove(at, e),
                result => return result,
            }
        }
    }

    /// Allocates on one node.
    fn malloc_on(&self, user: &User<'_>, owner: Owner, size: u64, node: NodeId) -> Result<u64> {
        if self.is_here(user, node) {
            return self.pool.alloc(user.config.me, owner, size, None);
        }
        let args = AllocArgs {
            size: size.into(),
            uid: owner.uid.into(),
            flags: if owner.shared { SHARED } else { 0 }.into(),
        };
        let mut reply = [0; size_of::<AllocReply>()];
        self.ask(user, node, op::ALLOC, args.as_bytes(), b"", &mut reply)
            .inspect_err(|&e| self.note_failure(user, node, size, e))?;
        let reply = AllocReply::read_from_bytes(&reply).map_err(|_| EPROTO)?;
        self.rooms.told(node, reply.free.get());
        match Vuid::node_of(reply.id.get()) == node {
            true => Ok(reply.id.get()),
            false => Err(EPROTO),
        }
    }

    /// Bytes that node `node` is taken to have left.
    pub(crate) fn room(&self, user: &User<'_>, node: NodeId) -> u64 {
        match node == user.config.me {
            true => self.pool.room(),
            false => self.rooms.of(node),
        }
    }
}
