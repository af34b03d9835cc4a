// SPDX-License-Identifier: GPL-2.0

//! The part of cluster memory that lies in this node.

use crate::object::{
    Map,
    Object, //
};
use core::array;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::crypto;
use virgo_proto::{
    analytics::variable::{
        Declaration,
        ValueType, //
    },
    mempool::{
        Listed,
        EVERYBODY,
        SHARED, //
    },
    vuid::{
        MixKey,
        NodeId,
        Vuid,
        MAX_SLOTS, //
    }, //
};
use virgo_utils::{
    budget::{
        Account,
        Budget, //
    },
    table::{
        Place,
        Table, //
    },
    variables::Variable,
    Peer, //
};

const MAX_BYTES: Declaration = Declaration {
    name: "mempool_bytes",
    kind: ValueType::Integer,
    unit: "bytes",
    min: 0,
    max: i64::MAX,
    default: 0,
    check: None,
    reader: "mempool",
    about: "size of this node's pool, if it is less than pool_bytes; 0 for that. What is allocated stays",
};

/// This part of a pool is for maps: one in so many bytes.
const RESERVE: u64 = 64;

/// Who allocates, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct ObjectOwner {
    pub(crate) uid: u32,
    /// Every uid may use it.
    pub(crate) shared: bool,
}

impl ObjectOwner {
    /// As a request says it.
    pub(crate) fn flags(self) -> u32 {
        match self.shared {
            true => SHARED,
            false => 0,
        }
    }
}

/// The objects of this node.
#[pin_data]
pub(crate) struct LocalPool {
    /// Bytes of objects, maps, and what keeps them.
    budget: Pin<KBox<Budget>>,
    /// Less than the budget, if it is not 0.
    max_bytes: Variable,
    /// Bytes that only maps may take, so that a node whose pool is full can still allocate what lies
    /// on others.
    reserve: u64,
    /// Bytes that each object is charged as at least: its part of the bytes if there are as many as the
    /// table has slots. So who has a share of the bytes has no more than that of the slots.
    least: u64,
    /// What ids are made with. Made when the module is loaded, so ids outlive the cluster's key, and
    /// those of an earlier load are told from new ones.
    key: MixKey,
    #[pin]
    table: Table<Object>,
}

