// SPDX-License-Identifier: GPL-2.0

//! Bytes that lie in several pieces.

use crate::object::PieceRange;
use kernel::prelude::*;
use virgo_proto::{
    mempool::{
        Part,
        MAX_DATA,
        MAX_MANY, //
    },
    vuid::{
        bit,
        NodeId,
        Vuid, //
    }, //
};

/// Bytes of a piece, and where they go, or come from.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Id of the piece.
    pub(crate) id: u64,
    /// First byte of the piece.
    pub(crate) offset: u64,
    /// Where they go.
    pub(crate) to: usize,
    /// How many: at most [`MAX_DATA`].
    pub(crate) len: usize,
}

impl Extent {
    /// As many bytes from the start of `piece` on as there are and one request can have, but not beyond
    /// byte `end` of where they go, which is from byte `to` on.
    pub(crate) fn new(piece: &PieceRange, to: usize, end: usize) -> Self {
        let left = usize::try_from(piece.left).unwrap_or(usize::MAX);
        Extent {
            id: piece.id,
            offset: piece.offset,
            to,
            len: left.min(end.saturating_sub(to)).min(MAX_DATA),
        }
    }

    /// No bytes of the piece `id`.
    pub(crate) fn empty(id: u64) -> Self {
        Extent {
            id,
            offset: 0,
            to: 0,
            len: 0,
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        Vuid::node_of(self.id)
    }

    pub(crate) fn to_wire(self) -> Part {
        Part {
            id: self.id.into(),
            offset: self.offset.into(),
            len: (self.len as u32).into(),
        }
    }
}

/// Bytes, one behind the other: at most [`MAX_MANY`] parts.
pub(crate) struct ExtentList {
    parts: KVec<Extent>,
    len: usize,
}

impl ExtentList {
    /// With a first part.
    pub(crate) fn new(first: Extent) -> Result<Self> {
        let mut this = ExtentList {
            parts: KVec::new(),
            len: 0,
        };
        this.push(first)?;
        Ok(this)
    }

    /// Adds what follows, at the start of `piece`, up to byte `end`. False if that is too much.
    pub(crate) fn add(&mut self, piece: &PieceRange, end: usize) -> Result<bool> {
        let part = Extent::new(piece, self.len, end);
        let fits = self.parts.len() < MAX_MANY;
        if fits {
            self.push(part)?;
        }
        Ok(fits)
    }

    fn push(&mut self, part: Extent) -> Result {
        if bit(part.node()) == 0 {
            // No node has this number: the map of another node may say anything.
            return Err(EINVAL);
        }
        self.parts.push(part, GFP_KERNEL_ACCOUNT)?;
        self.len += part.len;
        Ok(())
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The nodes that have some.
    pub(crate) fn nodes(&self) -> u64 {
        let nodes = self.parts.iter().map(|part| bit(part.node()));
        nodes.fold(0, |all, node| all | node)
    }

    /// Those of node `node`.
    pub(crate) fn of(&self, node: NodeId) -> impl Iterator<Item = Extent> + Clone + '_ {
        let parts = self.parts.iter().copied();
        parts.filter(move |part| part.node() == node)
    }
}
