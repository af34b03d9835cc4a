// SPDX-License-Identifier: GPL-2.0

//! Allocating what is spread over nodes: many pieces with one request to each.

use crate::{
    candidates::Candidates,
    cluster::Mempool,
    local::ObjectOwner,
    object::Map,
    remote,
    target::AllocTarget, //
};
use core::mem::take;
use kernel::prelude::*;
use linux::bytes::{
    memory_of,
    Fill, //
};
use virgo_proto::{
    config::MAX_NODES,
    mempool::{
        most_at_once,
        MAX_MANY,
        MAX_PIECES, //
    }, //
};
use virgo_utils::User;

/// An allocation that is being spread over nodes.
struct Splitting<'a> {
    pool: &'a Mempool,
    user: &'a User<'a>,
    owner: ObjectOwner,
    candidates: Candidates,
    /// What each node has said to have left, by its number less one.
    told: KVec<Told>,
    batch: AllocBatch,
    /// Room for the reply of a node.
    reply: KVVec<u8>,
    /// Pieces that were allocated, in their order. There is capacity for all.
    pieces: KVVec<u64>,
}

/// Pieces of one size on their way. Not on the stack: it is some kilobytes.
struct AllocBatch {
    /// For each of [`MAX_MANY`] pieces the index of the candidate that gets it.
    plan: KVec<u8>,
    /// What each of [`MAX_NODES`] candidates gets, by its index.
    groups: KVec<Group>,
    /// Ids of new pieces, those of a candidate together.
    ids: KVec<u64>,
}

/// The pieces of a batch that one candidate gets.
#[derive(Clone, Copy)]
struct Group {
    wanted: usize,
    /// Where its ids are in the batch that were not given a place in the allocation yet, and how many.
    start: usize,
    left: usize,
    /// Why it did not take all.
    error: Option<Error>,
}

const NO_GROUP: Group = Group {
    wanted: 0,
    start: 0,
    left: 0,
    error: None,
};

/// Bytes that a node has left.
#[derive(Clone, Copy)]
struct Told {
    free: u64,
    /// Those of them that the user may take.
    own: u64,
}

impl Told {
    /// Why a node could not take more: what bounds the user is the share, or the pool itself.
    fn shortage(self) -> Error {
        match self.own < self.free {
            true => EDQUOT,
            false => ENOMEM,
        }
    }
}

/// What came of asking a node for pieces.
struct Done {
    count: usize,
    told: Told,
}

impl Mempool {
    /// Allocates `size` bytes in pieces, with a map in this node. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::malloc`].
    pub(crate) fn malloc_split(
        &self,
        user: &User<'_>,
        owner: ObjectOwner,
        size: u64,
        target: AllocTarget,
    ) -> Result<u64> {
        let count = size.div_ceil(self.chunk);
        if count > MAX_PIECES {
            return Err(ENOMEM);
        }
        let mut reply = KVVec::new();
        reply.put_zeros(remote::ALLOC_MANY_REPLY, GFP_KERNEL_ACCOUNT)?;
        let unknown = Told {
            free: u64::MAX,
            own: u64::MAX,
        };
        let batch = AllocBatch {
            plan: KVec::from_elem(0, MAX_MANY, GFP_KERNEL_ACCOUNT)?,
            groups: KVec::from_elem(NO_GROUP, MAX_NODES, GFP_KERNEL_ACCOUNT)?,
            ids: KVec::from_elem(0, MAX_MANY, GFP_KERNEL_ACCOUNT)?,
        };
        let mut splitting = Splitting {
            pool: self,
            user,
            owner,
            candidates: Candidates::new(self, user, target)?,
            told: KVec::from_elem(unknown, MAX_NODES, GFP_KERNEL_ACCOUNT)?,
            batch,
            reply,
            pieces: KVVec::with_capacity(count as usize, GFP_KERNEL_ACCOUNT)?,
        };
        let mut left = size;
        while left > 0 {
            splitting.check(left, self.chunk)?;
            if user.deadline.passed() {
                return Err(ETIMEDOUT);
            }
            // The last piece is smaller, and goes by itself.
            let bytes = left.min(self.chunk);
            let whole = usize::try_from(left / bytes).map_or(MAX_MANY, |count| count.min(MAX_MANY));
            let done = splitting.add(bytes, whole.min(most_at_once(bytes)))?;
            left -= bytes * done as u64;
        }
        splitting.finish(size)
    }
}

/// Bytes that the node of a piece of so many takes for it, but for a few.
fn memory(bytes: u64) -> u64 {
    usize::try_from(bytes).map_or(u64::MAX, |len| memory_of(len) as u64)
}

