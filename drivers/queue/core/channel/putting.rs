// SPDX-License-Identifier: GPL-2.0

//! Putting messages into a channel.

use super::{
    due,
    news::News,
    room::Turn,
    Channel,
    FenceCheck,
    Publication,
    PublishOptions, //
};
use crate::message::Message;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use linux::{
    deadline::now_ms,
    work::Task, //
};
use virgo_proto::{
    fence::FenceClaim,
    queue::{
        options::ChannelKind,
        state::OverflowPolicy, //
    }, //
};

/// Does something with each message, up to the first for which that fails or has to be done again:
/// `put` says so by `None`. Each is told the number that it gets. Returns with how many it went well,
/// and whether these were all.
pub(super) fn put_each(
    messages: &[Publication],
    mut put: impl FnMut(&Arc<Message>, PublishOptions) -> Result<Option<u64>>,
) -> (usize, Result<bool>) {
    let mut count = 0;
    for (message, how) in messages {
        match put(message, *how) {
            Ok(Some(seq)) => message.position.store(seq, Relaxed),
            Ok(None) => return (count, Ok(false)),
            Err(e) => return (count, Err(e)),
        }
        count += 1;
    }
    (count, Ok(true))
}

/// Does that with all messages, with the lock let go between the steps. Returns with how many it went
/// well.
pub(super) fn put_all(
    messages: &[Publication],
    mut step: impl FnMut(&[Publication]) -> (usize, Result<bool>),
) -> (usize, Result) {
    let mut all = 0;
    loop {
        let (count, result) = step(messages.get(all..).unwrap_or_default());
        all += count;
        match result {
            Ok(true) => return (all, Ok(())),
            Ok(false) => (),
            Err(e) => return (all, Err(e)),
        }
    }
}

impl Channel {
    /// A message as this channel may keep it for longer than its publisher can say: charged to the
    /// channel's owner. May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Message::new`].
    pub(crate) fn own(&self, message: &Arc<Message>) -> Result<Arc<Message>> {
        match message.payer() == self.access.owner {
            true => Ok(message.clone()),
            false => message.copy_for(&self.account),
        }
    }

    /// A message that was published to this channel's name as the channel keeps it: what may stay
    /// for replay is its owner's. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOBUFS`] if the owner has no room for it, [`ENOMEM`].
    pub(crate) fn own_if_kept(&self, message: &Arc<Message>) -> Result<Arc<Message>> {
        if !self.keeps {
            return Ok(message.clone());
        }
        self.own(message).map_err(|e| match e {
            EDQUOT => ENOBUFS,
            e => e,
        })
    }

    /// A message as a dead letter of channel `from`, carried out as `uid` if it is a request: it is
    /// published, and paid for, by the owner of that channel, unless it may stay here for replay.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// As for [`Message::new`].
    pub(crate) fn own_letter(
        &self,
        letter: &Arc<Message>,
        from: &Channel,
        uid: u32,
    ) -> Result<Arc<Message>> {
        let payer = if self.keeps { self } else { from };
        let publisher = from.access.owner;
        let is_so = letter.payer() == payer.access.owner
            && letter.publisher == publisher
            && letter.uid == uid;
        match is_so {
            true => Ok(letter.clone()),
            false => letter.copy_as(&payer.account, uid, publisher),
        }
    }

    /// Puts a message in, which comes to the channel not by its name: no lock is asked for. Returns its
    /// number. Any context.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if there is no room and the sender may wait for some; [`ENOBUFS`] if it is refused;
    /// [`EDQUOT`] if its publisher has the share of the channel that one user may have; [`ENOENT`] if
    /// the channel is deleted; [`ENOMEM`].
    pub(crate) fn push(
        task: &Task<Self>,
        message: &Arc<Message>,
        how: PublishOptions,
    ) -> Result<u64> {
        loop {
            let now = now_ms();
            let mut state = task.state.lock();
            if let Some(seq) = state.push(now, message, how, FenceCheck::Exempt)? {
                task.pushed(state, due(now, how));
                return Ok(seq);
            }
        }
    }

    /// Puts messages in that were published to this channel's name by who has the lock `claim`, in order, up
    /// to the first for which that fails, as [`Self::push`] does, or by the fence. The first has the room of
    /// `turn`. Returns how many went in. Any context.
    pub(crate) fn push_all(
        task: &Task<Self>,
        messages: &[Publication],
        claim: Option<FenceClaim>,
        turn: &mut Option<Turn>,
    ) -> (usize, Result) {
        put_all(messages, |messages| {
            let now = now_ms();
            let mut first = None;
            let mut state = task.state.lock();
            Turn::redeem(turn, &mut state);
            let pushed = put_each(messages, |message, how| {
                let seq = state.push(now, message, how, FenceCheck::Claim(claim))?;
                first = [first, due(now, how)].into_iter().flatten().min();
                Ok(seq)
            });
            if pushed.0 > 0 {
                task.pushed(state, first);
            }
            pushed
        })
    }

    /// Whether it can be a reason not to publish a message, if it is bound to the name of that: see
    /// [`Queues::publish`](crate::queues::Queues::publish).
    pub(crate) fn may_refuse(&self) -> bool {
        self.kind == ChannelKind::Queue
            && (self.policy != OverflowPolicy::DropOldest || self.is_durable())
    }

    /// Whether there is room for so many bytes of user `uid`.
    ///
    /// # Errors
    ///
    /// As for [`Self::push`].
    pub(crate) fn has_room(&self, bytes: u32, uid: u32) -> Result {
        while !self.state.lock().make_room(bytes, uid)? {}
        Ok(())
    }
}
