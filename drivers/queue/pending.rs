// SPDX-License-Identifier: GPL-2.0

//! Who waits for a reply.

use kernel::{
    prelude::*,
    sync::SpinLock, //
};
use linux::{
    deadline::Deadline,
    wait::WaitQueue, //
};

/// Requests that wait at a time.
const MAX: usize = 4096;

/// A request and its reply, once there is one.
struct Entry {
    id: u64,
    reply: Option<KVec<u8>>,
}

/// All who wait.
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
    pub(crate) id: u64,
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
        let mut entries = self.entries.lock();
        if entries.len() >= MAX {
            return Err(EUSERS);
        }
        entries.push(Entry { id, reply: None }, GFP_ATOMIC)?;
        Ok(Place { pending: self, id })
    }

    /// Gives the reply to request `id`.
    ///
    /// # Errors
    ///
    /// [`ESRCH`] if nobody waits for it (any more); [`ENOMEM`].
    pub(crate) fn answer(&self, id: u64, data: &[u8]) -> Result {
        let mut reply = KVec::with_capacity(data.len(), GFP_KERNEL)?;
        reply.extend_from_slice(data, GFP_KERNEL)?;
        let mut entries = self.entries.lock();
        let mut entries_with = entries.iter_mut();
        let entry = entries_with.find(|entry| entry.id == id && entry.reply.is_none());
        entry.ok_or(ESRCH)?.reply = Some(reply);
        drop(entries);
        self.answered.wake_all();
        Ok(())
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
            let mut entries_with = entries.iter_mut();
            entries_with.find(|entry| entry.id == self.id)?.reply.take()
        })?;
        reply.ok_or(ETIMEDOUT)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut entries = self.pending.entries.lock();
        let at = entries.iter().position(|entry| entry.id == self.id);
        let removed = at.map(|at| entries.remove(at));
        drop(entries);
        drop(removed);
    }
}
