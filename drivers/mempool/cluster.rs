// SPDX-License-Identifier: GPL-2.0

//! Cluster memory as its users see it: allocations that are used by id, wherever they lie.

use crate::{
    ask,
    object::{
        Map,
        Piece, //
    },
    orphans::Orphans,
    pool::{
        Owner,
        Pool, //
    }, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::{
    crypto,
    deadline::Deadline,
    work::{
        Queue,
        Task, //
    }, //
};
use virgo_config::{
    Config,
    Node, //
};
use virgo_proto::{
    balance::{
        self,
        Policy, //
    },
    config::MAX_NODES,
    mempool::{
        op,
        AllocArgs,
        AllocReply,
        DataArgs,
        LookupArgs,
        LookupReply,
        MAP,
        MAX_DATA,
        MAX_LOOKUP,
        PIECE,
        SHARED, //
    },
    vuid::{
        NodeId,
        Vuid, //
    }, //
};
use virgo_utils::Client;

/// Most pieces of an allocation.
const MAX_PIECES: u64 = 1 << 16;

/// All state of the module.
pub(crate) struct Mempool {
    pub(crate) node: Arc<Node>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) client: Arc<Client>,
    /// Work that frees what failed allocations have left behind. It does not refer back to this.
    orphans: Pin<KBox<Task<Orphans>>>,
    /// Bytes of a piece.
    chunk: u64,
    /// Whether this node's own memory is reached like another's.
    loopback: bool,
    /// What each node's pool had left when it last said so; at first as much as can be.
    room: [Atomic<u64>; MAX_NODES],
}

/// Where an allocation is to go.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// Where the policy says.
    Policy(Policy),
    /// To this node.
    Node(NodeId),
}

/// A user of cluster memory, how long it may wait, and what holds for it.
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) deadline: Deadline,
    pub(crate) config: Arc<Config>,
}

