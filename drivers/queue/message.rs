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
        Arc,
        UniqueArc, //
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

/// Bytes of subject and data that lie in the message itself.
const SHORT: usize = 64;

/// Subject and data, one behind the other.
enum Text {
    /// As many as the lengths say.
    Short([u8; SHORT]),
    Long(KVec<u8>),
}

/// A message. Its memory is given back wherever the last user drops it, in any context.
pub(crate) struct Message {
    text: Text,
    subject_len: u32,
    data_len: u32,
    /// Who waits for a reply, if anybody.
    pub(crate) reply: Option<ReplyTo>,
    /// Where it comes from.
    pub(crate) from: Ipv4Addr,
    /// Whose it is there.
    pub(crate) uid: u32,
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
    pub(crate) uid: u32,
}

fn copy_of(data: &[u8]) -> impl FnOnce(&mut [u8]) -> Result + '_ {
    |to| {
        to.copy_from_slice(data);
        Ok(())
    }
}

impl Message {
    /// Takes memory by `flags`.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] beyond [`MAX_MESSAGE`], [`ENOMEM`].
    pub(crate) fn new(budget: &Arc<Budget>, parts: &Parts<'_>, flags: Flags) -> Result<Arc<Self>> {
        let (len, read) = (parts.data.len(), copy_of(parts.data));
        Self::build(budget, parts, len, flags, Budget::take, read)
    }

    /// A message of `len` bytes, which `read` writes, instead of the data of `parts`. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`]; those of `read`.
    pub(crate) fn read(
        budget: &Arc<Budget>,
        parts: &Parts<'_>,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> Result,
    ) -> Result<Arc<Self>> {
        Self::build(budget, parts, len, GFP_KERNEL, Budget::take, read)
    }

    /// A message from the log. It counts, but is not refused: what was kept is not to be lost because
    /// now there may be less. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub(crate) fn restored(budget: &Arc<Budget>, parts: &Parts<'_>) -> Result<Arc<Self>> {
        let count = |budget: &Budget, bytes| {
            budget.used.fetch_add(bytes, Relaxed);
            Ok(())
        };
        let (len, read) = (parts.data.len(), copy_of(parts.data));
        Self::build(budget, parts, len, GFP_KERNEL, count, read)
    }

    fn build(
        budget: &Arc<Budget>,
        parts: &Parts<'_>,
        data_len: usize,
        flags: Flags,
        take: fn(&Budget, u64) -> Result,
        read: impl FnOnce(&mut [u8]) -> Result,
    ) -> Result<Arc<Self>> {
        if data_len > MAX_MESSAGE {
            return Err(EMSGSIZE);
        }
        let len = parts.subject.len() + data_len;
        let place = UniqueArc::new_uninit(flags)?;
        take(budget, Self::counted(len))?;
        let mut message = place.write(Message {
            text: Text::Short([0; SHORT]),
            // At most MAX_MESSAGE; a name that nobody has looked at yet is no longer than a line or
            // a request.
            subject_len: parts.subject.len() as u32,
            data_len: data_len as u32,
            reply: parts.reply,
            from: parts.from,
            uid: parts.uid,
            position: Atomic::new(0),
            budget: budget.clone(),
        });
        if len > SHORT {
            let mut long = KVec::new();
            long.put_zeros(len, flags)?;
            message.text = Text::Long(long);
        }
        let text = match &mut message.text {
            Text::Short(short) => short.as_mut_slice(),
            Text::Long(long) => long.as_mut_slice(),
        };
        let to = text.get_mut(..len).ok_or(EINVAL)?;
        let (subject, data) = to.split_at_mut_checked(parts.subject.len()).ok_or(EINVAL)?;
        subject.copy_from_slice(parts.subject);
        // Without its data it is dropped, which gives back what it was counted for.
        read(data)?;
        Ok(message.into())
    }

    fn counted(len: usize) -> u64 {
        (OVERHEAD + len) as u64
    }

    fn len(&self) -> usize {
        self.subject_len as usize + self.data_len as usize
    }

    fn text(&self) -> (&[u8], &[u8]) {
        let bytes = match &self.text {
            Text::Short(short) => short.get(..self.len()).unwrap_or_default(),
            Text::Long(long) => long,
        };
        let split = bytes.split_at_checked(self.subject_len as usize);
        split.unwrap_or_default()
    }

    /// What it was published as.
    pub(crate) fn subject(&self) -> &[u8] {
        self.text().0
    }

    /// What it says.
    pub(crate) fn data(&self) -> &[u8] {
        self.text().1
    }

    /// Bytes that it counts for in a queue.
    pub(crate) fn bytes(&self) -> u32 {
        Self::counted(self.len()) as u32
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let counted = Self::counted(self.len());
        self.budget.used.fetch_sub(counted, Relaxed);
    }
}
