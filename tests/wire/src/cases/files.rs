// SPDX-License-Identifier: GPL-2.0

//! What other nodes ask of the file service, in frames.

use super::{Suite, suite};
use crate::{
    node::{CLOUDFS, Node},
    peer::Peer,
};
use std::io;
use virgo_proto::{
    cloudfs::{MAX_CLOSE, op},
    errno::Errno,
};

pub(super) const SUITE: Suite = suite![many_are_closed_at_once,];

fn many_are_closed_at_once(node: &Node) -> io::Result<()> {
    let mut peer = Peer::open_at(node, CLOUDFS, fastrand::u64(..))?;
    let handle = 1u64.to_le_bytes();
    let most = handle.repeat(MAX_CLOSE);
    // What is not open is closed.
    assert_eq!(peer.ask(op::CLOSE, &most)?, Ok(vec![]));
    assert_eq!(peer.ask(op::CLOSE, b"")?, Ok(vec![]));
    let more = [&most[..], &handle].concat();
    assert_eq!(peer.ask(op::CLOSE, &more)?, Err(Errno::EMSGSIZE));
    assert_eq!(peer.ask(op::CLOSE, &most[1..])?, Err(Errno::EINVAL));
    Ok(())
}
