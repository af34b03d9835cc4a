// SPDX-License-Identifier: GPL-2.0

//! Freeing allocations and all their pieces.

use crate::{
    ask,
    cluster::Mempool, //
};
use kernel::prelude::*;
use virgo_proto::{
    mempool::MAP,
    vuid::{
        bit,
        NodeId,
        Vuid, //
    }, //
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
                    self.maps.forget(id);
                    let map = self.fetch_map(user, node, id)?;
                    self.free_pieces(user, &map.ids)?;
                    self.free_remote(user, node, id, MAP)
                }
                result => result,
            };
        }
        let place = self.pool.open(user.config.me, id)?;
        let object = self.pool.get(place)?;
        if let Some(map) = &object.open_to_free(user.uid)?.map {
            self.free_pieces(user, &map.ids)?;
        }
        self.pool.free(place)
    }

    fn free_remote(&self, user: &User<'_>, node: NodeId, id: u64, flags: u32) -> Result {
        user.config.nodes.address(node).ok_or(EINVAL)?;
        ask::free_remote(&self.client, node, id, user.uid, flags, user.deadline)
    }

    /// Frees the pieces of an allocation. Those that are gone already do not count as an error: their
    /// node has restarted, or an earlier attempt got that far.
    ///
    /// A map from another node may name anything: each has to be the user's to free.
    fn free_pieces(&self, user: &User<'_>, ids: &[u64]) -> Result {
        let mut result = Ok(());
        let mut seen = 0;
        for &id in ids {
            let node = Vuid::node_of(id);
            // Pieces of a node lie anywhere among the others: the first one stands for all.
            if seen & bit(node) != 0 {
                continue;
            }
            user.config.nodes.address(node).ok_or(EINVAL)?;
            seen |= bit(node);
            let of_node = ids.iter().copied();
            let of_node = of_node.filter(|&id| Vuid::node_of(id) == node);
            let freed = match self.is_here(user, node) {
                true => self.free_pieces_here(user, of_node),
                false => ask::free_many(&self.client, node, user.uid, user.deadline, of_node),
            };
            result = result.and(freed);
        }
        result
    }

    fn free_pieces_here(&self, user: &User<'_>, ids: impl Iterator<Item = u64>) -> Result {
        let mut result = Ok(());
        for id in ids {
            match self.pool.free_bytes(user.config.me, id, user.uid) {
                Ok(()) | Err(ESTALE) => (),
                Err(e) => result = result.and(Err(e)),
            }
        }
        result
    }
}
