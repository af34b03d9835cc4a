// SPDX-License-Identifier: GPL-2.0

//! Messages on their way to a queue of another node, several in a request.

use crate::{
    channel::PublishOptions,
    publish_target::Publisher, //
};
use core::mem::size_of;
use kernel::prelude::*;
use linux::bytes::Fill;
use virgo_proto::queue::{
    wire::{
        next_item,
        PublishedMessage, //
    },
    MAX_MESSAGE,
    MAX_NAME, //
};

/// Most bytes of messages in a request, with their heads: room for any message.
const MAX_ITEMS: usize = MAX_MESSAGE + size_of::<PublishedMessage>();

/// See the module.
pub(crate) struct PublishBatch {
    pub(crate) by: Publisher,
    name_len: u16,
    /// The name and, behind it, the messages, as [`virgo_proto::queue::wire`] has them.
    bytes: KVVec<u8>,
}

impl PublishBatch {
    /// None yet of `by` for the queue `name`; with memory for messages of these lengths, as far as they
    /// fit in.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for a name that is too long, [`ENOMEM`].
    pub(crate) fn new(
        by: Publisher,
        name: &[u8],
        lengths: impl Iterator<Item = usize>,
    ) -> Result<Self> {
        if name.len() > MAX_NAME {
            return Err(EINVAL);
        }
        let items = lengths.fold(0usize, |all, len| {
            all.saturating_add(size_of::<PublishedMessage>())
                .saturating_add(len)
        });
        let mut bytes =
            KVVec::with_capacity(name.len() + items.min(MAX_ITEMS), GFP_KERNEL_ACCOUNT)?;
        bytes.put_bytes(name, GFP_KERNEL)?;
        Ok(PublishBatch {
            by,
            name_len: name.len() as u16,
            bytes,
        })
    }

    fn items(&self) -> &[u8] {
        self.bytes.get(self.name_len.into()..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items().is_empty()
    }

    /// Whether a message of so many bytes fits in.
    fn has_room(&self, data_len: usize) -> bool {
        let used = self.items().len() + size_of::<PublishedMessage>();
        data_len <= MAX_ITEMS.saturating_sub(used)
    }

    /// Puts a message of `data_len` bytes in, which `read` appends.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] without room for it; those of `read`; [`ENOMEM`]. It is not in then.
    pub(crate) fn put(
        &mut self,
        how: PublishOptions,
        data_len: usize,
        read: impl FnOnce(&mut KVVec<u8>) -> Result,
    ) -> Result {
        if !self.has_room(data_len) {
            return Err(EMSGSIZE);
        }
        let item = PublishedMessage {
            data_len: (data_len as u32).into(),
            delay_ms: how.delay_ms.into(),
            priority: how.priority,
            reserved: [0; 3],
        };
        let before = self.bytes.len();
        let put = self.bytes.put_bytes(item.as_bytes(), GFP_KERNEL);
        put.map_err(Error::from)
            .and_then(|()| read(&mut self.bytes))
            .inspect_err(|_| self.bytes.truncate(before))
    }

    /// Bytes of the name, and the data of the request that publishes them, which begin with it.
    pub(crate) fn request(&self) -> (u16, &[u8]) {
        (self.name_len, &self.bytes)
    }

    /// Takes out the first `count`, which another node has. Returns how many that are.
    ///
    /// # Errors
    ///
    /// [`EPROTO`] if it cannot have so many, or none.
    pub(crate) fn remove(&mut self, count: u32) -> Result<usize> {
        if count == 0 {
            return Err(EPROTO);
        }
        let mut rest = self.items();
        for _ in 0..count {
            next_item(&mut rest).ok_or(EPROTO)?;
        }
        let (name_len, left) = (usize::from(self.name_len), rest.len());
        let from = self.bytes.len() - left;
        self.bytes.copy_within(from.., name_len);
        self.bytes.truncate(name_len + left);
        Ok(count as usize)
    }
}
