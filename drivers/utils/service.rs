// SPDX-License-Identifier: GPL-2.0

//! What a service is: a port, commands, operations and state.

use crate::{
    attached::Attached,
    client::Client,
    eventnet::hooks::Received,
    reply::{
        Failure,
        Reply, //
    },
    request_body::{
        RequestBody,
        TakeRequest, //
    },
    server::{
        deferred::Deferred,
        outbox::SendingSession,
        output::SessionOutput,
        peer::Peer,
        peers::Incarnation, //
    }, //
};
use core::net::Ipv4Addr;
use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
};
use linux::{
    bytes::Fill,
    datagram::OutgoingDatagram,
    pages::Pages, //
};
use virgo_config::Config;
use virgo_proto::{
    command::CommandLine,
    config::MAX_DEADLINE_MS,
    frame::{
        self,
        FrameHeader, //
    },
    vuid::NodeId, //
};

/// A service of this node. The server does the rest: sockets, sessions, authentication, limits,
/// parsing, at-most-once, counting.
pub trait Service: Send + Sync + Sized + 'static {
    /// Name in logs and of the folder in debugfs.
    const NAME: &'static CStr;
    /// TCP port.
    const PORT: u16;
    /// Commands of text sessions.
    const COMMANDS: &'static [Command<Self>];
    /// Operations that other nodes may request.
    const OPERATIONS: &'static [Operation<Self>] = &[];
    /// Those of the operations that may be carried out where a datagram arrives, in another way.
    const BRIEF: &'static [BriefOperation<Self>] = &[];
    /// Names of system calls, to be counted by [`crate::Stats::count_call`].
    const CALLS: &'static [&'static str] = &[];

    /// Answers a line whose first word is no command. May sleep.
    fn other(
        &self,
        _caller: &Caller<'_>,
        _line: &[u8],
        _reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        Err(Failure::UNKNOWN)
    }

    /// Adds to the reply of the command `stats`. May sleep.
    fn stats(&self, _reply: &mut Reply<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// Shows what the service has, a line each: its kind, then its values. May sleep.
    fn show(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }

    /// How the service uses itself on other nodes, if it does.
    fn client(&self) -> Option<&Client> {
        None
    }

    /// Ends all that waits for other nodes, and refuses more as long as `stopped`. May sleep.
    fn set_stopped(&self, stopped: bool) {
        if let Some(client) = self.client() {
            match stopped {
                true => client.stop(),
                false => client.start(),
            }
        }
    }

    /// A peer has given up waiting for the reply of this operation before it could know what it
    /// says; nobody else will ever know. Not called for a former incarnation of the peer. May sleep.
    fn undo(&self, _op: u16, _reply: &[u8]) {}

    /// This incarnation of a peer is over: another one, which knows nothing of it, has begun. What that
    /// one has is not to be touched: it is served already, and perhaps gone as well. Called again when a
    /// request has ended that was being carried out. May sleep.
    fn peer_gone(&self, _gone: Peer) {}
}

/// A text command.
pub struct Command<S> {
    /// What people type; the first is the one that `help` shows.
    pub names: &'static [&'static str],
    /// Arguments, for `help`: `(id,data)`.
    pub usage: &'static str,
    /// Does it. Runs in process context, may sleep; killable waits end with the session.
    pub run: fn(&S, &Caller<'_>, &CommandLine<'_>, &mut Reply<'_>) -> Result<(), Failure>,
}

/// What holds for who has typed a command.
pub struct Caller<'a> {
    /// The configuration in force: also says how long commands may wait.
    pub config: &'a Config,
    /// The uid that the session acts as, in the initial user name space.
    pub uid: u32,
    /// Where it comes from.
    pub from: Ipv4Addr,
    /// What the session has of its own.
    pub attached: &'a Attached,
}

/// An operation that other nodes may request.
pub struct Operation<S> {
    /// Number in the frame.
    pub number: u16,
    /// Name for the counters.
    pub name: &'static str,
    /// What a repeated request does.
    pub repeat: Repeat,
    /// Does it: takes the body of the request, writes that of the reply, or defers it. Runs in
    /// process context; requests of one peer run one after the other, so it must not wait for
    /// another node.
    pub run: fn(&S, Peer, &[u8], &mut Body<'_>) -> Result,
}

/// How an operation is carried out in softirq, for a request that has come as a datagram.
pub struct BriefOperation<S> {
    /// Number of the [`Operation`].
    pub number: u16,
    /// Does what that does, without waiting for anything, in a time that is bounded by the size of request and
    /// reply. `None` if it cannot: then nothing has happened, and the request comes by the connection.
    ///
    /// It must not make anything that `peer_gone` would free, nor drop objects whose destructor may sleep.
    pub run: fn(&S, &BriefRequest<'_>, &mut BriefReply) -> Option<Result>,
}

/// A request that has come as a datagram.
pub struct BriefRequest<'a> {
    /// Who asks.
    pub peer: Peer,
    /// Which node this was when the peer connected. The configuration is for tasks only.
    pub me: NodeId,
    /// What for.
    pub body: &'a [u8],
}

/// The body of a reply that goes as a datagram.
pub struct BriefReply {
    pub(crate) out: OutgoingDatagram,
}

impl BriefReply {
    /// Appends bytes. `None` if there is no room for them.
    pub fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.put(bytes).ok()
    }
}

