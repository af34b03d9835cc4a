// SPDX-License-Identifier: GPL-2.0

//! Allocating: where the pieces go.

use crate::{
    candidates::Candidates,
    cluster::Mempool,
    local::ObjectOwner,
    remote,
    target::AllocTarget, //
};
use kernel::prelude::*;
use virgo_proto::vuid::NodeId;
use virgo_utils::{
    Attempt,
    User, //
};

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
        target: AllocTarget,
    ) -> Result<u64> {
        if size == 0 {
            return Err(EINVAL);
        }
        let owner = ObjectOwner {
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
            let attempt = candidates.attempt(user);
            match self.malloc_on(&attempt, owner, size, node) {
                Err(e) if Self::another_may(user, e) => candidates.remove(at, e),
                result => return result,
            }
        }
    }

    /// Allocates on one node.
    fn malloc_on(
        &self,
        attempt: &Attempt<'_>,
        owner: ObjectOwner,
        size: u64,
        node: NodeId,
    ) -> Result<u64> {
        let user = &attempt.user;
        if self.is_here(user, node) {
            return self.pool.alloc(user.config.me, owner, size, None);
        }
        let reply = remote::alloc(&self.client, user, node, owner, size)
            .inspect_err(|&e| self.note_failure(attempt, node, size, e))?;
        self.rooms.told(node, reply.free.get());
        Ok(reply.id.get())
    }
}
