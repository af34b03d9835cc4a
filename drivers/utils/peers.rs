// SPDX-License-Identifier: GPL-2.0

//! What a server remembers of the nodes that use it, across their connections.

use crate::{
    deferred::Outbox,
    service::Peer, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use virgo_proto::{
    config::MAX_NODES,
    slots::{
        Replies,
        ServerSlot,
        SLOTS, //
    }, //
};

/// One life of a peer. The lock is held while a request is carried out, so that requests of one
/// peer follow each other, also when it has connected anew in the middle of one. What comes late by
/// the old connection is not done any more: it may have been given up, and others have been answered
/// since.
#[pin_data]
pub(crate) struct Life {
    pub(crate) peer: Peer,
    /// Another life has begun: what this one still asks for is not done any more.
    pub(crate) over: Atomic<bool>,
    /// Number of the session that is served.
    pub(crate) session: Atomic<u64>,
    #[pin]
    pub(crate) replies: Mutex<Replies<KVVec<ServerSlot<KVVec<u8>>>>>,
    /// Locked after `replies`.
    #[pin]
    pub(crate) outbox: Outbox,
}

/// A session of a life.
pub(crate) struct Served {
    pub(crate) life: Arc<Life>,
    /// Its number: see [`Peers::life`].
    pub(crate) session: u64,
}

/// The present life of each peer: one at most, so a peer's memory is bounded.
#[pin_data]
pub(crate) struct Peers {
    #[pin]
    lives: Mutex<[Option<Arc<Life>>; MAX_NODES]>,
}

impl Peers {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lives <- linux::new_mutex!([const { None }; MAX_NODES], "virgo_peers"),
        })
    }

    /// The memory of `peer`'s life; new, and reported to `restarted`, if it was not known. From now
    /// on its session number `session` is served. May sleep.
    ///
    /// Sessions of a node have growing numbers in the order in which it has begun them.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if the node has begun another one since; [`ENOMEM`]; [`EINVAL`] if no such node
    /// can be.
    pub(crate) fn life(
        &self,
        peer: Peer,
        session: u64,
        restarted: impl FnOnce(),
    ) -> Result<Served> {
        let mut lives = self.lives.lock();
        let index = usize::from(peer.node).checked_sub(1).ok_or(EINVAL)?;
        let place = lives.get_mut(index).ok_or(EINVAL)?;
        if let Some(life) = place {
            if life.session.load(Relaxed) > session {
                return Err(ESTALE);
            }
            if life.peer.boot == peer.boot {
                life.session.store(session, Relaxed);
                let life = life.clone();
                return Ok(Served { life, session });
            }
        }
        let mut slots = KVVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            slots.push(ServerSlot::new(), GFP_KERNEL)?;
        }
        let new = Arc::pin_init(
            pin_init!(Life {
                peer,
                over: Atomic::new(false),
                session: Atomic::new(session),
                replies <- linux::new_mutex!(Replies::new(slots), "virgo_replies"),
                outbox <- Outbox::new(),
            }),
            GFP_KERNEL,
        )?;
        let old = place.replace(new.clone());
        drop(lives);
        if let Some(old) = old {
            old.over.store(true, Relaxed);
            // A request that did not see this holds the lock; wait for its end.
            drop(old.replies.lock());
            restarted();
        }
        Ok(Served { life: new, session })
    }
}
