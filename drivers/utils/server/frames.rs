// SPDX-License-Identifier: GPL-2.0

//! Frame sessions: the server's side of what nodes say to each other.

use crate::{
    clock,
    eventnet::hooks::{
        self,
        Received, //
    },
    input::Input,
    params,
    reply::to_wire,
    request_body::TakeRequest,
    server::{
        datagrams::DatagramSession,
        next::Next,
        outbox::Late,
        output::SessionOutput,
        peer::Peer,
        peers::{
            Incarnation,
            Served,
            StoredReplies, //
        },
        standing::Standing, //
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
    crypto,
    datagram::Route,
    pages::Pages,
    trace::{
        self,
        TraceEvent, //
    },
    work::WorkHandle, //
};
use virgo_proto::{
    datagram::Keys,
    errno::Errno,
    eventnet::{
        event,
        TraceContext, //
    },
    frame::{
        FrameHeader,
        FrameKind,
        RequestId,
        HEADER_LEN,
        MAX_BODY,
        MAX_BODY_UNAUTHENTICATED, //
    },
    handshake::{
        hello_bytes,
        transcript,
        Hello,
        Side,
        MAC_LEN, //
    },
    slots::Arrival, //
};

/// Bytes asked for at a time.
const PIECE: usize = 4096;

/// Bytes that a stored reply may occupy without need.
const SPARE: usize = 64;

/// A frame at the start of the input.
enum Frame<'a> {
    /// It is here: its header, the trace context if it has one, the body, and the bytes of all.
    Whole(FrameHeader, Option<TraceContext<'a>>, &'a [u8], usize),
    /// The frame will have this many bytes, as far as is known.
    Partial(usize),
    /// It is none.
    Bad(Errno),
}

fn frame(bytes: &[u8], max_body: usize) -> Frame<'_> {
    let header = match FrameHeader::parse(bytes, max_body) {
        None => return Frame::Partial(HEADER_LEN),
        Some(Err(bad)) => return Frame::Bad(bad.errno()),
        Some(Ok(header)) => header,
    };
    // No overflow: the length was checked against `max_body`.
    let whole = HEADER_LEN + header.len as usize;
    let Some(body) = bytes.get(HEADER_LEN..whole) else {
        return Frame::Partial(whole);
    };
    match TraceContext::of_frame(&header, body) {
        Some((context, body)) => Frame::Whole(header, context, body, whole),
        None => Frame::Bad(Errno::EPROTO),
    }
}

const NO_REQUEST: RequestId = RequestId { slot: 0, seq: 0 };

fn put(output: &mut KVVec<u8>, kind: FrameKind, word: u32, body: &[u8]) -> Result {
    let header = FrameHeader {
        kind,
        op: 0,
        len: body.len() as u32,
        word,
        id: NO_REQUEST,
        taken: 0,
        stamp: clock::now(),
        traced: false,
    };
    output.put_bytes(&header.to_bytes(), GFP_KERNEL)?;
    output.put_bytes(body, GFP_KERNEL)?;
    Ok(())
}

/// Before the peer has proven who it is.
pub(crate) struct Handshake {
    /// What was said so far: its Hello and our Challenge, with the number that the session got then.
    /// The peer says what comes next before it begins another one.
    said: Option<(Hello, Hello, u64)>,
}

impl Handshake {
    pub(crate) const fn new() -> Self {
        Handshake { said: None }
    }

    /// Answers the next step. `Ok(Ok(…))` when the peer is known, `Ok(Err(…))` for what comes
    /// next otherwise.
    pub(crate) fn work<S: Service>(
        &mut self,
        session: &Standing<S>,
        input: &mut Input,
        output: &mut KVVec<u8>,
    ) -> Result<Result<Served, Next>> {
        let (header, body, used) = match frame(input.bytes(), MAX_BODY_UNAUTHENTICATED) {
            Frame::Whole(header, _, body, used) => (header, body, used),
            Frame::Partial(_) => return Ok(Err(Next::Receive(params::UNAUTHENTICATED_INPUT))),
            Frame::Bad(errno) => return self.refuse(session, errno, output),
        };
        let step = match (header.kind, &self.said) {
            (FrameKind::Hello, None) => self.hello(session, body, output)?,
            (FrameKind::Proof, Some((hello, challenge, number))) => {
                proof(session, hello, challenge, *number, body, output)?.map(Some)
            }
            _ => Err(Errno::EPROTO),
        };
        match step {
            Ok(incarnation) => {
                input.consume(used);
                Ok(incarnation.ok_or(Next::Work))
            }
            Err(errno) => self.refuse(session, errno, output),
        }
    }

    fn refuse<S: Service>(
        &self,
        session: &Standing<S>,
        errno: Errno,
        output: &mut KVVec<u8>,
    ) -> Result<Result<Served, Next>> {
        if session.hub.log.pass() {
            let name = errno.name();
            pr_warn!("port {}: {:?} refused: {name}\n", S::PORT, session.from);
        }
        put(output, FrameKind::Refuse, errno.to_wire(), b"")?;
        Ok(Err(Next::Finish))
    }

