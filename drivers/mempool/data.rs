// SPDX-License-Identifier: GPL-2.0

//! Reading and writing allocations, wherever their pieces lie.

use crate::{
    cluster::Mempool,
    maps::{
        Key,
        Window, //
    },
    object::Piece,
    parts::{
        At,
        Parts, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_proto::{
    mempool::{
        op,
        DataArgs,
        MAX_DATA, //
    },
    vuid::{
        NodeId,
        Vuid, //
    }, //
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
                match self.read_remote(user, node, id, offset, to) {
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
        let key = Key {
            id,
            uid: user.uid,
            number: 0,
        };
        self.maps.get(key).is_some()
    }

    pub(crate) fn read_remote(
        &self,
        user: &User<'_>,
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

    /// Copies bytes of a split allocation to `to`; `find` says where they are. Returns how many.
    fn read_split(
        &self,
        user: &User<'_>,
        mut find: impl FnMut(u64) -> Result<Option<Piece>>,
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
            let first = At::new(&piece, 0, rest.len());
            if first.len == rest.len() {
                self.read_piece(user, &first, rest)?;
                return Ok(to.len());
            }
            let mut parts = Parts::new(first)?;
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

    /// Copies `from` into allocation `id`; with `terminate` a zero follows, if there is room. May
    /// sleep, killably.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`]; [`EFBIG`] if it does not fit, and nothing is changed then.
    pub(crate) fn write(
        &self,
        user: &User<'_>,
        id: u64,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        let node = Vuid::node_of(id);
        if !self.is_here(user, node) {
            if !self.is_known_split(user, id) {
                match self.write_remote(user, node, id, offset, from, terminate) {
                    Err(EXDEV) => (),
                    result => return result,
                }
            }
            return self
                .write_remote_split(user, node, id, offset, from, terminate)
                .inspect_err(|&e| self.note_error(id, e));
        }
        let object = self.pool.get(self.pool.open(user.config.me, id)?)?;
        let content = object.open(user.uid)?;
        match &content.map {
            None => content.write(offset, from, terminate),
            Some(map) => {
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
        let mut window: Option<Arc<Window>> = Some(first);
        let find = |at| self.find_remote(user, node, id, at, &mut window);
        self.write_split(user, size, find, offset, from, terminate)
    }

    fn write_remote(
        &self,
        user: &User<'_>,
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

    /// Copies `from` to a split allocation of `size` bytes; `find` says where they are.
    fn write_split(
        &self,
        user: &User<'_>,
        size: u64,
        mut find: impl FnMut(u64) -> Result<Option<Piece>>,
        offset: u64,
        from: &[u8],
        terminate: bool,
    ) -> Result {
        let end = offset.checked_add(from.len() as u64).ok_or(EFBIG)?;
        if end > size {
            return Err(EFBIG);
        }
        let mut at = offset;
        let mut rest = from;
        while !rest.is_empty() {
            let piece = find(at)?.ok_or(EFBIG)?;
            let len = rest
                .len()
                .min(usize::try_from(piece.left).unwrap_or(usize::MAX))
                .min(MAX_DATA);
            let (part, behind) = rest.split_at_checked(len).unwrap_or((rest, b""));
            self.write_piece(user, &piece, part)?;
            at += part.len() as u64;
            rest = behind;
        }
        if terminate && end < size {
            let piece = find(end)?.ok_or(EFBIG)?;
            self.write_piece(user, &piece, b"\0")?;
        }
        Ok(())
    }

    fn write_piece(&self, user: &User<'_>, piece: &Piece, from: &[u8]) -> Result {
        let node = Vuid::node_of(piece.id);
        if !self.is_here(user, node) {
            return self.write_remote(user, node, piece.id, piece.offset, from, false);
        }
        let object = self.pool.get(self.pool.open(user.config.me, piece.id)?)?;
        object.open(user.uid)?.write(piece.offset, from, false)
    }
}
