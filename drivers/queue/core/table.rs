// SPDX-License-Identifier: GPL-2.0

//! The table of all channels, and who gets what is published.

use crate::{
    binding_index::BindingIndex,
    channel::{
        Channel,
        ChannelRef, //
    }, //
};
use kernel::prelude::*;
use virgo_proto::{
    fence::FenceClaim,
    queue::{
        access::Right,
        options::ChannelKind, //
    }, //
};

/// Name of the queue of requests.
pub(crate) const REQUESTS: &[u8] = b"requests";

/// Names of what goes on between users and KingCobra begin so.
const KINGCOBRA: &[u8] = b"kingcobra.";

/// Whether a name is one of those of the system: only root makes queues and topics of these names,
/// since others take part in what goes on there on behalf of all users, or subscriptions are called
/// so.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(b"_") || name.starts_with(KINGCOBRA)
}

/// Whether `uid` may say of a channel that it has the lock `claim`, if it does. Who says a token may keep all
/// others out for good, which is as much as to empty the channel each time: so it takes the right to delete.
///
/// # Errors
///
/// [`EACCES`]; [`ENOLCK`] for what no lock guards: requests of all users wait in one queue, and subscriptions
/// go with those who have them.
pub(crate) fn check_claim(channel: &Channel, uid: u32, claim: Option<FenceClaim>) -> Result {
    match claim {
        None => Ok(()),
        Some(_) if channel.kind == ChannelKind::Subscription => Err(ENOLCK),
        Some(_) if channel.name.as_slice() == REQUESTS => Err(ENOLCK),
        Some(_) => channel.check(uid, Right::Delete),
    }
}

/// Sorted by name.
pub(crate) struct ChannelTable {
    pub(crate) all: KVVec<ChannelRef>,
    pub(crate) bound: BindingIndex,
}

impl ChannelTable {
    /// None.
    pub(crate) fn new() -> Self {
        ChannelTable {
            all: KVVec::new(),
            bound: BindingIndex::new(),
        }
    }

    pub(crate) fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.all
            .binary_search_by(|channel| channel.name.as_slice().cmp(name))
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<&ChannelRef> {
        self.all.get(self.search(name).ok()?)
    }

    /// All channels.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ChannelRef> {
        self.all.iter()
    }

    /// The others that get what user `uid` publishes as `name`, which `named` is called, if anything
    /// is. A name that nobody owns is heard by all, others by those who may take from it. What is
    /// published between a user and KingCobra as a name that nobody owns, root and that user hear.
    pub(crate) fn bound_to<'a>(
        &'a self,
        name: &'a [u8],
        named: Option<&'a ChannelRef>,
        uid: u32,
    ) -> impl Iterator<Item = &'a ChannelRef> {
        self.bound.matching(name).filter(move |bound| {
            let owner = bound.access.owner;
            match named {
                Some(named) => named.access.allows(owner, Right::Take),
                None => owner == 0 || owner == uid || !name.starts_with(KINGCOBRA),
            }
        })
    }

    /// Whether there are any of those.
    pub(crate) fn is_bound_to(&self, name: &[u8], named: Option<&ChannelRef>, uid: u32) -> bool {
        self.bound_to(name, named, uid).next().is_some()
    }
}
