// SPDX-License-Identifier: GPL-2.0

//! Reading bytes that lie in several pieces: one request to each node that has some.

use crate::{
    cluster::Mempool,
    object::Piece, //
};
use kernel::prelude::*;
use linux::bytes::Fill;
use virgo_proto::{
    mempool::{
        op,
        ManyArgs,
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
use virgo_utils::{
    Data,
    ReplyDeadline,
    Request,
    User, //
};

/// Bytes of a piece, and where they go.
#[derive(Clone, Copy)]
pub(crate) struct At {
    /// Id of the piece.
    id: u64,
    /// First byte of the piece.
    offset: u64,
    /// Where they go.
    to: usize,
    /// How many.
    pub(crate) len: usize,
}

impl At {
    /// As many bytes from the start of `piece` on as there are and one request can have, but not beyond
    /// byte `end` of where they go, which is from byte `to` on.
    pub(crate) fn new(piece: &Piece, to: usize, end: usize) -> Self {
        let left = usize::try_from(piece.left).unwrap_or(usize::MAX);
        At {
            id: piece.id,
            offset: piece.offset,
            to,
            len: left.min(end.saturating_sub(to)).min(MAX_DATA),
        }
    }

    fn node(&self) -> NodeId {
        Vuid::node_of(self.id)
    }
}

/// Bytes that are to be read, one behind the other: at most [`MAX_MANY`] parts.
pub(crate) struct Parts {
    parts: KVec<At>,
    len: usize,
}

impl Parts {
    /// With a first part.
    pub(crate) fn new(first: At) -> Result<Self> {
        let mut this = Parts {
            parts: KVec::new(),
            len: 0,
        };
        this.push(first)?;
        Ok(this)
    }

    /// Adds what follows, at the start of `piece`, up to byte `end`. False if that is too much.
    pub(crate) fn add(&mut self, piece: &Piece, end: usize) -> Result<bool> {
        let part = At::new(piece, self.len, end);
        let fits = self.parts.len() < MAX_MANY;
        if fits {
            self.push(part)?;
        }
        Ok(fits)
    }

    fn push(&mut self, part: At) -> Result {
        self.parts.push(part, GFP_KERNEL_ACCOUNT)?;
        self.len += part.len;
        Ok(())
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Mempool {
    /// Reads all parts.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub(crate) fn read_parts(&self, user: &User<'_>, parts: &Parts, to: &mut [u8]) -> Result {
        let mut seen = 0;
        for (index, first) in parts.parts.iter().enumerate() {
            let node = first.node();
            if self.is_here(user, node) {
                self.read_to(user, first, to)?;
            } else if seen & bit(node) == 0 {
                seen |= bit(node);
                let rest = parts.parts.get(index + 1..).unwrap_or_default();
                // The others of this node are asked for at once.
                match rest.iter().any(|part| part.node() == node) {
                    false => self.read_to(user, first, to)?,
                    true => self.read_many(user, node, parts, to)?,
                }
            }
        }
        Ok(())
    }

    fn read_to(&self, user: &User<'_>, part: &At, to: &mut [u8]) -> Result {
        let to = to.get_mut(part.to..part.to.saturating_add(part.len));
        self.read_piece(user, part, to.ok_or(EINVAL)?)
    }

    /// Reads a part into `to`, which has as many bytes.
    pub(crate) fn read_piece(&self, user: &User<'_>, part: &At, to: &mut [u8]) -> Result {
        let node = part.node();
        let wanted = to.len();
        let n = if self.is_here(user, node) {
            let object = self.pool.get(self.pool.open(user.config.me, part.id)?)?;
            object.open(user.uid)?.read(part.offset, to)
        } else {
            self.read_remote(user, node, part.id, part.offset, to)?
        };
        // A map names pieces that have all of its bytes.
        match n == wanted {
            true => Ok(()),
            false => Err(EPROTO),
        }
    }

    /// Reads all parts that are on node `node`, with as few requests as possible.
    fn read_many(&self, user: &User<'_>, node: NodeId, parts: &Parts, to: &mut [u8]) -> Result {
        user.config.nodes.address(node).ok_or(EINVAL)?;
        let args = ManyArgs {
            uid: user.uid.into(),
        };
        let mut of_node = parts
            .parts
            .iter()
            .filter(|part| part.node() == node)
            .peekable();
        let mut asked = KVec::new();
        let mut wanted: KVec<At> = KVec::new();
        while of_node.peek().is_some() {
            asked.clear();
            wanted.clear();
            let mut len = 0;
            while let Some(&at) = of_node.next_if(|at| len + at.len <= MAX_DATA) {
                let part = Part {
                    id: at.id.into(),
                    offset: at.offset.into(),
                    // At most MAX_DATA: see `At::new`.
                    len: (at.len as u32).into(),
                };
                asked.put_bytes(part.as_bytes(), GFP_KERNEL_ACCOUNT)?;
                wanted.push(at, GFP_KERNEL_ACCOUNT)?;
                len += at.len;
            }
            let request = Request {
                op: op::GET_MANY,
                args: args.as_bytes(),
                data: Data::Bytes(&asked),
                retry_after_restart: true,
                reply_deadline: ReplyDeadline::Soon,
            };
            let mut result = Err(EPROTO);
            let mut take = |body: &[u8]| result = scatter(wanted.iter(), body, to);
            self.client
                .call_with(node, &request, user.deadline, &mut take)?;
            result?;
        }
        Ok(())
    }
}

/// Copies `body` to where its parts go.
fn scatter<'a>(parts: impl Iterator<Item = &'a At>, body: &[u8], to: &mut [u8]) -> Result {
    let mut rest = body;
    for part in parts {
        let (bytes, behind) = rest.split_at_checked(part.len).ok_or(EPROTO)?;
        let place = to.get_mut(part.to..part.to.saturating_add(part.len));
        place.ok_or(EPROTO)?.copy_from_slice(bytes);
        rest = behind;
    }
    match rest.is_empty() {
        true => Ok(()),
        false => Err(EPROTO),
    }
}
