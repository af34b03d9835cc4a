// SPDX-License-Identifier: GPL-2.0

//! Replies that are given later, by whatever task can: until then the session serves other
//! requests of its peer.

use crate::{
    reply::to_wire,
    server::peers::Incarnation, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
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
    }, //
};

/// A reply that is owed to a peer. Dropped, it says [`Errno::ECANCELED`].
pub struct Deferred {
    incarnation: Arc<Incarnation>,
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
    pub(crate) fn new(
        incarnation: &Arc<Incarnation>,
        session: &WorkHandle,
        op: u16,
        id: RequestId,
    ) -> Result<Self> {
        let frame = KVVec::with_capacity(HEADER_LEN, GFP_KERNEL)?;
        incarnation.outbox.owe(session)?;
        Ok(Deferred {
            incarnation: incarnation.clone(),
            op,
            id,
            frame,
        })
    }

    /// Whether the peer has not begun another incarnation. Any context.
    pub fn is_wanted(&self) -> bool {
        !self.incarnation.over.load(Relaxed)
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
        self.incarnation.outbox.put(self.id, frame);
    }
}