impl Splitting<'_> {
    /// Whether `bytes` more can fit in pieces of `chunk` bytes, as far as the nodes have said: so an allocation that is much too
    /// large fails before it has filled all pools.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if the nodes do not have so much left, [`EDQUOT`] if they do not for this user.
    fn check(&self, bytes: u64, chunk: u64) -> Result {
        let (mut free, mut own) = (0u64, 0u64);
        for &node in self.candidates.nodes() {
            let told = self.told.get(usize::from(node).wrapping_sub(1));
            free = free.saturating_add(told.map_or(0, |told| told.free));
            own = own.saturating_add(told.map_or(0, |told| told.own));
        }
        let whole = (bytes / chunk.max(1)).saturating_mul(memory(chunk));
        match whole.saturating_add(memory(bytes % chunk.max(1))) {
            // With nobody left the reason is known better.
            _ if self.candidates.count() == 0 => Ok(()),
            wanted if wanted > free => Err(ENOMEM),
            wanted if wanted > own => Err(EDQUOT),
            _ => Ok(()),
        }
    }

    /// Plans `count` pieces of `size` bytes, has them allocated, and adds those that were. Returns how
    /// many. Candidates that did not take all are candidates no more.
    fn add(&mut self, size: u64, count: usize) -> Result<usize> {
        self.batch.groups.fill(NO_GROUP);
        for planned in self.batch.plan.iter_mut().take(count) {
            let at = self.candidates.choose()?;
            self.candidates.plan(at, memory(size));
            // Less than MAX_NODES.
            *planned = at as u8;
            if let Some(group) = self.batch.groups.get_mut(at) {
                group.wanted += 1;
            }
        }
        let mut start = 0;
        for at in 0..self.candidates.count() {
            let wanted = self.batch.groups.get(at).map_or(0, |group| group.wanted);
            if wanted == 0 {
                continue;
            }
            let outcome = self.allocate(at, size, start, wanted);
            if let Some(group) = self.batch.groups.get_mut(at) {
                group.start = start;
                match outcome {
                    Ok(done) => {
                        group.left = done.count;
                        let why = done.told.shortage();
                        group.error = (done.count < wanted).then_some(why);
                        self.candidates.told(at, done.told.free);
                        let node = usize::from(self.candidates.node(at));
                        if let Some(told) = self.told.get_mut(node.wrapping_sub(1)) {
                            *told = done.told;
                        }
                    }
                    Err(e) => group.error = Some(e),
                }
            }
            start += wanted;
        }
        let done = self.place(count)?;
        // From the last one on, since the last one takes the place of one that is removed.
        for at in (0..self.candidates.count()).rev() {
            match self.batch.groups.get(at).and_then(|group| group.error) {
                Some(e) if Mempool::another_may(self.user, e) => self.candidates.remove(at, e),
                Some(e) => return Err(e),
                None => (),
            }
        }
        Ok(done)
    }

    /// Allocates `wanted` pieces on the candidate with index `at`; their ids go to the batch, from
    /// `start` on.
    fn allocate(&mut self, at: usize, size: u64, start: usize, wanted: usize) -> Result<Done> {
        let Splitting { pool, owner, .. } = *self;
        let attempt = self.candidates.attempt(self.user);
        let user = &attempt.user;
        let node = self.candidates.node(at);
        let ids = self.batch.ids.get_mut(start..start + wanted);
        let ids = ids.ok_or(EINVAL)?;
        if pool.is_here(user, node) {
            let count = pool
                .pool
                .alloc_many(user.config.me, owner, size, None, ids)?;
            let told = Told {
                free: pool.pool.room(),
                own: pool.pool.room_for(owner.uid),
            };
            return Ok(Done { count, told });
        }
        let (answer, count) =
            remote::alloc_many(&pool.client, user, node, owner, size, ids, &mut self.reply)
                .inspect_err(|&e| pool.note_failure(&attempt, node, size, e))?;
        let told = Told {
            free: answer.free.get(),
            own: answer.own.get(),
        };
        pool.rooms.told(node, told.free);
        Ok(Done { count, told })
    }

    /// Adds the new pieces of the batch in the order of its plan. Returns how many.
    fn place(&mut self, count: usize) -> Result<usize> {
        let mut done = 0;
        for &at in self.batch.plan.iter().take(count) {
            let group = self.batch.groups.get_mut(usize::from(at));
            let Some(group) = group.filter(|group| group.left > 0) else {
                continue;
            };
            if let Some(&id) = self.batch.ids.get(group.start) {
                self.pieces.push(id, GFP_KERNEL_ACCOUNT)?;
                done += 1;
            }
            group.start += 1;
            group.left -= 1;
        }
        Ok(done)
    }

    /// Makes one allocation of all pieces.
    fn finish(mut self, size: u64) -> Result<u64> {
        let mut ids = KVVec::new();
        // The pieces stay known here until the map is kept.
        ids.extend_from_slice(&self.pieces, GFP_KERNEL_ACCOUNT)?;
        let map = Map {
            size,
            chunk: self.pool.chunk,
            ids,
        };
        let me = self.user.config.me;
        let id = self.pool.pool.keep_map(me, self.owner, map)?;
        drop(take(&mut self.pieces));
        Ok(id)
    }
}

/// The pieces of an allocation that is not complete become orphans.
impl Drop for Splitting<'_> {
    fn drop(&mut self) {
        self.pool
            .abandon_pieces(self.user, self.owner.uid, &self.pieces);
    }
}
