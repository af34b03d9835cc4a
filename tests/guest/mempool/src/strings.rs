// SPDX-License-Identifier: GPL-2.0
//! The calls of 2017, which copy strings: `virgo_set` and `virgo_get`.

use crate::{raw, region::Region};
use rustix::io::Errno;
use std::ffi::CString;
use virgo::Allocation;

crate::tests![
    a_string_and_its_end,
    a_string_without_room_for_its_end,
    a_string_without_room,
    a_shorter_string_ends_a_longer_one,
    get_stops_at_the_first_nul,
    get_writes_no_more_than_the_allocation,
    strings_of_up_to_64_kib,
    strings_over_chunk_borders,
    a_string_through_the_library,
];

fn new(size: usize) -> u64 {
    Allocation::new(size as u64)
        .allocate()
        .expect("an allocation")
        .into()
}

/// A string of `len` bytes, each place different from its neighbours, with its NUL.
fn text(len: usize) -> Vec<u8> {
    let mut text: Vec<_> = (0..len).map(|at| b'a' + (at % 23) as u8).collect();
    text.push(0);
    text
}

/// Sets `text`, which ends with a NUL.
fn set(id: u64, text: &[u8]) -> raw::Outcome {
    raw::set(id, Region::new(text.len()).put_bytes(0, text))
}

/// Gets into `room` bytes that were `~` before, and returns them.
fn get(id: u64, room: usize) -> Vec<u8> {
    let region = Region::new(room);
    region.put_bytes(0, &vec![b'~'; room]);
    assert_eq!(raw::get(id, region.at(0)), Ok(0));
    region.bytes(0, room)
}

fn free(id: u64) {
    assert_eq!(raw::free(id), Ok(0));
}

fn a_string_and_its_end() {
    let id = new(8);
    virgo::set(id.into(), 0, b"--------").expect("set");
    assert_eq!(set(id, b"abc\0"), Ok(0));
    let mut content = [0; 8];
    assert_eq!(virgo::get(id.into(), 0, &mut content), Ok(8));
    assert_eq!(&content, b"abc\0----");
    assert_eq!(get(id, 6), b"abc\0~~");
    assert_eq!(set(id, b"\0"), Ok(0));
    assert_eq!(get(id, 3), b"\0~~");
    free(id);
}

fn a_string_without_room_for_its_end() {
    let id = new(3);
    assert_eq!(set(id, b"abc\0"), Ok(0));
    assert_eq!(get(id, 5), b"abc~~");
    free(id);
}

fn a_string_without_room() {
    for size in [3, 300, 60_000] {
        let id = new(size);
        let long = size + 1;
        assert_eq!(set(id, b"ab\0"), Ok(0));
        assert_eq!(
            set(id, &text(long)),
            Err(Errno::FBIG),
            "{long} bytes into {size}"
        );
        assert_eq!(get(id, 4), b"ab\0~", "changed by a call that failed");
        free(id);
    }
}

fn a_shorter_string_ends_a_longer_one() {
    let id = new(100);
    assert_eq!(set(id, &text(99)), Ok(0));
    assert_eq!(set(id, b"short\0"), Ok(0));
    assert_eq!(get(id, 7), b"short\0~");
    free(id);
}

fn get_stops_at_the_first_nul() {
    let id = new(1000);
    virgo::set(id.into(), 0, b"first\0second\0").expect("set");
    assert_eq!(get(id, 8), b"first\0~~");
    free(id);
}

fn get_writes_no_more_than_the_allocation() {
    for size in [1, 255, 256, 257, 65535, 65536, 65537, 131_072, 200_000] {
        let id = new(size);
        virgo::set(id.into(), 0, &vec![b'x'; size]).expect("set");
        let mut expected = vec![b'x'; size];
        expected.push(b'~');
        assert!(
            get(id, size + 1) == expected,
            "get of {size} bytes without a NUL"
        );
        free(id);
    }
}

fn strings_of_up_to_64_kib() {
    let id = new(80_000);
    // Around the sizes of the buffers that they go through.
    for len in [254, 255, 256, 257, 4095, 4096, 65534, 65535] {
        let text = text(len);
        assert_eq!(set(id, &text), Ok(0), "set of {len}");
        assert!(get(id, len + 1) == text, "get of {len}");
    }
    for len in [65536, 65537, 79_999] {
        assert_eq!(set(id, &text(len)), Err(Errno::MSGSIZE), "set of {len}");
    }
    assert!(
        get(id, 65536) == text(65535),
        "changed by a call that failed"
    );
    free(id);
}

/// The string is where no call but the sized one puts it: across the border of two chunks.
fn strings_over_chunk_borders() {
    let id = new(200_000);
    let long = text(150_000);
    virgo::set(id.into(), 0, &long).expect("set");
    assert!(get(id, long.len()) == long);
    free(id);
}

fn a_string_through_the_library() {
    let id = new(200_000).into();
    for len in [0, 1, 4095, 4096, 10_000] {
        let text = CString::from_vec_with_nul(text(len)).expect("one NUL");
        virgo::set_string(id, &text).expect("set");
        assert_eq!(virgo::get_string(id), Ok(text));
    }
    virgo::set(id, 0, &[b'x'; 200_000]).expect("set");
    assert_eq!(
        virgo::get_string(id).map(|text| text.count_bytes()),
        Ok(200_000)
    );
    virgo::free(id).expect("free");
}
