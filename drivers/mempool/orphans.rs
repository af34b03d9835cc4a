// SPDX-License-Identifier: GPL-2.0

//! Pieces that were allocated for nothing: the rest of the allocation failed.
//!
//! Their nodes may be out of reach just then, and the caller may be out of time or dying.

use crate::{
    ask::free_remote,
    pool::Pool, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::deadline::Deadline;
use virgo_config::Node;
use virgo_proto::vuid::{
    NodeId,
    Vuid, //
};
use virgo_utils::{
    Chore,
    Client, //
};

/// A piece that nobody knows of, and who would have owned it.
#[derive(Clone, Copy)]
pub(crate) struct Orphan {
    pub(crate) id: u64,
    pub(crate) uid: u32,
}

/// Frees pieces.
pub(crate) struct Orphans {
    pub(crate) node: Arc<Node>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) client: Arc<Client>,
}

impl Chore for Orphans {
    type Item = Orphan;

    /// More than that are left to the next restart of this node, after which others free what
    /// belonged to it.
    const MAX: usize = 1 << 16;

    /// An error is of one orphan only.
    const AT_ONCE: usize = 1;

    fn node(orphan: &Orphan) -> NodeId {
        Vuid::node_of(orphan.id)
    }

    fn attempt(&self, _node: NodeId, orphans: &[Orphan]) -> Result {
        orphans.iter().try_for_each(|orphan| self.free(orphan))
    }
}

impl Orphans {
    fn free(&self, &Orphan { id, uid }: &Orphan) -> Result {
        let config = self.node.config();
        let deadline = Deadline::after_ms(config.deadline_ms);
        match Vuid::open(id, &config.check) {
            Some(vuid) if vuid.node == config.me => self.pool.free(vuid),
            Some(vuid) => free_remote(&self.client, vuid.node, id, uid, 0, deadline),
            None => Ok(()),
        }
    }
}
