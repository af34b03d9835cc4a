// SPDX-License-Identifier: GPL-2.0

//! What a server remembers of the nodes that use it, across their connections.

use crate::server::{
    outbox::{
        nothing_owed,
        ReplyOutbox,
        SendingSession, //
    },
    peer::Peer, //
};
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        barrier::smp_mb,
        Arc,
        Mutex, //
    }, //
};
use linux::{
    datagram::Softirq,
    try_lock::{
        TryGuard,
        TryLock, //
    },
};
use virgo_config::Config;
use virgo_proto::{
    config::MAX_NODES,
    slots::{
        Replies,
        ServerSlot,
        SLOTS, //
    }, //
};

/// One incarnation of a peer. The lock is held while a request is carried out, so that requests of one
/// peer follow each other, also when it has connected anew in the middle of one. What comes late by
/// the old connection is not done any more: it may have been given up, and others have been answered
/// since.
///
/// A request may be stuck, on a disk that does not answer. Nobody waits for the lock therefore: a
/// session that does not get it goes on when it is told so.
#[pin_data]
pub(crate) struct Incarnation {
    pub(crate) peer: Peer,
    /// Another incarnation has begun: what this one still asks for is not done any more.
    pub(crate) over: Atomic<bool>,
    /// The node is not configured any more, or is another machine: what it has asked for and was not begun is
    /// not done. What it has made stays, for it may come back.
    revoked: Atomic<bool>,
    /// Where the node is.
    from: Ipv4Addr,
    /// Number of the session that is served.
    pub(crate) session: Atomic<u64>,
    replies: TryLock<StoredReplies>,
    /// The session that is served could not lock `replies`, and is to be told when it can.
    is_awaited: Atomic<bool>,
    /// Locked after `replies`.
    #[pin]
    pub(crate) outbox: ReplyOutbox,
}

/// The replies that a server keeps for a peer.
pub(crate) type StoredReplies = Replies<KVVec<ServerSlot<KVVec<u8>>>>;

/// The lock of [`Incarnation::replies`].
pub(crate) struct RepliesGuard<'a> {
    incarnation: &'a Incarnation,
    /// `None` while this is dropped.
    replies: Option<TryGuard<'a, StoredReplies>>,
}

impl Incarnation {
    /// Locks the replies, if nobody has. Otherwise the work of `session`, which is the one that is
    /// served, is run when that may succeed.
    pub(crate) fn try_replies(&self, session: &SendingSession) -> Option<RepliesGuard<'_>> {
        let lock = || {
            let replies = self.replies.try_lock()?;
            Some(RepliesGuard {
                incarnation: self,
                replies: Some(replies),
            })
        };
        lock().or_else(|| {
            self.outbox.attach(session);
            // Fully ordered, as is the guard's end: one of the two sees what the other has done.
            self.is_awaited.xchg(true, Full);
            lock()
        })
    }

    /// Locks the replies for a request that has come as a datagram, if no session carries one out.
    pub(crate) fn try_replies_briefly(
        &self,
        context: &Softirq,
    ) -> Option<TryGuard<'_, StoredReplies>> {
        self.replies.try_lock_briefly(context)
    }

    /// Whether nobody waits for its replies any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed) || self.revoked.load(Relaxed)
    }

    /// Whether session number `session` is the one that is served.
    pub(crate) fn serves(&self, session: u64) -> bool {
        !self.is_over() && self.session.load(Relaxed) == session
    }

    /// Whether `config` has the node, where this one is.
    fn is_admitted_by(&self, config: &Config) -> bool {
        let address = config.nodes.address(self.peer.node);
        address.is_some_and(|address| address == self.from || self.from.is_loopback())
    }

    /// Gives the memory of the replies back, which nobody asks for any more, unless a request is being
    /// carried out.
    pub(crate) fn forget_replies(&self) {
        if let Some(mut replies) = self.replies.try_lock() {
            *replies = Replies::new(KVVec::new());
        }
    }
}

