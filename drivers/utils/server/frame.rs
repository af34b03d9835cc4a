// SPDX-License-Identifier: GPL-2.0

//! A frame at the start of what was received, and frames of the handshake to be sent.

use crate::clock;
use kernel::prelude::*;
use linux::bytes::Fill;
use virgo_proto::{
    errno::Errno,
    eventnet::TraceContext,
    frame::{
        FrameHeader,
        FrameKind,
        RequestId,
        HEADER_LEN, //
    }, //
};

/// A frame at the start of the input.
pub(crate) enum Frame<'a> {
    /// It is here: its header, the trace context if it has one, the body, and the bytes of all.
    Whole(FrameHeader, Option<TraceContext<'a>>, &'a [u8], usize),
    /// The frame will have this many bytes, as far as is known.
    Partial(usize),
    /// It is none.
    Bad(Errno),
}

pub(crate) fn frame(bytes: &[u8], max_body: usize) -> Frame<'_> {
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
    match TraceContext::of_frame(header.traced, body) {
        Some((context, body)) => Frame::Whole(header, context, body, whole),
        None => Frame::Bad(Errno::EPROTO),
    }
}

const NO_REQUEST: RequestId = RequestId { slot: 0, seq: 0 };

pub(crate) fn put(output: &mut KVVec<u8>, kind: FrameKind, word: u32, body: &[u8]) -> Result {
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
