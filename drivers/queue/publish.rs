// SPDX-License-Identifier: GPL-2.0

//! Publishing: to the queue or topic of a name, and to all that are bound to a pattern which stands
//! for the name.

use crate::{
    channel::{
        Channel,
        How, //
    },
    log::{
        Log,
        Writer, //
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
use core::iter;
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
    subject, //
};

/// What has become of a published message.
#[derive(Clone, Copy, Default)]
pub(crate) struct Published {
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

/// A message that is made, and how it is published.
pub(crate) type Outgoing = (Arc<Message>, How);

impl Queues {
    /// Makes a message to be published. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Message::new`].
    pub(crate) fn make(&self, parts: &Parts<'_>) -> Result<Arc<Message>> {
        Message::new(&self.budget, parts, GFP_KERNEL)
    }

    /// Publishes a message. Waits until `deadline` for room in the queue of that name, if there is
    /// one and that is its way. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOENT`] if it went nowhere; those of [`Channel::push_wait`] for the queue of that name,
    /// and then nobody else has it.
    pub(crate) fn publish(
        &self,
        parts: &Parts<'_>,
        how: How,
        deadline: Option<Deadline>,
    ) -> Result<Published> {
        let message = self.make(parts)?;
        let mut published = Published::default();
        let one = iter::once(Ok((message, how)));
        self.publish_all(parts.subject, one, deadline, |done| published = done)?;
        Ok(published)
    }

    /// The same with messages of one name, in order, up to the first that does not go well. Tells
    /// `done` of each. `messages` may sleep.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish`]; those of `messages`; [`EINVAL`] for what is no name.
    pub(crate) fn publish_all(
        &self,
        name: &[u8],
        mut messages: impl Iterator<Item = Result<Outgoing>>,
        deadline: Option<Deadline>,
        mut done: impl FnMut(Published),
    ) -> Result {
        loop {
            // Made without the lock: that takes time, or waits for a page of a program's memory.
            let mut some = [const { None }; AT_ONCE];
            let (mut bytes, mut failed) = (0, Ok(()));
            for place in &mut some {
                match messages.next() {
                    Some(Ok(outgoing)) => {
                        bytes += outgoing.0.bytes();
                        *place = Some(outgoing);
                    }
                    Some(Err(e)) => failed = Err(e),
                    None => (),
                }
                if place.is_none() || bytes >= FEW {
                    break;
                }
            }
            let mut some = some.iter_mut().map_while(Option::take).peekable();
            if some.peek().is_none() {
                return failed;
            }
            while some.peek().is_some() {
                self.publish_some(name, &mut some, deadline, &mut done)?;
            }
            failed?;
        }
    }

    /// As many of `messages` as can be published under one hold of the lock, one at least.
    fn publish_some(
        &self,
        name: &[u8],
        messages: impl Iterator<Item = Outgoing>,
        deadline: Option<Deadline>,
        mut done: impl FnMut(Published),
    ) -> Result {
        // Dropped after the lock is let go: it may be the last who knows a channel, whose task ends then.
        let named;
        let mut table = self.table.read();
        named = table.find(name).cloned();
        if named.is_none() && !subject::is_name(name) {
            return Err(EINVAL);
        }
        for (message, how) in messages {
            let (held, published) =
                self.publish_one(table, named.as_ref(), &message, how, deadline)?;
            done(published);
            match held {
                Some(held) => table = held,
                None => break,
            }
        }
        Ok(())
    }

    /// Nothing may be locked while one waits, for room or for the disk. Returns the lock if it was
    /// held all the time.
    fn publish_one<'a>(
        &'a self,
        mut table: ReadGuard<'a, Table>,
        named: Option<&Shared>,
        message: &Arc<Message>,
        how: How,
        deadline: Option<Deadline>,
    ) -> Result<(Option<ReadGuard<'a, Table>>, Published)> {
        let name = message.subject();
        let mut published = Published::default();
        let mut held = true;
        if let Some(named) = named {
            let put = match named.kind {
                Kind::Topic => Channel::record(named, message),
                _ if named.is_durable() => Err(EAGAIN),
                _ => Channel::push(named, message, how),
            };
            let position = match (put, deadline) {
                (Err(EAGAIN), deadline) if named.is_durable() => {
                    drop(table);
                    let (position, place) = self.push_durable(named, message, how, deadline)?;
                    published.place = place;
                    (table, held) = (self.table.read(), false);
                    position
                }
                (Err(EAGAIN), Some(deadline)) => {
                    drop(table);
                    let position = Channel::push_wait(named, message, how, deadline)?;
                    (table, held) = (self.table.read(), false);
                    position
                }
                (put, _) => put?,
            };
            message.position.store(position, Relaxed);
            published.position = position;
            published.channels = 1;
        }
        let mut durable: Option<KVec<Shared>> = None;
        for bound in &table.bound {
            if subject::matches(&bound.bound, name) && bound.name != *name {
                if bound.is_durable() {
                    let durable = durable.get_or_insert_default();
                    durable.push(bound.clone(), GFP_KERNEL)?;
                    continue;
                }
                match Channel::push(bound, message, how) {
                    Ok(_) => published.channels += 1,
                    Err(_) => published.lost += 1,
                }
            }
        }
        let held = match durable {
            None => held.then_some(table),
            Some(durable) => {
                drop(table);
                for bound in durable {
                    match self.push_durable(&bound, message, how, None) {
                        Ok((_, place)) => {
                            published.place = published.place.max(place);
                            published.channels += 1;
                        }
                        Err(_) => published.lost += 1,
                    }
                }
                None
            }
        };
        match (published.channels, published.lost) {
            (0, 0) => Err(ENOENT),
            (0, _) => Err(ENOBUFS),
            _ => Ok((held, published)),
        }
    }

    /// Puts a message into a durable queue and its log; waits until `deadline` for room, if that is
    /// its way. Returns its number and what has to be [committed](Self::commit). May sleep.
    pub(crate) fn push_durable(
        &self,
        channel: &Shared,
        message: &Arc<Message>,
        how: How,
        deadline: Option<Deadline>,
    ) -> Result<(u64, u64)> {
        let log = self.log()?;
        loop {
            let mut writer = log.lock();
            if log.is_long(&writer) {
                // If there is no room for both files all goes on in the one.
                let _ = self.rewrite(log, &mut writer);
            }
            let pushed = match Channel::push_logged(channel, &mut writer, message, how) {
                Err(ENOSPC) => self.push_again(log, &mut writer, channel, message, how),
                pushed => pushed,
            };
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

    /// The disk is full; perhaps not of what still counts.
    fn push_again(
        &self,
        log: &Log,
        writer: &mut Writer,
        channel: &Shared,
        message: &Arc<Message>,
        how: How,
    ) -> Result<(u64, u64)> {
        self.rewrite(log, writer)?;
        Channel::push_logged(channel, writer, message, how)
    }
}
