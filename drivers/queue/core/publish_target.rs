// SPDX-License-Identifier: GPL-2.0

//! Who publishes messages, where they go, and who of those that are bound to it has a say.

use crate::channel::{
    Channel,
    ChannelRef, //
};
use virgo_proto::fence::FenceClaim;

/// Who publishes.
#[derive(Clone, Copy)]
pub(crate) struct Publisher {
    /// With whose rights.
    pub(crate) uid: u32,
    /// The lock that it says it has.
    pub(crate) claim: Option<FenceClaim>,
}

impl Publisher {
    /// A user who says of no lock that it has it.
    pub(crate) fn without_lock(uid: u32) -> Self {
        Publisher { uid, claim: None }
    }
}

/// Where messages go.
#[derive(Clone, Copy)]
pub(crate) struct To<'a> {
    pub(crate) by: Publisher,
    pub(crate) name: &'a [u8],
    /// The channel of that name.
    pub(crate) named: Option<&'a ChannelRef>,
}

impl To<'_> {
    /// Whether a bound queue may keep the publisher waiting, or from publishing.
    pub(crate) fn has_say(&self, bound: &Channel) -> bool {
        let owner = bound.access.owner;
        let owns_name = |named: &ChannelRef| named.access.owner == owner;
        owner == 0 || owner == self.by.uid || self.named.is_some_and(owns_name)
    }
}
