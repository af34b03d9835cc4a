// SPDX-License-Identifier: GPL-2.0

//! Allocations that a lock guards, and that lie in several pieces.
//!
//! Each piece has a fence of its own, and so has the map: a node compares tokens without asking another one.
//! So whoever gets the lock raises all of them, by a set of no bytes, before anything else: from
//! then on no piece takes what somebody writes who had the lock before.

use crate::{
    cluster::Mempool,
    extents::Extent,
    object::Map,
    remote, //
};
use kernel::prelude::*;
use virgo_proto::vuid::{
    bit,
    NodeSetIter,
    Vuid, //
};
use virgo_utils::User;

impl Mempool {
    /// Raises the fences of all pieces to the token of `user`. May sleep, killably.
    ///
    /// # Errors
    ///
    /// The first one: those of [`virgo_proto::fence::Fence::admit`], and as for [`Self::read`]. Then some
    /// may be as they were.
    pub(crate) fn raise_fences(&self, user: &User<'_>, map: &Map) -> Result {
        // A map from another node may name anything.
        let mut nodes = 0;
        for id in &map.ids {
            let node = Vuid::node_of(*id);
            user.config.nodes.address(node).ok_or(EINVAL)?;
            nodes |= bit(node);
        }
        for node in NodeSetIter(nodes) {
            let ids = map.ids.iter().copied();
            let ids = ids.filter(move |id| Vuid::node_of(*id) == node);
            if !self.is_here(user, node) {
                let parts = ids.map(Extent::empty);
                remote::write_many(&self.client, user, node, parts, b"")?;
                continue;
            }
            for id in ids {
                let object = self.pool.get(self.pool.open(user.config.me, id)?)?;
                object.open(user.uid)?.with_lock(user.claim, || Ok(()))?;
            }
        }
        Ok(())
    }
}
