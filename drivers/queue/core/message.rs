// SPDX-License-Identifier: GPL-2.0

//! A message.

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
use linux::bytes::{
    memory_of,
    Fill, //
};
use virgo_proto::{
    eventnet::event::EventKind,
    queue::MAX_MESSAGE, //
};
pub(crate) use virgo_utils::requests::ReplyTo;
use virgo_utils::{
    budget::{
        Account,
        Budget,
        Charge, //
    },
    eventnet::{
        Origin,
        OriginCell, //
    }, //
};

/// Bytes that a message takes beside its name and data, as far as they are counted.
const OVERHEAD: usize = 256;

/// Bytes of subject and data that lie in the message itself.
const SHORT: usize = 64;

/// Subject and data, one behind the other.
enum Text {
    /// As many as the lengths say.
    Short([u8; SHORT]),
    Long(KVec<u8>),
}

/// A message. Its memory is charged to who has published it, or to who keeps it beyond what the
/// publisher can undo, and given back wherever the last user drops it, in any context.
pub(crate) struct Message {
    text: Text,
    subject_len: u32,
    data_len: u32,
    /// Who waits for a reply, if anybody.
    pub(crate) reply: Option<ReplyTo>,
    /// Where it comes from.
    pub(crate) from: Ipv4Addr,
    /// Whose it is there: the uid that requests are carried out as.
    pub(crate) uid: u32,
    /// Who has put it there, and may have a share only of what others use as well. Of a dead letter it
    /// is the owner of the queue that it comes from.
    pub(crate) publisher: u32,
    /// Number in the queue or topic that it was published to; 0 if there is none of that name.
    pub(crate) position: Atomic<u64>,
    /// What led to it, and the event that it was taken last, for EventNet.
    cause: Origin,
    taken: OriginCell,
    charge: Charge,
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
    /// A message of the user whose account it is. Takes memory by `flags`.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] beyond [`MAX_MESSAGE`], [`ENOMEM`]; [`EDQUOT`] if the user has too many.
    pub(crate) fn new(account: &Account, parts: &Parts<'_>, flags: Flags) -> Result<Arc<Self>> {
        let (len, read) = (parts.data.len(), copy_of(parts.data));
        Self::build(account, parts, parts.uid, len, flags, Account::charge, read)
    }

    /// Whom it is charged to.
    pub(crate) fn payer(&self) -> u32 {
        self.charge.uid()
    }

    /// A copy that is charged to `account`. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub(crate) fn copy_for(&self, account: &Account) -> Result<Arc<Self>> {
        self.copy_as(account, self.uid, self.publisher)
    }

    /// The same; it is carried out as `uid` if it is a request, and counts as one of `publisher`'s.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub(crate) fn copy_as(&self, account: &Account, uid: u32, publisher: u32) -> Result<Arc<Self>> {
        let parts = Parts {
            subject: self.subject(),
            data: self.data(),
            reply: self.reply,
            from: self.from,
            uid,
        };
        let (len, read) = (self.data().len(), copy_of(self.data()));
        // Not for the program that publishes: its memory cgroup has nothing to do with it.
        let take = Account::charge;
        let copy = Self::build(account, &parts, publisher, len, GFP_KERNEL, take, read)?;
        copy.position.store(self.position.load(Relaxed), Relaxed);
        Ok(copy)
    }

    /// A message of `len` bytes, which `read` writes, instead of the data of `parts`. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`]; those of `read`.
    pub(crate) fn read(
        account: &Account,
        parts: &Parts<'_>,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> Result,
    ) -> Result<Arc<Self>> {
        Self::build(
            account,
            parts,
            parts.uid,
            len,
            GFP_KERNEL_ACCOUNT,
            Account::charge,
            read,
        )
    }

    /// A message from the log. It is charged to root until it is [restored to](Self::charged_to) its
    /// queue's owner, but not refused: what was kept is not to be lost because now there may be less.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub(crate) fn restored(budget: &Budget, parts: &Parts<'_>) -> Result<Arc<Self>> {
        let count = |account: &Account, bytes| Ok(account.charge_unbounded(bytes));
        let (len, read) = (parts.data.len(), copy_of(parts.data));
        Self::build(
            &budget.root(),
            parts,
            parts.uid,
            len,
            GFP_KERNEL,
            count,
            read,
        )
    }

    /// The same message, charged to `account`, whether or not that has so much left. `None` if others
    /// have it, too.
    pub(crate) fn charged_to(message: Arc<Self>, account: &Account) -> Option<Arc<Self>> {
        let mut message = Pin::into_inner(Arc::into_unique_or_drop(message)?);
        message.charge = account.charge_unbounded(message.charge.amount());
        Some(message.into())
    }

    fn build(
        account: &Account,
        parts: &Parts<'_>,
        publisher: u32,
        data_len: usize,
        flags: Flags,
        take: impl FnOnce(&Account, u64) -> Result<Charge>,
        read: impl FnOnce(&mut [u8]) -> Result,
    ) -> Result<Arc<Self>> {
        if data_len > MAX_MESSAGE {
            return Err(EMSGSIZE);
        }
        let len = parts.subject.len() + data_len;
        let place = UniqueArc::new_uninit(flags)?;
        let charge = take(account, Self::charged(len))?;
        let mut message = place.write(Message {
            text: Text::Short([0; SHORT]),
            // At most MAX_MESSAGE; a name that nobody has looked at yet is no longer than a line or
            // a request.
            subject_len: parts.subject.len() as u32,
            data_len: data_len as u32,
            reply: parts.reply,
            from: parts.from,
            uid: parts.uid,
            publisher,
            position: Atomic::new(0),
            cause: Origin::here(),
            taken: OriginCell::new(),
            charge,
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

    /// The current task has taken it. Any context.
    pub(crate) fn was_taken(&self) {
        let position = self.position.load(Relaxed);
        let taken = self
            .cause
            .arrived(EventKind::Queue, position, b"message taken");
        self.taken.set(taken);
    }

    /// The current task replies to it. Any context.
    pub(crate) fn is_answered(&self) {
        let position = self.position.load(Relaxed);
        let taken = self.taken.get();
        taken.answered(EventKind::Queue, position, b"message answered");
    }

    /// What led to it, or to its being taken, for EventNet.
    pub(crate) fn origin(&self) -> Origin {
        self.cause.later(self.taken.get())
    }

    /// What a message of so many bytes is charged: the memory that it takes.
    fn charged(len: usize) -> u64 {
        match len {
            0..=SHORT => (OVERHEAD + len) as u64,
            _ => (OVERHEAD + memory_of(len)) as u64,
        }
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

    /// Bytes that it counts for in a queue, whose limit is one of content, not of memory.
    pub(crate) fn bytes(&self) -> u32 {
        (OVERHEAD + self.len()) as u32
    }
}
