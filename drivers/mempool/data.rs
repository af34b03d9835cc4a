// SPDX-License-Identifier: GPL-2.0

//! Reading and writing allocations, wherever their pieces lie.

use crate::{
    cluster::Mempool,
    object::{Map, Piece},
};
use kernel::prelude::*;
use virgo_proto::{
    mempool::{op, DataArgs, MAX_DATA},
    vuid::{NodeId, Vuid},
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

    fn read_pieces(&self, user: &User<'_>, map: &Map, offset: u64, to: &mut [u8]) -> Result<usize> {
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
    fn read_piece(&self, user: &User<'_>, id: u64, offset: u64, to: &mut [u8]) -> Result<usize> {
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
        user: &User<'_>,
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

    fn write_pieces(
        &self,
        user: &User<'_>,
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

    fn write_piece(&self, user: &User<'_>, piece: &Piece, from: &[u8]) -> Result {
        let node = Vuid::node_of(piece.id);
        if !self.is_here(user, node) {
            return self.write_remote(user, node, piece.id, piece.offset, from, false);
        }
        let object = self.pool.get(self.open(user, piece.id)?)?;
        object.open(user.uid)?.write(piece.offset, from, false)
    }
}
