// SPDX-License-Identifier: GPL-2.0

//! Datagrams between nodes, and the window of their counters.

use virgo_proto::datagram::{
    DatagramHeader, HEADER_LEN, MAX_BODY, MAX_LEN, RoundTrip, TAG_LEN, Window, signed_part,
};

/// A datagram; also counters that come one after the other, and round trips.
pub(crate) fn check(data: &[u8]) {
    if let Some((signed, tag)) = signed_part(data) {
        assert!(data.len() <= MAX_LEN);
        assert_eq!([signed, &tag.to_le_bytes()].concat(), data);
        if let Some((header, body)) = DatagramHeader::parse(signed) {
            assert!(body.len() <= MAX_BODY);
            assert_eq!([&header.to_bytes(), body].concat(), signed);
        }
    } else {
        assert!(data.len() < HEADER_LEN + TAG_LEN || data.len() > MAX_LEN);
    }
    let mut window = Window::new();
    let mut trip = RoundTrip::unknown();
    for number in data.chunks_exact(8) {
        let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
        window.accept(number);
        assert!(!window.accept(number), "{number} twice");
        trip = trip.measured(number as u32);
        assert!(trip.timeout_us((number >> 32) as u32) > 0);
    }
}
