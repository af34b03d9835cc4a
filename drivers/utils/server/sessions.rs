// SPDX-License-Identifier: GPL-2.0

//! The sessions of a server: how many there may be, and who ends whom.
//!
//! | sessions                    | how many                                                   |
//! |-----------------------------|------------------------------------------------------------|
//! | of those who type, proven   | `max_sessions`, of which one user may have `user_share`    |
//! | of a node, proven           | [`NODE_SESSIONS`]; the oldest gives way                    |
//! | unproven                    | see [`virgo_proto::admission`]: `max_unauthenticated` from unknown addresses |
//!
//! # Locking
//!
//! The table has a mutex. It is taken by the work of sessions, which hold their own state's then;
//! sessions are dropped, which waits for that work, without it. While a session's work is busy it stays
//! in the table, and its user is charged for it: nobody gets rid of the work by ending the session.

use crate::{
    params,
    server::{
        session::ServerSession,
        standing::{
            Ident,
            Standing, //
        },
        Hub, //
    },
    service::Service, //
};
use core::net::Ipv4Addr;
use kernel::{
    fmt,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use linux::net::{
    SocketWork,
    Stream, //
};
use virgo_config::{
    Config,
    Identity, //
};
use virgo_proto::{
    admission::{
        gives_way,
        AdmissionLimits,
        Unproven, //
    },
    vuid::NodeId, //
};

/// Proven sessions of one node: more than one only while connections break.
const NODE_SESSIONS: usize = 8;

/// A session and its connection.
pub(crate) type Connected<S> = SocketWork<ServerSession<S>>;

/// Sessions, the oldest first.
type Table<S> = KVVec<Pin<KBox<Connected<S>>>>;

/// The sessions of a server.
#[pin_data]
pub(crate) struct Sessions<S: Service> {
    #[pin]
    table: Mutex<Table<S>>,
    /// Memory to look at the unproven sessions in. Locked after the table.
    #[pin]
    unproven: Mutex<KVVec<(Unproven, usize)>>,
}

impl<S: Service> Sessions<S> {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- linux::new_mutex!(KVVec::new(), "virgo_sessions"),
            unproven <- linux::new_mutex!(KVVec::new(), "virgo_unproven"),
        })
    }

    /// How many there are. May sleep.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Begins a session. One that is not proven may have to make room for it. Only one task does at a
    /// time. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENOTCONN`] if the peer is gone; [`EUSERS`] if too many sessions have ended whose
    /// work is still busy.
    pub(crate) fn admit(&self, hub: &Arc<Hub<S>>, stream: Stream) -> Result {
        let session = ServerSession::new(hub.clone(), &stream)?;
        self.make_room(session.from, &hub.node.config())?;
        let session = KBox::pin_init(
            linux::new_socket_work!(hub.queue.clone(), stream, session, "virgo_session"),
            GFP_KERNEL,
        )?;
        // It runs already, so it is not dropped here: that would wait for what it does.
        let mut table = self.table.lock();
        // There is room.
        let _ = table.push_within_capacity(session);
        // A reload since has not seen it here, unless it begins after this.
        if let Some(session) = table.last() {
            if !session.is_admitted_by(&hub.node.config()) {
                session.end(&session.socket);
            }
        }
        Ok(())
    }

    /// Makes room for one more session, from `from`.
    fn make_room(&self, from: Ipv4Addr, config: &Config) -> Result {
        let mut table = self.table.lock();
        if table.iter().filter(|session| session.is_over()).count() >= params::max_sessions() {
            return Err(EUSERS);
        }
        table.reserve(1, GFP_KERNEL)?;
        if let Some(session) = self.gives_way(&table, from, config)? {
            session.give_way(&session.socket);
        }
        Ok(())
    }

    /// Which of `table` makes room for a session from `from`, if there is too little.
    fn gives_way<'a>(
        &self,
        table: &'a Table<S>,
        from: Ipv4Addr,
        config: &Config,
    ) -> Result<Option<&'a Connected<S>>> {
        let unauthenticated = params::max_unauthenticated();
        let limits = AdmissionLimits {
            unknown: unauthenticated,
            per_unknown: (unauthenticated / 4).max(1),
            per_known: (unauthenticated / 2).max(1),
        };
        let is_known = |from: Ipv4Addr| from.is_loopback() || config.nodes.number(from).is_some();
        // What they are at one moment: they come further meanwhile.
        let mut unproven = self.unproven.lock();
        unproven.clear();
        for (at, session) in table.iter().enumerate() {
            if let Some(stage) = session.unproven_stage() {
                let session = Unproven {
                    from: session.from,
                    known: is_known(session.from),
                    stage,
                };
                unproven.push((session, at), GFP_KERNEL)?;
            }
        }
        let at = gives_way(from, is_known(from), &mut unproven, &limits);
        Ok(at.and_then(|at| table.get(at)).map(|session| &**session))
    }

    /// Ends the sessions whose time is over, and takes those that have ended and are idle out of the
    /// table, so that they can be dropped without its lock. The second value says whether one of the
    /// others is to be looked at again. May sleep.
    pub(crate) fn ended(&self) -> (Table<S>, bool) {
        let (mut ended, mut limited) = (KVVec::new(), false);
        let mut table = self.table.lock();
        let mut at = 0;
        while let Some(session) = table.get(at) {
            session.end_if_due(&session.socket);
            let is_limited = session.limited();
            // Without memory it stays until the next sweep.
            if session.is_idle() && ended.reserve(1, GFP_KERNEL).is_ok() {
                if let Ok(session) = table.remove(at) {
                    let _ = ended.push_within_capacity(session);
                    continue;
                }
            }
            limited |= is_limited;
            at += 1;
        }
        (ended, limited)
    }

    /// Ends all and waits for them. May sleep.
    pub(crate) fn clear(&self) {
        let all = core::mem::take(&mut *self.table.lock());
        // All before the first is waited for: what they wait for ends.
        for session in &all {
            session.end(&session.socket);
        }
        drop(all);
    }

    /// Ends the oldest sessions of `node` if it has too many. May sleep.
    pub(crate) fn limit_node(&self, node: NodeId) {
        let table = self.table.lock();
        let own = table.iter().filter(|s| s.is(Identity::Node(node)));
        let too_many = own.clone().count().saturating_sub(NODE_SESSIONS);
        for session in own.take(too_many) {
            session.end(&session.socket);
        }
    }

    /// Ends the sessions that `config` would not let in. May sleep.
    pub(crate) fn revoke(&self, config: &Config) {
        for session in &*self.table.lock() {
            if !session.is_admitted_by(config) {
                session.end(&session.socket);
            }
        }
    }

    /// Ends session `number`, if it is one of those that are `wanted`; false if it is none. May sleep.
    pub(crate) fn end(&self, number: u64, wanted: impl Fn(&Standing<S>) -> bool) -> bool {
        let table = self.table.lock();
        let session = table.iter().find(|s| s.number == number && wanted(s));
        if let Some(session) = session {
            session.end(&session.socket);
        }
        session.is_some()
    }

    /// Shows each to `see`, until that fails. May sleep.
    ///
    /// # Errors
    ///
    /// Those of `see`.
    pub(crate) fn try_for_each<E>(
        &self,
        mut see: impl FnMut(&Standing<S>) -> Result<(), E>,
    ) -> Result<(), E> {
        let table = self.table.lock();
        let mut present = table.iter().filter(|session| !session.is_over());
        present.try_for_each(|session| see(session))
    }

    /// A line each: number, kind, address and port, who it is, age in seconds. May sleep.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# session kind from who age_s")?;
        self.try_for_each(|session| {
            let Ident { kind, who } = Ident::of(session);
            let (number, from, port) = (session.number, session.from, session.port);
            write!(f, "{number} {kind} {from}:{port} ")?;
            match who {
                Some(who) => write!(f, "{who}")?,
                None => write!(f, "-")?,
            }
            writeln!(f, " {}", session.age_s())
        })
    }
}
