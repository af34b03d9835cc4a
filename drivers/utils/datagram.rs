// SPDX-License-Identifier: GPL-2.0

//! Datagrams that are signed: what clients and servers share. Any context but hard interrupts.

use kernel::prelude::*;
use linux::{
    crypto,
    datagram::OutgoingDatagram, //
};
use virgo_proto::datagram::{
    DatagramHeader,
    HEADER_LEN,
    KEY_LEN,
    TAG_LEN, //
};

/// A datagram with room for the header, to which a body of up to `max` bytes is to be added.
///
/// # Errors
///
/// [`ENOMEM`].
pub(crate) fn begin(max: usize) -> Result<OutgoingDatagram> {
    let mut datagram = OutgoingDatagram::new(HEADER_LEN + max + TAG_LEN)?;
    datagram.put(&[0; HEADER_LEN])?;
    Ok(datagram)
}

/// Writes the header, and the tag of all behind it.
///
/// # Errors
///
/// [`EMSGSIZE`] if the body is longer than was said.
pub(crate) fn sign(
    datagram: &mut OutgoingDatagram,
    header: DatagramHeader,
    key: &[u8; KEY_LEN],
) -> Result {
    let bytes = datagram.bytes_mut();
    let place = bytes.first_chunk_mut().ok_or(EINVAL)?;
    *place = header.to_bytes();
    let tag = crypto::siphash(key, bytes);
    datagram.put(&tag.to_le_bytes())
}

/// Whether the sender knows `key`.
pub(crate) fn is_signed(signed: &[u8], tag: u64, key: &[u8; KEY_LEN]) -> bool {
    // One comparison takes the same time for all tags.
    crypto::siphash(key, signed) == tag
}
