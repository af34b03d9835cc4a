// SPDX-License-Identifier: GPL-2.0

//! The messages that a text session has got and may speak of again: those that it has not acknowledged,
//! and requests that it has not answered.
//!
//! There is a bound. A session that has reached it gets nothing more until it has done with one of them, or one
//! has come again to whoever takes it then; what needs nothing but an answer makes room for others by itself.

use crate::{
    channel::{
        ChannelRef,
        TakenMessage, //
    },
    message::ReplyTo, //
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::bytes::memory_of;
use virgo_utils::budget::{
    Account,
    Charge, //
};

/// So many there may be.
const MAX_OPEN: usize = 4096;

/// So many are noted in memory that is not given back when none are left.
const SMALL_LIST: usize = 16;

/// A message that the session has.
pub(crate) struct OpenMessage {
    id: u64,
    /// When it comes again, as [`now_ms`] has it.
    ///
    /// [`now_ms`]: linux::deadline::now_ms
    due: u64,
    pub(crate) channel: ChannelRef,
    /// By what it is acknowledged.
    pub(crate) delivery: u64,
    /// It needs no acknowledgement.
    pub(crate) acked: bool,
    pub(crate) reply: Option<ReplyTo>,
}

/// See the module.
pub(crate) struct OpenMessages {
    /// By their ids, which grow.
    messages: KVec<OpenMessage>,
    /// How many need nothing but an answer.
    answerable: usize,
    /// None comes again before.
    earliest: u64,
    /// For the memory of the list.
    charge: Charge,
    /// The last id that was given.
    last: u64,
}

impl OpenMessages {
    /// None; the list will be charged to `account`.
    ///
    /// # Errors
    ///
    /// As for [`Account::charge`].
    pub(crate) fn new(account: &Account) -> Result<Self> {
        Ok(OpenMessages {
            messages: KVec::new(),
            answerable: 0,
            earliest: u64::MAX,
            charge: account.charge(0)?,
            last: 0,
        })
    }

    /// Whether there are as many as there may be.
    pub(crate) fn are_many(&self) -> bool {
        self.messages.len() >= MAX_OPEN
    }

    /// Whether the session gets no others at the time `now`. Forgets those that have come again.
    pub(crate) fn are_too_many(&mut self, now: u64) -> bool {
        if self.are_many() && self.answerable == 0 && self.earliest <= now {
            self.messages.retain(|message| message.due > now);
            let due = self.messages.iter().map(|message| message.due).min();
            self.earliest = due.unwrap_or(u64::MAX);
        }
        self.are_many() && self.answerable == 0
    }

    /// Makes room for one more, before it is taken, unless there are [too many](Self::are_too_many). May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], [`EDQUOT`].
    pub(crate) fn reserve(&mut self) -> Result {
        if self.messages.len() == self.messages.capacity() && !self.are_many() {
            // As many again, which is what the vector would take.
            let more = self.messages.capacity().max(4);
            let count = self.messages.capacity() + more;
            let bytes = memory_of(count * size_of::<OpenMessage>());
            self.charge.resize(bytes as u64)?;
            self.messages.reserve(more, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }

    /// Gives a message that was taken, not before `now`, an id, and remembers it if the session may speak of it
    /// again. There is [room](Self::reserve).
    pub(crate) fn note(
        &mut self,
        channel: &ChannelRef,
        delivery: &TakenMessage,
        acked: bool,
        now: u64,
    ) -> u64 {
        self.last += 1;
        if acked && delivery.item.reply.is_none() {
            return self.last;
        }
        if self.are_many() {
            // The oldest that needs nothing but an answer: nobody waits for ever for that.
            let oldest = self.messages.iter().position(|message| message.acked);
            let evicted = oldest.map(|oldest| self.messages.remove(oldest));
            self.answerable = self
                .answerable
                .saturating_sub(usize::from(evicted.is_some()));
        }
        let due = match (acked, channel.ack_ms) {
            (true, _) | (_, 0) => u64::MAX,
            (false, ms) => now.saturating_add(ms.into()),
        };
        let message = OpenMessage {
            id: self.last,
            due,
            channel: channel.clone(),
            delivery: delivery.id,
            acked,
            reply: delivery.item.reply,
        };
        if self.messages.push_within_capacity(message).is_ok() {
            self.answerable += usize::from(acked);
            self.earliest = self.earliest.min(due);
        }
        self.last
    }

    /// The session has done with message `id`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if it does not have it (any more).
    pub(crate) fn close(&mut self, id: u64) -> Result<OpenMessage> {
        let found = self.messages.binary_search_by_key(&id, |open| open.id);
        let at = found.map_err(|_| ESTALE)?;
        let closed = self.messages.remove(at).map_err(|_| ESTALE)?;
        self.answerable = self.answerable.saturating_sub(usize::from(closed.acked));
        self.shrink();
        Ok(closed)
    }

    /// Forgets those of `channel`.
    pub(crate) fn forget(&mut self, channel: &ChannelRef) {
        self.messages
            .retain(|open| !Arc::ptr_eq(&open.channel, channel));
        self.answerable = self.messages.iter().filter(|open| open.acked).count();
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.messages.is_empty() && self.messages.capacity() > SMALL_LIST {
            self.messages = KVec::new();
            // Does not grow, so it does not fail.
            let _ = self.charge.resize(0);
        }
    }
}
