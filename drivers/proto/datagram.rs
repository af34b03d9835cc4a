// SPDX-License-Identifier: GPL-2.0

//! Requests and replies as datagrams: a second way for what is short, beside the connection of two nodes.
//!
//! A request has the same slot and number whichever way it goes, so that it may go both ways, and is done
//! once all the same: see [`crate::slots`]. The connection comes first: its handshake yields the keys
//! ([`Keys`]) by which each datagram is signed, one for each direction, and datagrams under them are
//! good for as long as the connection is.
//!
//! Nothing here is I/O: the layout ([`DatagramHeader`]), keys, the window of a receiver that refuses repetitions
//! ([`Window`]), the time after which a sender repeats ([`RoundTrip`]), whether datagrams get through
//! at all ([`Carrier`]), and whether they may overtake the connection ([`StreamOrder`]).

mod carrier;
mod header;
mod keys;
mod round_trip;
mod stream_order;
mod window;

pub use carrier::{Carrier, Way};
pub use header::{
    signed_part, DatagramHeader, DatagramKind, HEADER_LEN, MAX_BODY, MAX_LEN, TAG_LEN,
};
pub use keys::{Keys, KEY_LEN};
pub use round_trip::RoundTrip;
pub use stream_order::StreamOrder;
pub use window::Window;
