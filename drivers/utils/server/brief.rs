// SPDX-License-Identifier: GPL-2.0

//! Requests that come as datagrams, answered where they arrive: in softirq, without a task. What cannot be
//! done there is declined, and the client asks by the connection.
//!
//! Slots, numbers and stored replies are those of the connection, under the same lock: a request that
//! comes both ways is done once.

use crate::{
    clock,
    datagram,
    eventnet::hooks,
    reply::to_wire,
    server::{
        datagrams::DatagramSession,
        hub::Hub,
        peers::StoredReplies, //
    },
    service::{
        BriefReply,
        BriefRequest,
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
    datagram::{
        Datagram,
        DatagramSource,
        OutgoingDatagram,
        Receive,
        Softirq, //
    },
    trace::{
        self,
        TraceEvent, //
    }, //
};
use virgo_proto::{
    datagram::{
        signed_part,
        DatagramHeader,
        DatagramKind,
        HEADER_LEN,
        MAX_BODY, //
    },
    errno::Errno,
    eventnet::event,
    frame,
    slots::Arrival, //
};

/// Gets the datagrams of a service's port: those for the server, and the replies to this node's own
/// requests.
pub(crate) struct DatagramReceiver<S: Service>(pub(crate) Arc<Hub<S>>);

impl<S: Service> Receive for DatagramReceiver<S> {
    fn receive(&self, context: &Softirq, datagram: Datagram, source: DatagramSource) {
        let Some(signed) = signed_part(datagram.bytes()) else {
            return;
        };
        let Some((header, body)) = DatagramHeader::parse(signed.0) else {
            return;
        };
        if header.kind.is_for_server() {
            self.request(context, &header, body, signed, &source);
        } else if let Some(client) = self.0.service.client() {
            client.receive(&header, signed.1, datagram, &source);
        }
    }
}

impl<S: Service> DatagramReceiver<S> {
    fn request(
        &self,
        context: &Softirq,
        header: &DatagramHeader,
        body: &[u8],
        signed: (&[u8], u64),
        source: &DatagramSource,
    ) {
        let Some(mut place) = self.0.datagrams.lock(header, source, context) else {
            return;
        };
        let mut session = place.as_mut();
        let is_good = session
            .as_mut()
            .is_some_and(|session| session.accepts(header, signed, source));
        let Some(session) = session.filter(|_| is_good) else {
            self.0.datagrams.refused.fetch_add(1, Relaxed);
            return;
        };
        clock::receive(header.stamp);
        let port = source.from.port();
        let answered = match header.kind {
            DatagramKind::Probe => {
                datagram::begin(0).map(|body| (DatagramKind::Echo, header.word, body))
            }
            _ => match self.carry_out(context, session, header, body) {
                Some((word, body)) => Ok((DatagramKind::Reply, word, body)),
                None => datagram::begin(0).map(|body| (DatagramKind::Decline, 0, body)),
            },
        };
        let sent =
            answered.and_then(|(kind, word, body)| session.answer(kind, word, header, body, port));
        // Whatever else is lost the client asks for again.
        if let Err(EMSGSIZE) = sent {
            let _ = datagram::begin(0)
                .and_then(|body| session.answer(DatagramKind::Decline, 0, header, body, port));
        }
    }

    /// Carries out a request, or finds what came of it before. Returns the error number and the body of the
    /// reply; `None` if that cannot be done here.
    fn carry_out(
        &self,
        context: &Softirq,
        session: &DatagramSession,
        header: &DatagramHeader,
        body: &[u8],
    ) -> Option<(u32, OutgoingDatagram)> {
        // What is recorded is recorded by tasks.
        if hooks::is_on(event::EventKind::of_port(S::PORT)) {
            return None;
        }
        let mut operations = S::OPERATIONS.iter().enumerate();
        let operation = operations.find(|(_, o)| o.number == header.op);
        let brief = S::BRIEF.iter().find(|brief| brief.number == header.op);
        // A service has no operation that is brief only.
        let todo = match (operation, brief) {
            (Some((index, operation)), Some(brief)) => Some((index, operation.repeat, brief.run)),
            (Some(_), None) => return None,
            (None, _) => None,
        };
        let mut replies = session.incarnation.try_replies_briefly(context)?;
        // Another session may have been served since, or another incarnation begun.
        if !session.is_served() {
            return None;
        }
        // To undo something may take long.
        if replies.would_abandon(header.id, header.taken) {
            return None;
        }
        let mut reply = BriefReply {
            out: datagram::begin(MAX_BODY).ok()?,
        };
        match replies.arrive(header.id, header.taken) {
            Arrival::New { .. } => (),
            Arrival::Again(stored) => return again(stored, reply.out),
            Arrival::Deferred => return None,
            Arrival::Stale => return Some((Errno::EALREADY.to_wire(), reply.out)),
        }
        let Some((index, repeat, run)) = todo else {
            return Some((Errno::EOPNOTSUPP.to_wire(), reply.out));
        };
        // Memory for what has to be kept is taken before anything is done.
        let kept = match repeat {
            Repeat::Again => None,
            Repeat::Stored(longest) => {
                let size = frame::HEADER_LEN + longest(body).min(MAX_BODY);
                Some(KVVec::with_capacity(size, GFP_ATOMIC | __GFP_NOWARN).ok()?)
            }
        };
        let began = trace::serve_is_on().then(Instant::<Monotonic>::now);
        let peer = session.incarnation.peer;
        let request = BriefRequest {
            peer,
            me: session.me,
            body,
        };
        let stats = &self.0.stats;
        let result = stats.count_some(S::COMMANDS.len() + index, || {
            run(&self.0.service, &request, &mut reply)
        })?;
        trace::serve(|| {
            let event = TraceEvent {
                node: peer.node.into(),
                port: S::PORT.into(),
                op: header.op.into(),
                id: session.number,
                size: body.len() as u64,
                ..TraceEvent::default()
            };
            event.ended(&result, began)
        });
        let mut out = reply.out;
        let word = result.map_or_else(|e| to_wire(e).to_wire(), |()| 0);
        if word != 0 {
            out.truncate(HEADER_LEN);
        }
        if let Some(kept) = kept {
            keep(&mut replies, header, word, &out, kept);
        }
        Some((word, out))
    }
}

/// The reply that was stored, as a frame.
fn again(stored: &[u8], mut reply: OutgoingDatagram) -> Option<(u32, OutgoingDatagram)> {
    let header = frame::FrameHeader::parse(stored, frame::MAX_BODY)?.ok()?;
    // One that was recorded, or is too long, goes as it was made.
    if header.traced {
        return None;
    }
    let body = stored.get(frame::HEADER_LEN..)?;
    (body.len() <= MAX_BODY).then_some(())?;
    reply.put(body).ok()?;
    Some((header.word, reply))
}

/// Stores a reply, as a frame, for repetitions of its request. There is room for it in `kept`, unless the
/// operation writes more than it has declared: then it is not stored, as of one that comes by the
/// connection.
fn keep(
    replies: &mut StoredReplies,
    request: &DatagramHeader,
    word: u32,
    reply: &OutgoingDatagram,
    mut kept: KVVec<u8>,
) {
    let body = reply.bytes().get(HEADER_LEN..).unwrap_or_default();
    if frame::HEADER_LEN + body.len() > kept.capacity() {
        return;
    }
    let header = frame::FrameHeader {
        kind: frame::FrameKind::Reply,
        op: request.op,
        len: body.len() as u32,
        word,
        id: request.id,
        taken: 0,
        stamp: clock::now(),
        traced: false,
    };
    let put = kept
        .put_bytes(&header.to_bytes(), GFP_ATOMIC)
        .and_then(|()| kept.put_bytes(body, GFP_ATOMIC));
    if put.is_ok() {
        replies.finish(request.id, kept);
    }
}
