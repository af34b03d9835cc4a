// SPDX-License-Identifier: GPL-2.0

//! Who waits for a reply.

use crate::message::ReplyTo;
use kernel::{
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};
use linux::{
    bytes::{
        memory_of,
        Fill, //
    },
    deadline::Deadline,
    wait::WaitQueue, //
};
use virgo_proto::queue::MAX_MESSAGE;
use virgo_utils::{
    budget::{
        Account,
        Budget,
        Charge, //
    },
    eventnet::{
        Origin,
        OriginCell, //
    },
    Deferred, //
};

/// Requests that wait at a time, and pulls of other nodes.
const MAX: u64 = 4096;

/// A reply that is there, until who waits for it takes it. It is charged to them.
type Reply = Result<(KVec<u8>, Charge)>;

struct Entry {
    id: u64,
    who: Who,
    _charge: Charge,
}

enum Who {
    /// A task of this node.
    Here(Arc<Requester>),
    /// Another node, until then.
    There(Deferred, Deadline),
}

/// A task that waits for a reply: alone, so that no other is woken by it.
#[pin_data]
struct Requester {
    account: Account,
    /// What led to the reply, for EventNet.
    cause: OriginCell,
    #[pin]
    reply: SpinLock<Option<Reply>>,
    #[pin]
    replied: WaitQueue,
}

/// All who wait, by number. Their list is locked for short; replies to other nodes are given outside
/// of it, since that may sleep.
#[pin_data]
pub(crate) struct PendingReplies {
    #[pin]
    entries: SpinLock<KVVec<KBox<Entry>>>,
    owed: Pin<KBox<Budget>>,
}

/// A place for a reply; nobody can reply any more when it is dropped.
pub(crate) struct PendingReply<'a> {
    pending: &'a PendingReplies,
    requester: Arc<Requester>,
    pub(crate) reply_to: ReplyTo,
}

/// Where the entry of this number is, or would be.
fn search(entries: &[KBox<Entry>], id: u64) -> Result<usize, usize> {
    entries.binary_search_by(|entry| entry.id.cmp(&id))
}

