// SPDX-License-Identifier: GPL-2.0

//! Files of this node that other nodes have open.

use crate::{
    changes::Changes,
    fenced_file::{
        FencedFile,
        NewFile, //
    },
    held,
    syncing::Syncing,
    workers::FileLines, //
};
use core::{
    mem::replace,
    net::Ipv4Addr, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use virgo_config::{
    Config,
    Reloaded, //
};
use virgo_proto::{
    config::{
        Nodes,
        MAX_NODES, //
    },
    vuid::{
        NodeId,
        GENERATIONS,
        MAX_SLOTS, //
    },
    worker_shares::WorkOwner, //
};
use virgo_utils::{
    budget::{
        Budget,
        Charge, //
    },
    table::{
        Place,
        Table, //
    },
    Peer, //
};

/// The largest value of the parameter `max_open`: so the table has room for what all nodes may have open.
pub(crate) const MAX_OPEN: u32 = MAX_SLOTS / MAX_NODES as u32;

/// An open file and the incarnation of the node that has it.
#[pin_data]
pub(crate) struct Opened {
    pub(crate) file: FencedFile,
    #[pin]
    pub(crate) changes: Changes,
    #[pin]
    pub(crate) syncing: Syncing,
    peer: Peer,
}

impl Opened {
    /// The uid of the user who has opened it.
    pub(crate) fn uid(&self) -> u32 {
        uid_of(&self.owner())
    }

    /// Who uses it.
    pub(crate) fn owner(&self) -> WorkOwner {
        self.file.owner()
    }
}

/// The owner of work on a file system for user `uid` of `peer`.
pub(crate) fn owner(device: u32, peer: Peer, uid: u32) -> WorkOwner {
    WorkOwner {
        device,
        user: u64::from(peer.node) << 32 | u64::from(uid),
    }
}

/// The uid of that user.
pub(crate) fn uid_of(owner: &WorkOwner) -> u32 {
    owner.user as u32
}

/// Bits of a handle that are chosen when the module is loaded: handles of an earlier load have others, mostly.
/// Generations of the table do not reach that far.
const LOAD: u64 = 0xfff << 52;

const _: () = assert!((GENERATIONS as u64) << 32 <= 1 << 52);

/// All of them. A handle is a place in the table; it is good for its own node only, and for its
/// present incarnation.
#[pin_data]
pub(crate) struct OpenedFiles {
    #[pin]
    table: Table<Opened>,
    lines: Arc<FileLines>,
    /// How many each node may have, shared between its users, until they are closed.
    budgets: KVec<Pin<KBox<Budget>>>,
    limit: u32,
    /// What handles have in [`LOAD`].
    load: u64,
    /// The nodes that may have any.
    #[pin]
    nodes: Mutex<Nodes>,
}

impl OpenedFiles {
    /// Each of `nodes` may have up to `limit` files.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        limit: u32,
        lines: Arc<FileLines>,
        nodes: Nodes,
    ) -> Result<impl PinInit<Self>> {
        let mut budgets = KVec::with_capacity(MAX_NODES, GFP_KERNEL)?;
        for _ in 0..MAX_NODES {
            budgets.push(Budget::new(limit.into())?, GFP_KERNEL)?;
        }
        Ok(pin_init!(Self {
            table <- Table::new(linux::crypto::random_u32()),
            lines,
            budgets,
            limit,
            load: linux::crypto::random_u64() & LOAD,
            nodes <- kernel::new_mutex!(nodes, "virgo_opened_nodes"),
        }))
    }

    /// Charges another file to user `uid` of `peer`.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] if the user has too many open, [`EMFILE`] if the node has.
    pub(crate) fn charge(&self, peer: Peer, uid: u32) -> Result<Charge> {
        let index = usize::from(peer.node).checked_sub(1).ok_or(EINVAL)?;
        let budget = self.budgets.get(index).ok_or(EINVAL)?;
        budget.charge(uid, 1).map_err(|e| match e {
            ENOMEM => EMFILE,
            e => e,
        })
    }

    /// Keeps `file` for `peer`. Returns the handle.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn insert(&self, peer: Peer, file: NewFile, charge: Charge) -> Result<u64> {
        let owner = owner(file.device(), peer, charge.uid());
        let file = file.held(|file| held::of_peer(&self.lines, owner, charge, file));
        let opened = Arc::pin_init(
            pin_init!(Opened {
                file,
                changes <- Changes::new(),
                syncing <- Syncing::new(),
                peer,
            }),
            GFP_KERNEL,
        )?;
        let place = self.table.insert(opened)?;
        let generation = u64::from(place.generation) << 32;
        Ok(self.load | generation | u64::from(place.slot))
    }

    /// The file of this handle.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it is closed, was opened before this node restarted, or is not `peer`'s.
    pub(crate) fn get(&self, peer: Peer, handle: u64) -> Result<Arc<Opened>> {
        let place = self.place(handle).ok_or(ESTALE)?;
        let opened = self.table.get(place).ok_or(ESTALE)?;
        match opened.peer == peer {
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
        let removed = self
            .place(handle)
            .and_then(|place| self.table.remove(place));
        drop(removed);
    }

    /// Where the file of this handle is or was; `None` if it is one of an earlier load of the module.
    fn place(&self, handle: u64) -> Option<Place> {
        (handle & LOAD == self.load).then_some(Place {
            slot: handle as u32,
            generation: ((handle & !LOAD) >> 32) as u32,
        })
    }

    /// Closes what `gone`, an incarnation of a node that is over, had open. Returns how many files.
    pub(crate) fn close_gone(&self, gone: Peer) -> usize {
        self.close_all(|opened| opened.peer == gone)
    }

    fn close_all(&self, which: impl Fn(&Opened) -> bool) -> usize {
        let (mut from, mut closed) = (0, 0);
        while let Some((_, next)) = self.table.remove_next(from, &which) {
            from = next;
            closed += 1;
        }
        closed
    }

    /// Where the node is that has this number. What it opens is kept only if that is still so then: see
    /// [`Self::reloaded`].
    pub(crate) fn address(&self, node: NodeId) -> Option<Ipv4Addr> {
        self.nodes.lock().address(node)
    }

    /// Drops what `node` has asked for and given up since. May sleep, not for the disk.
    pub(crate) fn drop_given_up(&self, node: NodeId) {
        let mut from = 0;
        let of_node = |opened: &Opened| opened.peer.node == node;
        while let Some((place, opened)) = self.table.next(from, of_node) {
            from = place.slot + 1;
            opened.changes.drop_given_up();
            opened.syncing.drop_given_up();
        }
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

impl Reloaded for OpenedFiles {
    /// Closes what nodes have open that are not configured any more, or are other machines now: nobody
    /// else does, unless they come back. Also what is in no export any more, or in one that became read-only.
    fn reloaded(&self, config: &Config) {
        let former = replace(&mut *self.nodes.lock(), config.nodes);
        for (node, address) in former.iter() {
            if config.nodes.address(node) == Some(address) {
                continue;
            }
            let closed = self.close_all(|opened| opened.peer.node == node);
            if closed > 0 {
                pr_info!("node {node} was removed: {closed} files closed\n");
            }
        }
        let closed = self.close_all(|opened| !opened.file.is_exported_by(config));
        if closed > 0 {
            pr_info!("{closed} files closed that are not exported any more, or not for writing\n");
        }
    }
}
