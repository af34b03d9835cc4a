// SPDX-License-Identifier: GPL-2.0

//! Replies that are given later, by whatever task can: until then the session serves other
//! requests of its peer.

use crate::{
    budget::Charge,
    clock,
    eventnet::hooks::{
        Received,
        Replied,
        Serving, //
    },
    reply::to_wire,
    server::{
        outbox::{
            Late,
            SendingSession, //
        },
        peers::Incarnation, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::bytes::Fill;
use virgo_proto::{
    errno::Errno,
    frame::{
        FrameHeader,
        FrameKind,
        RequestId,
        HEADER_LEN,
        MAX_BODY, //
    }, //
};

/// Tells whether a reply that is owed is wanted, for those who do not have it.
pub struct ReplyWatch(Arc<Incarnation>);

impl ReplyWatch {
    /// Whether the peer has not begun another incarnation, and is still configured. Any context.
    pub fn is_wanted(&self) -> bool {
        !self.0.is_over()
    }
}

/// A reply that is owed to a peer. Dropped, it says [`Errno::ECANCELED`].
pub struct Deferred {
    incarnation: Arc<Incarnation>,
    op: u16,
    id: RequestId,
    /// Room for a reply without a body, so that there always is one.
    frame: KVVec<u8>,
    /// The event of the request's arrival, if that is recorded.
    received: Option<Received>,
    /// The reply is kept for a repetition of the request.
    kept: bool,
    _charge: Charge,
}

impl Deferred {
    /// Owes the reply to request `id` of user `uid`, which `session` has received. May sleep.
    ///
    /// # Errors
    ///
    /// [`EUSERS`] if the node waits for too many, [`EDQUOT`] if this user of it does; [`ESTALE`] if it has
    /// begun another incarnation; [`ENOMEM`].
    pub(crate) fn new(
        incarnation: &Arc<Incarnation>,
        session: &SendingSession,
        op: u16,
        id: RequestId,
        uid: u32,
    ) -> Result<Self> {
        let frame = KVVec::with_capacity(HEADER_LEN, GFP_KERNEL)?;
        let charge = incarnation.outbox.owe(session, uid)?;
        Ok(Deferred {
            incarnation: incarnation.clone(),
            op,
            id,
            frame,
            received: None,
            kept: true,
            _charge: charge,
        })
    }

    /// The reply is to be recorded as the end of this. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn is_end_of(&mut self, received: Option<Received>) -> Result {
        self.received = received;
        self.prepare(0)
    }

    fn context_size(&self) -> usize {
        self.received.as_ref().map_or(0, Received::context_size)
    }

    /// Takes memory for a reply with a body of up to `len` bytes. May sleep.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`], [`ENOMEM`].
    pub fn prepare(&mut self, len: usize) -> Result {
        match len <= MAX_BODY {
            true => {
                let head = HEADER_LEN + self.context_size();
                Ok(self.frame.reserve(head + len, GFP_KERNEL)?)
            }
            false => Err(EMSGSIZE),
        }
    }

    /// As [`Self::answer`], for a request that is done again when it is repeated: the reply, which may
    /// be large, is not kept once it is sent.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn answer_unkept(mut self, body: &[u8]) -> Result {
        self.kept = false;
        self.answer(body)
    }

    /// While the result exists, what the current task does is caused by the request, for EventNet. Task
    /// context.
    pub fn serve(&self) -> Option<Serving> {
        self.received.as_ref().map(Received::serve)
    }

    /// Whether the peer has not begun another incarnation, and is still configured. Any context.
    pub fn is_wanted(&self) -> bool {
        !self.incarnation.is_over()
    }

    /// Tells whether it is wanted.
    pub fn watch(&self) -> ReplyWatch {
        ReplyWatch(self.incarnation.clone())
    }

    /// Gives the reply. May sleep. Also called when nobody waits for it any more.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`], [`ENOMEM`]: then the peer gets this error.
    pub fn answer(mut self, body: &[u8]) -> Result {
        if let Err(e) = self.prepare(body.len()) {
            self.fail(e);
            return Err(e);
        }
        self.write(0, body)
    }

    /// Says that it has failed. May sleep.
    pub fn fail(mut self, e: Error) {
        // There is room.
        let _ = self.write(to_wire(e).to_wire(), b"");
    }

    /// Writes the frame; there is room for it.
    fn write(&mut self, word: u32, body: &[u8]) -> Result {
        let received = self.received.take();
        let replied = received.and_then(|received| received.reply(word, body.len()));
        let context = replied.as_ref().map_or(&b""[..], Replied::context);
        let header = FrameHeader {
            kind: FrameKind::Reply,
            op: self.op,
            len: (context.len() + body.len()) as u32,
            word,
            id: self.id,
            taken: 0,
            stamp: clock::now(),
            traced: !context.is_empty(),
        };
        self.frame.put_bytes(&header.to_bytes(), GFP_KERNEL)?;
        self.frame.put_bytes(context, GFP_KERNEL)?;
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
        self.incarnation.outbox.put(Late {
            id: self.id,
            frame,
            kept: self.kept,
        });
    }
}
