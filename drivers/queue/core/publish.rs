// SPDX-License-Identifier: GPL-2.0

//! Publishing: to the queue or topic of a name, and to all that are bound to a pattern which stands
//! for the name.

use crate::{
    channel::{
        room::Turn,
        Channel,
        ChannelRef,
        FenceCheck,
        Publication,
        PublishOptions, //
    },
    message::{
        Message,
        Parts, //
    },
    publish_one::{
        log_bytes,
        put_named, //
    },
    publish_target::{
        Publisher,
        To, //
    },
    queues::Queues,
    table::{
        check_claim,
        ChannelTable,
        REQUESTS, //
    }, //
};
use core::slice;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::{
    deadline::Deadline,
    rwlock::ReadGuard,
    trace::{
        self,
        TraceEvent, //
    }, //
};
use virgo_proto::queue::{
    access::Right,
    options::ChannelKind,
    state::OverflowPolicy,
    subject,
    PORT, //
};
use virgo_utils::budget::Account;

/// What has become of messages that were published; position and channels are those of one that
/// went with the last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Published {
    /// How many went well.
    pub(crate) count: u32,
    /// Its number in the queue or topic of that name; 0 if there is none.
    pub(crate) position: u64,
    /// Channels that it went to.
    pub(crate) channels: u32,
    /// Copies of those that went well that were lost: a channel had no room, or its disk has failed.
    pub(crate) lost: u32,
    /// Why a durable queue that has a say has not taken one, if that was so.
    denied: Option<Error>,
    /// LSN up to which the log has to be on disk before anybody is told; see [`Queues::commit`].
    pub(crate) lsn: u64,
}

/// Messages that are published under one hold of the lock, so that others have their turn.
const AT_ONCE: usize = 8;

/// Bytes after which no more are made before these are published: they may wait, and count as long.
const BATCH_BYTES: u32 = 4096;

impl Queues {
    /// Publishes a message with the rights and lock of `by`; it is charged to `account`. Waits until
    /// `deadline` for room in the queue of that name, or one that is bound to it, if there is one and
    /// that is its way. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Message::new`]; [`EINVAL`] for what is no name; [`EACCES`]; [`EPERM`] for a request
    /// with a priority or delay of a user other than root; [`ENOENT`] if it went
    /// nowhere; those of the fence of the queue or topic of that name, and [`ENOLCK`] for a lock if there is
    /// none; those of [`Channel::push`] for the queue of that name, or one that is bound to it
    /// and has a say, and then nobody else has it, but [`ETIMEDOUT`] at the deadline, and [`EINTR`].
    pub(crate) fn publish(
        &self,
        by: Publisher,
        account: &Account,
        parts: &Parts<'_>,
        how: PublishOptions,
        deadline: Option<Deadline>,
    ) -> Result<Published> {
        let message = Message::new(account, parts, GFP_KERNEL_ACCOUNT)?;
        let mut published = Published::default();
        let one = [(message, how)];
        self.publish_some(by, parts.subject, &one, deadline, &mut published)?;
        Ok(published)
    }

    /// The same with messages of one name, in order, up to the first that does not go well. Says in
    /// `published` what did. `messages` may sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish`]; those of `messages`.
    pub(crate) fn publish_all(
        &self,
        by: Publisher,
        name: &[u8],
        mut messages: impl Iterator<Item = Result<Publication>>,
        deadline: Option<Deadline>,
        published: &mut Published,
    ) -> Result {
        let mut some = KVec::with_capacity(AT_ONCE, GFP_KERNEL)?;
        loop {
            // Made without the lock: that takes time, or waits for a page of a program's memory.
            let mut bytes = 0;
            let ended = loop {
                match messages.next() {
                    None => break Some(Ok(())),
                    Some(Err(e)) => break Some(Err(e)),
                    Some(Ok(outgoing)) => {
                        bytes += outgoing.0.bytes();
                        some.push(outgoing, GFP_KERNEL)?;
                    }
                }
                if some.len() == AT_ONCE || bytes >= BATCH_BYTES {
                    break None;
                }
            };
            let mut rest = some.as_slice();
            while !rest.is_empty() {
                let before = published.count;
                self.publish_some(by, name, rest, deadline, published)?;
                let gone = published.count - before;
                rest = rest.get(gone as usize..).unwrap_or_default();
            }
            if let Some(ended) = ended {
                return ended;
            }
            some.clear();
        }
    }

