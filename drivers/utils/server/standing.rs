// SPDX-License-Identifier: GPL-2.0

//! What is known of a session: where its peer is, how far it has come in proving who it is, and by when it
//! has to do what. The session's own work changes it, and whoever may end the session.
//!
//! Whoever wants to end a session marks it here and shuts its socket down; the reaper drops it as soon as
//! its work is idle.

use crate::{
    budget::Charge,
    params,
    reply::Failure,
    server::Hub,
    service::Service, //
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
        SpinLock, //
    }, //
};
use linux::{
    deadline::{
        now_ms,
        Deadline, //
    },
    killable::Killable,
    net::Stream,
    trace::{
        self,
        TraceEvent, //
    }, //
};
use virgo_config::{
    Config,
    Identity,
    Party, //
};
use virgo_proto::{
    admission::AdmissionStage,
    errno::Errno, //
};

/// Time to prove who one is, in milliseconds.
const AUTHENTICATION_MS: u32 = 5000;

/// Time in which a peer that gets replies has to read something, in milliseconds.
const STALL_MS: u32 = 30_000;

/// Time for the last replies to be read, in milliseconds.
const DRAIN_MS: u32 = 1000;

/// Operations of the tracepoint of sessions: see `drivers/linux/trace.h`.
const BEGUN: u32 = 0;
const PROVEN: u32 = 1;
const ENDED: u32 = 2;

/// When the reaper has to look at the session.
enum Limit {
    None,
    /// The peer has to prove who it is, or to read its last replies.
    Until(Deadline),
    /// The peer has to read some of its replies.
    Stalled {
        until: Deadline,
        /// What it had read at the last look.
        acked: u64,
    },
    /// It is over.
    Ended,
}

/// What changes. Under a spinlock: any context.
struct Admission {
    /// Who it is, once that is proven.
    party: Option<Party>,
    /// How far it has come, before.
    stage: AdmissionStage,
    limit: Limit,
    /// Its place among the sessions of its user.
    charge: Option<Charge>,
}

/// What is known of one session.
pub(crate) struct Standing<S: Service> {
    pub(crate) hub: Arc<Hub<S>>,
    /// Its number.
    pub(crate) number: u64,
    /// Where the peer is.
    pub(crate) from: Ipv4Addr,
    /// And its port.
    pub(crate) port: u16,
    /// When it began.
    began_ms: u64,
    /// It is ended: nothing that has arrived is carried out any more. Follows [`Limit::Ended`], for
    /// those who look often.
    over: Atomic<bool>,
    admission: Pin<KBox<Locked>>,
}

#[pin_data]
struct Locked {
    #[pin]
    lock: SpinLock<Admission>,
    /// What its work waits for.
    #[pin]
    waits: Killable,
}

impl Locked {
    /// Not in the generic code round it, so that all services share the lock's class.
    fn new() -> impl PinInit<Self> {
        let admission = Admission {
            party: None,
            stage: AdmissionStage::New,
            limit: Limit::Until(Deadline::after_ms(AUTHENTICATION_MS)),
            charge: None,
        };
        pin_init!(Self {
            lock <- linux::new_spinlock!(admission, "virgo_session_standing"),
            waits <- Killable::new(),
        })
    }
}

impl<S: Service> Standing<S> {
    /// That of a session which begins on `stream`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENOTCONN`] if the peer is gone.
    pub(crate) fn new(hub: Arc<Hub<S>>, stream: &Stream) -> Result<Self> {
        let peer = stream.peer()?;
        let admission = KBox::pin_init(Locked::new(), GFP_KERNEL)?;
        let standing = Standing {
            number: hub.begun.fetch_add(1, Relaxed) + 1,
            hub,
            from: *peer.ip(),
            port: peer.port(),
            began_ms: now_ms(),
            over: Atomic::new(false),
            admission,
        };
        trace::session(|| standing.event(BEGUN));
        Ok(standing)
    }

    /// What tracepoints say of it at this point of its life.
    fn event(&self, op: u32) -> TraceEvent {
        let node = match self.identity() {
            Some(Identity::Node(node)) => node.into(),
            Some(Identity::Text(_)) | None => 0,
        };
        TraceEvent {
            node,
            port: S::PORT.into(),
            op,
            id: self.number,
            ..TraceEvent::default()
        }
    }

    /// How old it is, in seconds.
    pub(crate) fn age_s(&self) -> u64 {
        now_ms().saturating_sub(self.began_ms) / 1000
    }

    /// Ends it if its time is over. A peer that has read something gets time for more.
    pub(crate) fn end_if_due(&self, stream: &Stream) {
        let mut admission = self.admission.lock.lock();
        let is_due = match &mut admission.limit {
            Limit::None | Limit::Ended => false,
            Limit::Until(deadline) => deadline.passed(),
            Limit::Stalled { until, acked } => {
                let now = stream.acked();
                if core::mem::replace(acked, now) != now {
                    *until = Deadline::after_ms(STALL_MS);
                }
                until.passed()
            }
        };
        drop(admission);
        if is_due {
            self.end(stream);
        }
    }

    /// Whether time matters to it.
    pub(crate) fn limited(&self) -> bool {
        !matches!(self.admission.lock.lock().limit, Limit::None)
    }

    /// How far it has come, if it has not proven who it is and is not over.
    pub(crate) fn unproven_stage(&self) -> Option<AdmissionStage> {
        let admission = self.admission.lock.lock();
        let unproven = admission.party.is_none() && !matches!(admission.limit, Limit::Ended);
        unproven.then_some(admission.stage)
    }

