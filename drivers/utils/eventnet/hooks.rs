// SPDX-License-Identifier: GPL-2.0

//! Where calls, requests and replies become events. Each of these functions costs one predictable
//! branch while nothing of its kind is recorded.

pub(crate) use super::switch::is_on;
use super::{
    recorder::{
        self,
        ContextBytes,
        EventDraft, //
    },
    scope::{
        self,
        Current,
        Here,
        Scope, //
    },
    switch, //
};
use crate::reply::to_wire;
use kernel::prelude::*;
use virgo_proto::{
    eventnet::{
        event::{
            EventId,
            EventKind,
            Point, //
        },
        TraceContext, //
    },
    frame::{
        FrameHeader,
        RequestId, //
    },
    vuid::NodeId, //
};

/// What a task of this scope does next is caused by this; `None` if it is not to be recorded.
fn cause(here: Here) -> Option<Option<EventId>> {
    match here.current() {
        Current::None => switch::is_sampled().then_some(None),
        Current::Skipped => None,
        Current::Event(event) => Some(Some(event)),
    }
}

/// What led to the end of what `begin` has begun: the last event of the current task, if that is known.
fn last_or(begin: EventId) -> Option<EventId> {
    match scope::here().current() {
        Current::Event(event) => Some(event),
        Current::None | Current::Skipped => Some(begin),
    }
}

/// A call that a program or a person has made.
pub(crate) struct Called {
    id: Option<EventId>,
    kind: EventKind,
    op: u16,
    /// Its end is that of the call.
    _scope: Option<Scope>,
}

/// Something is called: operation `op` of a service, which has this name. Task context.
#[inline]
pub(crate) fn call(kind: EventKind, op: usize, name: &str) -> Option<Called> {
    match switch::is_on(kind) {
        true => Some(begin_call(kind, op, name)),
        false => None,
    }
}

#[cold]
fn begin_call(kind: EventKind, op: usize, name: &str) -> Called {
    let op = op as u16;
    let draft = |cause| EventDraft {
        op,
        cause,
        text: name.as_bytes(),
        ..EventDraft::new(kind, Point::Call)
    };
    let id = cause(scope::here()).and_then(|cause| recorder::record(&draft(cause), None));
    Called {
        id,
        kind,
        op,
        _scope: Scope::enter(id),
    }
}

impl Called {
    /// The call returns with this error, 0 for success.
    pub(crate) fn end(self, status: u32) {
        let Some(id) = self.id else {
            return;
        };
        let draft = EventDraft {
            op: self.op,
            status,
            begin: id.seq,
            cause: last_or(id),
            ..EventDraft::new(self.kind, Point::Return)
        };
        recorder::record(&draft, None);
    }
}

/// The error number of a result; 0 for success.
pub(crate) fn status<T>(result: &Result<T>) -> u32 {
    result
        .as_ref()
        .map_or_else(|e| to_wire(*e).to_wire(), |_| 0)
}

/// A request that was sent to another node.
///
/// Boxed, as it is moved about.
pub(crate) struct SentRequest(KBox<Sending>);

struct Sending {
    id: EventId,
    kind: EventKind,
    op: u16,
    peer: NodeId,
    request: RequestId,
    context: ContextBytes,
    /// The event that has sent the reply.
    reply: Option<EventId>,
}

/// A request is sent. May sleep.
#[inline]
pub(crate) fn send(
    kind: EventKind,
    op: u16,
    peer: NodeId,
    request: RequestId,
    bytes: usize,
) -> Option<SentRequest> {
    match switch::is_on(kind) {
        true => begin_send(kind, op, peer, request, bytes),
        false => None,
    }
}

#[cold]
fn begin_send(
    kind: EventKind,
    op: u16,
    peer: NodeId,
    request: RequestId,
    bytes: usize,
) -> Option<SentRequest> {
    let here = scope::here();
    let draft = EventDraft {
        op,
        peer,
        bytes: bytes as u32,
        about: request.to_wire(),
        cause: cause(here)?,
        ..EventDraft::new(kind, Point::Send)
    };
    let sending = Sending {
        id: EventId::default(),
        kind,
        op,
        peer,
        request,
        context: ContextBytes::new().ok()?,
        reply: None,
    };
    let mut sending = KBox::new(sending, GFP_KERNEL).ok()?;
    sending.id = recorder::record(&draft, Some(&mut sending.context))?;
    here.happened(sending.id);
    Some(SentRequest(sending))
}

