// SPDX-License-Identifier: GPL-2.0

//! Files of this node that other nodes have open.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::vfs::File;
use virgo_proto::config::MAX_NODES;
use virgo_utils::{
    table::{
        Place,
        Table, //
    },
    Peer, //
};

/// An open file and the life of the node that has it.
pub(crate) struct Opened {
    pub(crate) file: File,
    peer: Peer,
}

/// All of them. A handle is a place in the table; it is good for its own node only, and for its
/// present life.
#[pin_data]
pub(crate) struct OpenedFiles {
    #[pin]
    table: Table<Opened>,
    /// How many each node has.
    counts: [Atomic<u32>; MAX_NODES],
    limit: u32,
}

impl OpenedFiles {
    /// Each node may have up to `limit` files.
    pub(crate) fn new(limit: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            table <- Table::new(linux::crypto::random_u32()),
            counts: [const { Atomic::new(0) }; MAX_NODES],
            limit,
        })
    }

    fn count(&self, peer: Peer) -> Result<&Atomic<u32>> {
        let index = usize::from(peer.node).checked_sub(1).ok_or(EINVAL)?;
        self.counts.get(index).ok_or(EINVAL)
    }

    /// Whether `peer` may open another file. Requests of a node follow each other, so the answer
    /// holds for the rest of this one.
    ///
    /// # Errors
    ///
    /// [`EMFILE`].
    pub(crate) fn check(&self, peer: Peer) -> Result {
        match self.count(peer)?.load(Relaxed) < self.limit {
            true => Ok(()),
            false => Err(EMFILE),
        }
    }

    /// Keeps `file` for `peer`. Returns the handle.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn insert(&self, peer: Peer, file: File) -> Result<u64> {
        let count = self.count(peer)?;
        let opened = Arc::new(Opened { file, peer }, GFP_KERNEL)?;
        let place = self.table.insert(opened)?;
        count.fetch_add(1, Relaxed);
        Ok(u64::from(place.generation) << 32 | u64::from(place.slot))
    }

    /// The file of this handle.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it is closed, was opened before this node restarted, or is not `peer`'s.
    pub(crate) fn get(&self, peer: Peer, handle: u64) -> Result<Arc<Opened>> {
        let opened = self.table.get(place(handle)).ok_or(ESTALE)?;
        match (opened.peer.node, opened.peer.boot) == (peer.node, peer.boot) {
            true => Ok(opened),
            false => Err(ESTALE),
        }
    }

    /// Closes the file of this handle, if it is `peer`'s and open.
    pub(crate) fn close(&self, peer: Peer, handle: u64) {
        if self.get(peer, handle).is_ok() {
            self.remove(handle);
        }
    }

    /// Closes the file of a handle that was given out a moment ago.
    pub(crate) fn remove(&self, handle: u64) {
        if let Some(opened) = self.table.remove(place(handle)) {
            self.removed(&opened);
        }
    }

    fn removed(&self, opened: &Opened) {
        if let Ok(count) = self.count(opened.peer) {
            count.fetch_sub(1, Relaxed);
        }
    }

    /// Closes what former lives of `peer` had open. Returns how many files.
    pub(crate) fn close_former(&self, peer: Peer) -> usize {
        let former =
            |opened: &Opened| opened.peer.node == peer.node && opened.peer.boot != peer.boot;
        let (mut from, mut closed) = (0, 0);
        while let Some((opened, next)) = self.table.remove_next(from, former) {
            self.removed(&opened);
            from = next;
            closed += 1;
        }
        closed
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.count()
    }

    /// How many one node may have.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }
}

fn place(handle: u64) -> Place {
    Place {
        slot: handle as u32,
        generation: (handle >> 32) as u32,
    }
}
