// SPDX-License-Identifier: GPL-2.0

//! A connection to another node: TCP, and the client's side of the handshake.

use core::net::{
    Ipv4Addr,
    SocketAddrV4, //
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    }, //
};
use linux::{
    crypto,
    datagram::Route,
    deadline::Deadline,
    net::Stream,
    secret::wipe, //
};
use virgo_config::{
    Config,
    Node,
    Party, //
};
use virgo_proto::{
    frame::{
        FrameHeader,
        FrameKind,
        RequestId,
        HEADER_LEN,
        MAX_BODY_UNAUTHENTICATED, //
    },
    handshake::{
        hello_bytes,
        transcript,
        Hello,
        Side,
        DATAGRAMS,
        MAC_LEN, //
    },
    vuid::NodeId, //
};

use crate::{
    client::{
        datagram_link::DatagramLink,
        request::Data, //
    },
    clock,
    reply::{
        from_wire,
        to_wire, //
    }, //
};

/// A connection to an authenticated node.
pub(crate) struct Reached {
    pub(crate) stream: Arc<Stream>,
    /// Random number of the server's present incarnation.
    pub(crate) boot: u64,
    pub(crate) origin: ConnectionParams,
    /// If both sides take datagrams.
    pub(crate) datagrams: Option<Arc<DatagramLink>>,
}

/// What a client says of itself.
#[derive(Clone, Copy)]
pub(crate) struct ClientInfo {
    /// Random number of its incarnation.
    pub(crate) boot: u64,
    /// The service has its port for datagrams here.
    pub(crate) takes_datagrams: bool,
}

/// What a connection was made with: a reload that changes it ends the connection.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionParams {
    /// The address of the other node.
    address: Ipv4Addr,
    /// Its number, and the key that both have proven.
    party: Party,
    /// Whether datagrams were wanted.
    datagrams: bool,
}

impl ConnectionParams {
    /// Whether `config` would make the same connection.
    pub(crate) fn is_admitted_by(&self, config: &Config) -> bool {
        config.admits(self.address, &self.party) && config.datagrams == self.datagrams
    }
}

/// Connects to the service on `port` of node `peer`. Sleeps, at most until `deadline`. The socket belongs to
/// the current task: its credentials and cgroups.
///
/// Whoever has the port may say anything, as long as nothing is proven: why it has failed is logged, and
/// never taken for what the node has answered.
///
/// # Errors
///
/// [`ENODEV`] if no such node is configured; [`EKEYREJECTED`] if one of the two does not know the key;
/// [`EPERM`] if the other does not know this node or is another one; [`ENOMEM`]; everything else is
/// [`EHOSTDOWN`]: there is no such service at its address, it does not answer in time, or speaks another
/// version.
pub(crate) fn connect(
    node: &Node,
    peer: NodeId,
    port: u16,
    me: ClientInfo,
    deadline: Deadline,
) -> Result<Reached> {
    let config = node.config();
    let address = config.nodes.address(peer).ok_or(ENODEV)?;
    let at = SocketAddrV4::new(address, port);
    shake_hands(&config, peer, at, me, deadline).map_err(|e| match e {
        Failed::Here(ENOMEM) => ENOMEM,
        Failed::There(e @ (EKEYREJECTED | EPERM)) => e,
        Failed::Here(EHOSTDOWN | ETIMEDOUT) => EHOSTDOWN,
        Failed::Here(e) | Failed::There(e) => {
            // By the name that documents have, also on kernels that print numbers.
            let why = to_wire(e).name();
            pr_warn!("node {peer} at {at:?} is not reached: {why}\n");
            EHOSTDOWN
        }
    })
}

/// Why a connection was not made.
enum Failed {
    /// This node says so.
    Here(Error),
    /// Who is at the address says so, or does not speak as a node does.
    There(Error),
}

impl From<Error> for Failed {
    fn from(e: Error) -> Self {
        Failed::Here(e)
    }
}

impl From<AllocError> for Failed {
    fn from(e: AllocError) -> Self {
        Failed::Here(e.into())
    }
}

