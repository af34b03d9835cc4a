// SPDX-License-Identifier: GPL-2.0

//! Channels that are bound to a name or pattern, found by what a message is published as.
//!
//! They are sorted by the words of their patterns before the first wildcard, and by owner. A publisher
//! looks at those only of which these words are the first ones of the name, and makes one copy of a
//! message for those of one owner that follow each other.

use crate::channel::Shared;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use virgo_proto::queue::subject;

/// See the module.
pub(crate) struct BindingIndex(KVVec<Shared>);

fn literal(channel: &Shared) -> &[u8] {
    subject::literal(&channel.bound)
}

/// By what they are sorted.
fn key(channel: &Shared) -> (&[u8], u32) {
    (literal(channel), channel.access.owner)
}

impl BindingIndex {
    /// None.
    pub(crate) fn new() -> Self {
        BindingIndex(KVVec::new())
    }

    /// Makes room for another one. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn reserve(&mut self) -> Result {
        Ok(self.0.reserve(1, GFP_KERNEL)?)
    }

    /// Adds a channel, for which there is room, if it is bound to something.
    pub(crate) fn insert(&mut self, channel: &Shared) {
        if channel.bound.is_empty() {
            return;
        }
        let before = |other: &Shared| key(other) <= key(channel);
        let at = self.0.partition_point(before);
        let _ = self.0.insert_within_capacity(at, channel.clone());
    }

    /// Removes a channel if it is there.
    pub(crate) fn remove(&mut self, channel: &Shared) {
        if channel.bound.is_empty() {
            return;
        }
        let from = self.0.partition_point(|other| key(other) < key(channel));
        let behind = self.0.get(from..).unwrap_or_default().iter();
        let mut alike = behind.take_while(|other| key(other) == key(channel));
        if let Some(at) = alike.position(|other| Arc::ptr_eq(other, channel)) {
            let _ = self.0.remove(from + at);
        }
    }

    /// Those whose patterns stand for `name`.
    pub(crate) fn matching<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Shared> {
        // Usually nothing is bound.
        let name = Some(name).filter(|_| !self.0.is_empty());
        let all = name.into_iter().flat_map(move |name| {
            subject::prefixes(name).flat_map(move |prefix| self.with_literal(prefix))
        });
        all.filter(move |bound| {
            name.is_some_and(|name| subject::matches(&bound.bound, name) && bound.name != *name)
        })
    }

    /// Those with these words before the first wildcard.
    fn with_literal<'a>(&'a self, words: &'a [u8]) -> impl Iterator<Item = &'a Shared> {
        let from = self.0.partition_point(|other| literal(other) < words);
        let behind = self.0.get(from..).unwrap_or_default().iter();
        behind.take_while(move |other| literal(other) == words)
    }
}
