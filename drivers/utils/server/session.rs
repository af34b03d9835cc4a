// SPDX-License-Identifier: GPL-2.0

//! A session: one connection to a service, from its first byte to its end.
//!
//! The session's work is the only one to touch its state, and the only one to read and write the
//! socket. What others know of it, and how they end it, is its [`Standing`](super::standing::Standing). Dropping a
//! session waits for its work, which may wait for a disk or a call; [`Sessions`](super::sessions::Sessions) do that.

use crate::{
    input::Input,
    params,
    server::{
        enrolled::Enrolled,
        frames::Frames,
        handshake::Handshake,
        hub::Hub,
        next::Next,
        output::SessionOutput,
        text::Text, //
    },
    service::Service, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        Mutex, //
    }, //
};
use linux::{
    net::{
        SocketHandler,
        Stream,
        WatchedSocket, //
    },
    work::{
        Task,
        WorkHandle, //
    }, //
};
use virgo_proto::frame;

/// Rounds of receiving, working and sending before other sessions get their turn.
const BUDGET: usize = 16;

/// Bytes of reply that may wait; a peer that does not read its replies is not served further.
const MAX_OUTPUT: usize = 128 * 1024;

/// What kind of peer this is and how far it has come.
pub(crate) enum SessionPhase {
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
    /// It is over, and has given back what it had of its user.
    Over,
}

struct State {
    mode: SessionPhase,
    input: Input,
    output: SessionOutput,
    /// The peer has nothing more to say.
    ended: bool,
    /// The peer does not read its replies.
    stalled: bool,
    next: Next,
}

/// One session. See [`SocketHandler`] for how it runs.
pub(crate) struct ServerSession<S: Service> {
    enrolled: Enrolled<S>,
    state: Pin<KBox<Locked>>,
}

#[pin_data]
struct Locked {
    #[pin]
    lock: Mutex<State>,
}

impl Locked {
    /// Not in the generic code round it, so that all services share the lock's class.
    fn new() -> impl PinInit<Self> {
        let state = State {
            mode: SessionPhase::Fresh,
            input: Input::new(),
            output: SessionOutput::new(),
            ended: false,
            stalled: false,
            next: Next::Work,
        };
        pin_init!(Self {
            lock <- linux::new_mutex!(state, "virgo_session_state"),
        })
    }
}

impl<S: Service> Deref for ServerSession<S> {
    type Target = Enrolled<S>;

    fn deref(&self) -> &Enrolled<S> {
        &self.enrolled
    }
}

impl<S: Service> ServerSession<S> {
    /// A session that begins on `stream`, and that the work of `reaper` drops. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], and those of [`Enrolled::new`].
    pub(crate) fn new(hub: Arc<Hub<S>>, stream: Arc<Stream>, reaper: WorkHandle) -> Result<Self> {
        let state = KBox::pin_init(Locked::new(), GFP_KERNEL)?;
        Ok(ServerSession {
            enrolled: Enrolled::new(hub, stream, reaper)?,
            state,
        })
    }

    /// Whether it can be dropped without waiting: it is ended, its work is not at it, and what it had of its
    /// user is given back.
    pub(crate) fn is_idle(&self) -> bool {
        let has_nothing = |phase: &SessionPhase| {
            !matches!(phase, SessionPhase::Text(_) | SessionPhase::Frames(_))
        };
        let state = self.state.lock.try_lock();
        self.is_over() && state.is_some_and(|state| has_nothing(&state.mode))
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
                if !state.send(self, stream)? {
                    state.stalled = true;
                    self.set_stalled(true);
                    return Ok(Progress::Waiting);
                }
                if core::mem::take(&mut state.stalled) {
                    self.set_stalled(false);
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
                    state.mode = SessionPhase::Draining;
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
                SessionPhase::Fresh => match input.bytes().first() {
                    None => return Ok(Next::Receive(params::UNAUTHENTICATED_INPUT)),
                    Some(&byte) if byte == frame::MAGIC[0] => {
                        *mode = SessionPhase::Handshake(Handshake::new());
                    }
                    Some(_) => *mode = SessionPhase::Text(Text::new(watch.handle()?)),
                },
                SessionPhase::Text(text) => {
                    return self.while_it_lasts(|| text.work(self, input, &mut output.bytes))?
                }
                SessionPhase::Handshake(handshake) => {
                    match handshake.work(self, input, &mut output.bytes)? {
                        Ok(incarnation) => {
                            input.is_public();
                            *mode = SessionPhase::Frames(Frames::new(incarnation, watch.handle()?));
                        }
                        Err(next) => return Ok(next),
                    }
                }
                SessionPhase::Frames(frames) => return frames.work(self, input, output),
                SessionPhase::Draining | SessionPhase::Over => {
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
            SessionPhase::Text(text) => text.feed(&mut self.output.bytes),
            SessionPhase::Frames(frames) => frames.feed(service, &mut self.output.bytes),
            _ => Ok(()),
        }
    }

    /// Sends what waits. False if the network takes no more now.
    fn send<S: Service>(&mut self, session: &Enrolled<S>, stream: &Stream) -> Result<bool> {
        if let (SessionPhase::Text(text), true) = (&self.mode, self.output.is_untouched()) {
            session.while_it_lasts(|| text.settle())??;
        }
        self.output.send(stream)
    }
}

impl<S: Service> SocketHandler for ServerSession<S> {
    type Socket = Arc<Stream>;

    fn socket_ready(watch: &Task<WatchedSocket<Self>>) {
        watch.hub.runs.fetch_add(1, Relaxed);
        let mut state = watch.state.lock.lock();
        let progress = match watch.is_over() {
            true => Ok(Progress::Waiting),
            false => watch.advance(&mut state, watch),
        };
        drop(state);
        match progress {
            Ok(Progress::Waiting) => (),
            Ok(Progress::More) => watch.schedule(),
            // An error is the connection's end; both are logged by who cares for them.
            Ok(Progress::Over) | Err(_) => watch.end(),
        }
        if watch.is_over() {
            // Here and not by the reaper: giving back may wait for tasks of the user, and other sessions do
            // not wait for that.
            watch.state.lock.lock().mode = SessionPhase::Over;
            // It may have found the session busy.
            watch.wake_reaper();
        }
    }
}