fn shake_hands(
    config: &Config,
    peer: NodeId,
    at: SocketAddrV4,
    me: ClientInfo,
    deadline: Deadline,
) -> Result<Reached, Failed> {
    let (address, port) = (*at.ip(), at.port());
    let stream = Stream::connect(at, deadline).map_err(not_there)?;
    let features = match me.takes_datagrams && config.datagrams {
        true => DATAGRAMS,
        false => 0,
    };
    let hello = Hello {
        node: u16::from(config.me).into(),
        port: port.into(),
        features: features.into(),
        boot: me.boot.into(),
        nonce: crypto::random(),
    };
    send_frame(&stream, FrameKind::Hello, hello_bytes(&hello), deadline)?;
    let challenge: [u8; core::mem::size_of::<Hello>()] =
        receive_frame(&stream, FrameKind::Challenge, deadline)?;
    let challenge = Hello::parse(&challenge).ok_or(Failed::There(EPROTO))?;
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
        return Err(Failed::There(EPERM));
    }
    let mac = |side| match &config.key {
        Some(key) => crypto::hmac_sha256(key, &transcript(side, &hello, &challenge)),
        None => [0; MAC_LEN],
    };
    send_frame(&stream, FrameKind::Proof, &mac(Side::Client), deadline)?;
    let theirs: [u8; MAC_LEN] = receive_frame(&stream, FrameKind::Ready, deadline)?;
    if config.key.is_some() && !crypto::equal(&theirs, &mac(Side::Server)) {
        pr_warn!("node {peer} at {address:?} does not know the key\n");
        return Err(Failed::There(EKEYREJECTED));
    }
    let datagrams = match hello.takes_datagrams() && challenge.takes_datagrams() {
        true => {
            let own = config.nodes.address(config.me).ok_or(EINVAL)?;
            let route = Route::new(own, port, address);
            let key = config.key.as_deref().unwrap_or_default();
            let datagrams = DatagramLink::new(config.me, route, port);
            // Without memory there are none.
            UniqueArc::new(datagrams, GFP_KERNEL)
                .ok()
                .map(|mut datagrams| {
                    let keys = datagrams.keys();
                    keys.derive(crypto::hmac_sha256, wipe, key, &hello, &challenge);
                    Arc::from(datagrams)
                })
        }
        false => None,
    };
    Ok(Reached {
        stream: Arc::new(stream, GFP_KERNEL)?,
        boot: challenge.boot.get(),
        origin: ConnectionParams {
            address,
            party: config.node_party(peer),
            datagrams: config.datagrams,
        },
        datagrams,
    })
}

/// The error of a call whose connection could not be made for reason `e`.
fn not_there(e: Error) -> Error {
    match e {
        ETIMEDOUT | ENOMEM => e,
        _ => EHOSTDOWN,
    }
}

fn send_frame(stream: &Stream, kind: FrameKind, body: &[u8], deadline: Deadline) -> Result {
    let header = FrameHeader {
        kind,
        op: 0,
        len: body.len() as u32,
        word: 0,
        id: RequestId { slot: 0, seq: 0 },
        taken: 0,
        stamp: clock::now(),
        traced: false,
    };
    send_all(
        stream,
        &header.to_bytes(),
        Data::Bytes(body),
        &mut 0,
        || match stream.wait_writable(deadline)? {
            true => Ok(()),
            false => Err(ETIMEDOUT),
        },
    )
    .map_err(not_there)
}

/// Receives a frame that must be of this kind and size.
fn receive_frame<const N: usize>(
    stream: &Stream,
    kind: FrameKind,
    deadline: Deadline,
) -> Result<[u8; N], Failed> {
    let header = receive_all::<HEADER_LEN>(stream, deadline)?;
    let header = match FrameHeader::parse(&header, MAX_BODY_UNAUTHENTICATED) {
        Some(Ok(header)) => header,
        Some(Err(bad)) => return Err(Failed::There(from_wire(bad.errno().to_wire()))),
        None => return Err(Failed::There(EPROTO)),
    };
    if header.kind == FrameKind::Refuse {
        return Err(Failed::There(from_wire(header.word)));
    }
    if header.kind != kind || header.len as usize != N {
        return Err(Failed::There(EPROTO));
    }
    Ok(receive_all(stream, deadline)?)
}

fn receive_all<const N: usize>(stream: &Stream, deadline: Deadline) -> Result<[u8; N]> {
    let mut bytes = KVVec::new();
    loop {
        if let Ok(all) = <[u8; N]>::try_from(&bytes[..]) {
            return Ok(all);
        }
        if !stream.wait_readable(deadline)? {
            return Err(ETIMEDOUT);
        }
        let missing = N - bytes.len();
        if stream.receive(&mut bytes, missing).map_err(not_there)? == Some(0) {
            return Err(EHOSTDOWN);
        }
    }
}

/// Sends all of `head` and `data`; `wait` returns when there may be room to go on. Counts in `sent`
/// how many bytes have gone.
///
/// # Errors
///
/// Those of `wait`, or what broke the connection. If some bytes have gone then, nothing else can be
/// sent before the others.
pub(crate) fn send_all(
    stream: &Stream,
    head: &[u8],
    data: Data<'_>,
    sent: &mut usize,
    mut wait: impl FnMut() -> Result,
) -> Result {
    while *sent < head.len() + data.size() {
        let head_left = head.get(*sent..).unwrap_or_default();
        let data_sent = sent.saturating_sub(head.len());
        let n = match data {
            Data::Bytes(bytes) => {
                stream.send(head_left, bytes.get(data_sent..).unwrap_or_default(), false)?
            }
            Data::Pages(_) if !head_left.is_empty() => stream.send(head_left, b"", true)?,
            Data::Pages(pages) => stream.send_pages(pages, data_sent)?,
        };
        match n {
            Some(n) => *sent += n,
            None => wait()?,
        }
    }
    Ok(())
}
