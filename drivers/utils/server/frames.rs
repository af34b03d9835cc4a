// SPDX-License-Identifier: GPL-2.0

//! Frame sessions: the server's side of what nodes say to each other.

use crate::{
    clock,
    eventnet::hooks::{
        self,
        Received, //
    },
    input::Input,
    reply::to_wire,
    request_body::TakeRequest,
    server::{
        enrolled::Enrolled,
        frame::{
            frame,
            put,
            Frame, //
        },
        next::Next,
        outbox::{
            Late,
            SendingSession, //
        },
        output::SessionOutput,
        peers::{
            Incarnation,
            Served,
            StoredReplies, //
        }, //
    },
    service::{
        Body,
        Operation,
        Repeat,
        Service, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
    time::{
        Instant,
        Monotonic, //
    }, //
};
use linux::{
    bytes::Fill,
    pages::Pages,
    trace::{
        self,
        TraceEvent, //
    },
    work::WorkHandle, //
};
use virgo_proto::{
    errno::Errno,
    eventnet::{
        event,
        TraceContext, //
    },
    frame::{
        FrameHeader,
        FrameKind,
        HEADER_LEN,
        MAX_BODY, //
    },
    slots::Arrival, //
};

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Bytes that a stored reply may occupy without need.
const SPARE: usize = 64;

/// A known node's requests.
pub(crate) struct Frames {
    incarnation: Arc<Incarnation>,
    session: SendingSession,
}

impl Frames {
    pub(crate) fn new(
        Served {
            incarnation,
            session,
        }: Served,
        work: WorkHandle,
    ) -> Self {
        Frames {
            incarnation,
            session: SendingSession {
                number: session,
                work,
            },
        }
    }

    /// Writes deferred replies that have come.
    pub(crate) fn feed<S: Service>(&self, service: &S, output: &mut KVVec<u8>) -> Result {
        if !self.incarnation.outbox.is_filled() {
            return Ok(());
        }
        // Held from taking a reply until it is stored: a repetition of its request by another
        // session comes before, and is not answered, or after.
        let Some(mut replies) = self.incarnation.try_replies(&self.session) else {
            return Ok(());
        };
        let replies = replies.get()?;
        while output.len() < PIECE {
            let Some(Late { id, frame, kept }) = self.incarnation.outbox.next(&self.session) else {
                break;
            };
            if !replies.awaits(id) {
                undo(service, &frame);
            } else if !kept {
                replies.forget_deferred(id);
                output.put_bytes(&frame, GFP_KERNEL)?;
            } else if let Some(reply) = replies.finish_deferred(id, frame) {
                output.put_bytes(reply, GFP_KERNEL)?;
            }
        }
        Ok(())
    }

    /// Carries out the requests at hand.
    pub(crate) fn work<S: Service>(
        &mut self,
        session: &Enrolled<S>,
        input: &mut Input,
        output: &mut SessionOutput,
    ) -> Result<Next> {
        loop {
            if session.is_over() {
                return Err(ECANCELED);
            }
            let used = match frame(input.bytes(), MAX_BODY) {
                Frame::Whole(header, context, body, used) if header.kind == FrameKind::Request => {
                    clock::receive(header.stamp);
                    let skip = used - body.len();
                    match self.request(session, &header, context, body, output)? {
                        Requested::Blocked => return Ok(Next::Blocked),
                        Requested::Done => used,
                        Requested::Taken(mut take) => {
                            take.call(input.take(used, skip));
                            0
                        }
                    }
                }
                Frame::Partial(size) => return Ok(Next::Receive(size.max(PIECE))),
                Frame::Whole(..) => return self.refuse(session, Errno::EPROTO, output),
                Frame::Bad(errno) => return self.refuse(session, errno, output),
            };
            input.consume(used);
            if (output.bytes.len() >= PIECE || output.pages.is_some()) && !input.bytes().is_empty()
            {
                return Ok(Next::Work);
            }
        }
    }

    fn refuse<S: Service>(
        &self,
        session: &Enrolled<S>,
        errno: Errno,
        output: &mut SessionOutput,
    ) -> Result<Next> {
        if session.hub.log.pass() {
            let (name, node) = (errno.name(), self.incarnation.peer.node);
            pr_warn!("port {}: bad frame of node {node}: {name}\n", S::PORT);
        }
        put(&mut output.bytes, FrameKind::Refuse, errno.to_wire(), b"")?;
        Ok(Next::Finish)
    }

    /// Carries out one request, or finds what came of it before, and appends the reply. False if a
    /// request that has come by an earlier session is still being carried out.
    fn request<S: Service>(
        &self,
        session: &Enrolled<S>,
        header: &FrameHeader,
        context: Option<TraceContext<'_>>,
        body: &[u8],
        output: &mut SessionOutput,
    ) -> Result<Requested> {
        self.check()?;
        let Some(mut replies) = self.incarnation.try_replies(&self.session) else {
            return Ok(Requested::Blocked);
        };
        // Another session may have been served since.
        self.check()?;
        let result = self.carry_out(session, header, context, body, output, replies.get()?);
        drop(replies);
        if self.incarnation.over.load(Relaxed) {
            // Others have not waited for this. What it has made belongs to nobody.
            self.incarnation.forget_replies();
            session.hub.service.peer_gone(self.incarnation.peer);
        }
        result.map(|take| take.map_or(Requested::Done, Requested::Taken))
    }

    /// Whether this is the session that is served.
    fn check(&self) -> Result {
        match self.incarnation.serves(self.session.number) {
            true => Ok(()),
            false => Err(ESTALE),
        }
    }

    fn carry_out<S: Service>(
        &self,
        session: &Enrolled<S>,
        header: &FrameHeader,
        context: Option<TraceContext<'_>>,
        body: &[u8],
        output: &mut SessionOutput,
        replies: &mut StoredReplies,
    ) -> Result<Option<KBox<dyn TakeRequest>>> {
        let service = &session.hub.service;
        let abandoned = match replies.arrive(header.id, header.taken) {
            Arrival::New { abandoned } => abandoned,
            Arrival::Again(reply) => {
                output.bytes.put_bytes(reply, GFP_KERNEL)?;
                return Ok(None);
            }
            Arrival::Deferred => {
                self.incarnation.outbox.attach(&self.session);
                return Ok(None);
            }
            Arrival::Stale => {
                let start = output.bytes.len();
                finish(header, None, output, start, Err(Errno::EALREADY))?;
                return Ok(None);
            }
        };
        if let Some(reply) = abandoned {
            undo(&**service, &reply);
        }
        let start = output.bytes.len();
        let mut operations = S::OPERATIONS.iter().enumerate();
        let Some((index, operation)) = operations.find(|(_, o)| o.number == header.op) else {
            finish(header, None, output, start, Err(Errno::EOPNOTSUPP))?;
            return Ok(None);
        };
        let kind = event::EventKind::of_port(S::PORT);
        let mut received = hooks::receive(kind, header, context, self.incarnation.peer.node);
        let serving = received.as_ref().map(Received::serve);
        let head = head_size(received.as_ref());
        // Memory for the reply, and for keeping it, is taken before anything is done: an effect that the
        // peer is not told of belongs to nobody.
        let (size, kept) = match operation.repeat {
            Repeat::Again => (head, None),
            Repeat::Stored(longest) => {
                let size = head + longest(body).min(MAX_BODY);
                (size, Some(KVVec::with_capacity(size, GFP_KERNEL)?))
            }
        };
        output.bytes.reserve(size, GFP_KERNEL)?;
        let began = trace::serve_is_on().then(Instant::<Monotonic>::now);
        let result = session.hub.stats.count(S::COMMANDS.len() + index, || {
            self.run(operation, service, header, &mut received, body, output)
        });
        trace::serve(|| {
            let event = TraceEvent {
                node: self.incarnation.peer.node.into(),
                port: S::PORT.into(),
                op: header.op.into(),
                id: session.number,
                size: body.len() as u64,
                ..TraceEvent::default()
            };
            event.ended(&result, began)
        });
        let result = result.map_err(to_wire);
        if let Ok(After::Deferred(take)) = result {
            output.bytes.truncate(start);
            replies.defer(header.id);
            return Ok(take);
        }
        finish(header, received, output, start, result.map(drop))?;
        drop(serving);
        if let (Some(mut kept), Some(reply)) = (kept, output.bytes.get(start..)) {
            // Fits unless the operation writes more than it has declared.
            if reply.len() <= kept.capacity() {
                if kept.capacity() > 2 * reply.len() + SPARE {
                    // It stays for as long as the peer lives.
                    kept = KVVec::with_capacity(reply.len(), GFP_KERNEL).unwrap_or(kept);
                }
                kept.put_bytes(reply, GFP_KERNEL)?;
                replies.finish(header.id, kept);
            }
        }
        Ok(None)
    }

    fn run<S: Service>(
        &self,
        operation: &Operation<S>,
        service: &S,
        header: &FrameHeader,
        received: &mut Option<Received>,
        request: &[u8],
        output: &mut SessionOutput,
    ) -> Result<After> {
        output
            .bytes
            .put_zeros(head_size(received.as_ref()), GFP_KERNEL)?;
        let mut body = Body {
            start: output.bytes.len(),
            out: output,
            incarnation: &self.incarnation,
            session: &self.session,
            header,
            received,
            is_deferred: false,
            take_request: None,
        };
        (operation.run)(service, self.incarnation.peer, request, &mut body)?;
        Ok(match body.is_deferred {
            true => After::Deferred(body.take_request),
            false => After::Replied,
        })
    }
}

/// What has become of a request that was received.
enum Requested {
    /// It waits for another session of its peer.
    Blocked,
    /// Its reply is written, or owed.
    Done,
    /// Its reply is owed, and this takes its body.
    Taken(KBox<dyn TakeRequest>),
}

/// What an operation that has succeeded leaves.
enum After {
    Replied,
    /// Perhaps somebody takes the request.
    Deferred(Option<KBox<dyn TakeRequest>>),
}

/// Tells the service that nobody wants this reply any more.
fn undo<S: Service>(service: &S, reply: &[u8]) {
    if let Frame::Whole(header, _, body, _) = frame(reply, MAX_BODY) {
        if header.word == 0 {
            service.undo(header.op, body);
        }
    }
}

/// Bytes of a reply before its body: the header, and the trace context if the request was recorded.
fn head_size(received: Option<&Received>) -> usize {
    HEADER_LEN + received.map_or(0, Received::context_size)
}

/// Writes the header of the reply that begins at `start`, and its trace context if the request was
/// recorded; a failed one has no body.
fn finish(
    request: &FrameHeader,
    received: Option<Received>,
    output: &mut SessionOutput,
    start: usize,
    result: Result<(), Errno>,
) -> Result {
    let word = match result {
        Ok(()) => 0,
        Err(errno) => {
            output.pages = None;
            output.bytes.truncate(start);
            output
                .bytes
                .put_zeros(head_size(received.as_ref()), GFP_KERNEL)?;
            errno.to_wire()
        }
    };
    let pages = output.pages.as_ref().map_or(0, Pages::size);
    let Some((header, body)) = output
        .bytes
        .get_mut(start..)
        .and_then(|reply| reply.split_first_chunk_mut())
    else {
        return Err(EIO);
    };
    let len = body.len() + pages;
    let traced = match received {
        Some(received) => {
            let size = received.context_size();
            let replied = received.reply(word, len.saturating_sub(size)).ok_or(EIO)?;
            body.get_mut(..size)
                .ok_or(EIO)?
                .copy_from_slice(replied.context());
            true
        }
        None => false,
    };
    *header = FrameHeader {
        kind: FrameKind::Reply,
        op: request.op,
        len: len as u32,
        word,
        id: request.id,
        taken: 0,
        stamp: clock::now(),
        traced,
    }
    .to_bytes();
    Ok(())
}
