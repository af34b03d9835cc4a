// SPDX-License-Identifier: GPL-2.0

//! Replies that are given later, by whatever task can: until then the session serves other
//! requests of its peer.

use crate::{
    peers::Life,
    reply::to_wire, //
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
use linux::{
    bytes::Fill,
    work::WorkHandle, //
};
use virgo_proto::{
    errno::Errno,
    frame::{
        Header,
        Kind,
        RequestId,
        HEADER_LEN,
        MAX_BODY, //
    },
    slots::SLOTS, //
};

/// Most replies that one peer can wait for: those of all slots, and of requests that it has given
/// up.
const MAX: usize = 2 * SLOTS;

/// A reply that is owed to a peer. Dropped, it says [`Errno::ECANCELED`].
pub struct Deferred {
    life: Arc<Life>,
    op: u16,
    id: RequestId,
    /// Room for a reply without a body, so that there always is one.
    frame: KVVec<u8>,
}

impl Deferred {
    /// Owes the reply to request `id`, which `session` has received. May sleep.
    ///
    /// # Errors
    ///
    /// [`EUSERS`] if the peer waits for too many; [`ENOMEM`].
    pub(crate) fn new(life: &Arc<Life>, session: &WorkHandle, op: u16, id: RequestId) -> Result<Self> {
        let frame = KVVec::with_capacity(HEADER_LEN, GFP_KERNEL)?;
        life.outbox.owe(session)?;
        Ok(Deferred {
            life: life.clone(),
            op,
            id,
            frame,
        })
    }

    /// Whether the peer has not begun another life. Any context.
    pub fn is_wanted(&self) -> bool {
        !self.life.over.load(Relaxed)
    }

    /// Gives the reply. May sleep. Also called when nobody waits for it any more.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`], [`ENOMEM`]: then the peer gets this error.
    pub fn answer(mut self, body: &[u8]) -> Result {
        if let Err(e) = self.reserve(body.len()) {
            self.fail(e);
            return Err(e);
        }
        self.write(0, body)
    }

    fn reserve(&mut self, len: usize) -> Result {
        match len <= MAX_BODY {
            true => Ok(self.frame.reserve(HEADER_LEN + len, GFP_KERNEL)?),
            false => Err(EMSGSIZE),
        }
    }

    /// Says that it has failed. May sleep.
    pub fn fail(mut self, e: Error) {
        // There is room.
        let _ = self.write(to_wire(e).to_wire(), b"");
    }

    /// Writes the frame; there is room for it.
    fn write(&mut self, word: u32, body: &[u8]) -> Result {
        let header = Header {
            kind: Kind::Reply,
            op: self.op,
            len: body.len() as u32,
            word,
            id: self.id,
            taken: 0,
        };
        self.frame.put_bytes(&header.to_bytes(), GFP_KERNEL)?;
        Ok(self.frame.put_bytes(body, GFP_KERNEL)?)
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        // There is room, so it does not fail.
        if self.frame.is_empty() && self.write(Errno::ECANCELED.to_wire(), b"").is_err() {
            self.frame.clear();
        }
        let frame = core::mem::take(&mut self.frame);
        self.life.outbox.put(self.id, frame);
    }
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
    frames: KVVec<(RequestId, KVVec<u8>)>,
    /// Replies that are owed. There is room for them in `frames`.
    owed: usize,
    /// The session that has last received a request whose reply is owed.
    session: Option<WorkHandle>,
}

impl Outbox {
    pub(crate) fn new() -> impl PinInit<Self> {
        let state = State {
            frames: KVVec::new(),
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
    fn owe(&self, session: &WorkHandle) -> Result {
        let mut state = self.state.lock();
        state.attach(session);
        let owed = state.owed + 1;
        // Those that are there are sent before the next request is received.
        if owed > MAX || owed + state.frames.len() > 2 * MAX {
            return Err(EUSERS);
        }
        state.frames.reserve(owed, GFP_KERNEL)?;
        state.owed = owed;
        Ok(())
    }

    fn put(&self, id: RequestId, frame: KVVec<u8>) {
        let mut state = self.state.lock();
        state.owed -= 1;
        let full = state.frames.push_within_capacity((id, frame));
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
    pub(crate) fn next(&self, session: &WorkHandle) -> Option<(RequestId, KVVec<u8>)> {
        let mut state = self.state.lock();
        if !state.is_sent_by(session) {
            return None;
        }
        let next = state.frames.pop();
        if next.is_none() {
            self.filled.store(false, Relaxed);
        }
        next
    }
}

impl State {
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
