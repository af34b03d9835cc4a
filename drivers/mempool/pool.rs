// SPDX-License-Identifier: GPL-2.0

//! The part of cluster memory that lies in this node.

use crate::object::{
    Budget,
    Map,
    Object, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_config::Config;
use virgo_proto::vuid::Vuid;
use virgo_utils::{
    table::{
        Place,
        Table, //
    },
    Peer, //
};

/// Who allocates, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    /// Every uid may use it.
    pub(crate) shared: bool,
}

/// The objects of this node.
#[pin_data]
pub(crate) struct Pool {
    budget: Arc<Budget>,
    #[pin]
    table: Table<Object>,
}

impl Pool {
    pub(crate) fn new(limit: u64) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            budget: Arc::new(Budget::new(limit), GFP_KERNEL)?,
            table <- Table::new(linux::crypto::random_u32()),
        }? Error)
    }

    /// Allocates `size` zeros and returns the id.
    pub(crate) fn alloc(
        &self,
        config: &Config,
        owner: Owner,
        size: u64,
        piece_of: Option<Peer>,
    ) -> Result<u64> {
        let Owner { uid, shared } = owner;
        let object = Object::bytes(&self.budget, uid, shared, size, piece_of)?;
        self.insert(config, object)
    }

    /// Keeps the map of an allocation and returns the id of the whole.
    pub(crate) fn keep_map(&self, config: &Config, owner: Owner, map: Map) -> Result<u64> {
        let Owner { uid, shared } = owner;
        let object = Object::map(&self.budget, uid, shared, map)?;
        self.insert(config, object)
    }

    fn insert(&self, config: &Config, object: Arc<Object>) -> Result<u64> {
        let Place { slot, generation } = self.table.insert(object)?;
        let vuid = Vuid {
            node: config.me,
            slot,
            generation,
        };
        Ok(vuid.seal(&config.check))
    }

    /// The object that `vuid` names.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it was freed.
    pub(crate) fn get(&self, vuid: Vuid) -> Result<Arc<Object>> {
        self.table.get(place(vuid)).ok_or(ESTALE)
    }

    /// Frees the object that `vuid` names.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it was freed before.
    pub(crate) fn free(&self, vuid: Vuid) -> Result {
        let object = self.table.remove(place(vuid)).ok_or(ESTALE)?;
        drop(object);
        Ok(())
    }

    /// Frees the pieces whose map was in a former life of `peer`.
    pub(crate) fn free_orphans(&self, peer: Peer) -> usize {
        let orphan = |object: &Object| {
            object
                .piece_of
                .is_some_and(|of| of.node == peer.node && of.boot != peer.boot)
        };
        let (mut from, mut freed) = (0, 0);
        while let Some((object, next)) = self.table.remove_next(from, orphan) {
            drop(object);
            from = next;
            freed += 1;
        }
        freed
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.table.count()
    }
}

fn place(vuid: Vuid) -> Place {
    Place {
        slot: vuid.slot,
        generation: vuid.generation,
    }
}
