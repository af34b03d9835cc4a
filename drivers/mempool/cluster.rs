// SPDX-License-Identifier: GPL-2.0

//! Cluster memory as its users see it: allocations that are used by id, wherever they lie.

use crate::{
    local::LocalPool,
    maps::{
        MapWindow,
        Maps,
        WindowKey, //
    },
    object::{
        Map,
        PieceRange, //
    },
    orphans::Orphans,
    remote, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_config::Node;
use virgo_proto::{
    mempool::MAX_LOOKUP,
    vuid::NodeId, //
};
use virgo_utils::{
    Backlog,
    Client,
    LogLimit,
    NodeReports,
    User, //
};

/// All state of the module.
pub(crate) struct Mempool {
    pub(crate) node: Arc<Node>,
    pub(crate) pool: Arc<LocalPool>,
    pub(crate) client: Arc<Client>,
    /// Of lines that peers cause.
    pub(crate) log: Pin<KBox<LogLimit>>,
    /// Work that frees what failed allocations have left behind. It does not refer back to this.
    pub(crate) orphans: Pin<KBox<Backlog<Orphans>>>,
    /// Bytes of a piece.
    pub(crate) chunk: u64,
    /// Whether this node's own memory is reached like another's.
    loopback: bool,
    /// Bytes that the other nodes' pools have left.
    pub(crate) rooms: Pin<KBox<NodeReports>>,
    /// What is known of other nodes' maps.
    pub(crate) maps: Pin<KBox<Maps>>,
}

impl Mempool {
    pub(crate) fn new(
        node: Arc<Node>,
        port: u16,
        limit: u64,
        chunk: u64,
        loopback: bool,
    ) -> Result<Arc<Self>> {
        let pool = Arc::pin_init(LocalPool::new(limit), GFP_KERNEL)?;
        let client = Arc::pin_init(Client::new(node.clone(), port), GFP_KERNEL)?;
        let orphans = Orphans {
            node: node.clone(),
            pool: pool.clone(),
            client: client.clone(),
        };
        let orphans = Backlog::new(c"virgo_orphans", orphans)?;
        let this = Mempool {
            node,
            pool,
            client,
            log: LogLimit::new()?,
            orphans,
            chunk,
            loopback,
            rooms: KBox::pin_init(NodeReports::new(), GFP_KERNEL)?,
            maps: KBox::pin_init(Maps::new(), GFP_KERNEL)?,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Whether node `node` is reached without a connection.
    pub(crate) fn is_here(&self, user: &User<'_>, node: NodeId) -> bool {
        node == user.config.me && !self.loopback
    }

    /// Asks node `node` for the map of allocation `id`.
    pub(crate) fn fetch_map(&self, user: &User<'_>, node: NodeId, id: u64) -> Result<Map> {
        let mut ids = KVVec::new();
        loop {
            let window = remote::lookup(&self.client, user, node, id, ids.len() as u64)?;
            ids.extend_from_slice(&window.ids, GFP_KERNEL_ACCOUNT)?;
            let MapWindow { size, chunk, .. } = window;
            if chunk.saturating_mul(ids.len() as u64) >= size {
                return Ok(Map { size, chunk, ids });
            }
        }
    }

    /// The place of byte `at` of allocation `id` of node `node`; `None` if it has no such byte. The
    /// window in which it is stays in `last`, for the bytes that follow.
    pub(crate) fn find_remote(
        &self,
        user: &User<'_>,
        node: NodeId,
        id: u64,
        at: u64,
        last: &mut Option<Arc<MapWindow>>,
    ) -> Result<Option<PieceRange>> {
        if let Some(piece) = last.as_ref().and_then(|window| window.find(at)) {
            return Ok(Some(piece));
        }
        let mut window = self.window(user, node, id, 0)?;
        if at >= window.size {
            return Ok(None);
        }
        // Of what was received the chunk is not 0; the compiler does not know that.
        let index = at.checked_div(window.chunk).ok_or(EPROTO)?;
        let number = u32::try_from(index / MAX_LOOKUP as u64).map_err(|_| EPROTO)?;
        if number > 0 {
            window = self.window(user, node, id, number)?;
        }
        Ok(last.insert(window).find(at))
    }

    /// A part of the map of allocation `id` of node `node`: from this node's memory, or from there.
    pub(crate) fn window(
        &self,
        user: &User<'_>,
        node: NodeId,
        id: u64,
        number: u32,
    ) -> Result<Arc<MapWindow>> {
        let key = WindowKey {
            id,
            uid: user.uid,
            number,
        };
        if let Some(window) = self.maps.get(key) {
            return Ok(window);
        }
        let first = u64::from(number) * MAX_LOOKUP as u64;
        let window = remote::lookup(&self.client, user, node, id, first)
            .inspect_err(|&e| self.note_error(id, e))?;
        let window = Arc::new(window, GFP_KERNEL_ACCOUNT)?;
        self.maps.put(key, &window);
        Ok(window)
    }

    /// Using allocation `id` by what is known of it has failed with error `e`: it may be no more.
    pub(crate) fn note_error(&self, id: u64, e: Error) {
        if e == ESTALE {
            self.maps.forget(id);
        }
    }
}

/// So that nothing waits for nodes that do not answer when the work that frees orphans is waited for.
impl Drop for Mempool {
    fn drop(&mut self) {
        self.client.stop();
    }
}
