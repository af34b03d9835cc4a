// SPDX-License-Identifier: GPL-2.0

//! A message, and the memory that all messages together may take.

use core::net::Ipv4Addr;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::bytes::Fill;
use virgo_proto::queue::MAX_MESSAGE;
pub(crate) use virgo_utils::requests::ReplyTo;

/// Bytes that a message takes beside its name and data, as far as it is counted.
const OVERHEAD: usize = 256;

/// Memory for messages.
pub(crate) struct Budget {
    used: Atomic<u64>,
    limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Result<Arc<Self>> {
        let used = Atomic::new(0);
        Ok(Arc::new(Budget { used, limit }, GFP_KERNEL)?)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    fn take(&self, bytes: u64) -> Result {
        let before = self.used.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.used.fetch_sub(bytes, Relaxed);
            return Err(ENOMEM);
        }
        Ok(())
    }
}

/// A message. Its memory is given back wherever the last user drops it, in any context.
pub(crate) struct Message {
    /// Subject and data, one behind the other.
    bytes: KVec<u8>,
    subject_len: usize,
    /// Who waits for a reply, if anybody.
    pub(crate) reply: Option<ReplyTo>,
    /// Where it comes from.
    pub(crate) from: Ipv4Addr,
    /// Number in the queue or topic that it was published to; 0 if there is none of that name.
    pub(crate) position: Atomic<u64>,
    budget: Arc<Budget>,
}

/// What a message is made of.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) data: &'a [u8],
    pub(crate) reply: Option<ReplyTo>,
    pub(crate) from: Ipv4Addr,
}

impl Message {
    /// Takes memory by `flags`.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] beyond [`MAX_MESSAGE`], [`ENOMEM`].
    pub(crate) fn new(budget: &Arc<Budget>, parts: &Parts<'_>, flags: Flags) -> Result<Arc<Self>> {
        if parts.data.len() > MAX_MESSAGE {
            return Err(EMSGSIZE);
        }
        let mut bytes = KVec::with_capacity(parts.subject.len() + parts.data.len(), flags)?;
        bytes.put_bytes(parts.subject, flags)?;
        bytes.put_bytes(parts.data, flags)?;
        budget.take(Self::counted(bytes.len()))?;
        let message = Message {
            bytes,
            subject_len: parts.subject.len(),
            reply: parts.reply,
            from: parts.from,
            position: Atomic::new(0),
            budget: budget.clone(),
        };
        // Dropped without memory, which gives back what it was counted for.
        Ok(Arc::new(message, flags)?)
    }

    fn counted(len: usize) -> u64 {
        (OVERHEAD + len) as u64
    }

    /// What it was published as.
    pub(crate) fn subject(&self) -> &[u8] {
        self.bytes.get(..self.subject_len).unwrap_or_default()
    }

    /// What it says.
    pub(crate) fn data(&self) -> &[u8] {
        self.bytes.get(self.subject_len..).unwrap_or_default()
    }

    /// Bytes that it counts for in a queue.
    pub(crate) fn bytes(&self) -> u32 {
        Self::counted(self.bytes.len()) as u32
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let counted = Self::counted(self.bytes.len());
        self.budget.used.fetch_sub(counted, Relaxed);
    }
}
