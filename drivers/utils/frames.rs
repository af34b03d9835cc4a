// SPDX-License-Identifier: GPL-2.0

//! Frame sessions: the server's side of what nodes say to each other.

use crate::{
    input::Input,
    limits,
    output::Output,
    peers::{
        Life,
        Served, //
    },
    reply::to_wire,
    service::{
        Body,
        Operation,
        Peer,
        Repeat,
        Service, //
    },
    session::{
        Next,
        Session, //
    }, //
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
    crypto,
    pages::Pages,
    work::WorkHandle, //
};
use virgo_proto::{
    errno::Errno,
    frame::{
        Header,
        Kind,
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

/// A frame at the start of the input.
enum Frame<'a> {
    /// It is here.
    Whole(Header, &'a [u8]),
    /// The frame will have this many bytes, as far as is known.
    Partial(usize),
    /// It is none.
    Bad(Errno),
}

fn frame(bytes: &[u8], max_body: usize) -> Frame<'_> {
    let header = match Header::parse(bytes, max_body) {
        None => return Frame::Partial(HEADER_LEN),
        Some(Err(bad)) => return Frame::Bad(bad.errno()),
        Some(Ok(header)) => header,
    };
    // No overflow: the length was checked against `max_body`.
    let whole = HEADER_LEN + header.len as usize;
    match bytes.get(HEADER_LEN..whole) {
        Some(body) => Frame::Whole(header, body),
        None => Frame::Partial(whole),
    }
}

const NO_REQUEST: RequestId = RequestId { slot: 0, seq: 0 };

fn put(output: &mut KVVec<u8>, kind: Kind, word: u32, body: &[u8]) -> Result {
    let header = Header {
        kind,
        op: 0,
        len: body.len() as u32,
        word,
        id: NO_REQUEST,
        taken: 0,
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
        session: &Session<S>,
        input: &mut Input,
        output: &mut KVVec<u8>,
    ) -> Result<Result<Served, Next>> {
        let (header, body) = match frame(input.bytes(), MAX_BODY_UNAUTHENTICATED) {
            Frame::Whole(header, body) => (header, body),
            Frame::Partial(_) => return Ok(Err(Next::Receive(limits::STRANGER_INPUT))),
            Frame::Bad(errno) => return self.refuse(session, errno, output),
        };
        let used = HEADER_LEN + body.len();
        let step = match (header.kind, &self.said) {
            (Kind::Hello, None) => self.hello(session, body, output)?,
            (Kind::Proof, Some((hello, challenge, number))) => {
                proof(session, hello, challenge, *number, body, output)?.map(Some)
            }
            _ => Err(Errno::EPROTO),
        };
        match step {
            Ok(life) => {
                input.consume(used);
                Ok(life.ok_or(Next::Work))
            }
            Err(errno) => self.refuse(session, errno, output),
        }
    }

    fn refuse<S: Service>(
        &self,
        session: &Session<S>,
        errno: Errno,
        output: &mut KVVec<u8>,
    ) -> Result<Result<Served, Next>> {
        if session.hub.log.pass() {
            let name = errno.name();
            pr_warn!("port {}: {:?} refused: {name}\n", S::PORT, session.from);
        }
        put(output, Kind::Refuse, errno.to_wire(), b"")?;
        Ok(Err(Next::Finish))
    }

    fn hello<S: Service>(
        &mut self,
        session: &Session<S>,
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
            reserved: [0; 4],
            boot: session.hub.boot.into(),
            nonce: crypto::random(),
        };
        put(output, Kind::Challenge, 0, hello_bytes(&challenge))?;
        session.challenged();
        let number = session.hub.challenges.fetch_add(1, Relaxed) + 1;
        self.said = Some((hello, challenge, number));
        Ok(Ok(None))
    }
}

fn proof<S: Service>(
    session: &Session<S>,
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
        .life(peer, number, || service.peer_restarted(peer))?;
    put(output, Kind::Ready, 0, &mac(Side::Server))?;
    Ok(Ok(served))
}

/// A known node's requests.
pub(crate) struct Frames {
    life: Arc<Life>,
    /// This session's number.
    number: u64,
    /// Runs this session's work.
    waker: WorkHandle,
}

impl Frames {
    pub(crate) fn new(Served { life, session }: Served, waker: WorkHandle) -> Self {
        Frames {
            life,
            number: session,
            waker,
        }
    }

    /// Writes deferred replies that have come.
    pub(crate) fn feed(&self, output: &mut KVVec<u8>) -> Result {
        if !self.life.outbox.is_filled() {
            return Ok(());
        }
        // Held from taking a reply until it is stored: a repetition of its request by another
        // session comes before, and is not answered, or after.
        let mut replies = self.life.replies.lock();
        while output.len() < PIECE {
            let Some((id, reply)) = self.life.outbox.next(&self.waker) else {
                break;
            };
            if let Some(reply) = replies.finish_deferred(id, reply) {
                output.put_bytes(reply, GFP_KERNEL)?;
            }
        }
        Ok(())
    }

