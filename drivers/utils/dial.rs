// SPDX-License-Identifier: GPL-2.0

//! Reaching another node: connecting, and the client's side of the handshake.

use core::net::SocketAddrV4;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::{
    crypto,
    deadline::Deadline,
    net::Stream, //
};
use virgo_config::Node;
use virgo_proto::{
    frame::{
        Header,
        Kind,
        RequestId,
        HEADER_LEN,
        MAX_BODY_UNAUTHENTICATED, //
    },
    handshake::{
        hello_bytes,
        transcript,
        Hello,
        Side,
        MAC_LEN, //
    },
    vuid::NodeId, //
};

use crate::reply::from_wire;

/// A connection to an authenticated node.
pub(crate) struct Reached {
    pub(crate) stream: Arc<Stream>,
    /// Random number of the server's present life.
    pub(crate) boot: u64,
}

/// Connects to the service on `port` of node `peer`; `boot` names the client's life. Sleeps,
/// killably.
///
/// # Errors
///
/// [`ENODEV`] if no such node is configured; [`EHOSTDOWN`] if there is no such service at its
/// address, [`ETIMEDOUT`], [`EKEYREJECTED`] if one of the two does not know the key, [`EPERM`]
/// if the other does not know this node or is another one, [`EINTR`].
pub(crate) fn dial(
    node: &Node,
    peer: NodeId,
    port: u16,
    boot: u64,
    deadline: Deadline,
) -> Result<Reached> {
    let config = node.config();
    let address = config.nodes.address(peer).ok_or(ENODEV)?;
    let stream =
        Stream::connect(SocketAddrV4::new(address, port), deadline).map_err(|e| match e {
            EINTR | ETIMEDOUT | ENOMEM => e,
            _ => EHOSTDOWN,
        })?;
    let hello = Hello {
        node: u16::from(config.me).into(),
        port: port.into(),
        reserved: [0; 4],
        boot: boot.into(),
        nonce: crypto::random(),
    };
    tell(&stream, Kind::Hello, hello_bytes(&hello), deadline)?;
    let challenge: [u8; core::mem::size_of::<Hello>()] = hear(&stream, Kind::Challenge, deadline)?;
    let challenge = Hello::parse(&challenge).ok_or(EPROTO)?;
    if challenge.node.get() != u16::from(peer) || challenge.port.get() != port {
        pr_warn!(
            "{:?}:{} says it is node {} port {}, expected node {} port {}\n",
            address,
            port,
            challenge.node.get(),
            challenge.port.get(),
            peer,
            port
        );
        return Err(EPERM);
    }
    let mac = |side| match &config.key {
        Some(key) => crypto::hmac_sha256(key, &transcript(side, &hello, &challenge)),
        None => [0; MAC_LEN],
    };
    tell(&stream, Kind::Proof, &mac(Side::Client), deadline)?;
    let theirs: [u8; MAC_LEN] = hear(&stream, Kind::Ready, deadline)?;
    if config.key.is_some() && !crypto::equal(&theirs, &mac(Side::Server)) {
        pr_warn!("node {peer} at {address:?} does not know the key\n");
        return Err(EKEYREJECTED);
    }
    Ok(Reached {
        stream: Arc::new(stream, GFP_KERNEL)?,
        boot: challenge.boot.get(),
    })
}

fn tell(stream: &Stream, kind: Kind, body: &[u8], deadline: Deadline) -> Result {
    let header = Header {
        kind,
        op: 0,
        len: body.len() as u32,
        word: 0,
        id: RequestId { slot: 0, seq: 0 },
        taken: 0,
    };
    send_all(stream, &header.to_bytes(), body, deadline)
}

/// Receives a frame that must be of this kind and size.
fn hear<const N: usize>(stream: &Stream, kind: Kind, deadline: Deadline) -> Result<[u8; N]> {
    let mut header = [0; HEADER_LEN];
    receive_all(stream, &mut header, deadline)?;
    let header = match Header::parse(&header, MAX_BODY_UNAUTHENTICATED) {
        Some(Ok(header)) => header,
        Some(Err(bad)) => return Err(from_wire(bad.errno().to_wire())),
        None => return Err(EPROTO),
    };
    if header.kind == Kind::Refuse {
        return Err(from_wire(header.word));
    }
    if header.kind != kind || header.len as usize != N {
        return Err(EPROTO);
    }
    let mut body = [0; N];
    receive_all(stream, &mut body, deadline)?;
    Ok(body)
}

fn receive_all(stream: &Stream, buffer: &mut [u8], deadline: Deadline) -> Result {
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
        if !stream.wait_readable(deadline)? {
            return Err(ETIMEDOUT);
        }
        match stream.receive(rest)? {
            Some(0) => return Err(ECONNRESET),
            Some(n) => filled += n,
            None => (),
        }
    }
    Ok(())
}

/// Sends all of `head` and `body`. Sleeps, killably.
///
/// # Errors
///
/// [`ETIMEDOUT`], [`EINTR`], or what broke the connection. Some bytes may have gone then, so
/// nothing else can be sent on it.
pub(crate) fn send_all(
    stream: &Stream,
    mut head: &[u8],
    mut body: &[u8],
    deadline: Deadline,
) -> Result {
    loop {
        if let Some(n) = stream.send(head, body, false)? {
            let of_head = n.min(head.len());
            head = head.get(of_head..).unwrap_or_default();
            body = body.get(n - of_head..).unwrap_or_default();
            if head.is_empty() && body.is_empty() {
                return Ok(());
            }
        }
        if !stream.wait_writable(deadline)? {
            return Err(ETIMEDOUT);
        }
    }
}
