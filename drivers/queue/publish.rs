// SPDX-License-Identifier: GPL-2.0

//! Publishing: to the queue or topic of a name, and to all that are bound to a pattern which stands
//! for the name.

use crate::{
    channel::{
        Channel,
        How,
        Outgoing, //
    },
    message::{
        Message,
        Parts, //
    },
    queues::{
        Queues,
        Shared,
        Table, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::{
    deadline::Deadline,
    rwlock::ReadGuard, //
};
use virgo_proto::queue::{
    access::Right,
    options::Kind,
    state::Policy,
    subject,
    MAX_NAME, //
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
    /// What has to be on disk before anybody is told; see [`Queues::commit`].
    pub(crate) place: u64,
}

/// Messages that are published under one hold of the lock, so that others have their turn.
const AT_ONCE: usize = 8;

/// Bytes after which no more are made before these are published: they may wait, and count as long.
const FEW: u32 = 4096;

impl Queues {
    /// Publishes a message of the user whose `account` it is. Waits until `deadline` for room in the
    /// queue of that name, or one that is bound to it, if there is one and that is its way. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Message::new`]; [`EINVAL`] for what is no name; [`EACCES`]; [`ENOENT`] if it went
    /// nowhere; those of [`Channel::push_wait`] for the queue of that name, or one that is bound to it
    /// and has a say, and then nobody else has it.
    pub(crate) fn publish(
        &self,
        account: &Account,
        parts: &Parts<'_>,
        how: How,
        deadline: Option<Deadline>,
    ) -> Result<Published> {
        let message = Message::new(account, parts, GFP_KERNEL_ACCOUNT)?;
        let mut published = Published::default();
        let one = [(message, how)];
        self.publish_some(account.uid(), parts.subject, &one, deadline, &mut published)?;
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
        uid: u32,
        name: &[u8],
        mut messages: impl Iterator<Item = Result<Outgoing>>,
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
                if some.len() == AT_ONCE || bytes >= FEW {
                    break None;
                }
            };
            let mut rest = some.as_slice();
            while !rest.is_empty() {
                let before = published.count;
                self.publish_some(uid, name, rest, deadline, published)?;
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
        uid: u32,
        name: &[u8],
        messages: &[Outgoing],
        deadline: Option<Deadline>,
        published: &mut Published,
    ) -> Result {
        // Dropped after the lock is let go: it may be the last who knows a channel, whose task ends
        // then.
        let named;
        let mut table = self.table.read();
        named = table.find(name).cloned();
        match &named {
            None if !subject::is_name(name) => return Err(EINVAL),
            None => (),
            Some(named) => named.check(uid, Right::Publish)?,
        }
        // With others each goes to all before the next: the first that goes nowhere is the end.
        let at_once = match messages {
            [_] => 1,
            _ if table.bound_to(name, named.as_ref()).next().is_some() => 1,
            _ => AT_ONCE,
        };
        for group in messages.chunks(at_once) {
            let to = (uid, named.as_ref());
            match self.publish_group(table, to, group, deadline, published)? {
                Some(held) => table = held,
                None => break,
            }
        }
        Ok(())
    }

    /// Publishes one message, or several if nothing is bound to their name; of these perhaps not all.
    /// Nothing may be locked while one waits, for room or for the disk. Returns the lock if it was
    /// held all the time and there may be more.
    fn publish_group<'a>(
        &'a self,
        table: ReadGuard<'a, Table>,
        (uid, named): (u32, Option<&Shared>),
        group: &[Outgoing],
        deadline: Option<Deadline>,
        published: &mut Published,
    ) -> Result<Option<ReadGuard<'a, Table>>> {
        let Some(first) = group.first() else {
            return Ok(Some(table));
        };
        let mut count = group.len();
        let (mut table, mut held) = match count {
            1 => self.wait_for_bound(table, (uid, named), &first.0, deadline)?,
            _ => (table, true),
        };
        if let Some(named) = named {
            let put;
            (count, put) = match named.kind {
                Kind::Topic => Channel::record(named, group),
                _ if named.is_durable() => (0, Err(EAGAIN)),
                _ => Channel::push_all(named, group),
            };
            match put {
                Ok(()) => (),
                Err(EAGAIN) if count > 0 => held = false,
                Err(EAGAIN) if named.is_durable() || deadline.is_some() => {
                    drop(table);
                    let place = self.push_slowly(named, first, deadline)?;
                    published.place = published.place.max(place);
                    (table, held, count) = (self.table.read(), false, 1);
                }
                Err(e) => {
                    published.count += count as u32;
                    return Err(e);
                }
            }
        }
        published.channels = named.is_some().into();
        let table = match count {
            1 => self.push_bound(table, named, first, published)?,
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
    /// that belong to root, to the publisher, or to who owns the name: a stranger's queue keeps nobody
    /// from publishing. What finds no room all the same is counted as lost. Returns the lock, and
    /// whether it was held all the time.
    ///
    /// # Errors
    ///
    /// [`ENOBUFS`] if such a queue refuses it; [`EAGAIN`] if one blocks and there is no deadline,
    /// [`ETIMEDOUT`] at that; [`EINTR`].
    fn wait_for_bound<'a>(
        &'a self,
        mut table: ReadGuard<'a, Table>,
        (uid, named): (u32, Option<&Shared>),
        message: &Arc<Message>,
        deadline: Option<Deadline>,
    ) -> Result<(ReadGuard<'a, Table>, bool)> {
        let mut held = true;
        let bytes = message.bytes();
        loop {
            let mut bound = table.bound_to(message.subject(), named);
            let blocks = bound.find_map(|bound| {
                let owner = bound.access.owner;
                let has_say = owner == 0
                    || owner == uid
                    || named.is_some_and(|named| named.access.owner == owner);
                if !has_say || bound.kind != Kind::Queue || bound.policy == Policy::DropOldest {
                    return None;
                }
                match bound.has_room(bytes) {
                    Err(EAGAIN) => Some(Ok(bound.clone())),
                    Err(ENOBUFS) => Some(Err(ENOBUFS)),
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
            if !full.wait_for_room(bytes, deadline)? {
                return Err(ETIMEDOUT);
            }
            table = self.table.read();
        }
    }

    /// Puts a message into the channels that are bound to its name. Returns the lock if it was held
    /// all the time.
    ///
    /// # Errors
    ///
    /// Why there was none that took it, if there were some.
    fn push_bound<'a>(
        &self,
        table: ReadGuard<'a, Table>,
        named: Option<&Shared>,
        (message, how): &Outgoing,
        published: &mut Published,
    ) -> Result<Option<ReadGuard<'a, Table>>> {
        let mut durable = KVec::new();
        let (mut lost, mut why) = (0, Ok(()));
        for bound in table.bound_to(message.subject(), named) {
            let put = match bound.is_durable() {
                true => durable.push(bound.clone(), GFP_KERNEL).map_err(Error::from),
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
        for bound in durable {
            match self.push_durable(&bound, message, *how, None) {
                Ok(place) => {
                    published.place = published.place.max(place);
                    published.channels += 1;
                }
                Err(e) => (lost, why) = (lost + 1, Err(refused(e))),
            }
        }
        if published.channels == 0 {
            why?;
        }
        published.lost = published.lost.saturating_add(lost);
        Ok(table)
    }

    /// Puts a message into the queue of its name where that takes time. Returns what has to be
    /// [committed](Self::commit).
    fn push_slowly(
        &self,
        named: &Shared,
        outgoing: &Outgoing,
        deadline: Option<Deadline>,
    ) -> Result<u64> {
        let (message, how) = outgoing;
        match deadline {
            Some(deadline) if !named.is_durable() => {
                Channel::push_wait(named, outgoing, deadline)?;
                Ok(0)
            }
            deadline => self.push_durable(named, message, *how, deadline),
        }
    }

    /// Puts a message into a durable queue and its log; waits until `deadline` for room, if that is
    /// its way. Returns what has to be [committed](Self::commit). May sleep.
    pub(crate) fn push_durable(
        &self,
        channel: &Shared,
        message: &Arc<Message>,
        how: How,
        deadline: Option<Deadline>,
    ) -> Result<u64> {
        let log = self.log()?;
        // Its record is no longer than this.
        let bytes = MAX_NAME + message.bytes() as usize;
        loop {
            let mut writer = log.lock_for(bytes)?;
            let pushed = Channel::push_logged(channel, &mut writer, message, how);
            drop(writer);
            match (pushed, deadline) {
                (Err(EAGAIN), Some(deadline)) => {
                    if !channel.wait_for_room(message.bytes(), deadline)? {
                        return Err(ETIMEDOUT);
                    }
                }
                (pushed, _) => return pushed,
            }
        }
    }
}

/// What a publisher is told of a channel that was not the one of the name.
fn refused(e: Error) -> Error {
    match e {
        // One that blocks is not waited for twice.
        EAGAIN => ENOBUFS,
        e => e,
    }
}