impl PendingReplies {
    /// Nobody waits.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<impl PinInit<Self>> {
        let owed = Budget::new(MAX)?;
        // Room for all of them, so that no memory is needed under the lock.
        let entries = KVVec::with_capacity(MAX as usize, GFP_KERNEL)?;
        Ok(pin_init!(Self {
            entries <- kernel::new_spinlock!(entries, "virgo_pending"),
            owed,
        }))
    }

    /// Charges `uid` for a reply that it waits for. May sleep.
    ///
    /// # Errors
    ///
    /// [`EUSERS`]; [`EDQUOT`] if it is this user who waits for too many; [`ENOMEM`].
    pub(crate) fn charge(&self, uid: u32) -> Result<Charge> {
        let account = self.owed.account(uid)?;
        account.charge(1).map_err(|e| match e {
            ENOMEM => EUSERS,
            e => e,
        })
    }

    /// A place for the reply to the request that is called `id` from now on, of the user whose
    /// `account` of bytes it is. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Self::charge`].
    pub(crate) fn open(&self, id: u64, account: Account) -> Result<PendingReply<'_>> {
        let uid = account.uid();
        let requester = pin_init!(Requester {
            account,
            cause: OriginCell::new(),
            reply <- kernel::new_spinlock!(None, "virgo_reply"),
            replied <- linux::new_wait_queue!("virgo_replied"),
        });
        let requester = Arc::pin_init(requester, GFP_KERNEL_ACCOUNT)?;
        let reply_to = self.add(id, uid, Who::Here(requester.clone()))?;
        Ok(PendingReply {
            pending: self,
            requester,
            reply_to,
        })
    }

    /// Owes `uid` of another node the reply to the request that is called `id` from now on. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Self::charge`].
    pub(crate) fn owe(
        &self,
        id: u64,
        uid: u32,
        reply: Deferred,
        until: Deadline,
    ) -> Result<ReplyTo> {
        self.add(id, uid, Who::There(reply, until))
    }

    fn add(&self, id: u64, uid: u32, who: Who) -> Result<ReplyTo> {
        let entry = Entry {
            id,
            who,
            _charge: self.charge(uid)?,
        };
        let entry = KBox::new(entry, GFP_KERNEL_ACCOUNT)?;
        // Goes before the entry, whose end may sleep if it is refused.
        let mut entries = self.entries.lock();
        // Numbers grow, so it is one of the last.
        let (mut unused, mut inserted) = (None, Ok(()));
        match search(&entries, id) {
            Ok(_) => unused = Some(entry),
            Err(at) => inserted = entries.insert_within_capacity(at, entry),
        }
        drop(entries);
        // Numbers are unique and there is room, so it is there.
        match unused.is_none() && inserted.is_ok() {
            true => Ok(ReplyTo(id)),
            false => Err(EEXIST),
        }
    }

    /// Gives a reply. May sleep.
    ///
    /// # Errors
    ///
    /// [`ESRCH`] if nobody waits for it (any more); [`EMSGSIZE`], [`ENOMEM`] and [`EDQUOT`], which who
    /// waits is told, too.
    pub(crate) fn answer(&self, to: ReplyTo, data: &[u8]) -> Result {
        if data.len() > MAX_MESSAGE {
            self.fail(to, EMSGSIZE)?;
            return Err(EMSGSIZE);
        }
        if let Some(reply) = self.take_there(to)? {
            return reply.answer(data);
        }
        let requester = self.take_here(to)?;
        let copy = || -> Reply {
            let charge = requester.account.charge(memory_of(data.len()) as u64)?;
            let mut copy = KVec::new();
            copy.put_bytes(data, GFP_KERNEL)?;
            Ok((copy, charge))
        };
        let copy = copy();
        let result = copy.as_ref().map(drop).map_err(|e| *e);
        requester.give(copy);
        result
    }

    /// There is no reply, for this reason. May sleep.
    ///
    /// # Errors
    ///
    /// [`ESRCH`] if nobody waits for it (any more).
    pub(crate) fn fail(&self, to: ReplyTo, why: Error) -> Result {
        match self.take_there(to)? {
            Some(reply) => {
                reply.fail(why);
                Ok(())
            }
            None => {
                self.take_here(to)?.give(Err(why));
                Ok(())
            }
        }
    }

    /// What another node is owed, if it is one who waits.
    fn take_there(&self, to: ReplyTo) -> Result<Option<Deferred>> {
        let there = self.take(to, |who| matches!(who, Who::There(..)));
        match there {
            Some(Who::There(reply, until)) => match reply.is_wanted() && !until.passed() {
                true => Ok(Some(reply)),
                false => Err(ESRCH),
            },
            _ => Ok(None),
        }
    }

    /// The task of this node that waits. It gets no other reply.
    fn take_here(&self, to: ReplyTo) -> Result<Arc<Requester>> {
        match self.take(to, |who| matches!(who, Who::Here(_))) {
            Some(Who::Here(requester)) => Ok(requester),
            _ => Err(ESRCH),
        }
    }

    /// Nobody waits for this reply any more. May sleep.
    pub(crate) fn forget(&self, to: ReplyTo) {
        drop(self.take(to, |_| true));
    }

    /// Other nodes whose time is over, or that have begun another incarnation, do not wait any more. May
    /// sleep.
    pub(crate) fn forget_late(&self) {
        let late = |entry: &KBox<Entry>| match &entry.who {
            Who::Here(_) => false,
            Who::There(reply, until) => until.passed() || !reply.is_wanted(),
        };
        loop {
            let mut entries = self.entries.lock();
            let Some(at) = entries.iter().position(late) else {
                return;
            };
            let gone = entries.remove(at);
            drop(entries);
            drop(gone);
        }
    }

    /// Removes the entry of this number, if it is one that is `wanted`.
    fn take(&self, to: ReplyTo, wanted: impl FnOnce(&Who) -> bool) -> Option<Who> {
        let mut entries = self.entries.lock();
        let at = search(&entries, to.0).ok()?;
        if !wanted(&entries.get(at)?.who) {
            return None;
        }
        let taken = entries.remove(at).ok()?;
        drop(entries);
        Some(KBox::into_inner(taken).who)
    }
}

impl Requester {
    fn give(&self, reply: Reply) {
        // Seen with the reply, by the lock.
        self.cause.set(Origin::here());
        *self.reply.lock() = Some(reply);
        self.replied.wake_all();
    }
}

impl PendingReply<'_> {
    /// Waits for the reply. Sleeps, killably.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`] at the deadline, [`EINTR`]; why there is none.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<KVec<u8>> {
        let Requester {
            reply,
            replied,
            cause,
            ..
        } = &*self.requester;
        let reply = replied.wait(deadline, || reply.lock().take())?;
        cause.get().waited_for();
        let (reply, _) = reply.ok_or(ETIMEDOUT)??;
        Ok(reply)
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        self.pending.forget(self.reply_to);
    }
}