impl SentRequest {
    /// For its frame.
    pub(crate) fn context(&self) -> &[u8] {
        self.0.context.bytes()
    }

    /// This event has sent the reply.
    pub(crate) fn replied(&mut self, by: Option<EventId>) {
        self.0.reply = by;
    }

    /// The reply is here, or nobody waits for it any more.
    #[cold]
    pub(crate) fn done(self, result: &Result) {
        let Sending {
            id,
            kind,
            op,
            peer,
            request,
            reply,
            ..
        } = *self.0;
        let draft = EventDraft {
            op,
            peer,
            status: status(result),
            about: request.to_wire(),
            begin: id.seq,
            cause: reply.or(Some(id)),
            ..EventDraft::new(kind, Point::Done)
        };
        if let Some(id) = recorder::record(&draft, None) {
            scope::here().happened(id);
        }
    }
}

/// A reply has arrived, perhaps one that another task waits for. Returns the event that has sent it.
#[inline]
pub(crate) fn reply_arrived(context: Option<TraceContext<'_>>) -> Option<EventId> {
    let context = context?;
    recorder::join(&context);
    Some(context.event)
}

/// A request of another node that has arrived.
///
/// Boxed, as it is moved about.
pub(crate) struct Received(KBox<Receiving>);

struct Receiving {
    id: EventId,
    kind: EventKind,
    op: u16,
    peer: NodeId,
    request: RequestId,
    /// For the frame of its reply.
    context: ContextBytes,
}

/// A request has arrived. It is recorded if its sender has recorded it. Task context.
#[inline]
pub(crate) fn receive(
    kind: EventKind,
    header: &FrameHeader,
    context: Option<TraceContext<'_>>,
    peer: NodeId,
) -> Option<Received> {
    let context = context?;
    match switch::is_on(kind) {
        true => begin_receive(kind, header, &context, peer),
        false => None,
    }
}

#[cold]
fn begin_receive(
    kind: EventKind,
    header: &FrameHeader,
    context: &TraceContext<'_>,
    peer: NodeId,
) -> Option<Received> {
    recorder::join(context);
    let draft = EventDraft {
        op: header.op,
        peer,
        bytes: header.len,
        about: header.id.to_wire(),
        cause: Some(context.event),
        ..EventDraft::new(kind, Point::Receive)
    };
    let receiving = Receiving {
        id: EventId::default(),
        kind,
        op: header.op,
        peer,
        request: header.id,
        context: ContextBytes::new().ok()?,
    };
    let mut receiving = KBox::new(receiving, GFP_KERNEL).ok()?;
    receiving.id = recorder::record(&draft, None)?;
    Some(Received(receiving))
}

impl Received {
    /// While the result exists, what the current task does is caused by the request. Task context.
    pub(crate) fn serve(&self) -> Serving {
        Serving(Scope::enter(Some(self.0.id)))
    }

    /// Bytes of the trace context of its reply.
    pub(crate) fn context_size(&self) -> usize {
        self.0.context.size()
    }

    /// The reply is sent, with this error, 0 for success, and so many bytes. Returns its trace context;
    /// none if recording has ended meanwhile.
    pub(crate) fn reply(mut self, status: u32, bytes: usize) -> Option<Replied> {
        let draft = EventDraft {
            op: self.0.op,
            peer: self.0.peer,
            status,
            bytes: bytes as u32,
            about: self.0.request.to_wire(),
            begin: self.0.id.seq,
            cause: last_or(self.0.id),
            ..EventDraft::new(self.0.kind, Point::Reply)
        };
        recorder::record(&draft, Some(&mut self.0.context))?;
        Some(Replied(self.0))
    }
}

/// A reply that is sent.
pub(crate) struct Replied(KBox<Receiving>);

impl Replied {
    /// The trace context of its frame.
    pub(crate) fn context(&self) -> &[u8] {
        self.0.context.bytes()
    }
}

/// While it exists, what the current task does is caused by a request.
#[expect(dead_code, reason = "exists to be dropped")]
pub struct Serving(Option<Scope>);
