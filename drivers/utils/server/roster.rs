// SPDX-License-Identifier: GPL-2.0

//! Who is connected to a server: the standings of its sessions, how many there may be, and who ends whom.
//!
//! | sessions                    | how many                                                   |
//! |-----------------------------|------------------------------------------------------------|
//! | of those who type, proven   | `max_sessions`, of which one user may have `user_share`    |
//! | of a node, proven           | [`NODE_SESSIONS`]; the oldest gives way                    |
//! | unproven                    | see [`virgo_proto::admission`]: `max_unauthenticated` from unknown addresses |
//!
//! The roster does not have the sessions themselves, so that these may use it: they are in
//! [`Sessions`](super::sessions::Sessions). The standing of each is in the roster before its work begins, and until the
//! session is about to be dropped ([`Enrolled`](super::enrolled::Enrolled)). While a session's work is busy it stays
//! there, and its user is charged for it: nobody gets rid of the work by ending the session.
//!
//! # Locking
//!
//! The list has a mutex. The work of a session takes it while it holds its own state's; everybody else under no other
//! lock of the server. Sessions are ended under it; their work is not waited for.

use crate::{
    budget::{
        Budget,
        Charge, //
    },
    params,
    reply::Failure,
    server::{
        datagrams::Datagrams,
        standing::{
            Ident,
            Standing, //
        }, //
    }, //
};
use core::net::Ipv4Addr;
use kernel::{
    fmt,
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
    net::Stream,
    work::WorkHandle, //
};
use virgo_config::{
    Config,
    Identity,
    Node,
    Party, //
};
use virgo_proto::{
    admission::{
        gives_way,
        AdmissionLimits,
        Unproven, //
    },
    errno::Errno,
    vuid::NodeId, //
};

/// Proven sessions of one node: more than one only while connections break.
const NODE_SESSIONS: usize = 8;

/// Standings, the oldest first: their numbers grow, since one task enrolls all.
type List = KVVec<Arc<Standing>>;

/// Who is connected to a server.
#[pin_data]
pub(crate) struct Roster {
    /// Of the service.
    port: u16,
    node: Arc<Node>,
    datagrams: Arc<Datagrams>,
    /// Sessions begun: their numbers.
    begun: Atomic<u64>,
    /// Of those who type, by uid.
    text_sessions: Pin<KBox<Budget>>,
    #[pin]
    list: Mutex<List>,
    /// Memory to look at the unproven sessions in. Locked after the list.
    #[pin]
    unproven: Mutex<KVVec<(Unproven, usize)>>,
}

