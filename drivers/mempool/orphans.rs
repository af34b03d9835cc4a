// SPDX-License-Identifier: GPL-2.0

//! Pieces that were allocated for nothing: the rest of the allocation failed.
//!
//! Their nodes may be out of reach just then, and the caller may be out of time or dying.

use crate::{
    local::LocalPool,
    remote::free_many, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::deadline::Deadline;
use virgo_config::Node;
use virgo_proto::{
    mempool::MAX_MANY,
    vuid::{
        NodeId,
        Vuid, //
    }, //
};
use virgo_utils::{
    Client,
    RetryWork,
    User, //
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
    pub(crate) pool: Arc<LocalPool>,
    pub(crate) client: Arc<Client>,
}

impl RetryWork for Orphans {
    type Item = Orphan;

    /// More than that of a node are left to the next restart of this one, after which others free what
    /// belonged to it.
    const MAX: usize = 1 << 16;

    const AT_ONCE: usize = MAX_MANY;

    fn node(orphan: &Orphan) -> NodeId {
        Vuid::node_of(orphan.id)
    }

    fn attempt(&self, node: NodeId, orphans: &[Orphan]) -> Result {
        let config = self.node.config();
        // Those of one uid go together: mostly they all have one.
        for group in orphans.chunk_by(|one, other| one.uid == other.uid) {
            let uid = group.first().map_or(0, |orphan| orphan.uid);
            let ids = group.iter().map(|orphan| orphan.id);
            if node == config.me {
                ids.for_each(|id| {
                    let _ = self.pool.free_bytes(node, id, uid);
                });
            } else {
                let user = User {
                    uid,
                    deadline: Deadline::after_ms(config.deadline_ms),
                    config: &config,
                    claim: None,
                };
                // What the node does not free is none of its pieces, or not this user's. If it does not
                // answer the others are tried again, too: those that are gone by then do no harm.
                let _ = free_many(&self.client, &user, node, ids)?;
            }
        }
        Ok(())
    }
}
