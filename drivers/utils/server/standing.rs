// SPDX-License-Identifier: GPL-2.0

//! What is known of a session: where its peer is, how far it has come in proving who it is, and by when it
//! has to do what. The session's own work changes it, and whoever may end the session.
//!
//! Whoever wants to end a session marks it here, which shuts its socket down and wakes the reaper; that drops
//! the session as soon as its work is idle.
//!
//! # Lifetime
//!
//! The session has it, and the roster for as long as the session exists. It refers to the reaper by a handle
//! only, which does nothing once the reaper is stopped: no session keeps those who are to drop it.
//!
//! # Locking
//!
//! A spinlock for what changes, under which nothing else is locked. [`Standing::end`] may sleep; it is called with
//! the roster locked or not, and locks the node's datagrams and the socket.

use crate::{
    budget::Charge,
    params,
    reply::Failure,
    server::datagrams::Datagrams, //
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
    },
    work::WorkHandle, //
};
use virgo_config::{
    Config,
    Identity,
    Node,
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
#[pin_data]
pub(crate) struct Standing {
    /// Its number.
    pub(crate) number: u64,
    /// Where the peer is.
    pub(crate) from: Ipv4Addr,
    /// And its port.
    pub(crate) port: u16,
    /// Port of the service.
    service_port: u16,
    /// When it began.
    began_ms: u64,
    stream: Arc<Stream>,
    /// A node's end with its session.
    datagrams: Arc<Datagrams>,
    /// Runs the reaper.
    reaper: WorkHandle,
    /// It is ended: nothing that has arrived is carried out any more. Follows [`Limit::Ended`], for
    /// those who look often.
    over: Atomic<bool>,
    #[pin]
    admission: SpinLock<Admission>,
    /// What its work waits for.
    #[pin]
    waits: Killable,
}

impl Standing {
    /// That of session `number`, which begins on `stream` at the service of port `service_port`. `reaper` runs
    /// the work that drops it. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENOTCONN`] if the peer is gone.
    pub(crate) fn new(
        service_port: u16,
        number: u64,
        stream: Arc<Stream>,
        datagrams: Arc<Datagrams>,
        reaper: WorkHandle,
    ) -> Result<Arc<Self>> {
        let peer = stream.peer()?;
        let admission = Admission {
            party: None,
            stage: AdmissionStage::New,
            limit: Limit::Until(Deadline::after_ms(AUTHENTICATION_MS)),
            charge: None,
        };
        let standing = Arc::pin_init(
            pin_init!(Self {
                number,
                from: *peer.ip(),
                port: peer.port(),
                service_port,
                began_ms: now_ms(),
                stream,
                datagrams,
                reaper,
                over: Atomic::new(false),
                admission <- linux::new_spinlock!(admission, "virgo_session_standing"),
                waits <- Killable::new(),
            }),
            GFP_KERNEL,
        )?;
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
            port: self.service_port.into(),
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
    pub(crate) fn end_if_due(&self) {
        let mut admission = self.admission.lock();
        let is_due = match &mut admission.limit {
            Limit::None | Limit::Ended => false,
            Limit::Until(deadline) => deadline.passed(),
            Limit::Stalled { until, acked } => {
                let now = self.stream.acked();
                if core::mem::replace(acked, now) != now {
                    *until = Deadline::after_ms(STALL_MS);
                }
                until.passed()
            }
        };
        drop(admission);
        if is_due {
            self.end();
        }
    }

    /// Whether time matters to it.
    pub(crate) fn limited(&self) -> bool {
        !matches!(self.admission.lock().limit, Limit::None)
    }

    /// How far it has come, if it has not proven who it is and is not over.
    pub(crate) fn unproven_stage(&self) -> Option<AdmissionStage> {
        let admission = self.admission.lock();
        let unproven = admission.party.is_none() && !matches!(admission.limit, Limit::Ended);
        unproven.then_some(admission.stage)
    }

    /// Who it is, once that is proven.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let admission = self.admission.lock();
        admission.party.as_ref().map(|party| party.identity)
    }

    /// Whether it has proven to be this, and is not over.
    pub(crate) fn is(&self, identity: Identity) -> bool {
        self.identity() == Some(identity) && !self.is_over()
    }

    /// Whether `config` would let it in. One that has not proven who it is has been let in by none, and
    /// will be judged by the configuration in force then.
    pub(crate) fn is_admitted_by(&self, config: &Config) -> bool {
        let party = self.admission.lock().party;
        party.is_none_or(|party| config.admits(self.from, &party))
    }

    /// The peer is a node, and has been told how to prove it.
    pub(crate) fn challenged(&self) {
        self.admission.lock().stage = AdmissionStage::Challenged;
    }

    /// The peer has proven that it is `party`, whose place among the sessions of its user is `charge`.
    ///
    /// # Errors
    ///
    /// Why that is not enough: it is over, or another configuration has come to `node`.
    pub(crate) fn prove(
        &self,
        party: Party,
        charge: Option<Charge>,
        node: &Node,
    ) -> Result<(), Failure> {
        let mut admission = self.admission.lock();
        if matches!(admission.limit, Limit::Ended) {
            return Err(Errno::ECANCELED.into());
        }
        admission.party = Some(party);
        admission.charge = charge;
        admission.limit = Limit::None;
        drop(admission);
        // A reload ends the sessions of the roster that it does not let in. Either it has seen this one, which
        // is there, with its party, or this one sees what it has brought.
        if !self.is_admitted_by(&node.config()) {
            let mut admission = self.admission.lock();
            admission.party = None;
            let charge = admission.charge.take();
            drop(admission);
            drop(charge);
            return Err(Errno::EKEYREJECTED.into());
        }
        trace::session(|| self.event(PROVEN));
        Ok(())
    }

    /// Ends it, whatever it is doing. May sleep.
    pub(crate) fn end(&self) {
        self.end_if(|_| true);
    }

    /// Ends it, unless it has proven who it is meanwhile. May sleep.
    pub(crate) fn give_way(&self) {
        self.end_if(|admission| admission.party.is_none());
    }

    fn end_if(&self, condition: impl FnOnce(&Admission) -> bool) {
        let mut admission = self.admission.lock();
        // Once only: shutting down is news, too.
        if matches!(admission.limit, Limit::Ended) || !condition(&admission) {
            return;
        }
        admission.limit = Limit::Ended;
        drop(admission);
        self.over.store(true, Relaxed);
        self.waits.kill();
        if let Some(Identity::Node(node)) = self.identity() {
            self.datagrams.end(node, self.number);
        }
        trace::session(|| self.event(ENDED));
        self.stream.shutdown();
        self.wake_reaper();
    }

    /// Has the reaper look: the session is over, and its work may be idle now. Any context.
    pub(crate) fn wake_reaper(&self) {
        self.reaper.wake_now();
    }

    /// Does what may wait, for as long as it is not ended: killable waits end then. In the session's work.
    ///
    /// # Errors
    ///
    /// [`ECANCELED`] if it is ended.
    pub(crate) fn while_it_lasts<T>(&self, f: impl FnOnce() -> T) -> Result<T> {
        self.waits.run(f).ok_or(ECANCELED)
    }

    /// Whether it is ended. Any context.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// The peer does not read its replies, or does so again.
    pub(super) fn set_stalled(&self, stalled: bool) {
        let mut admission = self.admission.lock();
        match (&admission.limit, stalled) {
            (Limit::None, true) => {
                admission.limit = Limit::Stalled {
                    until: Deadline::after_ms(STALL_MS),
                    acked: self.stream.acked(),
                };
                drop(admission);
                self.reaper.wake_after_ms(params::SWEEP_MS);
            }
            (Limit::Stalled { .. }, false) => admission.limit = Limit::None,
            _ => (),
        }
    }

    /// Nothing more is served. One that has not proven who it is stays what it is, and is the first to
    /// make room.
    pub(super) fn drain(&self) {
        let mut admission = self.admission.lock();
        let soon = Deadline::after_ms(DRAIN_MS);
        admission.stage = AdmissionStage::Refused;
        admission.limit = match admission.limit {
            Limit::Ended => Limit::Ended,
            Limit::Until(deadline) => Limit::Until(deadline.min(soon)),
            Limit::None | Limit::Stalled { .. } => Limit::Until(soon),
        };
        drop(admission);
        self.reaper.wake_after_ms(params::SWEEP_MS);
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
    pub(crate) fn of(session: &Standing) -> Self {
        let (kind, who) = match session.identity() {
            Some(Identity::Text(uid)) => ("text", Some(uid)),
            Some(Identity::Node(node)) => ("node", Some(node.into())),
            None => ("unproven", None),
        };
        Ident { kind, who }
    }
}
