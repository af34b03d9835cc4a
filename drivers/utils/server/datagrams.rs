// SPDX-License-Identifier: GPL-2.0

//! The nodes that may send datagrams to a server: for as long as they have a session that is served.
//!
//! # Locking
//!
//! Each node's place has a lock that softirqs hold while they answer a datagram of that node, and a task
//! for a moment when it changes the place: a datagram that comes just then is lost. Tasks do that one at
//! a time, under a mutex; no other lock is taken under it.
//!
//! Whoever can send packets can name a node. So that nobody has processors wait for that lock who does not know
//! the node's session and can send from its address, both are compared before it is taken.

use crate::{
    datagram,
    server::{
        peers::{
            Incarnation,
            Served, //
        }, //
    }, //
};
use core::net::Ipv4Addr;
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
use linux::{
    datagram::{
        DatagramSource,
        OutgoingDatagram,
        Route,
        Softirq, //
    },
    secret::wipe,
    try_lock::{
        TryGuard,
        TryLock, //
    }, //
};
use virgo_config::Config;
use virgo_proto::{
    config::MAX_NODES,
    datagram::{
        DatagramHeader,
        DatagramKind,
        Keys,
        Window, //
    },
    handshake::DATAGRAMS,
    vuid::NodeId, //
};

/// What a server knows of a node's datagrams.
pub(crate) struct DatagramSession {
    keys: Keys,
    /// Which node this is.
    pub(crate) me: NodeId,
    /// Number of the session whose handshake the keys are from, among those of the node.
    challenge: u64,
    pub(crate) incarnation: Arc<Incarnation>,
    /// Where the node is.
    route: Route,
    /// Of the next datagram that is sent.
    counter: u64,
    window: Window,
    /// Number of the session among all.
    pub(crate) number: u64,
}

impl DatagramSession {
    /// Session `number` among all. Without keys: see [`Self::keys`]. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        me: NodeId,
        served: &Served,
        route: Route,
        number: u64,
    ) -> Result<KBox<Self>> {
        let session = DatagramSession {
            keys: Keys::none(),
            me,
            challenge: served.session,
            incarnation: served.incarnation.clone(),
            route,
            counter: 0,
            window: Window::new(),
            number,
        };
        Ok(KBox::new(session, GFP_KERNEL)?)
    }

    /// Where the keys are to be derived: in memory that this stays in, since what is moved leaves a copy.
    pub(crate) fn keys(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Whether the node itself has sent this, and now for the first time.
    pub(crate) fn accepts(
        &mut self,
        header: &DatagramHeader,
        (signed, tag): (&[u8], u64),
        source: &DatagramSource,
    ) -> bool {
        header.session == self.keys.session
            && self.route.is_way_of(source)
            && datagram::is_signed(signed, tag, &self.keys.to_server)
            && self.window.accept(header.counter)
            && self.is_served()
    }

    fn mark(&self) -> u64 {
        mark(self.keys.session, self.route.to())
    }

    /// Whether this belongs to the session of the node that is served.
    pub(crate) fn is_served(&self) -> bool {
        self.incarnation.serves(self.challenge)
    }

    /// Sends an answer to the datagram with header `to`, which has come from `port`.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] if it is too long for the network there. What cannot be sent for another reason is
    /// lost, too.
    pub(crate) fn answer(
        &mut self,
        kind: DatagramKind,
        word: u32,
        to: &DatagramHeader,
        mut body: OutgoingDatagram,
        port: u16,
    ) -> Result {
        let header = DatagramHeader {
            kind,
            op: to.op,
            session: self.keys.session,
            counter: self.counter,
            id: to.id,
            taken: 0,
            stamp: crate::clock::now(),
            word,
            node: self.me,
        };
        self.counter = self.counter.wrapping_add(1);
        datagram::sign(&mut body, header, &self.keys.to_client)?;
        body.send(&self.route, port)
    }
}

