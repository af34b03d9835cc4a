// SPDX-License-Identifier: GPL-2.0

//! A session: one connection to a service, from its first byte to its end.
//!
//! The session's work is the only one to touch its state, and the only one to read and write the
//! socket. Whoever wants to end a session marks it and shuts the socket down; the janitor drops
//! it.

use crate::{
    frames::{
        Frames,
        Handshake, //
    },
    input::Input,
    limits,
    output::Output,
    server::Hub,
    service::Service,
    text::Text, //
};
use core::net::Ipv4Addr;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        Mutex,
        SpinLock, //
    }, //
};
use linux::{
    deadline::Deadline,
    net::{
        Stream,
        Watch,
        Watcher, //
    },
    work::Task, //
};
use virgo_proto::frame;

/// Rounds of receiving, working and sending before other sessions get their turn.
const BUDGET: usize = 16;

/// Bytes of reply that may wait; a peer that does not read its replies is not served further.
const MAX_OUTPUT: usize = 128 * 1024;

/// Time to prove who one is, in milliseconds.
const STRANGER_MS: u32 = 5000;

/// Time in which a peer that gets replies has to read some of them, in milliseconds.
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

/// What to do after the bytes at hand are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes are needed; those at hand and the missing ones make so many.
    Receive(usize),
    /// There are more requests at hand.
    Work,
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

/// When the janitor has to look at the session.
enum Limit {
    None,
    /// The peer has to prove who it is.
    Stranger(Deadline),
    /// The peer has to read its replies.
    Stalled(Deadline),
    /// It is over.
    Ended,
}

/// One session. See [`Watcher`] for how it runs.
pub(crate) struct Session<S: Service> {
    pub(crate) hub: Arc<Hub<S>>,
    /// Where the peer is.
    pub(crate) from: Ipv4Addr,
    inner: Pin<KBox<Inner>>,
}

#[pin_data]
struct Inner {
    #[pin]
    state: Mutex<State>,
    #[pin]
    limit: SpinLock<Limit>,
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
        let deadline = Deadline::after_ms(STRANGER_MS);
        pin_init!(Self {
            state <- linux::new_mutex!(state, "virgo_session_state"),
            limit <- linux::new_spinlock!(Limit::Stranger(deadline), "virgo_session_limit"),
        })
    }
}

impl<S: Service> Session<S> {
    pub(crate) fn new(hub: Arc<Hub<S>>, stream: &Stream) -> Result<Self> {
        let from = *stream.peer()?.ip();
        let inner = KBox::pin_init(Inner::new(), GFP_KERNEL)?;
        Ok(Session { hub, from, inner })
    }

    /// Whether it can be dropped now.
    pub(crate) fn expired(&self) -> bool {
        match &*self.inner.limit.lock() {
            Limit::None => false,
            Limit::Stranger(deadline) | Limit::Stalled(deadline) => deadline.passed(),
            Limit::Ended => true,
        }
    }

    /// Whether time matters to it.
    pub(crate) fn limited(&self) -> bool {
        !matches!(*self.inner.limit.lock(), Limit::None)
    }

    /// Whether it has not proven who it is.
    pub(crate) fn is_stranger(&self) -> bool {
        matches!(*self.inner.limit.lock(), Limit::Stranger(_))
    }

    /// The peer has proven who it is.
    pub(crate) fn welcome(&self) {
        let mut limit = self.inner.limit.lock();
        if let Limit::Stranger(_) = *limit {
            *limit = Limit::None;
        }
    }

    /// Ends it, whatever it is doing.
    pub(crate) fn end(&self, stream: &Stream) {
        let old = core::mem::replace(&mut *self.inner.limit.lock(), Limit::Ended);
        // Once only: shutting down is news, too.
        if !matches!(old, Limit::Ended) {
            stream.shutdown();
            self.hub.schedule_now();
        }
    }

    fn is_over(&self) -> bool {
        matches!(*self.inner.limit.lock(), Limit::Ended)
    }

    /// Sets or lifts the time limit of a session that is neither new nor over.
    fn limit(&self, ms: Option<u32>) {
        let mut limit = self.inner.limit.lock();
        match (&*limit, ms) {
            (Limit::None, Some(ms)) => {
                *limit = Limit::Stalled(Deadline::after_ms(ms));
                drop(limit);
                self.hub.schedule_after_ms(limits::SWEEP_MS);
            }
            (Limit::Stalled(_), None) => *limit = Limit::None,
            _ => (),
        }
    }

    /// Does what can be done now.
    ///
    /// # Errors
    ///
    /// What makes the connection useless; memory that is missing does, too.
    fn advance(&self, state: &mut State, watch: &Task<Watch<Self>>) -> Result<Progress> {
        let stream = &watch.socket;
        for _ in 0..BUDGET {
            if !state.output.is_empty() {
                if !state.send(stream)? {
                    state.stalled = true;
                    self.limit(Some(STALL_MS));
                    return Ok(Progress::Waiting);
                }
                if core::mem::take(&mut state.stalled) {
                    self.limit(None);
                }
            }
            state.feed()?;
            // What the peer says has its turn, too.
            if !state.output.is_empty() && !stream.is_readable() {
                continue;
            }
            state.next = match state.next {
                Next::Work => self.work(state, watch)?,
                Next::Finish => {
                    state.mode = Mode::Draining;
                    stream.finish();
                    self.welcome();
                    self.limit(Some(DRAIN_MS));
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
        }
        Ok(Progress::More)
    }

    fn work(&self, state: &mut State, watch: &Task<Watch<Self>>) -> Result<Next> {
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
                    None => return Ok(Next::Receive(limits::STRANGER_INPUT)),
                    Some(&byte) if byte == frame::MAGIC[0] => {
                        *mode = Mode::Handshake(Handshake::new());
                    }
                    Some(_) => *mode = Mode::Text(Text::new(watch.waker()?)),
                },
                Mode::Text(text) => return text.work(self, input, &mut output.bytes),
                Mode::Handshake(handshake) => {
                    match handshake.work(self, input, &mut output.bytes)? {
                        Ok(life) => {
                            self.welcome();
                            *mode = Mode::Frames(Frames::new(life, watch.waker()?));
                        }
                        Err(next) => return Ok(next),
                    }
                }
                Mode::Frames(frames) => return frames.work(self, input, output),
                Mode::Draining => {
                    let n = input.bytes().len();
                    input.consume(n);
                    return Ok(Next::Receive(limits::STRANGER_INPUT));
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
    fn feed(&mut self) -> Result {
        if !self.output.is_empty() || !matches!(self.next, Next::Receive(_)) {
            return Ok(());
        }
        match &self.mode {
            Mode::Text(text) => text.feed(&mut self.output.bytes),
            Mode::Frames(frames) => frames.feed(&mut self.output.bytes),
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

impl<S: Service> Watcher for Session<S> {
    type Socket = Stream;

    fn news(watch: &Task<Watch<Self>>) {
        watch.hub.runs.fetch_add(1, Relaxed);
        if watch.is_over() {
            return;
        }
        let mut state = watch.inner.state.lock();
        match watch.advance(&mut state, watch) {
            Ok(Progress::Waiting) => (),
            Ok(Progress::More) => watch.schedule(),
            // An error is the connection's end; both are logged by who cares for them.
            Ok(Progress::Over) | Err(_) => watch.end(&watch.socket),
        }
    }
}