impl LocalPool {
    pub(crate) fn new(limit: u64) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            budget: Budget::new(limit)?,
            reserve: limit / RESERVE,
            least: limit.div_ceil(MAX_SLOTS.into()),
            max_bytes: Variable::declare(&MAX_BYTES)?,
            key: MixKey(array::from_fn(|_| crypto::random_u64())),
            table <- Table::new(crypto::random_u32()),
        }? Error)
    }

    /// Allocates `size` zeros and returns the id. May sleep.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`], [`ENOMEM`].
    pub(crate) fn alloc(
        &self,
        me: NodeId,
        owner: ObjectOwner,
        size: u64,
        piece_of: Option<Peer>,
    ) -> Result<u64> {
        let account = self.budget.account(owner.uid)?;
        self.alloc_for(&account, me, owner, size, piece_of)
    }

    /// Allocates as many objects of `size` zeros as `ids` has room for, and writes their ids there.
    /// Returns how many, at least one. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::alloc`], if not even one fits.
    pub(crate) fn alloc_many(
        &self,
        me: NodeId,
        owner: ObjectOwner,
        size: u64,
        piece_of: Option<Peer>,
        ids: &mut [u64],
    ) -> Result<usize> {
        let account = self.budget.account(owner.uid)?;
        let mut done = 0;
        for id in ids {
            match self.alloc_for(&account, me, owner, size, piece_of) {
                Ok(new) => *id = new,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
            done += 1;
        }
        Ok(done)
    }

    fn alloc_for(
        &self,
        account: &Account,
        me: NodeId,
        owner: ObjectOwner,
        size: u64,
        piece_of: Option<Peer>,
    ) -> Result<u64> {
        if Object::cost(size)? > self.room() {
            return Err(ENOMEM);
        }
        let object = Object::bytes(account, owner.shared, size, self.least, piece_of)?;
        self.insert(me, object)
    }

    /// Keeps the map of an allocation and returns the id of the whole. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::alloc`].
    pub(crate) fn keep_map(&self, me: NodeId, owner: ObjectOwner, map: Map) -> Result<u64> {
        let account = self.budget.account(owner.uid)?;
        self.insert(
            me,
            Object::new_map(&account, owner.shared, self.least, map)?,
        )
    }

    fn insert(&self, me: NodeId, object: Arc<Object>) -> Result<u64> {
        let place = self.table.insert(object)?;
        Ok(self.id_of(me, place))
    }

    fn id_of(&self, me: NodeId, place: Place) -> u64 {
        let vuid = Vuid {
            node: me,
            slot: place.slot,
            generation: place.generation,
        };
        vuid.seal(&self.key)
    }

    /// Where the object `id` of this node, `me`, is or was.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if no node has issued such an id, or another one has.
    pub(crate) fn open(&self, me: NodeId, id: u64) -> Result<Place> {
        match Vuid::open(id, &self.key) {
            Some(vuid) if vuid.node == me => Ok(Place {
                slot: vuid.slot,
                generation: vuid.generation,
            }),
            _ => Err(EINVAL),
        }
    }

    /// The object at `place`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it was freed.
    pub(crate) fn get(&self, place: Place) -> Result<Arc<Object>> {
        self.table.get(place).ok_or(ESTALE)
    }

    /// Shows `see` the object at `place`. `None` if that cannot be done now. Any context but hard
    /// interrupts, and `see` runs in the same.
    ///
    /// # Errors
    ///
    /// Those of `see`; [`ESTALE`] if it was freed.
    pub(crate) fn try_with(
        &self,
        place: Place,
        see: impl FnOnce(&Object) -> Option<Result>,
    ) -> Option<Result> {
        let see = |object: Option<&Object>| object.map_or(Some(Err(ESTALE)), see);
        self.table.try_with(place, see).flatten()
    }

    /// Frees the object at `place`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it was freed before.
    pub(crate) fn free(&self, place: Place) -> Result {
        self.take(place).map(drop)
    }

    /// As [`Self::free`]; returns the object.
    ///
    /// # Errors
    ///
    /// As for [`Self::free`].
    pub(crate) fn take(&self, place: Place) -> Result<Arc<Object>> {
        self.table.remove(place).ok_or(ESTALE)
    }

    /// Frees the object `id` of this node, which is not a map, for user `uid`.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`] and [`Object::open_to_free`]; [`ESTALE`] if it was freed before;
    /// [`EXDEV`] if it is a map.
    pub(crate) fn free_bytes(&self, me: NodeId, id: u64, uid: u32) -> Result {
        let place = self.open(me, id)?;
        // Without asking its fence: who frees pieces was admitted by that of the map.
        match self.get(place)?.open_to_free(uid)?.map {
            Some(_) => Err(EXDEV),
            None => self.free(place),
        }
    }

    /// Frees the pieces whose map was in `gone`, an incarnation of a node that is over. Returns how many.
    pub(crate) fn free_orphans(&self, gone: Peer) -> usize {
        // Not those of all but the present one: by the time that they are found another may have begun.
        let orphan = |object: &Object| object.piece_of == Some(gone);
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

    /// Bytes that are left for objects.
    pub(crate) fn room(&self) -> u64 {
        let free = self.budget.free().saturating_sub(self.reserve);
        match u64::try_from(self.max_bytes.get()) {
            Ok(most @ 1..) => free.min(most.saturating_sub(self.budget.used())),
            _ => free,
        }
    }

    /// Those of them that user `uid` may take.
    pub(crate) fn room_for(&self, uid: u32) -> u64 {
        let account = self.budget.account(uid);
        account.map_or(0, |account| account.free().min(self.room()))
    }

    /// Shows `see` objects of this node, `me`, that belong to user `of`, or to anybody, from slot `from`
    /// on, until it says that it has enough. Returns the slot to go on from, 0 at the end. May sleep.
    ///
    /// # Errors
    ///
    /// Those of `see`.
    pub(crate) fn list<E>(
        &self,
        me: NodeId,
        of: u32,
        from: u32,
        mut see: impl FnMut(Listed) -> Result<bool, E>,
    ) -> Result<u32, E> {
        let wanted = |object: &Object| of == EVERYBODY || object.owner() == of;
        let mut from = from;
        while let Some((place, object)) = self.table.next(from, wanted) {
            let more = see(object.listed(self.id_of(me, place)))?;
            from = place.slot + 1;
            if !more {
                return Ok(from);
            }
        }
        Ok(0)
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.table.count()
    }
}
