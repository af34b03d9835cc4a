// SPDX-License-Identifier: GPL-2.0

//! Cluster memory as its users see it: allocations that are used by id, wherever they lie.

use crate::{
    ask,
    maps::{
        Key,
        Maps,
        Window, //
    },
    object::{
        Map,
        Piece, //
    },
    orphans::Orphans,
    pool::Pool,
    rooms::Rooms, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::bytes::Fill;
use virgo_config::Node;
use virgo_proto::{
    mempool::{
        op,
        LookupArgs,
        LookupReply,
        MAX_LOOKUP,
        MAX_PIECES, //
    },
    vuid::NodeId, //
};
use virgo_utils::{
    Backlog,
    Client,
    LogLimit,
    User, //
};

/// All state of the module.
pub(crate) struct Mempool {
    pub(crate) node: Arc<Node>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) client: Arc<Client>,
    /// Of lines that peers cause.
    pub(crate) log: Pin<KBox<LogLimit>>,
    /// Work that frees what failed allocations have left behind. It does not refer back to this.
    pub(crate) orphans: Pin<KBox<Backlog<Orphans>>>,
    /// Bytes of a piece.
    pub(crate) chunk: u64,
    /// Whether this node's own memory is reached like another's.
    loopback: bool,
    /// What the other nodes' pools have left.
    pub(crate) rooms: Pin<KBox<Rooms>>,
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
        let pool = Arc::pin_init(Pool::new(limit), GFP_KERNEL)?;
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
            rooms: KBox::pin_init(Rooms::new(), GFP_KERNEL)?,
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
            let window = self.fetch_window(user, node, id, ids.len() as u64)?;
            ids.extend_from_slice(&window.ids, GFP_KERNEL_ACCOUNT)?;
            let Window { size, chunk, .. } = window;
            if ids.len() as u64 >= size.div_ceil(chunk) {
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
        last: &mut Option<Arc<Window>>,
    ) -> Result<Option<Piece>> {
        if let Some(piece) = last.as_ref().and_then(|window| window.find(at)) {
            return Ok(Some(piece));
        }
        let mut window = self.window(user, node, id, 0)?;
        if at >= window.size {
            return Ok(None);
        }
        let index = at / window.chunk;
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
    ) -> Result<Arc<Window>> {
        let key = Key {
            id,
            uid: user.uid,
            number,
        };
        if let Some(window) = self.maps.get(key) {
            return Ok(window);
        }
        let first = u64::from(number) * MAX_LOOKUP as u64;
        let window = self
            .fetch_window(user, node, id, first)
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

    /// Asks node `node` for the ids of pieces of allocation `id`, from number `first` on.
    fn fetch_window(&self, user: &User<'_>, node: NodeId, id: u64, first: u64) -> Result<Window> {
        let args = LookupArgs {
            id: id.into(),
            first: u32::try_from(first).map_err(|_| EPROTO)?.into(),
            uid: user.uid.into(),
        };
        let mut reply = KVVec::new();
        let most = size_of::<LookupReply>() + 8 * MAX_LOOKUP;
        reply.put_zeros(most, GFP_KERNEL_ACCOUNT)?;
        let n = self.ask(user, node, op::LOOKUP, args.as_bytes(), b"", &mut reply)?;
        let reply = reply.get(..n).ok_or(EPROTO)?;
        let (answer, of_pieces) = LookupReply::read_from_prefix(reply).map_err(|_| EPROTO)?;
        let (size, chunk) = (answer.size.get(), answer.chunk.get());
        let of_pieces = of_pieces.chunks_exact(8);
        let pieces = match chunk {
            0 => return Err(EPROTO),
            _ => size.div_ceil(chunk),
        };
        let expected = pieces.saturating_sub(first).min(MAX_LOOKUP as u64);
        if pieces > MAX_PIECES || expected == 0 || of_pieces.len() as u64 != expected {
            return Err(EPROTO);
        }
        let mut ids = KVec::with_capacity(of_pieces.len(), GFP_KERNEL_ACCOUNT)?;
        for id in of_pieces {
            let id = u64::from_le_bytes(id.try_into().unwrap_or_default());
            ids.push(id, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Window {
            size,
            chunk,
            first,
            ids,
        })
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
        let request = ask::request(user.uid, op, args, data);
        self.client.call(node, &request, reply, user.deadline)
    }
}

/// So that nothing waits for nodes that do not answer when the work that frees orphans is waited for.
impl Drop for Mempool {
    fn drop(&mut self) {
        self.client.stop();
    }
}
