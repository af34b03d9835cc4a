// SPDX-License-Identifier: GPL-2.0

//! Bringing dead letters to the queue or topic that is meant for them.
//!
//! One that cannot be brought stays where it is, and is tried again. Where it goes it belongs to who
//! owns the queue that it comes from: that user has sent it there, and pays for it.

use crate::{
    channel::{
        Channel,
        PublishOptions,
        Shared, //
    },
    message::Message,
    queues::Queues, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::work::{
    Run,
    Task, //
};
use virgo_proto::queue::{
    access::Right,
    options::Kind,
    record::NOBODY, //
};

/// After so long, in milliseconds, it is tried again.
const RETRY_MS: u32 = 1000;

/// Letters of one channel that are brought before the next one has its turn.
const AT_ONCE: usize = 32;

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
    /// A durable letter is on disk there before it is gone here.
    fn bring(&self, letter: &Arc<Message>, from: &Channel) -> Result {
        let to = self.0.find(&from.dead)?;
        let owner = from.access.owner;
        to.check(owner, Right::Publish)?;
        let uid = acts_as(owner, letter);
        let copy;
        let letter = match uid == letter.uid && owner == letter.payer() {
            true => letter,
            false => {
                copy = from.copy_as(letter, uid)?;
                &copy
            }
        };
        let lsn = match to.kind {
            Kind::Topic => self.0.publish_dead(&to, letter)?,
            _ if to.is_durable() => {
                self.0
                    .push_durable(&to, letter, PublishOptions::PLAIN, None)?
            }
            _ => return Channel::push(&to, letter, PublishOptions::PLAIN).map(drop),
        };
        self.0.commit(lsn)
    }

    /// Brings some of one channel, up to the first that cannot be brought.
    fn bring_some(&self, channel: &Channel) -> Left {
        for _ in 0..AT_ONCE {
            let Some(letter) = channel.first_dead() else {
                return Left::Nothing;
            };
            if channel.dead.is_empty() {
                channel.count_lost();
            } else if self.bring(&letter, channel).is_err() {
                return Left::Later;
            }
            channel.drop_dead(&letter);
        }
        Left::Now
    }
}

impl Run for DeadLetterWork {
    fn run(task: &Task<Self>) {
        let mut left = Left::Nothing;
        let mut last: Option<Shared> = None;
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