    /// Who it is, once that is proven.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let admission = self.admission.lock.lock();
        admission.party.as_ref().map(|party| party.identity)
    }

    /// Whether it has proven to be this, and is not over.
    pub(crate) fn is(&self, identity: Identity) -> bool {
        self.identity() == Some(identity) && !self.is_over()
    }

    /// Whether `config` would let it in. One that has not proven who it is has been let in by none, and
    /// will be judged by the configuration in force then.
    pub(crate) fn is_admitted_by(&self, config: &Config) -> bool {
        let party = self.admission.lock.lock().party;
        party.is_none_or(|party| config.admits(self.from, &party))
    }

    /// The peer is a node, and has been told how to prove it.
    pub(crate) fn challenged(&self) {
        self.admission.lock.lock().stage = AdmissionStage::Challenged;
    }

    /// The peer has proven that it is `party`. May sleep.
    ///
    /// # Errors
    ///
    /// Why that is not enough: there are too many sessions, or another configuration has come.
    pub(crate) fn welcome(&self, party: Party) -> Result<(), Failure> {
        let charge = match party.identity {
            Identity::Node(_) => None,
            Identity::Text(uid) => Some(self.charge(uid)?),
        };
        let mut admission = self.admission.lock.lock();
        if matches!(admission.limit, Limit::Ended) {
            return Err(Errno::ECANCELED.into());
        }
        admission.party = Some(party);
        admission.charge = charge;
        admission.limit = Limit::None;
        drop(admission);
        // A reload ends the sessions that it does not let in. Either it has seen this one, or this one
        // sees what it has brought.
        if !self.is_admitted_by(&self.hub.node.config()) {
            let mut admission = self.admission.lock.lock();
            admission.party = None;
            let charge = admission.charge.take();
            drop(admission);
            drop(charge);
            return Err(Errno::EKEYREJECTED.into());
        }
        trace::session(|| self.event(PROVEN));
        if let Identity::Node(node) = party.identity {
            self.hub.sessions.limit_node(node);
        }
        Ok(())
    }

    /// A place among the sessions of this user.
    fn charge(&self, uid: u32) -> Result<Charge, Failure> {
        self.hub.text_sessions.charge(uid, 1).map_err(|e| match e {
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

    /// Ends it, whatever it is doing.
    pub(crate) fn end(&self, stream: &Stream) {
        self.end_if(stream, |_| true);
    }

    /// Ends it, unless it has proven who it is meanwhile.
    pub(crate) fn give_way(&self, stream: &Stream) {
        self.end_if(stream, |admission| admission.party.is_none());
    }

    fn end_if(&self, stream: &Stream, condition: impl FnOnce(&Admission) -> bool) {
        let mut admission = self.admission.lock.lock();
        // Once only: shutting down is news, too.
        if matches!(admission.limit, Limit::Ended) || !condition(&admission) {
            return;
        }
        admission.limit = Limit::Ended;
        drop(admission);
        self.over.store(true, Relaxed);
        self.admission.waits.kill();
        if let Some(Identity::Node(node)) = self.identity() {
            self.hub.datagrams.end(node, self.number);
        }
        trace::session(|| self.event(ENDED));
        stream.shutdown();
        self.hub.schedule_now();
    }

    /// Does what may wait, for as long as it is not ended: killable waits end then. In the session's work.
    ///
    /// # Errors
    ///
    /// [`ECANCELED`] if it is ended.
    pub(crate) fn while_it_lasts<T>(&self, f: impl FnOnce() -> T) -> Result<T> {
        self.admission.waits.run(f).ok_or(ECANCELED)
    }

    /// Whether it is ended. Any context.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// The peer does not read its replies, or does so again.
    pub(super) fn set_stalled(&self, stream: &Stream, stalled: bool) {
        let mut admission = self.admission.lock.lock();
        match (&admission.limit, stalled) {
            (Limit::None, true) => {
                admission.limit = Limit::Stalled {
                    until: Deadline::after_ms(STALL_MS),
                    acked: stream.acked(),
                };
                drop(admission);
                self.hub.schedule_after_ms(params::SWEEP_MS);
            }
            (Limit::Stalled { .. }, false) => admission.limit = Limit::None,
            _ => (),
        }
    }

    /// Nothing more is served. One that has not proven who it is stays what it is, and is the first to
    /// make room.
    pub(super) fn drain(&self) {
        let mut admission = self.admission.lock.lock();
        let soon = Deadline::after_ms(DRAIN_MS);
        admission.stage = AdmissionStage::Refused;
        admission.limit = match admission.limit {
            Limit::Ended => Limit::Ended,
            Limit::Until(deadline) => Limit::Until(deadline.min(soon)),
            Limit::None | Limit::Stalled { .. } => Limit::Until(soon),
        };
        drop(admission);
        self.hub.schedule_after_ms(params::SWEEP_MS);
    }
}

/// How a session is shown.
pub(crate) struct Ident {
    /// `text`, `node`, or `unproven`.
    pub(crate) kind: &'static str,
    /// A uid, or a node's number.
    pub(crate) who: Option<u32>,
}

impl Ident {
    pub(crate) fn of<S: Service>(session: &Standing<S>) -> Self {
        let (kind, who) = match session.identity() {
            Some(Identity::Text(uid)) => ("text", Some(uid)),
            Some(Identity::Node(node)) => ("node", Some(node.into())),
            None => ("unproven", None),
        };
        Ident { kind, who }
    }
}
