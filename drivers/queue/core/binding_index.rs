// SPDX-License-Identifier: GPL-2.0

//! Channels that are bound to a name or pattern, found by what a message is published as.
//!
//! They are sorted by the words of their patterns before the first wildcard, and by owner. A publisher
//! looks at those only of which these words are the first ones of the name, and makes one copy of a
//! message for those of one owner that follow each other.

use crate::channel::ChannelRef;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_proto::queue::subject;

/// A channel that is bound to something.
struct Entry {
    channel: ChannelRef,
    /// Bytes of the words of its pattern before the first wildcard.
    literal: usize,
}

impl Entry {
    fn new(channel: &ChannelRef) -> Self {
        Entry {
            channel: channel.clone(),
            literal: subject::literal(&channel.bound).len(),
        }
    }

    fn literal(&self) -> &[u8] {
        self.channel.bound.get(..self.literal).unwrap_or_default()
    }

    /// By what they are sorted.
    fn key(&self) -> (&[u8], u32) {
        (self.literal(), self.channel.access.owner)
    }
}

/// See the module.
pub(crate) struct BindingIndex {
    sorted: KVVec<Entry>,
    /// How many of them may refuse a message.
    refusing: usize,
}

impl BindingIndex {
    /// None.
    pub(crate) fn new() -> Self {
        BindingIndex {
            sorted: KVVec::new(),
            refusing: 0,
        }
    }

    /// Makes room for another one. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn reserve(&mut self) -> Result {
        Ok(self.sorted.reserve(1, GFP_KERNEL)?)
    }

    /// Adds a channel, for which there is room, if it is bound to something.
    pub(crate) fn insert(&mut self, channel: &ChannelRef) {
        if channel.bound.is_empty() {
            return;
        }
        let new = Entry::new(channel);
        let before = |other: &Entry| other.key() <= new.key();
        let at = self.sorted.partition_point(before);
        if self.sorted.insert_within_capacity(at, new).is_ok() {
            self.refusing += usize::from(channel.may_refuse());
        }
    }

    /// Removes a channel if it is there.
    pub(crate) fn remove(&mut self, channel: &ChannelRef) {
        if channel.bound.is_empty() {
            return;
        }
        let old = Entry::new(channel);
        let from = self.sorted.partition_point(|other| other.key() < old.key());
        let behind = self.sorted.get(from..).unwrap_or_default().iter();
        let mut alike = behind.take_while(|other| other.key() == old.key());
        if let Some(at) = alike.position(|other| Arc::ptr_eq(&other.channel, channel)) {
            let _ = self.sorted.remove(from + at);
            self.refusing -= usize::from(channel.may_refuse());
        }
    }

    /// Whether there are any that may refuse a message.
    pub(crate) fn may_refuse(&self) -> bool {
        self.refusing > 0
    }

    /// Those whose patterns stand for `name`.
    pub(crate) fn matching<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a ChannelRef> {
        // Usually nothing is bound.
        let name = Some(name).filter(|_| !self.sorted.is_empty());
        let all = name.into_iter().flat_map(move |name| {
            subject::prefixes(name).flat_map(move |prefix| self.with_literal(prefix))
        });
        all.filter(move |bound| {
            name.is_some_and(|name| subject::matches(&bound.bound, name) && bound.name != *name)
        })
    }

    /// Those with these words before the first wildcard.
    fn with_literal<'a>(&'a self, words: &'a [u8]) -> impl Iterator<Item = &'a ChannelRef> {
        let from = self.sorted.partition_point(|other| other.literal() < words);
        let behind = self.sorted.get(from..).unwrap_or_default().iter();
        let alike = behind.take_while(move |other| other.literal() == words);
        alike.map(|entry| &entry.channel)
    }
}