    /// As many of `messages` as can be published under one hold of the lock, one at least.
    fn publish_some(
        &self,
        by: Publisher,
        name: &[u8],
        messages: &[Publication],
        deadline: Option<Deadline>,
        published: &mut Published,
    ) -> Result {
        // Dropped after the lock is let go: it may be the last who knows a channel, whose task ends
        // then.
        let named;
        let Publisher { uid, claim } = by;
        let mut table = self.table.read();
        named = table.find(name).cloned();
        match &named {
            None if !subject::is_name(name) => return Err(EINVAL),
            // Nothing would remember the token, and refuse who has had the lock before.
            None if claim.is_some() => return Err(ENOLCK),
            None => (),
            Some(named) => {
                named.check(uid, Right::Publish)?;
                check_claim(named, uid, claim)?;
            }
        }
        // Requests of all users wait in one queue, and nobody may go before others.
        if uid != 0 && name == REQUESTS && !messages.iter().all(|(_, how)| how.is_plain()) {
            return Err(EPERM);
        }
        // With others each goes to all before the next: the first that goes nowhere is the end.
        let at_once = match messages {
            [(first, _), _, ..] if !table.is_bound_to(name, named.as_ref(), first.uid) => AT_ONCE,
            _ => 1,
        };
        let to = To {
            by,
            name,
            named: named.as_ref(),
        };
        let before = published.count;
        for group in messages.chunks(at_once) {
            match self.publish_group(table, to, group, deadline, published)? {
                Some(held) => table = held,
                None => break,
            }
        }
        trace::publish(|| TraceEvent {
            port: PORT.into(),
            op: published.count - before,
            id: published.position,
            size: messages.iter().map(|(m, _)| u64::from(m.bytes())).sum(),
            ..TraceEvent::default()
        });
        Ok(())
    }