impl Mempool {
    pub(crate) fn new(
        node: Arc<Node>,
        port: u16,
        limit: u64,
        chunk: u64,
        loopback: bool,
    ) -> Result<Arc<Self>> {
        let pool = Arc::pin_init(Pool::new(limit), GFP_KERNEL)?;
        let client = Arc::pin_init(Client::new(node.clone(), port), GFP_KERNEL)?;
        let orphans = Orphans::new(node.clone(), pool.clone(), client.clone());
        let orphans = KBox::pin_init(
            linux::new_task!(Queue::new(c"virgo_orphans", 1)?, orphans, "virgo_orphans"),
            GFP_KERNEL,
        )?;
        let this = Mempool {
            node,
            pool,
            client,
            orphans,
            chunk,
            loopback,
            room: [const { Atomic::new(u64::MAX) }; MAX_NODES],
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Whether node `node` is reached without a connection.
    fn is_here(&self, user: &User, node: NodeId) -> bool {
        node == user.config.me && !self.loopback
    }

    /// What `id` says, if it was ever issued.
    fn open(&self, user: &User, id: u64) -> Result<Vuid> {
        Vuid::open(id, &user.config.check).ok_or(EINVAL)
    }

    /// Allocates `size` bytes, which are zero, and returns the id. May sleep, killably.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for no bytes; [`ENODEV`] for an unknown node; [`ENOMEM`] when the pools are
    /// full; and what calls to other nodes fail with, if no node can take it.
    pub(crate) fn malloc(
        &self,
        user: &User,
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
        let id = self.pool.keep_map(&user.config, owner, map)?;
        pieces.ids.clear();
        Ok(id)
    }

    /// The most that the nodes of `target` can still take, as far as is known: those of `told`
    /// have just said how much they have left. So an allocation that is much too large fails
    /// before it has filled all pools.
    fn all_room(&self, user: &User, target: Target, told: u64) -> u64 {
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
        user: &User,
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
        user: &User,
        owner: Owner,
        size: u64,
        node: NodeId,
        of_map: bool,
    ) -> Result<u64> {
        if self.is_here(user, node) {
            return self.pool.alloc(&user.config, owner, size, None);
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

    fn room(&self, user: &User, node: NodeId) -> u64 {
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

    /// Copies bytes of allocation `id` to `to`. Returns how many: fewer at the end. May sleep,
    /// killably.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for an id that nobody issued, [`ESTALE`] for a freed one, [`EPERM`] for
    /// somebody else's; and what calls to other nodes fail with.
    pub(crate) fn read(&self, user: &User, id: u64, offset: u64, to: &mut [u8]) -> Result<usize> {
        let node = Vuid::node_of(id);
        if !self.is_here(user, node) {
            return match self.read_remote(user, node, id, offset, to) {
                Err(EXDEV) => {
                    let whole = self.fetch_map(user, node, id)?;
                    self.read_pieces(user, &whole, offset, to)
                }
                result => result,
            };
        }
        let object = self.pool.get(self.open(user, id)?)?;
        let content = object.open(user.uid)?;
        match &content.map {
            None => Ok(content.read(offset, to)),
            Some(map) => self.read_pieces(user, map, offset, to),
        }
    }

    fn read_remote(
        &self,
        user: &User,
        node: NodeId,
        id: u64,
        offset: u64,
        to: &mut [u8],
    ) -> Result<usize> {
        let mut done = 0;
        for part in to.chunks_mut(MAX_DATA) {
            let args = DataArgs {
                id: id.into(),
                offset: offset.checked_add(done as u64).ok_or(EINVAL)?.into(),
                len: (part.len() as u32).into(),
                uid: user.uid.into(),
            };
            let wanted = part.len();
            let n = self.ask(user, node, op::GET, args.as_bytes(), b"", part)?;
            done += n.min(wanted);
            if n < wanted {
                break;
            }
        }
        Ok(done)
    }

    fn read_pieces(&self, user: &User, map: &Map, offset: u64, to: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = to.get_mut(done..) {
            let at = offset.checked_add(done as u64).ok_or(EINVAL)?;
            let Some(piece) = map.find(at) else {
                break;
            };
            let len = rest
                .len()
                .min(usize::try_from(piece.left).unwrap_or(usize::MAX));
            let part = rest.get_mut(..len).unwrap_or_default();
            match self.read_piece(user, piece.id, piece.offset, part)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Like [`Self::read`], of an object that is not split.
    fn read_piece(&self, user: &User, id: u64, offset: u64, to: &mut [u8]) -> Result<usize> {
        let node = Vuid::node_of(id);
        if !self.is_here(user, node) {
            return self.read_remote(user, node, id, offset, to);
        }
        let object = self.pool.get(self.open(user, id)?)?;
        Ok(object.open(user.uid)?.read(offset, to))
    }

    /// Copies `from` into allocation `id`; with `terminate` a zero follows, if there is room. May
    /// sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]; [`EFBIG`] if it does not fit, and nothing is changed then.
    pub(crate) fn write(
        &self,
        user: &User,
        id: u64,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        let node = Vuid::node_of(id);
        if !self.is_here(user, node) {
            return match self.write_remote(user, node, id, offset, from, terminate) {
                Err(EXDEV) => {
                    let map = self.fetch_map(user, node, id)?;
                    self.write_pieces(user, &map, offset, from, terminate)
                }
                result => result,
            };
        }
        let object = self.pool.get(self.open(user, id)?)?;
        let content = object.open(user.uid)?;
        match &content.map {
            None => content.write(offset, from, terminate),
            Some(map) => self.write_pieces(user, map, offset, from, terminate),
        }
    }

    fn write_remote(
        &self,
        user: &User,
        node: NodeId,
        id: u64,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        if from.len() > MAX_DATA {
            return Err(EMSGSIZE);
        }
        let args = DataArgs {
            id: id.into(),
            offset: offset.into(),
            len: (from.len() as u32 + u32::from(terminate)).into(),
            uid: user.uid.into(),
        };
        self.ask(user, node, op::SET, args.as_bytes(), from, &mut [])?;
        Ok(())
    }

    fn write_pieces(
        &self,
        user: &User,
        map: &Map,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        let end = offset.checked_add(from.len() as u64).ok_or(EFBIG)?;
        if end > map.size {
            return Err(EFBIG);
        }
        let mut at = offset;
        let mut rest = from;
        while !rest.is_empty() {
            let piece = map.find(at).ok_or(EFBIG)?;
            let len = rest
                .len()
                .min(usize::try_from(piece.left).unwrap_or(usize::MAX))
                .min(MAX_DATA);
            let (part, behind) = rest.split_at_checked(len).unwrap_or((rest, b""));
            self.write_piece(user, &piece, part)?;
            at += part.len() as u64;
            rest = behind;
        }
        if let (true, Some(piece)) = (terminate, map.find(end)) {
            self.write_piece(user, &piece, b"\0")?;
        }
        Ok(())
    }

    fn write_piece(&self, user: &User, piece: &Piece, from: &[u8]) -> Result {
        let node = Vuid::node_of(piece.id);
        if !self.is_here(user, node) {
            return self.write_remote(user, node, piece.id, piece.offset, from, false);
        }
        let object = self.pool.get(self.open(user, piece.id)?)?;
        object.open(user.uid)?.write(piece.offset, from, false)
    }

    /// Frees allocation `id`. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]. If a node that has a piece cannot be reached the allocation stays,
    /// and can be freed again.
    pub(crate) fn free(&self, user: &User, id: u64) -> Result {
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
    fn free_here(&self, user: &User, id: u64) -> Result {
        let vuid = self.open(user, id)?;
        self.pool.get(vuid)?.open(user.uid)?;
        self.pool.free(vuid)
    }

    fn free_remote(&self, user: &User, node: NodeId, id: u64, flags: u32) -> Result {
        user.config.nodes.address(node).ok_or(EINVAL)?;
        ask::free_remote(&self.client, node, id, user.uid, flags, user.deadline)
    }

    /// Frees all pieces. Those that are gone already do not count as an error: their node has
    /// restarted, or an earlier attempt got that far.
    fn free_all(&self, user: &User, map: &Map) -> Result {
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

    /// Asks node `node` for the map of allocation `id`.
    fn fetch_map(&self, user: &User, node: NodeId, id: u64) -> Result<Map> {
        let mut map = Map {
            size: 0,
            chunk: 0,
            ids: KVVec::new(),
        };
        let mut reply = KVVec::new();
        reply.extend_with(size_of::<LookupReply>() + 8 * MAX_LOOKUP, 0, GFP_KERNEL)?;
        loop {
            let args = LookupArgs {
                id: id.into(),
                first: u32::try_from(map.ids.len()).map_err(|_| EPROTO)?.into(),
                uid: user.uid.into(),
            };
            let n = self.ask(user, node, op::LOOKUP, args.as_bytes(), b"", &mut reply)?;
            let reply = reply.get(..n).ok_or(EPROTO)?;
            let (answer, ids) = LookupReply::read_from_prefix(reply).map_err(|_| EPROTO)?;
            map.size = answer.size.get();
            map.chunk = answer.chunk.get();
            let pieces = map.size.div_ceil(map.chunk.max(1));
            let (ids, _) = ids.as_chunks();
            if ids.is_empty() || pieces > MAX_PIECES {
                return Err(EPROTO);
            }
            for id in ids {
                map.ids.push(u64::from_le_bytes(*id), GFP_KERNEL)?;
            }
            if map.ids.len() as u64 >= pieces {
                return Ok(map);
            }
        }
    }

    fn ask(
        &self,
        user: &User,
        node: NodeId,
        op: u16,
        args: &[u8],
        data: &[u8],
        reply: &mut [u8],
    ) -> Result<usize> {
        // No such node: an id that nobody issued.
        user.config.nodes.address(node).ok_or(EINVAL)?;
        ask::ask(&self.client, node, op, args, data, reply, user.deadline)
    }
}

/// The bit of a node in a set of nodes.
fn bit(node: NodeId) -> u64 {
    1u64.checked_shl(u32::from(node).wrapping_sub(1))
        .unwrap_or(0)
}

/// Pieces of an allocation that is not complete: they become orphans when this is dropped.
struct Pieces<'a> {
    pool: &'a Mempool,
    uid: u32,
    ids: KVVec<u64>,
}

impl Drop for Pieces<'_> {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            Orphans::adopt(&self.pool.orphans, self.uid, &self.ids);
        }
    }
}
