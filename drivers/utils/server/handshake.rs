// SPDX-License-Identifier: GPL-2.0

//! The handshake: before the peer of a session has proven who it is.

use crate::{
    input::Input,
    params,
    server::{
        datagrams::DatagramSession,
        enrolled::Enrolled,
        frame::{
            frame,
            put,
            Frame, //
        },
        next::Next,
        peer::Peer,
        peers::Served, //
    },
    service::Service, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use linux::{
    crypto,
    datagram::Route,
    secret::wipe, //
};
use virgo_proto::{
    errno::Errno,
    frame::{
        FrameKind,
        MAX_BODY_UNAUTHENTICATED, //
    },
    handshake::{
        hello_bytes,
        transcript,
        Hello,
        Side,
        MAC_LEN, //
    }, //
};

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
        session: &Enrolled<S>,
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
        session: &Enrolled<S>,
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
        session: &Enrolled<S>,
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
    session: &Enrolled<S>,
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
        .incarnation(peer, number, session.from, |gone| service.peer_gone(gone))?;
    if hello.takes_datagrams() && challenge.takes_datagrams() && config.datagrams {
        let address = config.nodes.address(config.me).ok_or(EINVAL)?;
        let route = Route::new(address, S::PORT, session.from);
        let key = config.key.as_deref().unwrap_or_default();
        let datagrams = &session.hub.datagrams;
        // Without memory there are none: nobody answers the probe.
        if let Ok(mut known) = DatagramSession::new(config.me, &served, route, session.number) {
            let keys = known.keys();
            keys.derive(crypto::hmac_sha256, wipe, key, hello, challenge);
            datagrams.begin(known);
        }
        if session.is_over() || !session.hub.node.config().datagrams {
            // Whoever has ended the session, or all datagrams, may have come too early to end this.
            datagrams.end(node, session.number);
        }
    }
    put(output, FrameKind::Ready, 0, &mac(Side::Server))?;
    Ok(Ok(served))
}
