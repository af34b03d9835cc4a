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
use virgo_proto::queue::MAX_MESSAGE;
use virgo_utils::{
    budget::{
        Account,
        Budget,
        Charge, //
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
    /// A task of this node, of this user. The reply, once it is there.
    Here(Account, Option<Reply>),
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
    owed: Pin<KBox<Budget>>,
}

/// A place for a reply; nobody can reply any more when it is dropped.
pub(crate) struct Place<'a> {
    pending: &'a Pending,
    pub(crate) reply_to: ReplyTo,
}

impl Pending {
    /// Nobody waits.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<impl PinInit<Self>> {
        let owed = Budget::new(MAX)?;
        Ok(pin_init!(Self {
            entries <- kernel::new_spinlock!(KVec::new(), "virgo_pending"),
            answered <- linux::new_wait_queue!("virgo_answered"),
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
    pub(crate) fn open(&self, id: u64, account: Account) -> Result<Place<'_>> {
        let uid = account.uid();
        let reply_to = self.add(id, uid, Who::Here(account, None))?;
        Ok(Place {
            pending: self,
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
        // Goes before the entry, whose end may sleep if it is refused.
        let mut entries = self.entries.lock();
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
        let account = self.requester(to)?;
        let copy = || -> Reply {
            let charge = account.charge(data.len() as u64)?;
            let mut copy = KVec::new();
            copy.put_bytes(data, GFP_KERNEL_ACCOUNT)?;
            Ok((copy, charge))
        };
        let copy = copy();
        let result = copy.as_ref().map(drop).map_err(|e| *e);
        self.give(to, copy)?;
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
            None => self.give(to, Err(why)),
        }
    }

    /// What another node is owed, if it is one who waits.
    fn take_there(&self, to: ReplyTo) -> Result<Option<Deferred>> {
        let there = self.take(|entry| entry.id == to.0 && matches!(entry.who, Who::There(..)));
        match there {
            Some(Who::There(reply, until)) => match reply.is_wanted() && !until.passed() {
                true => Ok(Some(reply)),
                false => Err(ESRCH),
            },
            _ => Ok(None),
        }
    }

    /// The account of the task of this node that waits.
    fn requester(&self, to: ReplyTo) -> Result<Account> {
        let entries = self.entries.lock();
        let entry = entries.iter().find(|entry| entry.id == to.0);
        match entry.map(|entry| &entry.who) {
            Some(Who::Here(account, None)) => Ok(account.clone()),
            _ => Err(ESRCH),
        }
    }

    /// Gives a task of this node its reply. May sleep.
    fn give(&self, to: ReplyTo, given: Reply) -> Result {
        let mut entries = self.entries.lock();
        let entry = entries.iter_mut().find(|entry| entry.id == to.0);
        match entry.map(|entry| &mut entry.who) {
            Some(Who::Here(_, reply @ None)) => *reply = Some(given),
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
    /// [`ETIMEDOUT`] at the deadline, [`EINTR`]; why there is none.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<KVec<u8>> {
        let reply = self.pending.answered.wait(deadline, || {
            let mut entries = self.pending.entries.lock();
            let entry = entries.iter_mut().find(|entry| entry.id == self.reply_to.0);
            match &mut entry?.who {
                Who::Here(_, reply) => reply.take(),
                Who::There(..) => None,
            }
        })?;
        let (reply, _) = reply.ok_or(ETIMEDOUT)??;
        Ok(reply)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pending.forget(self.reply_to);
    }
}
