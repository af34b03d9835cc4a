// SPDX-License-Identifier: GPL-2.0

//! Putting messages into one channel: that of their name, as it keeps them, and durable ones with their log.

use crate::{
    channel::{
        room::Turn,
        Channel,
        ChannelRef,
        FenceCheck,
        Publication,
        PublishOptions, //
    },
    message::Message,
    queues::Queues, //
};
use core::slice;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::deadline::Deadline;
use virgo_proto::{
    fence::FenceClaim,
    queue::{
        options::ChannelKind,
        record::MAX_FENCE,
        MAX_NAME, //
    }, //
};

impl Queues {
    /// Puts a message into the queue of its name where that takes time. Returns the LSN to
    /// [commit](Self::commit).
    pub(crate) fn push_slowly(
        &self,
        named: &ChannelRef,
        outgoing: &Publication,
        claim: Option<FenceClaim>,
        deadline: Option<Deadline>,
    ) -> Result<u64> {
        let (message, how) = outgoing;
        let Some(deadline) = deadline.filter(|_| !named.is_durable()) else {
            let check = FenceCheck::Claim(claim);
            return self.push_durable(named, (message, *how), check, deadline);
        };
        let mut turn = None;
        loop {
            match put_named(named, slice::from_ref(outgoing), claim, &mut turn).1 {
                Err(EAGAIN) => (),
                put => return put.map(|()| 0),
            }
            turn = wait_for_room(named, message, deadline, turn)?;
        }
    }

    /// Puts a message into a durable queue and its log; waits until `deadline` for room, if that is
    /// its way. Returns the LSN to [commit](Self::commit). May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Channel::push_logged`]; [`EAGAIN`] if there is no deadline and the log has no room now;
    /// [`ETIMEDOUT`], [`EINTR`].
    pub(crate) fn push_durable(
        &self,
        channel: &ChannelRef,
        outgoing: (&Arc<Message>, PublishOptions),
        check: FenceCheck,
        deadline: Option<Deadline>,
    ) -> Result<u64> {
        let mut turn = None;
        loop {
            let pushed = self.push_logged(channel, outgoing, check, deadline, &mut turn);
            match (pushed, deadline) {
                (Err(EAGAIN), Some(deadline)) => {
                    turn = wait_for_room(channel, outgoing.0, deadline, turn)?;
                }
                (pushed, _) => return pushed,
            }
        }
    }

    /// The same; waits until `deadline` for room in the log only.
    pub(crate) fn push_logged(
        &self,
        channel: &ChannelRef,
        (message, how): (&Arc<Message>, PublishOptions),
        check: FenceCheck,
        deadline: Option<Deadline>,
        turn: &mut Option<Turn>,
    ) -> Result<u64> {
        let log = self.log()?;
        let bytes = log_bytes(message, check);
        let mut writer = match deadline {
            Some(deadline) => log.lock_for(bytes, deadline)?,
            None => log.try_lock_for(bytes, 1)?,
        };
        // Not while one waits: its owner pays for it.
        let kept = channel.own_if_kept(message)?;
        let lsn = Channel::push_logged(channel, &mut writer, (&kept, how), check, turn)?;
        told_position(message, &kept);
        Ok(lsn)
    }
}

/// A message has the number that the copy of it has which the channel of its name keeps.
fn told_position(message: &Arc<Message>, kept: &Arc<Message>) {
    if !Arc::ptr_eq(message, kept) {
        message.position.store(kept.position.load(Relaxed), Relaxed);
    }
}

/// Waits for room for a message, also if it was its turn `before`.
///
/// # Errors
///
/// [`ETIMEDOUT`], [`EINTR`].
fn wait_for_room(
    channel: &ChannelRef,
    message: &Message,
    deadline: Deadline,
    before: Option<Turn>,
) -> Result<Option<Turn>> {
    let (bytes, publisher) = (message.bytes(), message.publisher);
    let turn = Channel::wait_for_room(channel, bytes, publisher, deadline, before)?;
    Ok(Some(turn.ok_or(ETIMEDOUT)?))
}

/// Puts messages into the channel of their name, which is not durable, as it keeps them, for who has the lock
/// `claim`; the first has the room of `turn`. Returns how many. Copies that it does not keep are gone then: they are its owner's.
///
/// # Errors
///
/// Those of [`Channel::push_all`]; [`ENOBUFS`] if its owner has no room for them.
pub(crate) fn put_named(
    named: &ChannelRef,
    group: &[Publication],
    claim: Option<FenceClaim>,
    turn: &mut Option<Turn>,
) -> (usize, Result) {
    let mut put = |group: &[Publication]| match named.kind {
        ChannelKind::Topic => Channel::record(named, group, FenceCheck::Claim(claim), turn),
        _ => Channel::push_all(named, group, claim, turn),
    };
    let is_owned = |(message, _): &Publication| message.payer() == named.access.owner;
    if !named.keeps || group.iter().all(is_owned) {
        return put(group);
    }
    let copy = || {
        let mut copies = KVec::with_capacity(group.len(), GFP_KERNEL)?;
        for (message, how) in group {
            copies.push((named.own_if_kept(message)?, *how), GFP_KERNEL)?;
        }
        Ok(copies)
    };
    let copies: KVec<Publication> = match copy() {
        Ok(copies) => copies,
        Err(e) => return (0, Err(e)),
    };
    let done = put(&copies);
    for ((message, _), (kept, _)) in group.iter().zip(&copies) {
        told_position(message, kept);
    }
    done
}

/// The most bytes of a message in the log: its record, and that of the fence which it raises, are no longer
/// than this.
pub(crate) fn log_bytes(message: &Message, check: FenceCheck) -> usize {
    let fence = match check {
        FenceCheck::Claim(Some(_)) => MAX_FENCE,
        _ => 0,
    };
    fence + MAX_NAME + message.bytes() as usize
}
