// SPDX-License-Identifier: GPL-2.0

//! Freeing allocations and all their pieces.

use crate::{ask, cluster::Mempool, object::Map};
use kernel::prelude::*;
use virgo_proto::{
    mempool::MAP,
    vuid::{NodeId, Vuid},
};
use virgo_utils::User;

impl Mempool {
    /// Frees allocation `id`. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]. If a node that has a piece cannot be reached the allocation stays,
    /// and can be freed again.
    pub(crate) fn free(&self, user: &User<'_>, id: u64) -> Result {
        let node = Vuid::node_of(id);
        if !self.is_here(user, node) {
            return match self.free_remote(user, node, id, 0) {
                Err(EXDEV) => {
                    let map = self.fetch_map(user, node, id)?;
                    self.free_all(user, &map)?;
                    self.free_remote(user, node, id, MAP)
                }
                result => result,
            };
        }
        let object = self.pool.get(self.open(user, id)?)?;
        let content = object.open(user.uid)?;
        if let Some(map) = &content.map {
            self.free_all(user, map)?;
        }
        self.free_here(user, id)
    }

    /// Frees an object of this node. A map from another node may name any: it has to be the
    /// user's.
    fn free_here(&self, user: &User<'_>, id: u64) -> Result {
        let vuid = self.open(user, id)?;
        self.pool.get(vuid)?.open(user.uid)?;
        self.pool.free(vuid)
    }

    fn free_remote(&self, user: &User<'_>, node: NodeId, id: u64, flags: u32) -> Result {
        user.config.nodes.address(node).ok_or(EINVAL)?;
        ask::free_remote(&self.client, node, id, user.uid, flags, user.deadline)
    }

    /// Frees all pieces. Those that are gone already do not count as an error: their node has
    /// restarted, or an earlier attempt got that far.
    fn free_all(&self, user: &User<'_>, map: &Map) -> Result {
        for &id in &map.ids {
            let node = Vuid::node_of(id);
            let freed = if self.is_here(user, node) {
                self.free_here(user, id)
            } else {
                self.free_remote(user, node, id, 0)
            };
            match freed {
                Ok(()) | Err(ESTALE) => (),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
