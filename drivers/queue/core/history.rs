// SPDX-License-Identifier: GPL-2.0

//! What topics have kept, as the beginning of a new subscription.
//!
//! Most of it is copied before the subscription is in the table, with nothing locked. The rest, which
//! was published meanwhile, follows when nobody can publish: see [`History::finish`].

use crate::{
    channel::{
        Channel,
        ChannelRef,
        PublishOptions, //
    },
    table::ChannelTable, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::{
    gfp::nowait_account,
    rwlock::RwLock, //
};
use virgo_proto::queue::{
    access::Right,
    options::ChannelKind,
    state::STEP,
    subject, //
};

/// Rounds of copying, while more than a step comes in each.
pub(crate) const ROUNDS: usize = 4;

/// See the module.
pub(crate) struct History<'a> {
    /// Of topics whose names it stands for.
    pattern: &'a [u8],
    /// From which number on.
    from: u64,
    /// Topics of which something was copied, and with which number it goes on.
    copied: KVVec<(ChannelRef, u64)>,
}

impl<'a> History<'a> {
    /// What topics of these names have from number `from` on.
    pub(crate) fn new(pattern: &'a [u8], from: u64) -> Self {
        History {
            pattern,
            from,
            copied: KVVec::new(),
        }
    }

    /// Copies what there is to `channel`, which nobody can publish to yet. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; those of [`Channel::push`].
    pub(crate) fn begin(&mut self, table: &RwLock<ChannelTable>, channel: &ChannelRef) -> Result {
        for _ in 0..ROUNDS {
            let topics = self.topics(channel, &table.read())?;
            let mut count = 0;
            for topic in &topics {
                count += self.copy(channel, topic, GFP_KERNEL_ACCOUNT)?;
            }
            if count <= STEP as usize {
                break;
            }
        }
        Ok(())
    }

    /// Copies what has come since [`Self::begin`]: little. The table is locked, so that nobody
    /// publishes: the memory cgroup of the subscriber is not waited for.
    ///
    /// # Errors
    ///
    /// As for [`Self::begin`]; after [`ENOMEM`] both can be tried again, with the table unlocked between
    /// them.
    pub(crate) fn finish(&mut self, channel: &ChannelRef, table: &ChannelTable) -> Result {
        for topic in &self.topics(channel, table)? {
            self.copy(channel, topic, nowait_account())?;
        }
        Ok(())
    }

    /// The topics that it is about.
    fn topics(&self, channel: &Channel, table: &ChannelTable) -> Result<KVVec<ChannelRef>> {
        let owner = channel.access.owner;
        let mut topics = KVVec::new();
        for topic in table.all() {
            if topic.kind == ChannelKind::Topic
                && topic.keeps
                && subject::matches(self.pattern, &topic.name)
                && topic.access.allows(owner, Right::Take)
            {
                topics.push(topic.clone(), GFP_KERNEL)?;
            }
        }
        Ok(topics)
    }

    /// Copies what a topic has that was not copied before. Returns how many.
    fn copy(&mut self, channel: &ChannelRef, topic: &ChannelRef, flags: Flags) -> Result<usize> {
        let known = self
            .copied
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, topic));
        let at = match known {
            Some(at) => at,
            None => {
                self.copied.push((topic.clone(), self.from), GFP_KERNEL)?;
                self.copied.len() - 1
            }
        };
        let (_, next) = self.copied.get_mut(at).ok_or(EINVAL)?;
        let kept = topic.kept(*next, flags)?;
        for message in &kept {
            Channel::push(channel, &channel.own(message)?, PublishOptions::PLAIN)?;
            *next = (*next).max(message.position.load(Relaxed).saturating_add(1));
        }
        Ok(kept.len())
    }
}
