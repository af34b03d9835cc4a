// SPDX-License-Identifier: GPL-2.0

//! Replies that were deferred and are there now.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    }, //
};
use linux::work::WorkHandle;
use virgo_proto::{
    frame::RequestId,
    slots::SLOTS, //
};

/// Most replies that one peer can wait for: those of all slots, and of requests that it has given
/// up.
const MAX: usize = 2 * SLOTS;

/// A deferred reply that is there.
pub(crate) struct Late {
    pub(crate) id: RequestId,
    pub(crate) frame: KVVec<u8>,
    pub(crate) kept: bool,
}

/// Deferred replies that are there, for a peer's present session to send.
#[pin_data]
pub(crate) struct Outbox {
    /// There may be some. Set before the session is woken.
    filled: Atomic<bool>,
    #[pin]
    state: Mutex<State>,
}

struct State {
    /// Those that are there, in the order in which they have come.
    frames: KVVec<Late>,
    /// How many at the start of `frames` were taken.
    taken: usize,
    /// Replies that are owed. There is room for them in `frames`.
    owed: usize,
    /// The session that has last received a request whose reply is owed.
    session: Option<WorkHandle>,
}

impl Outbox {
    pub(crate) fn new() -> impl PinInit<Self> {
        let state = State {
            frames: KVVec::new(),
            taken: 0,
            owed: 0,
            session: None,
        };
        pin_init!(Self {
            filled: Atomic::new(false),
            state <- linux::new_mutex!(state, "virgo_outbox"),
        })
    }

    /// From now on this session sends the replies.
    pub(crate) fn attach(&self, session: &WorkHandle) {
        self.state.lock().attach(session);
    }

    /// Another reply is owed, and sent by this session.
    pub(crate) fn owe(&self, session: &WorkHandle) -> Result {
        let mut state = self.state.lock();
        state.attach(session);
        let owed = state.owed + 1;
        // Those that are there are sent before the next request is received.
        if owed > MAX || owed + state.frames.len() - state.taken > 2 * MAX {
            return Err(EUSERS);
        }
        state.compact();
        state.frames.reserve(owed, GFP_KERNEL)?;
        state.owed = owed;
        Ok(())
    }

    pub(crate) fn put(&self, late: Late) {
        let mut state = self.state.lock();
        state.owed -= 1;
        // There is room.
        let full = state.frames.push_within_capacity(late);
        self.filled.store(true, Relaxed);
        if let Some(session) = &state.session {
            session.wake();
        }
        drop(state);
        drop(full);
    }

    /// Whether to look for replies.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Relaxed)
    }

    /// The next reply, if `session` is to send it.
    pub(crate) fn next(&self, session: &WorkHandle) -> Option<Late> {
        let mut state = self.state.lock();
        if !state.is_sent_by(session) {
            return None;
        }
        let next = state.take();
        if next.is_none() {
            self.filled.store(false, Relaxed);
        }
        next
    }

    /// Runs the work of the present session.
    pub(crate) fn wake(&self) {
        if let Some(session) = &self.state.lock().session {
            session.wake();
        }
    }
}

impl State {
    /// Takes the reply that has come first.
    fn take(&mut self) -> Option<Late> {
        let Some(late) = self.frames.get_mut(self.taken) else {
            self.frames.clear();
            self.taken = 0;
            return None;
        };
        self.taken += 1;
        let frame = core::mem::take(&mut late.frame);
        Some(Late { frame, ..*late })
    }

    /// Makes room of the places of those that were taken, if these are most.
    fn compact(&mut self) {
        let left = self.frames.len() - self.taken;
        if self.taken > left {
            self.frames.rotate_left(self.taken);
            self.frames.truncate(left);
            self.taken = 0;
        }
    }

    fn is_sent_by(&self, session: &WorkHandle) -> bool {
        let present = self.session.as_ref();
        present.is_some_and(|present| present.is(session))
    }

    fn attach(&mut self, session: &WorkHandle) {
        if !self.is_sent_by(session) {
            self.session = Some(session.clone());
        }
    }
}