    /// Publishes one message, or several if nothing is bound to their name; of these perhaps not all.
    /// Nothing may be locked while one waits, for room or for the disk. Returns the lock if it was
    /// held all the time and there may be more.
    fn publish_group<'a>(
        &'a self,
        table: ReadGuard<'a, ChannelTable>,
        to: To<'_>,
        group: &[Publication],
        deadline: Option<Deadline>,
        published: &mut Published,
    ) -> Result<Option<ReadGuard<'a, ChannelTable>>> {
        let Some(first) = group.first() else {
            return Ok(Some(table));
        };
        let mut count = group.len();
        // Until the message is in the queue that was waited for.
        let mut turn = None;
        let (mut table, mut held) = match count {
            1 => self.wait_for_bound(table, to, &first.0, deadline, &mut turn)?,
            _ => (table, true),
        };
        if let Some(named) = to.named {
            let put;
            (count, put) = match named.is_durable() {
                true => (0, Err(EAGAIN)),
                false => put_named(named, group, to.by.claim, &mut None),
            };
            match put {
                Ok(()) => (),
                Err(EAGAIN) if count > 0 => held = false,
                Err(EAGAIN) if named.is_durable() || deadline.is_some() => {
                    drop(table);
                    // It is not kept while another queue is waited for.
                    drop(turn.take());
                    let lsn = self.push_slowly(named, first, to.by.claim, deadline)?;
                    published.lsn = published.lsn.max(lsn);
                    (table, held, count) = (self.table.read(), false, 1);
                }
                Err(e) => {
                    published.count += count as u32;
                    return Err(e);
                }
            }
        }
        published.channels = to.named.is_some().into();
        let table = match count {
            1 => self.push_bound(table, to, first, deadline, published)?,
            _ => Some(table),
        };
        if published.channels == 0 {
            return Err(ENOENT);
        }
        published.count += count as u32;
        published.position = first.0.position.load(Relaxed);
        Ok(table.filter(|_| held))
    }

    /// Queues that are bound to the name of a message and stay, and have no room, are a reason not
    /// to publish it: they drop nothing unseen. One that blocks is waited for. Only those have a say
    /// that belong to root, to the publisher, or to who owns the name: another user's queue keeps nobody
    /// from publishing. What finds no room all the same is counted as lost. Returns the lock, and
    /// whether it was held all the time; `turn` is that at the one that was waited for last.
    ///
    /// # Errors
    ///
    /// [`ENOBUFS`] if such a queue refuses it, [`EDQUOT`] if the publisher has the share of it that one
    /// user may have; [`EAGAIN`] if one blocks, or its log has no room now, and there is no deadline,
    /// [`ETIMEDOUT`] at that; [`EINTR`].
    fn wait_for_bound<'a>(
        &'a self,
        mut table: ReadGuard<'a, ChannelTable>,
        to: To<'_>,
        message: &Arc<Message>,
        deadline: Option<Deadline>,
        turn: &mut Option<Turn>,
    ) -> Result<(ReadGuard<'a, ChannelTable>, bool)> {
        if !table.bound.may_refuse() {
            return Ok((table, true));
        }
        let mut held = true;
        let (bytes, uid, publisher) = (message.bytes(), message.uid, message.publisher);
        let logged = match deadline {
            Some(_) => 0,
            None => logged(&table, to, uid),
        };
        if logged > 0 {
            // The lock of the log is taken before that of the table.
            drop(table);
            let bytes = log_bytes(message, FenceCheck::Exempt);
            if let Err(EAGAIN) = self.log()?.try_lock_for(bytes, logged) {
                return Err(EAGAIN);
            }
            (table, held) = (self.table.read(), false);
        }
        loop {
            let mut bound = table.bound_to(to.name, to.named, uid);
            let blocks = bound.find_map(|bound| {
                if !to.has_say(bound)
                    || bound.kind != ChannelKind::Queue
                    || bound.policy == OverflowPolicy::DropOldest
                {
                    return None;
                }
                match bound.has_room(bytes, publisher) {
                    Err(EAGAIN) => Some(Ok(bound.clone())),
                    Err(e @ (ENOBUFS | EDQUOT)) => Some(Err(e)),
                    _ => None,
                }
            });
            drop(bound);
            let Some(full) = blocks else {
                return Ok((table, held));
            };
            let (full, deadline) = (full?, deadline.ok_or(EAGAIN)?);
            // Nothing may be locked while one waits.
            drop(table);
            held = false;
            // It is not kept while another one is waited for.
            drop(turn.take());
            *turn = Channel::wait_for_room(&full, bytes, publisher, deadline, None)?;
            if turn.is_none() {
                return Err(ETIMEDOUT);
            }
            // All of them are looked at once more, this one, too.
            Turn::forgo(turn);
            table = self.table.read();
        }
    }

    /// Puts a message into the channels that are bound to its name. Their owners pay for what they
    /// keep of others' messages. The disk is waited for only on behalf of those that have a say.
    /// Returns the lock if it was held all the time.
    ///
    /// # Errors
    ///
    /// Why there was none that took it, if there were some.
    fn push_bound<'a>(
        &self,
        table: ReadGuard<'a, ChannelTable>,
        to: To<'_>,
        (message, how): &Publication,
        deadline: Option<Deadline>,
        published: &mut Published,
    ) -> Result<Option<ReadGuard<'a, ChannelTable>>> {
        let mut durable = KVec::new();
        let (mut lost, mut why) = (0, Ok(()));
        // The last one that was made for another who pays.
        let mut copy: Option<Arc<Message>> = None;
        for bound in table.bound_to(to.name, to.named, message.uid) {
            let owner = bound.access.owner;
            let is_theirs = owner == message.payer();
            if !is_theirs && copy.as_ref().is_none_or(|copy| copy.payer() != owner) {
                match bound.own(message) {
                    Ok(made) => copy = Some(made),
                    Err(_) => {
                        // Its owner has no memory left: there is no room, as in a full queue.
                        bound.count_lost();
                        (lost, why) = (lost + 1, Err(ENOBUFS));
                        continue;
                    }
                }
            }
            let message = match &copy {
                Some(copy) if !is_theirs => copy,
                _ => message,
            };
            let put = match bound.is_durable() {
                true => durable
                    .push((bound.clone(), message.clone()), GFP_KERNEL)
                    .map_err(Error::from),
                false => Channel::push(bound, message, *how).map(|_| published.channels += 1),
            };
            if let Err(e) = put {
                (lost, why) = (lost + 1, Err(refused(e)));
            }
        }
        let mut table = Some(table);
        if !durable.is_empty() {
            table = None;
        }
        for (bound, message) in durable {
            let has_say = to.has_say(&bound);
            // Room in the queue is not waited for twice.
            let log_deadline = deadline.filter(|_| has_say);
            let copy = (&message, *how);
            match self.push_logged(&bound, copy, FenceCheck::Exempt, log_deadline, &mut None) {
                Ok(lsn) => {
                    if has_say {
                        published.lsn = published.lsn.max(lsn);
                    }
                    published.channels += 1;
                }
                Err(e) => {
                    if has_say {
                        published.denied = Some(e);
                    }
                    (lost, why) = (lost + 1, Err(refused(e)));
                }
            }
        }
        if published.channels == 0 {
            why?;
        }
        published.lost = published.lost.saturating_add(lost);
        Ok(table)
    }

    /// Hands a dead letter to those who have subscribed to the topic for such letters. Returns the LSN
    /// to [commit](Self::commit). May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::wait_for_bound`] without a deadline, and [`Channel::push`]: nobody has it then. If
    /// the room of the log has gone to others meanwhile, or the disk has just failed: some may have it, and
    /// have it again when it is tried again.
    pub(crate) fn publish_dead(&self, topic: &ChannelRef, letter: &Arc<Message>) -> Result<u64> {
        let letter = (letter.clone(), PublishOptions::PLAIN);
        let to = To {
            by: Publisher::without_lock(topic.access.owner),
            name: &topic.name,
            named: Some(topic),
        };
        let table = self.table.read();
        let logged = logged(&table, to, letter.0.uid);
        drop(table);
        if logged > 0 {
            // A log that does not work is a reason to try again later, too.
            let bytes = log_bytes(&letter.0, FenceCheck::Exempt);
            drop(self.log()?.try_lock_for(bytes, logged)?);
        }
        let (table, _) = self.wait_for_bound(self.table.read(), to, &letter.0, None, &mut None)?;
        Channel::record(
            topic,
            slice::from_ref(&letter),
            FenceCheck::Exempt,
            &mut None,
        )
        .1?;
        let mut published = Published {
            channels: 1,
            ..Published::default()
        };
        self.push_bound(table, to, &letter, None, &mut published)?;
        match published.denied {
            None => Ok(published.lsn),
            Some(e) => Err(e),
        }
    }
}

/// How many durable queues are bound to the name of a message of user `uid`, and have a say.
fn logged(table: &ChannelTable, to: To<'_>, uid: u32) -> usize {
    let bound = table.bound_to(to.name, to.named, uid);
    bound
        .filter(|bound| bound.is_durable() && to.has_say(bound))
        .count()
}

/// What a publisher is told of a channel that was not the one of the name.
fn refused(e: Error) -> Error {
    match e {
        // One that blocks is not waited for twice.
        EAGAIN => ENOBUFS,
        e => e,
    }
}