    fn hello<S: Service>(
        &mut self,
        session: &Standing<S>,
        body: &[u8],
        output: &mut KVVec<u8>,
    ) -> Result<Result<Option<Served>, Errno>> {
        let Some(hello) = Hello::parse(body) else {
            return Ok(Err(Errno::EPROTO));
        };
        let config = session.hub.node.config();
        // A node must come from its own address, and must mean this service.
        let expected = u8::try_from(hello.node.get())
            .ok()
            .and_then(|id| config.nodes.address(id));
        if expected != Some(session.from) || hello.port.get() != S::PORT {
            return Ok(Err(Errno::EPERM));
        }
        let challenge = Hello {
            node: u16::from(config.me).into(),
            port: S::PORT.into(),
            features: session.hub.datagrams.features(&config).into(),
            boot: session.hub.boot.into(),
            nonce: crypto::random(),
        };
        put(output, FrameKind::Challenge, 0, hello_bytes(&challenge))?;
        session.challenged();
        let number = session.hub.challenges.fetch_add(1, Relaxed) + 1;
        self.said = Some((hello, challenge, number));
        Ok(Ok(None))
    }
}

fn proof<S: Service>(
    session: &Standing<S>,
    hello: &Hello,
    challenge: &Hello,
    number: u64,
    body: &[u8],
    output: &mut KVVec<u8>,
) -> Result<Result<Served, Errno>> {
    let config = session.hub.node.config();
    let mac = |side| match &config.key {
        Some(key) => crypto::hmac_sha256(key, &transcript(side, hello, challenge)),
        None => [0; MAC_LEN],
    };
    if config.key.is_some() && !crypto::equal(body, &mac(Side::Client)) {
        return Ok(Err(Errno::EKEYREJECTED));
    }
    let Ok(node) = u8::try_from(hello.node.get()) else {
        return Ok(Err(Errno::EPROTO));
    };
    let peer = Peer {
        node,
        boot: hello.boot.get(),
    };
    // Looks at its address, too, which another configuration may have given to another node.
    if let Err(failure) = session.welcome(config.node_party(node)) {
        return Ok(Err(failure.errno));
    }
    let service = &session.hub.service;
    let served = session
        .hub
        .peers
        .incarnation(peer, number, |gone| service.peer_gone(gone))?;
    if hello.takes_datagrams() && challenge.takes_datagrams() && config.datagrams {
        let address = config.nodes.address(config.me).ok_or(EINVAL)?;
        let route = Route::new(address, S::PORT, session.from);
        let key = config.key.as_deref().unwrap_or_default();
        let keys = Keys::derive(crypto::hmac_sha256, key, hello, challenge);
        let datagrams = &session.hub.datagrams;
        let known = DatagramSession::new(keys, config.me, &served, route);
        // Without memory there are none: nobody answers the probe.
        let _ = datagrams.begin(known, session.number);
        if session.is_over() || !session.hub.node.config().datagrams {
            // Whoever has ended the session, or all datagrams, may have come too early to end this.
            datagrams.end(node, session.number);
        }
    }
    put(output, FrameKind::Ready, 0, &mac(Side::Server))?;
    Ok(Ok(served))
}

/// A known node's requests.
pub(crate) struct Frames {
    incarnation: Arc<Incarnation>,
    /// This session's number.
    number: u64,
    /// Runs this session's work.
    work: WorkHandle,
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
            number: session,
            work,
        }
    }

    /// Writes deferred replies that have come.
    pub(crate) fn feed<S: Service>(&self, service: &S, output: &mut KVVec<u8>) -> Result {
        if !self.incarnation.outbox.is_filled() {
            return Ok(());
        }
        // Held from taking a reply until it is stored: a repetition of its request by another
        // session comes before, and is not answered, or after.
        let Some(mut replies) = self.incarnation.try_replies(&self.work) else {
            return Ok(());
        };
        let replies = replies.get()?;
        while output.len() < PIECE {
            let Some(Late { id, frame, kept }) = self.incarnation.outbox.next(&self.work) else {
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
        session: &Standing<S>,
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
        session: &Standing<S>,
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
        session: &Standing<S>,
        header: &FrameHeader,
        context: Option<TraceContext<'_>>,
        body: &[u8],
        output: &mut SessionOutput,
    ) -> Result<Requested> {
        self.check()?;
        let Some(mut replies) = self.incarnation.try_replies(&self.work) else {
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
        match self.incarnation.serves(self.number) {
            true => Ok(()),
            false => Err(ESTALE),
        }
    }

    fn carry_out<S: Service>(
        &self,
        session: &Standing<S>,
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
                self.incarnation.outbox.attach(&self.work);
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
            session: &self.work,
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
