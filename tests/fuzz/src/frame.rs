// SPDX-License-Identifier: GPL-2.0

//! Headers of frames and what the handshake says.

use virgo_proto::{
    eventnet::MAX_CONTEXT,
    frame::{FrameHeader, HEADER_LEN, HeaderError},
    handshake::{DATAGRAMS, HELLO_LEN, Hello, hello_bytes},
};

/// The first two bytes are the limit for the body, the rest is from the wire.
pub(crate) fn check(data: &[u8]) {
    let Some((limit, bytes)) = data.split_first_chunk() else {
        return;
    };
    let limit = usize::from(u16::from_le_bytes(*limit));
    match FrameHeader::parse(bytes, limit) {
        None => assert!(bytes.len() < HEADER_LEN),
        Some(Ok(header)) => {
            let context = if header.traced { MAX_CONTEXT } else { 0 };
            assert!(header.len as usize <= limit + context);
            assert_eq!(header.to_bytes(), bytes[..HEADER_LEN]);
        }
        Some(Err(bad)) => {
            if let HeaderError::Length(len) = bad {
                assert!(len as usize > limit);
            }
            assert_ne!(bad.errno().to_wire(), 0);
        }
    }
    if let Some(hello) = Hello::parse(bytes) {
        assert_eq!(bytes.len(), HELLO_LEN);
        assert_eq!(hello_bytes(&hello), bytes);
        assert_eq!(hello.features.get() & !DATAGRAMS, 0);
    }
}