/// What a repeated request does.
#[derive(Clone, Copy)]
pub enum Repeat {
    /// It is done again: the operation changes nothing.
    Again,
    /// It gets the stored reply, whose body has at most as many bytes as this says of the
    /// request, unless it is deferred.
    Stored(fn(&[u8]) -> usize),
}

/// The body of a reply being written.
pub struct Body<'a> {
    pub(crate) out: &'a mut SessionOutput,
    pub(crate) start: usize,
    pub(crate) incarnation: &'a Arc<Incarnation>,
    pub(crate) session: &'a SendingSession,
    pub(crate) header: &'a FrameHeader,
    /// The event of the request's arrival, if that is recorded; a deferred reply takes it along.
    pub(crate) received: &'a mut Option<Received>,
    pub(crate) is_deferred: bool,
    pub(crate) take_request: Option<KBox<dyn TakeRequest>>,
}

impl Body<'_> {
    /// Has the reply given later to user `uid` of the node: if the operation succeeds, what it has written
    /// here is no reply. The reply is stored then, unless [`Deferred::answer_unkept`] gives it. May sleep.
    ///
    /// # Errors
    ///
    /// [`EUSERS`] if the node waits for too many, [`EDQUOT`] if this user of it does; [`ESTALE`] if it has
    /// begun another incarnation; [`ENOMEM`].
    pub fn defer(&mut self, uid: u32) -> Result<Deferred> {
        let FrameHeader { op, id, .. } = *self.header;
        let mut deferred = Deferred::new(self.incarnation, self.session, op, id, uid)?;
        deferred.is_end_of(self.received.take())?;
        self.is_deferred = true;
        Ok(deferred)
    }

    /// As [`Self::defer`]. When the operation has returned, `take` gets the reply that is owed and the
    /// body of the request, mostly without copying it; or [`ENOMEM`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn defer_with_request(
        &mut self,
        uid: u32,
        take: impl FnOnce(Deferred, Result<RequestBody>) + 'static,
    ) -> Result {
        let deferred = self.defer(uid)?;
        let take = move |body| take(deferred, body);
        self.take_request = Some(KBox::new(Some(take), GFP_KERNEL)?);
        Ok(())
    }

    /// For how long the peer was going to wait for the reply when it sent the request, in
    /// milliseconds: no longer than any deadline may be.
    pub fn patience_ms(&self) -> u32 {
        self.header.word.min(MAX_DEADLINE_MS)
    }

    /// Lets `fill` write up to `max` bytes behind what is there, and say how many they were.
    ///
    /// # Errors
    ///
    /// As for [`Self::put`], and what `fill` fails with.
    pub fn fill(
        &mut self,
        max: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        self.check(max)?;
        let out = &mut self.out.bytes;
        let end = out.len();
        out.put_zeros(max, GFP_KERNEL)?;
        let filled = fill(out.get_mut(end..).unwrap_or_default());
        let n = *filled.as_ref().unwrap_or(&0);
        out.truncate(end + n.min(max));
        filled
    }

    /// Has the bytes of a file follow, without copying them. They are the end of the body; only an
    /// operation that is done again when it is repeated may have any, since they are not kept.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`].
    pub fn end_with(&mut self, pages: Pages) -> Result {
        self.check(pages.size())?;
        // Without any the reply would wait for them.
        if pages.size() > 0 {
            self.out.pages = Some(pages);
        }
        Ok(())
    }

    /// Whether `len` more bytes are not too many.
    fn check(&self, len: usize) -> Result {
        let used = self.out.bytes.len().saturating_sub(self.start);
        match len <= frame::MAX_BODY.saturating_sub(used) {
            true => Ok(()),
            false => Err(EMSGSIZE),
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`EMSGSIZE`] beyond [`frame::MAX_BODY`], [`ENOMEM`].
    pub fn put(&mut self, bytes: &[u8]) -> Result {
        self.check(bytes.len())?;
        Ok(self.out.bytes.put_bytes(bytes, GFP_KERNEL)?)
    }
}