impl Roster {
    /// That of the service of `port`; what a node may send by `datagrams` ends with its session. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(
        port: u16,
        node: Arc<Node>,
        datagrams: Arc<Datagrams>,
    ) -> Result<Pin<KBox<Self>>> {
        let text_sessions = Budget::new(params::max_sessions() as u64)?;
        KBox::pin_init(
            pin_init!(Self {
                port,
                node,
                datagrams,
                begun: Atomic::new(0),
                text_sessions,
                list <- linux::new_mutex!(KVVec::new(), "virgo_roster"),
                unproven <- linux::new_mutex!(KVVec::new(), "virgo_unproven"),
            }),
            GFP_KERNEL,
        )
    }

    /// How many there are. May sleep.
    pub(crate) fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// The standing of a session that begins on `stream`, and that the work of `reaper` drops. A session that is not
    /// proven may have to make room for it. Only one task does at a time. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENOTCONN`] if the peer is gone; [`EUSERS`] if too many sessions have ended whose
    /// work is still busy.
    pub(crate) fn enroll(&self, stream: Arc<Stream>, reaper: WorkHandle) -> Result<Arc<Standing>> {
        let number = self.begun.fetch_add(1, Relaxed) + 1;
        let datagrams = self.datagrams.clone();
        let standing = Standing::new(self.port, number, stream, datagrams, reaper)?;
        let config = self.node.config();
        let mut list = self.list.lock();
        self.make_room(&mut list, standing.from, &config)?;
        // There is room.
        let _ = list.push_within_capacity(standing.clone());
        drop(list);
        Ok(standing)
    }

    /// Takes `standing` out, if it is still there. May sleep.
    pub(crate) fn remove(&self, standing: &Standing) {
        let mut list = self.list.lock();
        if let Ok(at) = list.binary_search_by_key(&standing.number, |session| session.number) {
            // Whoever calls this has it, too, so this is not its end.
            let _ = list.remove(at);
        }
    }

    /// Makes room for one more session, from `from`.
    fn make_room(&self, list: &mut List, from: Ipv4Addr, config: &Config) -> Result {
        // Those of others, which may wait for a disk, do not keep a node out.
        let is_node = config.nodes.number(from).is_some();
        let counts =
            |session: &&Arc<Standing>| session.is_over() && (!is_node || session.from == from);
        if list.iter().filter(counts).count() >= params::max_sessions() {
            return Err(EUSERS);
        }
        list.reserve(1, GFP_KERNEL)?;
        if let Some(session) = self.gives_way(list, from, config)? {
            session.give_way();
        }
        Ok(())
    }

    /// Which of `list` makes room for a session from `from`, if there is too little.
    fn gives_way<'a>(
        &self,
        list: &'a List,
        from: Ipv4Addr,
        config: &Config,
    ) -> Result<Option<&'a Standing>> {
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
        for (at, session) in list.iter().enumerate() {
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
        Ok(at.and_then(|at| list.get(at)).map(|session| &**session))
    }

    /// The peer of `session` has proven that it is `party`. May sleep.
    ///
    /// # Errors
    ///
    /// Why that is not enough: there are too many sessions, or another configuration has come.
    pub(crate) fn welcome(&self, session: &Standing, party: Party) -> Result<(), Failure> {
        let charge = match party.identity {
            Identity::Node(_) => None,
            Identity::Text(uid) => Some(self.charge(uid)?),
        };
        session.prove(party, charge, &self.node)?;
        if let Identity::Node(node) = party.identity {
            self.limit_node(node);
        }
        Ok(())
    }

    /// A place among the sessions of this user.
    fn charge(&self, uid: u32) -> Result<Charge, Failure> {
        self.text_sessions.charge(uid, 1).map_err(|e| match e {
            EDQUOT => Failure::new(
                Errno::EDQUOT,
                "too many sessions of this user; one has user_share percent of max_sessions \
                 (parameters of virgo_utils)",
            ),
            _ => Failure::new(
                Errno::EUSERS,
                "too many sessions; max_sessions is a parameter of virgo_utils",
            ),
        })
    }

    /// Ends the oldest sessions of `node` if it has too many.
    fn limit_node(&self, node: NodeId) {
        let list = self.list.lock();
        let own = list.iter().filter(|s| s.is(Identity::Node(node)));
        let too_many = own.clone().count().saturating_sub(NODE_SESSIONS);
        for session in own.take(too_many) {
            session.end();
        }
    }

    /// Ends the sessions that `config` would not let in. May sleep.
    pub(crate) fn revoke(&self, config: &Config) {
        for session in &*self.list.lock() {
            if !session.is_admitted_by(config) {
                session.end();
            }
        }
    }

    /// Ends session `number`, if it is one of those that are `wanted`; false if it is none. May sleep.
    pub(crate) fn end(&self, number: u64, wanted: impl Fn(&Standing) -> bool) -> bool {
        let list = self.list.lock();
        let session = list.iter().find(|s| s.number == number && wanted(s));
        if let Some(session) = session {
            session.end();
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
        mut see: impl FnMut(&Standing) -> Result<(), E>,
    ) -> Result<(), E> {
        let list = self.list.lock();
        let mut present = list.iter().filter(|session| !session.is_over());
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
