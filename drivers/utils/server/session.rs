// SPDX-License-Identifier: GPL-2.0

//! A session: one connection to a service, from its first byte to its end.
//!
//! The session's work is the only one to touch its state, and the only one to read and write the
//! socket. Whoever wants to end a session marks it and shuts the socket down; the reaper drops
//! it as soon as its work is idle: dropping waits for the work, which may wait for a disk or a call.

use crate::{
    budget::Charge,
    input::Input,
    params,
    reply::Failure,
    server::{
        frames::{
            Frames,
            Handshake, //
        },
        output::Output,
        text::Text,
        Hub, //
    },
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
        Mutex,
        SpinLock, //
    }, //
};
use linux::{
    deadline::{
        now_ms,
        Deadline, //
    },
    net::{
        SocketHandler,
        Stream,
        WatchedSocket, //
    },
    trace::{
        self,
        Event, //
    },
    work::Task, //
};
use virgo_config::{
    Config,
    Identity,
    Party, //
};
use virgo_proto::{
    admission::Stage,
    errno::Errno,
    frame, //
};

/// Rounds of receiving, working and sending before other sessions get their turn.
const BUDGET: usize = 16;

/// Bytes of reply that may wait; a peer that does not read its replies is not served further.
const MAX_OUTPUT: usize = 128 * 1024;

/// Time to prove who one is, in milliseconds.
const AUTHENTICATION_MS: u32 = 5000;

/// Time in which a peer that gets replies has to read something, in milliseconds.
const STALL_MS: u32 = 30_000;

/// Time for the last replies to be read, in milliseconds.
const DRAIN_MS: u32 = 1000;

/// What kind of peer this is and how far it has come.
pub(crate) enum Mode {
    /// Nothing has arrived.
    Fresh,
    /// Text commands.
    Text(Text),
    /// Frames, before the peer has proven who it is.
    Handshake(Handshake),
    /// Frames of a known node.
    Frames(Frames),
    /// No more is served: what arrives is thrown away until the peer has read its replies, since
    /// closing with unread input would take them from it.
    Draining,
}

/// Operations of the tracepoint of sessions: see `drivers/linux/trace.h`.
const BEGUN: u32 = 0;
const PROVEN: u32 = 1;
const ENDED: u32 = 2;

/// What to do after the bytes at hand are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes are needed; those at hand and the missing ones make so many.
    Receive(usize),
    /// There are more requests at hand.
    Work,
    /// There are, but they cannot be carried out yet; the session is woken when they can.
    Blocked,
    /// Send the replies, then end the session.
    Finish,
}

struct State {
    mode: Mode,
    input: Input,
    output: Output,
    /// The peer has nothing more to say.
    ended: bool,
    /// The peer does not read its replies.
    stalled: bool,
    next: Next,
}

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

/// What others than the session's work know of it.
struct Standing {
    /// Who it is, once that is proven.
    party: Option<Party>,
    /// How far it has come, before.
    stage: Stage,
    limit: Limit,
    /// Its place among the sessions of its user.
    charge: Option<Charge>,
}

/// One session. See [`SocketHandler`] for how it runs.
pub(crate) struct Session<S: Service> {
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
    inner: Pin<KBox<Inner>>,
}

#[pin_data]
struct Inner {
    #[pin]
    state: Mutex<State>,
    #[pin]
    standing: SpinLock<Standing>,
}

impl Inner {
    /// Not in the generic code round it, so that all services share the locks' classes.
    fn new() -> impl PinInit<Self> {
        let state = State {
            mode: Mode::Fresh,
            input: Input::new(),
            output: Output::new(),
            ended: false,
            stalled: false,
            next: Next::Work,
        };
        let standing = Standing {
            party: None,
            stage: Stage::New,
            limit: Limit::Until(Deadline::after_ms(AUTHENTICATION_MS)),
            charge: None,
        };
        pin_init!(Self {
            state <- linux::new_mutex!(state, "virgo_session_state"),
            standing <- linux::new_spinlock!(standing, "virgo_session_standing"),
        })
    }
}

impl<S: Service> Session<S> {
    pub(crate) fn new(hub: Arc<Hub<S>>, stream: &Stream) -> Result<Self> {
        let peer = stream.peer()?;
        let inner = KBox::pin_init(Inner::new(), GFP_KERNEL)?;
        let session = Session {
            number: hub.begun.fetch_add(1, Relaxed) + 1,
            hub,
            from: *peer.ip(),
            port: peer.port(),
            began_ms: now_ms(),
            over: Atomic::new(false),
            inner,
        };
        trace::session(|| session.event(BEGUN));
        Ok(session)
    }

