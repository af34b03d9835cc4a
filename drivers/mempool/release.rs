// SPDX-License-Identifier: GPL-2.0

//! Freeing allocations and all their pieces.

use crate::{
    cluster::Mempool,
    orphans::Orphan,
    remote, //
};
use kernel::prelude::*;
use virgo_proto::{
    mempool::MAP,
    vuid::{
        bit,
        NodeSetIter,
        Vuid, //
    }, //
};
use virgo_utils::{
    Attempt,
    User, //
};

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
            return match remote::free(&self.client, user, node, id, 0) {
                // Its fence was asked, if it has one.
                Err(EXDEV) => {
                    self.maps.forget(id);
                    let map = self.fetch_map(user, node, id)?;
                    self.free_pieces(user, &map.ids)?;
                    remote::free(&self.client, user, node, id, MAP)
                }
                result => result,
            };
        }
        let place = self.pool.open(user.config.me, id)?;
        let object = self.pool.get(place)?;
        let remove = || self.pool.free(place);
        if let Some(map) = &object.open_to_free(user.uid)?.map {
            object.free(user.uid, user.claim, || Ok(()))?;
            self.free_pieces(user, &map.ids)?;
        }
        object.free(user.uid, user.claim, remove)
    }

    /// Frees the pieces of an allocation, on as many nodes as possible. Those that are gone already do
    /// not count as an error: their node has restarted, or an earlier attempt got that far; nor do those of
    /// a node that was taken out of the configuration: there is nobody to be asked.
    ///
    /// A map from another node may name anything: each has to be the user's to free.
    fn free_pieces(&self, user: &User<'_>, ids: &[u64]) -> Result {
        let of_node = |node| {
            let ids = ids.iter().copied();
            ids.filter(move |&id| Vuid::node_of(id) == node)
        };
        let mut nodes = ids.iter().fold(0, |nodes, &id| {
            let node = Vuid::node_of(id);
            let known = user.config.nodes.address(node).is_some();
            nodes | if known { bit(node) } else { 0 }
        });
        let mut result = Ok(());
        let me = user.config.me;
        // Before anybody has to be waited for.
        if nodes & bit(me) != 0 && self.is_here(user, me) {
            nodes &= !bit(me);
            result = self.free_pieces_here(user, of_node(me));
        }
        for node in NodeSetIter(nodes) {
            nodes &= !bit(node);
            // One that does not answer leaves time for the others.
            let attempt = match nodes {
                0 => Attempt::last(user),
                _ => Attempt::before_others(user),
            };
            let freed = remote::free_many(&self.client, &attempt.user, node, of_node(node));
            result = result.and(freed.and_then(|answer| answer));
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

    /// Frees allocation `id`, of whose id nobody has heard: what is not here by work of its own, since
    /// the caller may have no time. May sleep, but not for another node.
    pub(crate) fn abandon(&self, user: &User<'_>, id: u64) {
        if !self.is_here(user, Vuid::node_of(id)) {
            return self.abandon_pieces(user, user.uid, &[id]);
        }
        let object = self.pool.open(user.config.me, id);
        let Ok(object) = object.and_then(|place| self.pool.take(place)) else {
            return;
        };
        if let Some(map) = object.map() {
            self.abandon_pieces(user, user.uid, &map.ids);
        }
    }

    /// As [`Self::abandon`], of objects of user `uid` that are no maps.
    pub(crate) fn abandon_pieces(&self, user: &User<'_>, uid: u32, ids: &[u64]) {
        for &id in ids {
            match self.is_here(user, Vuid::node_of(id)) {
                true => {
                    let _ = self.pool.free_bytes(user.config.me, id, uid);
                }
                false => self.orphans.add(Orphan { id, uid }),
            }
        }
    }
}
