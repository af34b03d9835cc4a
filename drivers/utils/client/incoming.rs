// SPDX-License-Identifier: GPL-2.0

//! Replies in what a client has received.

use kernel::prelude::*;
use virgo_proto::{
    eventnet::TraceContext,
    frame::{
        FrameHeader,
        FrameKind,
        HEADER_LEN,
        MAX_BODY, //
    }, //
};

/// What is at the start of the input.
pub(crate) enum Incoming<'a> {
    /// A reply: its header, the trace context if it has one, and the body.
    Whole(FrameHeader, Option<TraceContext<'a>>, &'a [u8]),
    /// The start of one.
    Begun(FrameHeader),
    /// Less than that.
    Nothing,
}

/// Looks at the start of the input.
///
/// # Errors
///
/// [`EPROTO`] if that is no reply.
pub(crate) fn find(bytes: &[u8]) -> Result<Incoming<'_>> {
    let header = match FrameHeader::parse(bytes, MAX_BODY) {
        None => return Ok(Incoming::Nothing),
        Some(Ok(header)) if header.kind == FrameKind::Reply => header,
        Some(_) => return Err(EPROTO),
    };
    let Some(body) = bytes.get(HEADER_LEN..whole(&header)) else {
        return Ok(Incoming::Begun(header));
    };
    let (context, body) = TraceContext::of_frame(header.traced, body).ok_or(EPROTO)?;
    Ok(Incoming::Whole(header, context, body))
}

/// Bytes of a frame with this header, which was found good: so it is not too long.
pub(crate) fn whole(header: &FrameHeader) -> usize {
    HEADER_LEN + header.len as usize
}

/// Whether there is a whole reply at the start of the input.
pub(crate) fn has_reply(bytes: &[u8]) -> bool {
    matches!(find(bytes), Ok(Incoming::Whole(..)))
}
