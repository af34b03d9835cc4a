// SPDX-License-Identifier: GPL-2.0

//! Replies that were deferred and are there now.

use crate::budget::{
    Budget,
    Charge, //
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
use linux::work::WorkHandle;
use virgo_proto::{
    frame::RequestId,
    slots::SLOTS, //
};

/// Most replies that one node can wait for: those of all slots, and of requests that it has given
/// up, by itself or with a former incarnation. A user of that node other than root has a share of them.
const MAX: usize = 2 * SLOTS;

/// What bounds the replies that are owed to a node, by all its incarnations.
pub(crate) type Owed = Arc<Pin<KBox<Budget>>>;

/// Nothing is owed to a node.
///
/// # Errors
///
/// [`ENOMEM`].
pub(crate) fn nothing_owed() -> Result<Owed> {
    Ok(Arc::new(Budget::new(MAX as u64)?, GFP_KERNEL)?)
}

/// A deferred reply that is there.
pub(crate) struct Late {
    pub(crate) id: RequestId,
    pub(crate) frame: KVVec<u8>,
    pub(crate) kept: bool,
}

/// A session of a peer, which sends replies.
#[derive(Clone)]
pub(crate) struct SendingSession {
    /// Its number: later sessions have larger ones.
    pub(crate) number: u64,
    /// Runs its work.
    pub(crate) work: WorkHandle,
}

/// Deferred replies that are there, for a peer's present session to send.
#[pin_data]
pub(crate) struct ReplyOutbox {
    /// There may be some. Set before the session is woken.
    filled: Atomic<bool>,
    owed_to_node: Owed,
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
    /// Nobody takes them any more.
    is_closed: bool,
    /// The session that has last received a request whose reply is owed.
    session: Option<SendingSession>,
}

impl ReplyOutbox {
    /// One of a new incarnation of a node.
    pub(crate) fn new(owed_to_node: Owed) -> impl PinInit<Self> {
        let state = State {
            frames: KVVec::new(),
            taken: 0,
            owed: 0,
            is_closed: false,
            session: None,
        };
        pin_init!(Self {
            filled: Atomic::new(false),
            owed_to_node,
            state <- linux::new_mutex!(state, "virgo_outbox"),
        })
    }

    /// From now on this session sends the replies, unless a later one does.
    pub(crate) fn attach(&self, session: &SendingSession) {
        self.state.lock().attach(session);
    }

    /// For the node's next incarnation.
    pub(crate) fn owed_to_node(&self) -> Owed {
        self.owed_to_node.clone()
    }

    /// Another reply is owed on behalf of user `uid` of the node, and sent by this session, until the charge
    /// is dropped. May sleep.
    ///
    /// # Errors
    ///
    /// [`EUSERS`], [`EDQUOT`], [`ESTALE`], [`ENOMEM`].
    pub(crate) fn owe(&self, session: &SendingSession, uid: u32) -> Result<Charge> {
        let account = self.owed_to_node.account(uid)?;
        let charge = account.charge(1).map_err(|e| match e {
            ENOMEM => EUSERS,
            e => e,
        })?;
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(ESTALE);
        }
        state.attach(session);
        let owed = state.owed + 1;
        // Those that are there are sent before the next request is received.
        if owed + state.frames.len() - state.taken > 2 * MAX {
            return Err(EUSERS);
        }
        state.compact();
        state.frames.reserve(owed, GFP_KERNEL)?;
        state.owed = owed;
        Ok(charge)
    }

    /// The peer has begun another incarnation: nobody takes these replies any more. May sleep.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let unwanted = core::mem::take(&mut state.frames);
        state.taken = 0;
        drop(state);
        drop(unwanted);
    }

    pub(crate) fn put(&self, late: Late) {
        let mut state = self.state.lock();
        state.owed -= 1;
        if state.is_closed {
            drop(state);
            drop(late);
            return;
        }
        // There is room.
        let full = state.frames.push_within_capacity(late);
        self.filled.store(true, Relaxed);
        if let Some(session) = &state.session {
            session.work.wake();
        }
        drop(state);
        drop(full);
    }

    /// Whether to look for replies.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Relaxed)
    }

    /// The next reply, if `session` is to send it.
    pub(crate) fn next(&self, session: &SendingSession) -> Option<Late> {
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
            session.work.wake();
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

    fn is_sent_by(&self, session: &SendingSession) -> bool {
        let present = self.session.as_ref();
        present.is_some_and(|present| present.number == session.number)
    }

    fn attach(&mut self, session: &SendingSession) {
        let present = self.session.as_ref();
        if present.is_none_or(|present| present.number < session.number) {
            self.session = Some(session.clone());
        }
    }
}
