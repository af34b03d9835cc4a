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
    options::Kind,
    subject,
    MAX_NAME, //
};

/// What has become of messages that were published; position, channels and lost are those of one
/// that went with the last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Published {
    /// How many went well.
    pub(crate) count: u32,
    /// Its number in the queue or topic of that name; 0 if there is none.
    pub(crate) position: u64,
    /// Channels that it went to.
    pub(crate) channels: u32,
    /// Subscriptions that had no room for it.
    pub(crate) lost: u32,
    /// What has to be on disk before anybody is told; see [`Queues::commit`].
    pub(crate) place: u64,
}

/// Messages that are published under one hold of the lock, so that others have their turn.
const AT_ONCE: usize = 8;

/// Bytes after which no more are made before these are published: they may wait, and count as long.
const FEW: u32 = 4096;

impl Queues {
    /// Publishes a message. Waits until `deadline` for room in the queue of that name, if there is
    /// one and that is its way. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Message::new`]; [`EINVAL`] for what is no name; [`ENOENT`] if it went nowhere;
    /// those of [`Channel::push_wait`] for the queue of that name, and then nobody else has it.
    pub(crate) fn publish(
        &self,
        parts: &Parts<'_>,
        how: How,
        deadline: Option<Deadline>,
    ) -> Result<Published> {
        let message = Message::new(&self.budget, parts, GFP_KERNEL)?;
        let mut published = Published::default();
        let one = [(message, how)];
        self.publish_some(parts.subject, &one, deadline, &mut published)?;
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
                self.publish_some(name, rest, deadline, published)?;
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
        if named.is_none() && !subject::is_name(name) {
            return Err(EINVAL);
        }
        // With others each goes to all before the next: the first that goes nowhere is the end.
        let at_once = match messages {
            [_] => 1,
            _ if table.bound_to(name).next().is_some() => 1,
            _ => AT_ONCE,
        };
        for group in messages.chunks(at_once) {
            match self.publish_group(table, named.as_ref(), group, deadline, published)? {
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
        mut table: ReadGuard<'a, Table>,
        named: Option<&Shared>,
        group: &[Outgoing],
        deadline: Option<Deadline>,
        published: &mut Published,
    ) -> Result<Option<ReadGuard<'a, Table>>> {
        let Some(first) = group.first() else {
            return Ok(Some(table));
        };
        let (mut held, mut count) = (true, group.len());
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
        published.lost = 0;
        let table = match count {
            1 => self.push_bound(table, first, published),
            _ => Some(table),
        };
        match (published.channels, published.lost) {
            (0, 0) => return Err(ENOENT),
            (0, _) => return Err(ENOBUFS),
            _ => (),
        }
        published.count += count as u32;
        published.position = first.0.position.load(Relaxed);
        Ok(table.filter(|_| held))
    }

    /// Puts a message into the channels that are bound to its name. Returns the lock if it was held
    /// all the time.
    fn push_bound<'a>(
        &self,
        table: ReadGuard<'a, Table>,
        (message, how): &Outgoing,
        published: &mut Published,
    ) -> Option<ReadGuard<'a, Table>> {
        let mut durable = KVec::new();
        for bound in table.bound_to(message.subject()) {
            let put = match bound.is_durable() {
                true => durable.push(bound.clone(), GFP_KERNEL).is_ok(),
                false => {
                    let put = Channel::push(bound, message, *how).is_ok();
                    published.channels += u32::from(put);
                    put
                }
            };
            published.lost += u32::from(!put);
        }
        if durable.is_empty() {
            return Some(table);
        }
        drop(table);
        for bound in durable {
            match self.push_durable(&bound, message, *how, None) {
                Ok(place) => {
                    published.place = published.place.max(place);
                    published.channels += 1;
                }
                Err(_) => published.lost += 1,
            }
        }
        None
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
