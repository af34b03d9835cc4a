// SPDX-License-Identifier: GPL-2.0

//! Making, emptying and deleting queues and topics on behalf of users.

use crate::{
    channel::{
        ChannelRef,
        FenceCheck, //
    },
    publish_target::Publisher,
    queues::Queues,
    table::{
        check_claim,
        is_reserved,
        REQUESTS, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::{
    bytes::{
        copy,
        Fill, //
    },
    deadline::Deadline, //
};
use virgo_proto::{
    errno::Errno,
    queue::{
        access::Right,
        options::{
            ChannelKind,
            Options, //
        },
        reasons, //
    }, //
};
use virgo_utils::{
    from_wire,
    Failure, //
};

/// What went wrong, in words that fit queues.
pub(crate) fn explain(e: Error) -> Failure {
    let failure = Failure::from(e);
    Failure::new(failure.errno, reasons::explain(failure.errno))
}

/// The same for who may have said which lock guards the queue.
pub(crate) fn explain_to(by: Publisher, e: Error) -> Failure {
    let failure = explain(e);
    match by.claim {
        Some(_) => Failure::new(failure.errno, reasons::explain_fenced(failure.errno)),
        None => failure,
    }
}

/// What a peer, or a program of this node, is told.
pub(crate) fn told<T>(done: Result<T, Failure>) -> Result<T> {
    done.map_err(|failure| from_wire(failure.errno.to_wire()))
}

impl Queues {
    /// Makes a queue or topic of `uid` by words. A disk is waited for until `deadline`. May sleep.
    pub(crate) fn create_for(
        &self,
        uid: u32,
        name: &[u8],
        words: &[u8],
        deadline: Deadline,
    ) -> Result<(), Failure> {
        if words.len() > reasons::MAX_OPTIONS {
            return Err(Failure::new(Errno::EINVAL, reasons::OPTIONS_TOO_LONG));
        }
        let parsed = Options::DEFAULT.parse(words);
        let mut options = parsed.map_err(|reason| Failure::new(Errno::EINVAL, reason))?;
        if uid != 0 && is_reserved(name) {
            return Err(Failure::new(
                Errno::EACCES,
                "names that begin with _ or kingcobra. are root's",
            ));
        }
        let owner = options.owner.unwrap_or(uid);
        if uid != 0 && owner != uid {
            return Err(Failure::new(
                Errno::EPERM,
                "only root makes queues that others own",
            ));
        }
        options.owner = Some(owner);
        if !options.durable {
            self.create(name, &options).map_err(explain)?;
            return Ok(());
        }
        // The last word counts.
        let mut text: KVec<u8> = copy(words, GFP_KERNEL)?;
        let said = CString::try_from_fmt(fmt!(" owner={owner}"))?;
        text.put_bytes(said.to_bytes(), GFP_KERNEL)?;
        let created = self.create_durable(name, &options, &text, deadline);
        created.map_err(explain)?;
        Ok(())
    }

    /// Deletes a queue or topic on behalf of `by`; its owner and root need no lock for that. A disk is waited
    /// for until `deadline`: after [`ETIMEDOUT`] it may come back when the node is started again. May sleep.
    pub(crate) fn delete_for(
        &self,
        by: Publisher,
        name: &[u8],
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let Publisher { uid, claim } = by;
        let channel = self.find(name).map_err(explain)?;
        if channel.kind == ChannelKind::Subscription || name == REQUESTS {
            return Err(Failure::new(
                Errno::EBUSY,
                "subscriptions go with those who have them, and the queue of requests stays",
            ));
        }
        channel.check(uid, Right::Delete).map_err(explain)?;
        let check = match claim.is_none() && (uid == 0 || uid == channel.access.owner) {
            true => FenceCheck::Exempt,
            false => FenceCheck::Claim(claim),
        };
        let removed = self.remove(&channel, check, deadline);
        removed.map_err(|e| explain_to(by, e))
    }

    /// Takes all messages out of a queue or topic on behalf of `by`, who may delete it. The disk is waited for
    /// until `deadline` if it is durable and there is a lock. Returns how many. May sleep.
    pub(crate) fn purge_for(
        &self,
        by: Publisher,
        name: &[u8],
        deadline: Deadline,
    ) -> Result<u64, Failure> {
        let channel = self.find(name).map_err(explain)?;
        channel.check(by.uid, Right::Delete).map_err(explain)?;
        let purged = check_claim(&channel, by.uid, by.claim)
            .and_then(|()| self.purge(&channel, by.claim, deadline));
        purged.map_err(|e| explain_to(by, e))
    }

    /// Whether creating by these words, or deleting the channel of this name, waits for the disk.
    pub(crate) fn waits_for_disk(&self, name: &[u8], words: &[u8]) -> bool {
        let creates_durable = Options::DEFAULT.parse(words).is_ok_and(|o| o.durable);
        creates_durable
            || self
                .find(name)
                .is_ok_and(|found: ChannelRef| found.is_durable())
    }
}