    /// What tracepoints say of it at this point of its life.
    fn event(&self, op: u32) -> Event {
        let node = match self.identity() {
            Some(Identity::Node(node)) => node.into(),
            Some(Identity::Text(_)) | None => 0,
        };
        Event {
            node,
            port: S::PORT.into(),
            op,
            id: self.number,
            ..Event::default()
        }
    }

    /// How old it is, in seconds.
    pub(crate) fn age_s(&self) -> u64 {
        now_ms().saturating_sub(self.began_ms) / 1000
    }

    /// Ends it if its time is over. A peer that has read something gets time for more.
    pub(crate) fn end_if_due(&self, stream: &Stream) {
        let mut standing = self.inner.standing.lock();
        let is_due = match &mut standing.limit {
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
        drop(standing);
        if is_due {
            self.end(stream);
        }
    }

    /// Whether it can be dropped without waiting: it is ended, and its work is not at it and will not
    /// be.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_over() && self.inner.state.try_lock().is_some()
    }

    /// Whether time matters to it.
    pub(crate) fn limited(&self) -> bool {
        !matches!(self.inner.standing.lock().limit, Limit::None)
    }

    /// How far it has come, if it has not proven who it is and is not over.
    pub(crate) fn unproven_stage(&self) -> Option<Stage> {
        let standing = self.inner.standing.lock();
        let unproven = standing.party.is_none() && !matches!(standing.limit, Limit::Ended);
        unproven.then_some(standing.stage)
    }

    /// Who it is, once that is proven.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let standing = self.inner.standing.lock();
        standing.party.as_ref().map(|party| party.identity)
    }

    /// Whether it has proven to be this, and is not over.
    pub(crate) fn is(&self, identity: Identity) -> bool {
        self.identity() == Some(identity) && !self.is_over()
    }

    /// Whether `config` would let it in. One that has not proven who it is has been let in by none, and
    /// will be judged by the configuration in force then.
    pub(crate) fn is_admitted_by(&self, config: &Config) -> bool {
        let party = self.inner.standing.lock().party;
        party.is_none_or(|party| config.admits(self.from, &party))
    }

    /// The peer is a node, and has been told how to prove it.
    pub(crate) fn challenged(&self) {
        self.inner.standing.lock().stage = Stage::Challenged;
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
        let mut standing = self.inner.standing.lock();
        if matches!(standing.limit, Limit::Ended) {
            return Err(Errno::ECANCELED.into());
        }
        standing.party = Some(party);
        standing.charge = charge;
        standing.limit = Limit::None;
        drop(standing);
        // A reload ends the sessions that it does not let in. Either it has seen this one, or this one
        // sees what it has brought.
        if !self.is_admitted_by(&self.hub.node.config()) {
            let mut standing = self.inner.standing.lock();
            standing.party = None;
            let charge = standing.charge.take();
            drop(standing);
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
        self.end_if(stream, |standing| standing.party.is_none());
    }

    fn end_if(&self, stream: &Stream, condition: impl FnOnce(&Standing) -> bool) {
        let mut standing = self.inner.standing.lock();
        // Once only: shutting down is news, too.
        if matches!(standing.limit, Limit::Ended) || !condition(&standing) {
            return;
        }
        standing.limit = Limit::Ended;
        drop(standing);
        self.over.store(true, Relaxed);
        trace::session(|| self.event(ENDED));
        stream.shutdown();
        self.hub.schedule_now();
    }

    /// Says whether it is ended, also to those who cannot name the service.
    pub(crate) fn over(&self) -> &Atomic<bool> {
        &self.over
    }

    /// Whether it is ended. Any context.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// The peer does not read its replies, or does so again.
    fn set_stalled(&self, stream: &Stream, stalled: bool) {
        let mut standing = self.inner.standing.lock();
        match (&standing.limit, stalled) {
            (Limit::None, true) => {
                standing.limit = Limit::Stalled {
                    until: Deadline::after_ms(STALL_MS),
                    acked: stream.acked(),
                };
                drop(standing);
                self.hub.schedule_after_ms(params::SWEEP_MS);
            }
            (Limit::Stalled { .. }, false) => standing.limit = Limit::None,
            _ => (),
        }
    }

    /// Nothing more is served. One that has not proven who it is stays what it is, and is the first to
    /// make room.
    fn drain(&self) {
        let mut standing = self.inner.standing.lock();
        let soon = Deadline::after_ms(DRAIN_MS);
        standing.stage = Stage::Refused;
        standing.limit = match standing.limit {
            Limit::Ended => Limit::Ended,
            Limit::Until(deadline) => Limit::Until(deadline.min(soon)),
            Limit::None | Limit::Stalled { .. } => Limit::Until(soon),
        };
        drop(standing);
        self.hub.schedule_after_ms(params::SWEEP_MS);
    }

    /// Does what can be done now.
    ///
    /// # Errors
    ///
    /// What makes the connection useless; memory that is missing does, too.
    fn advance(&self, state: &mut State, watch: &Task<WatchedSocket<Self>>) -> Result<Progress> {
        let stream = &watch.socket;
        for _ in 0..BUDGET {
            if !state.output.is_empty() {
                if !state.send(stream)? {
                    state.stalled = true;
                    self.set_stalled(stream, true);
                    return Ok(Progress::Waiting);
                }
                if core::mem::take(&mut state.stalled) {
                    self.set_stalled(stream, false);
                }
            }
            state.feed(&*self.hub.service)?;
            // What the peer says has its turn, too.
            if !state.output.is_empty() && !stream.is_readable() {
                continue;
            }
            state.next = match state.next {
                Next::Work | Next::Blocked => self.work(state, watch)?,
                Next::Finish => {
                    state.mode = Mode::Draining;
                    stream.finish();
                    self.drain();
                    Next::Work
                }
                Next::Receive(_) if state.ended => return Ok(Progress::Over),
                // Whatever comes after this look runs the work again.
                Next::Receive(_) if !stream.is_readable() => return Ok(Progress::Waiting),
                Next::Receive(size) => match state.input.receive(stream, size)? {
                    None => return Ok(Progress::Waiting),
                    Some(0) => {
                        state.ended = true;
                        continue;
                    }
                    Some(_) => self.work(state, watch)?,
                },
            };
            if state.next == Next::Blocked && state.output.is_empty() {
                return Ok(Progress::Waiting);
            }
        }
        Ok(Progress::More)
    }

    fn work(&self, state: &mut State, watch: &Task<WatchedSocket<Self>>) -> Result<Next> {
        let State {
            mode,
            input,
            output,
            ..
        } = state;
        loop {
            if output.bytes.len() >= MAX_OUTPUT || output.pages.is_some() {
                return Ok(Next::Work);
            }
            match mode {
                Mode::Fresh => match input.bytes().first() {
                    None => return Ok(Next::Receive(params::UNAUTHENTICATED_INPUT)),
                    Some(&byte) if byte == frame::MAGIC[0] => {
                        *mode = Mode::Handshake(Handshake::new());
                    }
                    Some(_) => *mode = Mode::Text(Text::new(watch.handle()?)),
                },
                Mode::Text(text) => return text.work(self, input, &mut output.bytes),
                Mode::Handshake(handshake) => {
                    match handshake.work(self, input, &mut output.bytes)? {
                        Ok(incarnation) => {
                            input.is_public();
                            *mode = Mode::Frames(Frames::new(incarnation, watch.handle()?));
                        }
                        Err(next) => return Ok(next),
                    }
                }
                Mode::Frames(frames) => return frames.work(self, input, output),
                Mode::Draining => {
                    let n = input.bytes().len();
                    input.consume(n);
                    return Ok(Next::Receive(params::UNAUTHENTICATED_INPUT));
                }
            }
        }
    }
}

