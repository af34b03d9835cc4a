// SPDX-License-Identifier: GPL-2.0

//! Where messages go that are published, and who of those that are bound to it has a say.

use crate::channel::{
    Channel,
    ChannelRef, //
};

/// Where messages go.
#[derive(Clone, Copy)]
pub(crate) struct To<'a> {
    /// Who publishes.
    pub(crate) uid: u32,
    pub(crate) name: &'a [u8],
    /// The channel of that name.
    pub(crate) named: Option<&'a ChannelRef>,
}

impl To<'_> {
    /// Whether a bound queue may keep the publisher waiting, or from publishing.
    pub(crate) fn has_say(&self, bound: &Channel) -> bool {
        let owner = bound.access.owner;
        let owns_name = |named: &ChannelRef| named.access.owner == owner;
        owner == 0 || owner == self.uid || self.named.is_some_and(owns_name)
    }
}