    /// Carries out the requests at hand.
    pub(crate) fn work<S: Service>(
        &mut self,
        session: &Session<S>,
        input: &mut Input,
        output: &mut Output,
    ) -> Result<Next> {
        loop {
            if session.is_over() {
                return Err(ECANCELED);
            }
            let used = match frame(input.bytes(), MAX_BODY) {
                Frame::Whole(header, body) if header.kind == Kind::Request => {
                    self.request(session, &header, body, output)?;
                    HEADER_LEN + body.len()
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
        session: &Session<S>,
        errno: Errno,
        output: &mut Output,
    ) -> Result<Next> {
        if session.hub.log.pass() {
            let (name, node) = (errno.name(), self.life.peer.node);
            pr_warn!("port {}: bad frame of node {node}: {name}\n", S::PORT);
        }
        put(&mut output.bytes, Kind::Refuse, errno.to_wire(), b"")?;
        Ok(Next::Finish)
    }

    /// Carries out one request, or finds what came of it before, and appends the reply.
    fn request<S: Service>(
        &self,
        session: &Session<S>,
        header: &Header,
        body: &[u8],
        output: &mut Output,
    ) -> Result {
        let service = &session.hub.service;
        let mut replies = self.life.replies.lock();
        if self.life.over.load(Relaxed) || self.life.session.load(Relaxed) != self.number {
            return Err(ESTALE);
        }
        let abandoned = match replies.arrive(header.id, header.taken) {
            Arrival::New { abandoned } => abandoned,
            Arrival::Again(reply) => {
                output.bytes.put_bytes(reply, GFP_KERNEL)?;
                return Ok(());
            }
            Arrival::Deferred => {
                self.life.outbox.attach(&self.waker);
                return Ok(());
            }
            Arrival::Stale => {
                return finish(header, output, output.bytes.len(), Err(Errno::EALREADY));
            }
        };
        if let Some(reply) = abandoned {
            if let Frame::Whole(old, body) = frame(&reply, MAX_BODY) {
                if old.word == 0 {
                    service.undo(old.op, body);
                }
            }
        }
        let start = output.bytes.len();
        let mut operations = S::OPERATIONS.iter().enumerate();
        let Some((index, operation)) = operations.find(|(_, o)| o.number == header.op) else {
            return finish(header, output, start, Err(Errno::EOPNOTSUPP));
        };
        // Memory for what has to be kept is taken before anything is done.
        output.bytes.reserve(HEADER_LEN, GFP_KERNEL)?;
        let kept = match operation.repeat {
            Repeat::Again => None,
            Repeat::Stored(longest) => {
                let max = longest(body).min(MAX_BODY);
                Some(KVVec::with_capacity(HEADER_LEN + max, GFP_KERNEL)?)
            }
        };
        let result = session
            .hub
            .stats
            .count(S::COMMANDS.len() + index, || {
                self.run(operation, service, header, body, output)
            })
            .map_err(to_wire);
        if let Ok(After::Deferred) = result {
            output.bytes.truncate(start);
            replies.defer(header.id);
            return Ok(());
        }
        finish(header, output, start, result.map(drop))?;
        if let (Some(mut kept), Some(reply)) = (kept, output.bytes.get(start..)) {
            // Fits unless the operation writes more than it has declared.
            if reply.len() <= kept.capacity() {
                kept.put_bytes(reply, GFP_KERNEL)?;
                replies.finish(header.id, kept);
            }
        }
        Ok(())
    }

    fn run<S: Service>(
        &self,
        operation: &Operation<S>,
        service: &S,
        header: &Header,
        request: &[u8],
        output: &mut Output,
    ) -> Result<After> {
        output.bytes.put_zeros(HEADER_LEN, GFP_KERNEL)?;
        let mut body = Body {
            start: output.bytes.len(),
            out: output,
            life: &self.life,
            session: &self.waker,
            header,
            is_deferred: false,
        };
        (operation.run)(service, self.life.peer, request, &mut body)?;
        Ok(match body.is_deferred {
            true => After::Deferred,
            false => After::Replied,
        })
    }
}

/// What an operation that has succeeded leaves.
enum After {
    Replied,
    Deferred,
}

/// Writes the header of the reply that begins at `start`; a failed one has no body.
fn finish(
    request: &Header,
    output: &mut Output,
    start: usize,
    result: Result<(), Errno>,
) -> Result {
    let word = match result {
        Ok(()) => 0,
        Err(errno) => {
            output.pages = None;
            output.bytes.truncate(start);
            output.bytes.put_zeros(HEADER_LEN, GFP_KERNEL)?;
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
    *header = Header {
        kind: Kind::Reply,
        op: request.op,
        len: (body.len() + pages) as u32,
        word,
        id: request.id,
        taken: 0,
    }
    .to_bytes();
    Ok(())
}
