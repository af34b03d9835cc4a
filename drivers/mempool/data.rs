// SPDX-License-Identifier: GPL-2.0

//! Reading and writing allocations, wherever their pieces lie.

use crate::{
    cluster::Mempool,
    extents::{
        Extent,
        ExtentList, //
    },
    maps::{
        MapWindow,
        WindowKey, //
    },
    object::PieceRange,
    remote::{
        self,
        ReadMany, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_proto::vuid::{
    bit,
    NodeId,
    NodeSetIter,
    Vuid, //
};
use virgo_utils::User;

impl Mempool {
    /// Copies bytes of allocation `id` to `to`. Returns how many: fewer at the end. May sleep,
    /// killably.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for an id that nobody issued, [`ESTALE`] for a freed one, [`EPERM`] for
    /// somebody else's; and what calls to other nodes fail with.
    pub(crate) fn read(
        &self,
        user: &User<'_>,
        id: u64,
        offset: u64,
        to: &mut [u8],
    ) -> Result<usize> {
        let node = Vuid::node_of(id);
        if !self.is_here(user, node) {
            if !self.is_known_split(user, id) {
                match remote::read(&self.client, user, node, id, offset, to) {
                    Err(EXDEV) => (),
                    result => return result,
                }
            }
            let mut window = None;
            let find = |at| self.find_remote(user, node, id, at, &mut window);
            return self
                .read_split(user, find, offset, to)
                .inspect_err(|&e| self.note_error(id, e));
        }
        let object = self.pool.get(self.pool.open(user.config.me, id)?)?;
        let content = object.open(user.uid)?;
        match &content.map {
            None => Ok(content.read(offset, to)),
            Some(map) => self.read_split(user, |at| Ok(map.find(at)), offset, to),
        }
    }

    /// Whether it is known that allocation `id` of another node is split, and lives.
    fn is_known_split(&self, user: &User<'_>, id: u64) -> bool {
        let key = WindowKey {
            id,
            uid: user.uid,
            number: 0,
        };
        self.maps.get(key).is_some()
    }

    /// Copies bytes of a split allocation to `to`; `find` says where they are. Returns how many.
    fn read_split(
        &self,
        user: &User<'_>,
        mut find: impl FnMut(u64) -> Result<Option<PieceRange>>,
        offset: u64,
        to: &mut [u8],
    ) -> Result<usize> {
        let mut done = 0;
        while done < to.len() {
            let at = offset.checked_add(done as u64).ok_or(EINVAL)?;
            let Some(piece) = find(at)? else {
                break;
            };
            let rest = to.get_mut(done..).unwrap_or_default();
            let first = Extent::new(&piece, 0, rest.len());
            if first.len == rest.len() {
                self.read_piece(user, &first, rest)?;
                return Ok(to.len());
            }
            let mut parts = ExtentList::new(first)?;
            while parts.len() < rest.len() {
                let Some(piece) = find(at.saturating_add(parts.len() as u64))? else {
                    break;
                };
                if !parts.add(&piece, rest.len())? {
                    break;
                }
            }
            self.read_parts(user, &parts, rest)?;
            done += parts.len();
        }
        Ok(done)
    }

    /// Reads all parts: those of other nodes are asked for before those of this one are copied.
    fn read_parts(&self, user: &User<'_>, parts: &ExtentList, to: &mut [u8]) -> Result {
        let me = user.config.me;
        let here = match self.is_here(user, me) {
            true => bit(me),
            false => 0,
        };
        let mut requests = KVec::new();
        for node in NodeSetIter(parts.nodes() & !here) {
            let mut of_node = parts.of(node).peekable();
            while of_node.peek().is_some() {
                let request = ReadMany::new(user, node, &mut of_node)?;
                requests.push(request, GFP_KERNEL_ACCOUNT)?;
            }
        }
        // What is the only thing to be waited for is sent by who waits for it.
        if requests.len() > 1 || parts.nodes() & here != 0 {
            for request in &mut requests {
                request.begin(&self.client, user);
            }
        }
        if here != 0 {
            for part in parts.of(me) {
                let to = to.get_mut(part.to..part.to.saturating_add(part.len));
                self.read_piece(user, &part, to.ok_or(EINVAL)?)?;
            }
        }
        for request in requests {
            request.complete(&self.client, user, to)?;
        }
        Ok(())
    }

    /// Reads a part into `to`, which has as many bytes.
    fn read_piece(&self, user: &User<'_>, part: &Extent, to: &mut [u8]) -> Result {
        let node = part.node();
        let wanted = to.len();
        let n = if self.is_here(user, node) {
            let object = self.pool.get(self.pool.open(user.config.me, part.id)?)?;
            object.open(user.uid)?.read(part.offset, to)
        } else {
            remote::read(&self.client, user, node, part.id, part.offset, to)?
        };
        // A map names pieces that have all of its bytes.
        match n == wanted {
            true => Ok(()),
            false => Err(EPROTO),
        }
    }

    /// Copies `from` into allocation `id`; with `terminate` a zero follows, if there is room. Without bytes
    /// but with a lock, all fences of a split allocation are raised. May sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]; [`EFBIG`] if it does not fit, and nothing is changed then; [`ESTALE`],
    /// [`ENOLCK`] as for [`virgo_proto::fence::Fence::admit`].
    pub(crate) fn write(
        &self,
        user: &User<'_>,
        id: u64,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        let node = Vuid::node_of(id);
        let raises = user.claim.is_some() && from.is_empty();
        if !self.is_here(user, node) {
            // Who has a lock says so to the node that has the map, too.
            if user.claim.is_some() || !self.is_known_split(user, id) {
                let client = &self.client;
                match remote::write(client, user, node, id, offset, from, terminate) {
                    Err(EXDEV) => (),
                    result => return result,
                }
            }
            if raises {
                self.raise_fences(user, &self.fetch_map(user, node, id)?)?;
            }
            return self
                .write_remote_split(user, node, id, offset, from, terminate)
                .inspect_err(|&e| self.note_error(id, e));
        }
        let object = self.pool.get(self.pool.open(user.config.me, id)?)?;
        let content = object.open(user.uid)?;
        match &content.map {
            None => content.write(offset, from, terminate, user.claim),
            Some(map) => {
                if user.claim.is_some() {
                    content.admit(offset.checked_add(from.len() as u64), user.claim)?;
                }
                if raises {
                    self.raise_fences(user, map)?;
                }
                let find = |at| Ok(map.find(at));
                self.write_split(user, map.size, find, offset, from, terminate)
            }
        }
    }

    fn write_remote_split(
        &self,
        user: &User<'_>,
        node: NodeId,
        id: u64,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        let first = self.window(user, node, id, 0)?;
        let size = first.size;
        let mut window: Option<Arc<MapWindow>> = Some(first);
        let find = |at| self.find_remote(user, node, id, at, &mut window);
        self.write_split(user, size, find, offset, from, terminate)
    }

    /// Copies `from` to a split allocation of `size` bytes; `find` says where they are.
    fn write_split(
        &self,
        user: &User<'_>,
        size: u64,
        mut find: impl FnMut(u64) -> Result<Option<PieceRange>>,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        let end = offset.checked_add(from.len() as u64).ok_or(EFBIG)?;
        if end > size {
            return Err(EFBIG);
        }
        let mut done = 0;
        while let Some(rest @ [_, ..]) = from.get(done..) {
            let at = offset.saturating_add(done as u64);
            let piece = find(at)?.ok_or(EFBIG)?;
            let first = Extent::new(&piece, 0, rest.len());
            if first.len == rest.len() {
                self.write_piece(user, &piece, rest)?;
                break;
            }
            let mut parts = ExtentList::new(first)?;
            while parts.len() < rest.len() {
                let piece = find(at.saturating_add(parts.len() as u64))?;
                if !parts.add(&piece.ok_or(EFBIG)?, rest.len())? {
                    break;
                }
            }
            self.write_parts(user, &parts, rest)?;
            done += parts.len();
        }
        if terminate && end < size {
            let piece = find(end)?.ok_or(EFBIG)?;
            self.write_piece(user, &piece, b"\0")?;
        }
        Ok(())
    }

    /// Writes all parts, with as few requests as possible.
    fn write_parts(&self, user: &User<'_>, parts: &ExtentList, from: &[u8]) -> Result {
        for node in NodeSetIter(parts.nodes()) {
            if !self.is_here(user, node) {
                remote::write_many(&self.client, user, node, parts.of(node), from)?;
                continue;
            }
            for part in parts.of(node) {
                let from = from.get(part.to..part.to.saturating_add(part.len));
                let object = self.pool.get(self.pool.open(user.config.me, part.id)?)?;
                let content = object.open(user.uid)?;
                content.write(part.offset, from.ok_or(EINVAL)?, false, user.claim)?;
            }
        }
        Ok(())
    }

    fn write_piece(&self, user: &User<'_>, piece: &PieceRange, from: &[u8]) -> Result {
        let node = Vuid::node_of(piece.id);
        if !self.is_here(user, node) {
            let (id, offset) = (piece.id, piece.offset);
            return remote::write(&self.client, user, node, id, offset, from, false);
        }
        let object = self.pool.get(self.pool.open(user.config.me, piece.id)?)?;
        let content = object.open(user.uid)?;
        content.write(piece.offset, from, false, user.claim)
    }
}