/// How far a session has come in one go.
enum Progress {
    /// News will tell when it goes on.
    Waiting,
    /// It could go on, but others want their turn.
    More,
    /// The peer has said all and got all.
    Over,
}

impl State {
    /// If there is nothing else to do, takes what comes without being asked for.
    fn feed<S: Service>(&mut self, service: &S) -> Result {
        if !self.output.is_empty() || !matches!(self.next, Next::Receive(_)) {
            return Ok(());
        }
        match &self.mode {
            Mode::Text(text) => text.feed(&mut self.output.bytes),
            Mode::Frames(frames) => frames.feed(service, &mut self.output.bytes),
            _ => Ok(()),
        }
    }

    /// Sends what waits. False if the network takes no more now.
    fn send(&mut self, stream: &Stream) -> Result<bool> {
        if let (Mode::Text(text), true) = (&self.mode, self.output.is_untouched()) {
            text.settle()?;
        }
        self.output.send(stream)
    }
}

impl<S: Service> SocketHandler for Session<S> {
    type Socket = Stream;

    fn socket_ready(watch: &Task<WatchedSocket<Self>>) {
        watch.hub.runs.fetch_add(1, Relaxed);
        if watch.is_over() {
            return;
        }
        let mut state = watch.inner.state.lock();
        // Once more: the reaper takes a session whose state is not locked for idle.
        if watch.is_over() {
            return;
        }
        let progress = watch.advance(&mut state, watch);
        drop(state);
        match progress {
            Ok(Progress::Waiting) => (),
            Ok(Progress::More) => watch.schedule(),
            // An error is the connection's end; both are logged by who cares for them.
            Ok(Progress::Over) | Err(_) => watch.end(&watch.socket),
        }
        if watch.is_over() {
            // It may have been ended meanwhile, and the reaper have found it busy.
            watch.hub.schedule_now();
        }
    }
}
