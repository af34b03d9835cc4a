// SPDX-License-Identifier: GPL-2.0

//! Events of a session that wait to be read. Their memory is allocated, and charged to the session's program, when
//! the session is made: events come when others do something, and nobody else is to pay for them.

use kernel::prelude::*;
use virgo_proto::cloudsync::{
    Mode,
    Token,
    MAX_NAME, //
};

/// Events that wait to be read, and bytes of their names.
const MAX_EVENTS: usize = 64;
const MAX_BYTES: usize = 4096;

/// What has happened to a lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was granted.
    Granted,
    /// Somebody waits whom it keeps out.
    Blocks,
    /// It could not be granted, for this errno.
    Refused(c_int),
    /// It was lost.
    Lost,
    /// Not to one: there was no room for further events.
    Missed,
}

/// An event of a session.
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// What was granted, or is waited for.
    pub(crate) mode: Option<Mode>,
    pub(crate) token: Token,
    pub(crate) name_len: usize,
}

/// Of an event that is read.
pub(crate) type EventName = [u8; MAX_NAME];

/// See the module.
pub(crate) struct Events {
    waiting: KVec<Event>,
    /// Their names, one behind the other.
    names: KVec<u8>,
    /// There was no room for one that came after those that wait.
    has_missed: bool,
}

impl Events {
    pub(crate) fn new() -> Result<Self> {
        Ok(Events {
            waiting: KVec::with_capacity(MAX_EVENTS, GFP_KERNEL_ACCOUNT)?,
            names: KVec::with_capacity(MAX_BYTES, GFP_KERNEL_ACCOUNT)?,
            has_missed: false,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.has_missed
    }

    /// Keeps an event about `name`, if there is room; otherwise that there was none, and no further one until
    /// that is read.
    pub(crate) fn push(&mut self, kind: Kind, mode: Option<Mode>, token: Token, name: &[u8]) {
        let event = Event {
            kind,
            mode,
            token,
            name_len: name.len(),
        };
        let has_room = self.names.len() + name.len() <= MAX_BYTES && name.len() <= MAX_NAME;
        if self.has_missed || !has_room || self.waiting.push_within_capacity(event).is_err() {
            self.has_missed = true;
            return;
        }
        for byte in name {
            let _ = self.names.push_within_capacity(*byte);
        }
    }

    /// The next event. Writes the name to `name`.
    pub(crate) fn pop(&mut self, name: &mut EventName) -> Option<Event> {
        let Ok(event) = self.waiting.remove(0) else {
            return core::mem::take(&mut self.has_missed).then_some(Event {
                kind: Kind::Missed,
                mode: None,
                token: Token(0),
                name_len: 0,
            });
        };
        let len = event.name_len.min(self.names.len());
        for (to, from) in name.iter_mut().zip(self.names.iter().take(len)) {
            *to = *from;
        }
        let rest = self.names.len() - len;
        self.names.copy_within(len.., 0);
        self.names.truncate(rest);
        Some(event)
    }
}