impl RepliesGuard<'_> {
    /// The replies; none only while this is dropped.
    pub(crate) fn get(&mut self) -> Result<&mut StoredReplies> {
        self.replies.as_deref_mut().ok_or(EIO)
    }
}

impl Drop for RepliesGuard<'_> {
    fn drop(&mut self) {
        self.replies = None;
        smp_mb(Full);
        if self.incarnation.is_awaited.load(Relaxed)
            && self.incarnation.is_awaited.xchg(false, Relaxed)
        {
            self.incarnation.outbox.wake();
        }
    }
}

/// A session of an incarnation.
pub(crate) struct Served {
    pub(crate) incarnation: Arc<Incarnation>,
    /// Its number: see [`Peers::incarnation`].
    pub(crate) session: u64,
}

/// The present incarnation of each peer: one at most, so a peer's memory is bounded. What former ones are
/// still owed counts for the present one.
#[pin_data]
pub(crate) struct Peers {
    #[pin]
    present: Mutex<[Option<Arc<Incarnation>>; MAX_NODES]>,
}

impl Peers {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            present <- linux::new_mutex!([const { None }; MAX_NODES], "virgo_peers"),
        })
    }

    /// The memory of `peer`'s incarnation; new if it was not known, and then the former one is reported to
    /// `gone`. From now on its session number `session` is served. May sleep.
    ///
    /// Sessions of a node have growing numbers in the order in which it has begun them. This one comes from
    /// `from`.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if the node has begun another one since; [`ENOMEM`]; [`EINVAL`] if no such node
    /// can be.
    pub(crate) fn incarnation(
        &self,
        peer: Peer,
        session: u64,
        from: Ipv4Addr,
        gone: impl FnOnce(Peer),
    ) -> Result<Served> {
        let mut present = self.present.lock();
        let index = usize::from(peer.node).checked_sub(1).ok_or(EINVAL)?;
        let place = present.get_mut(index).ok_or(EINVAL)?;
        if let Some(incarnation) = place {
            if incarnation.session.load(Relaxed) > session {
                return Err(ESTALE);
            }
            if incarnation.peer.boot == peer.boot {
                incarnation.session.store(session, Relaxed);
                let incarnation = incarnation.clone();
                return Ok(Served {
                    incarnation,
                    session,
                });
            }
        }
        let owed_to_node = match place {
            Some(former) => former.outbox.owed_to_node(),
            None => nothing_owed()?,
        };
        let mut slots = KVVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            slots.push(ServerSlot::new(), GFP_KERNEL)?;
        }
        let new = Arc::pin_init(
            pin_init!(Incarnation {
                peer,
                over: Atomic::new(false),
                revoked: Atomic::new(false),
                from,
                session: Atomic::new(session),
                replies: TryLock::new(Replies::new(slots)),
                is_awaited: Atomic::new(false),
                outbox <- ReplyOutbox::new(owed_to_node),
            }),
            GFP_KERNEL,
        )?;
        let old = place.replace(new.clone());
        drop(present);
        if let Some(old) = old {
            // Fully ordered: a request of that incarnation that does not see this holds the lock, and looks
            // when it has let go of it.
            old.over.xchg(true, Full);
            old.forget_replies();
            old.outbox.close();
            gone(old.peer);
        }
        Ok(Served {
            incarnation: new,
            session,
        })
    }

    /// Forgets the incarnations of nodes that `config` does not have any more, or elsewhere. May sleep.
    pub(crate) fn revoke(&self, config: &Config) {
        for index in 0..MAX_NODES {
            let mut present = self.present.lock();
            let place = present.get_mut(index);
            let revoked = place.and_then(|place| place.take_if(|old| !old.is_admitted_by(config)));
            drop(present);
            if let Some(revoked) = revoked {
                revoked.revoked.store(true, Relaxed);
                revoked.forget_replies();
                revoked.outbox.close();
            }
        }
    }
}
