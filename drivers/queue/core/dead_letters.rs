// SPDX-License-Identifier: GPL-2.0

//! Bringing dead letters to the queue or topic that is meant for them.
//!
//! One that cannot be brought stays where it is, and is tried again. Where it goes it belongs to who
//! owns the queue that it comes from: that user has sent it there, and pays for it, unless it may stay
//! there for replay.

use crate::{
    channel::{
        Channel,
        ChannelRef,
        FenceCheck,
        PublishOptions, //
    },
    message::Message,
    queues::Queues, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    deadline::Deadline,
    work::{
        Run,
        Task, //
    }, //
};
use virgo_proto::queue::{
    access::Right,
    options::ChannelKind,
    record::NOBODY,
    state::STEP, //
};

/// After so long, in milliseconds, it is tried again.
const RETRY_MS: u32 = 1000;

/// Letters of one channel that are brought before the next one has its turn.
const AT_ONCE: usize = STEP as usize;

/// See the module.
pub(crate) struct DeadLetterWork(pub(crate) Arc<Queues>);

/// Whether letters are left, and when they are tried again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    /// They could not be brought.
    Later,
    /// It is another channel's turn.
    Now,
}

/// Whom a letter acts as where it comes to. What the owner of the queue has published itself, or root
/// has agreed to pass on, stays its publisher's. Anything else acts as nobody: otherwise who owns a
/// queue would have requests done in the name of whoever publishes to it, or publishers in that of
/// the owner.
fn acts_as(owner: u32, letter: &Message) -> u32 {
    match owner {
        0 => letter.uid,
        owner if owner == letter.uid => owner,
        _ => NOBODY,
    }
}

impl DeadLetterWork {
    /// Brings one letter. Returns the LSN to [commit](Queues::commit).
    fn bring(&self, letter: &Arc<Message>, from: &Channel) -> Result<u64> {
        let to = self.0.find(&from.dead)?;
        let owner = from.access.owner;
        to.check(owner, Right::Publish)?;
        let letter = to.own_letter(letter, from, acts_as(owner, letter))?;
        match to.kind {
            ChannelKind::Topic => self.0.publish_dead(&to, &letter),
            _ if to.is_durable() => {
                let letter = (&letter, PublishOptions::PLAIN);
                self.0.push_durable(&to, letter, FenceCheck::Exempt, None)
            }
            _ => Channel::push(&to, &letter, PublishOptions::PLAIN).map(|_| 0),
        }
    }

    /// Brings some of one channel, up to the first that cannot be brought. Durable letters are on
    /// disk there, with one wait for all of them, before they are gone here. If the disk fails all
    /// are brought again.
    fn bring_some(&self, channel: &ChannelRef) -> Left {
        let Ok(mut brought) = KVec::with_capacity(AT_ONCE, GFP_KERNEL) else {
            return Left::Later;
        };
        let (mut left, mut lsn) = (Left::Now, 0);
        for n in 0..AT_ONCE as u32 {
            let Some(letter) = channel.dead_behind(n) else {
                left = Left::Nothing;
                break;
            };
            if channel.dead.is_empty() {
                channel.count_lost();
            } else {
                match self.bring(&letter, channel) {
                    Ok(its) => lsn = its.max(lsn),
                    Err(_) => {
                        left = Left::Later;
                        break;
                    }
                }
            }
            // There is room for all of them.
            let _ = brought.push_within_capacity(letter);
        }
        if self.0.commit(lsn, Deadline::never()).is_err() {
            return Left::Later;
        }
        for letter in &brought {
            Channel::drop_dead(channel, letter);
        }
        left
    }
}

impl Run for DeadLetterWork {
    fn run(task: &Task<Self>) {
        let mut left = Left::Nothing;
        let mut last: Option<ChannelRef> = None;
        loop {
            let name = last.as_ref().map_or(&b""[..], |channel| &channel.name);
            let Some(channel) = task.0.next_with_dead(name) else {
                break;
            };
            left = left.max(task.bring_some(&channel));
            last = Some(channel);
        }
        match left {
            Left::Nothing => (),
            Left::Later => task.schedule_after_ms(RETRY_MS),
            Left::Now => task.schedule(),
        }
    }
}
