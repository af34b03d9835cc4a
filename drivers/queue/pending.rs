// SPDX-License-Identifier: GPL-2.0

//! Who waits for a reply.

use crate::message::ReplyTo;
use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::{
    bytes::Fill,
    deadline::Deadline,
    wait::WaitQueue, //
};
use virgo_utils::Deferred;

/// Requests that wait at a time.
const MAX: usize = 4096;

struct Entry {
    id: u64,
    who: Who,
}

enum Who {
    /// A task of this node. The reply, once it is there.
    Here(Option<KVec<u8>>),
    /// Another node, until then.
    There(Deferred, Deadline),
}

/// All who wait. Their list is locked for short; replies to other nodes are given outside of it,
/// since that may sleep.
#[pin_data]
pub(crate) struct Pending {
    #[pin]
    entries: SpinLock<KVec<Entry>>,
    #[pin]
    answered: WaitQueue,
}

/// A place for a reply; nobody can reply any more when it is dropped.
pub(crate) struct Place<'a> {
    pending: &'a Pending,
    pub(crate) reply_to: ReplyTo,
}

impl Pending {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            entries <- kernel::new_spinlock!(KVec::new(), "virgo_pending"),
            answered <- linux::new_wait_queue!("virgo_answered"),
        })
    }

    /// A place for the reply to the request that is called `id` from now on.
    ///
    /// # Errors
    ///
    /// [`EUSERS`], [`ENOMEM`].
    pub(crate) fn open(&self, id: u64) -> Result<Place<'_>> {
        let reply_to = self.add(id, Who::Here(None))?;
        Ok(Place {
            pending: self,
            reply_to,
        })
    }

    /// Owes another node the reply to the request that is called `id` from now on.
    ///
    /// # Errors
    ///
    /// [`EUSERS`], [`ENOMEM`].
    pub(crate) fn owe(&self, id: u64, reply: Deferred, until: Deadline) -> Result<ReplyTo> {
        self.add(id, Who::There(reply, until))
    }

    fn add(&self, id: u64, who: Who) -> Result<ReplyTo> {
        let entry = Entry { id, who };
        // Goes before the entry, whose end may sleep if it is refused.
        let mut entries = self.entries.lock();
        if entries.len() >= MAX {
            return Err(EUSERS);
        }
        entries.reserve(1, GFP_ATOMIC)?;
        let full = entries.push_within_capacity(entry);
        drop(entries);
        drop(full);
        Ok(ReplyTo(id))
    }

    /// Gives a reply. May sleep.
    ///
    /// # Errors
    ///
    /// [`ESRCH`] if nobody waits for it (any more); [`EMSGSIZE`], [`ENOMEM`].
    pub(crate) fn answer(&self, to: ReplyTo, data: &[u8]) -> Result {
        let there = self.take(|entry| entry.id == to.0 && matches!(entry.who, Who::There(..)));
        if let Some(Who::There(reply, until)) = there {
            return match reply.is_wanted() && !until.passed() {
                true => reply.answer(data),
                false => Err(ESRCH),
            };
        }
        let mut copy = KVec::new();
        copy.put_bytes(data, GFP_KERNEL)?;
        let mut entries = self.entries.lock();
        let entry = entries.iter_mut().find(|entry| entry.id == to.0);
        match entry.map(|entry| &mut entry.who) {
            Some(Who::Here(reply @ None)) => *reply = Some(copy),
            _ => return Err(ESRCH),
        }
        drop(entries);
        self.answered.wake_all();
        Ok(())
    }

    /// Nobody waits for this reply any more. May sleep.
    pub(crate) fn forget(&self, to: ReplyTo) {
        drop(self.take(|entry| entry.id == to.0));
    }

    /// Other nodes whose time is over do not wait any more. May sleep.
    pub(crate) fn forget_late(&self) {
        let late = |entry: &Entry| matches!(&entry.who, Who::There(_, until) if until.passed());
        while self.take(late).is_some() {}
    }

    /// Removes the first entry of this kind.
    fn take(&self, wanted: impl FnMut(&Entry) -> bool) -> Option<Who> {
        let mut entries = self.entries.lock();
        let at = entries.iter().position(wanted)?;
        Some(entries.remove(at).ok()?.who)
    }
}

impl Place<'_> {
    /// Waits for the reply. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`] at the deadline, [`EINTR`].
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<KVec<u8>> {
        let reply = self.pending.answered.wait(deadline, || {
            let mut entries = self.pending.entries.lock();
            let entry = entries.iter_mut().find(|entry| entry.id == self.reply_to.0);
            match &mut entry?.who {
                Who::Here(reply) => reply.take(),
                Who::There(..) => None,
            }
        })?;
        reply.ok_or(ETIMEDOUT)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pending.forget(self.reply_to);
    }
}
