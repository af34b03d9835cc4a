// SPDX-License-Identifier: GPL-2.0

//! Cluster memory as its users see it: allocations that are used by id, wherever they lie.

use crate::{
    ask,
    object::Map,
    orphans::Orphans,
    pool::Pool, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    }, //
};
use linux::{
    bytes::Fill,
    work::{
        Queue,
        Task, //
    }, //
};
use virgo_config::Node;
use virgo_proto::{
    config::MAX_NODES,
    mempool::{
        op,
        LookupArgs,
        LookupReply,
        MAX_LOOKUP,
        MAX_PIECES, //
    },
    vuid::{
        NodeId,
        Vuid, //
    }, //
};
use virgo_utils::{
    Backlog,
    Client,
    User, //
};

/// All state of the module.
pub(crate) struct Mempool {
    pub(crate) node: Arc<Node>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) client: Arc<Client>,
    /// Work that frees what failed allocations have left behind. It does not refer back to this.
    pub(crate) orphans: Pin<KBox<Task<Backlog<Orphans>>>>,
    /// Bytes of a piece.
    pub(crate) chunk: u64,
    /// Whether this node's own memory is reached like another's.
    loopback: bool,
    /// What each node's pool had left when it last said so; at first as much as can be.
    pub(crate) room: [Atomic<u64>; MAX_NODES],
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
        let orphans = Backlog::new(Orphans {
            node: node.clone(),
            pool: pool.clone(),
            client: client.clone(),
        });
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
    pub(crate) fn is_here(&self, user: &User<'_>, node: NodeId) -> bool {
        node == user.config.me && !self.loopback
    }

    /// What `id` says, if it was ever issued.
    pub(crate) fn open(&self, user: &User<'_>, id: u64) -> Result<Vuid> {
        Vuid::open(id, &user.config.check).ok_or(EINVAL)
    }

    /// Asks node `node` for the map of allocation `id`.
    pub(crate) fn fetch_map(&self, user: &User<'_>, node: NodeId, id: u64) -> Result<Map> {
        let mut map = Map {
            size: 0,
            chunk: 0,
            ids: KVVec::new(),
        };
        let mut reply = KVVec::new();
        reply.put_zeros(size_of::<LookupReply>() + 8 * MAX_LOOKUP, GFP_KERNEL)?;
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
            let ids = ids.chunks_exact(8);
            if ids.len() == 0 || pieces > MAX_PIECES {
                return Err(EPROTO);
            }
            for id in ids {
                map.ids.push(
                    u64::from_le_bytes(id.try_into().unwrap_or_default()),
                    GFP_KERNEL,
                )?;
            }
            if map.ids.len() as u64 >= pieces {
                return Ok(map);
            }
        }
    }

    pub(crate) fn ask(
        &self,
        user: &User<'_>,
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