impl Drop for DatagramSession {
    fn drop(&mut self) {
        wipe(&mut self.keys.to_server);
        wipe(&mut self.keys.to_client);
    }
}

/// What is known of a node.
struct Place {
    /// The [`mark`] of the session, 0 if there is none; is only looked at to drop what is not of it.
    mark: Atomic<u64>,
    session: TryLock<Option<KBox<DatagramSession>>>,
}

impl Place {
    const fn new() -> Self {
        Place {
            mark: Atomic::new(0),
            session: TryLock::new(None),
        }
    }
}

/// What each datagram of a session has in common: the session, and the node's address. Not 0, which is no
/// node's address.
fn mark(session: u32, address: Ipv4Addr) -> u64 {
    (u64::from(session) << 32) | u64::from(address.to_bits())
}

/// The datagram sessions of a server: one of each node at most.
#[pin_data]
pub(crate) struct Datagrams {
    places: [Place; MAX_NODES],
    /// Held by the task that changes one of the places.
    #[pin]
    changing: Mutex<()>,
    is_open: Atomic<bool>,
    /// Datagrams for this server that were not accepted.
    pub(crate) refused: Atomic<u64>,
}

impl Datagrams {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            places: [const { Place::new() }; MAX_NODES],
            changing <- linux::new_mutex!((), "virgo_datagrams"),
            is_open: Atomic::new(false),
            refused: Atomic::new(0),
        })
    }

    /// The port is open, or is not any more.
    pub(crate) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Relaxed);
    }

    /// What a server says of them in the handshake.
    pub(crate) fn features(&self, config: &Config) -> u32 {
        match self.is_open.load(Relaxed) && config.datagrams {
            true => DATAGRAMS,
            false => 0,
        }
    }

    /// Locks the session that a datagram says to be of, for a moment, if it is from the address of that. Its
    /// place may be empty all the same. `None` also if it is being used or changed for long.
    pub(crate) fn lock(
        &self,
        header: &DatagramHeader,
        source: &DatagramSource,
        context: &Softirq,
    ) -> Option<TryGuard<'_, Option<KBox<DatagramSession>>>> {
        let index = usize::from(header.node).checked_sub(1);
        let place = index.and_then(|index| self.places.get(index));
        let mark = mark(header.session, *source.from.ip());
        let Some(place) = place.filter(|place| place.mark.load(Relaxed) == mark) else {
            self.refused.fetch_add(1, Relaxed);
            return None;
        };
        place.session.try_lock_briefly(context)
    }

    /// From now on the node of `session` may send datagrams. May sleep.
    pub(crate) fn begin(&self, session: KBox<DatagramSession>) {
        let node = session.incarnation.peer.node;
        let old = self.change(node, |place| match place {
            Some(present) if present.challenge > session.challenge => Some(session),
            _ => place.replace(session),
        });
        // What it refers to is dropped by a task, not under the lock.
        drop(old);
    }

    /// Session `number` of a node is over. May sleep.
    pub(crate) fn end(&self, node: NodeId, number: u64) {
        let old = self.change(node, |place| {
            place.take_if(|present| present.number == number)
        });
        drop(old);
    }

    /// No node may send any until it connects again. May sleep.
    pub(crate) fn end_all(&self) {
        for node in 1..=MAX_NODES as NodeId {
            drop(self.change(node, Option::take));
        }
    }

    fn change<T>(
        &self,
        node: NodeId,
        change: impl FnOnce(&mut Option<KBox<DatagramSession>>) -> Option<T>,
    ) -> Option<T> {
        let changing = self.changing.lock();
        let index = usize::from(node).checked_sub(1)?;
        let place = self.places.get(index)?;
        // What comes now does not go for the lock before this task.
        place.mark.store(0, Relaxed);
        // No other task has it: this one has the mutex.
        let mut session = place.session.try_lock()?;
        let old = change(&mut session);
        let mark = session.as_ref().map_or(0, |session| session.mark());
        drop(session);
        place.mark.store(mark, Relaxed);
        drop(changing);
        old
    }
}
