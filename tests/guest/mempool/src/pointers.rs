// SPDX-License-Identifier: GPL-2.0
//! Addresses that are not the caller's. Every such call fails, and changes nothing.

use crate::{
    raw::{self, Call},
    region::{Address, KERNEL, NULL, PAGE, Region},
};
use rustix::io::Errno;
use virgo::{
    Allocation,
    abi::{DataArgs, FreeArgs, MallocArgs},
};

crate::tests![
    where_malloc_puts_the_id,
    strings_to_set,
    a_string_that_ends_where_the_page_does,
    where_get_puts_the_string,
    structures,
    read_only_structures,
    data_to_set,
    where_get_puts_the_data,
    ranges_with_a_hole_far_behind,
    no_data_at_no_address,
];

const SIZE: usize = 100;

fn new(size: usize) -> u64 {
    Allocation::new(size as u64)
        .allocate()
        .expect("an allocation")
        .into()
}

fn content(id: u64, size: usize) -> Vec<u8> {
    let mut content = vec![0xee; size];
    assert_eq!(virgo::get(id.into(), 0, &mut content), Ok(size));
    content
}

/// Addresses where the kernel can neither read nor write.
fn inaccessible(region: &Region) -> Vec<Address> {
    let mut bad = vec![NULL, region.end()];
    bad.extend(KERNEL);
    bad
}

/// Addresses where the kernel cannot write `len` bytes.
fn not_writable(region: &Region, read_only: &Region, len: usize) -> Vec<Address> {
    let mut bad = inaccessible(region);
    bad.extend([read_only.at(0), region.last(len - 1), region.last(1)]);
    bad
}

fn where_malloc_puts_the_id() {
    let region = Region::new(PAGE);
    let read_only = Region::new(PAGE).read_only();
    for id in not_writable(&region, &read_only, 8) {
        assert_eq!(raw::malloc(100, id), Err(Errno::FAULT), "{id:x?}");
    }
}

fn strings_to_set() {
    let region = Region::new(2 * PAGE);
    region.put_bytes(0, &[b'x'; 2 * PAGE]);
    let id = new(3 * PAGE);
    let mut bad = inaccessible(&region);
    // No NUL before the page ends.
    bad.extend([1, 7, 255, 256, 257, 2 * PAGE].map(|len| region.last(len)));
    for data in bad {
        assert_eq!(raw::set(id, data), Err(Errno::FAULT), "{data:x?}");
    }
    assert_eq!(content(id, 3 * PAGE), [0; 3 * PAGE]);
    assert_eq!(raw::free(id), Ok(0));
}

fn a_string_that_ends_where_the_page_does() {
    let region = Region::new(PAGE);
    let id = new(PAGE);
    for len in [0, 1, 6, 254, 255, 256, 257, PAGE - 1] {
        region.put_bytes(0, &[b'x'; PAGE]);
        region.put_last(0u8);
        assert_eq!(raw::set(id, region.last(len + 1)), Ok(0), "set of {len}");
        region.put_bytes(0, &[b'y'; PAGE]);
        assert_eq!(raw::get(id, region.last(len + 1)), Ok(0), "get of {len}");
        let mut expected = vec![b'x'; len];
        expected.push(0);
        assert_eq!(region.bytes(PAGE - len - 1, len + 1), expected);
    }
    let read_only = region.read_only();
    assert_eq!(
        raw::set(id, read_only.at(0)),
        Ok(0),
        "set from a read-only page"
    );
    assert_eq!(raw::free(id), Ok(0));
}

fn where_get_puts_the_string() {
    let region = Region::new(PAGE);
    let read_only = Region::new(PAGE).read_only();
    for len in [20, 300, 3000] {
        let id = new(PAGE);
        virgo::set(id.into(), 0, &vec![b'x'; len]).expect("set");
        for data in not_writable(&region, &read_only, len + 1) {
            assert_eq!(
                raw::get(id, data),
                Err(Errno::FAULT),
                "{len} bytes to {data:x?}"
            );
        }
        assert_eq!(raw::free(id), Ok(0));
    }
}

fn structures() {
    let region = Region::new(PAGE);
    for call in Call::ALL {
        let size = call.size();
        let mut bad = inaccessible(&region);
        bad.extend([1, 8, size - 1].map(|len| region.last(len)));
        for args in bad {
            assert_eq!(
                call.call(args, size),
                Err(Errno::FAULT),
                "{call:?} {args:x?}"
            );
        }
        // The structure is there, what a newer version has behind it is not.
        let args = region.last(size);
        assert_eq!(
            call.call(args, size + 8),
            Err(Errno::FAULT),
            "{call:?} {args:x?}"
        );
    }
}

fn read_only_structures() {
    let region = Region::new(PAGE);
    let malloc = MallocArgs {
        size: SIZE as u64,
        ..MallocArgs::default()
    };
    region.put(0, malloc);
    let region = region.read_only();
    // The id cannot be told, so nothing may stay allocated.
    assert_eq!(
        Call::Malloc.call(region.at(0), size_of_val(&malloc)),
        Err(Errno::FAULT)
    );

    let id = new(SIZE);
    let region = Region::new(PAGE);
    let free = FreeArgs {
        id,
        ..FreeArgs::default()
    };
    region.put(0, free);
    let region = region.read_only();
    assert_eq!(Call::Free.call(region.at(0), size_of_val(&free)), Ok(0));
}

fn data2(call: Call, id: u64, offset: usize, data: Address, len: usize) -> raw::Outcome {
    let args = DataArgs {
        id,
        offset: offset as u64,
        len: len as u64,
        data: data.number(),
        ..DataArgs::default()
    };
    call.call(Region::new(PAGE).put(0, args), size_of_val(&args))
}

fn data_to_set() {
    let region = Region::new(2 * PAGE);
    region.put_bytes(0, &[b'x'; 2 * PAGE]);
    let size = 3 * PAGE;
    let id = new(size);
    let mut bad = inaccessible(&region);
    bad.extend([1, PAGE, 2 * PAGE].map(|len| region.last(len)));
    for data in bad {
        assert_eq!(
            data2(Call::Set, id, 0, data, size),
            Err(Errno::FAULT),
            "{data:x?}"
        );
    }
    assert_eq!(
        content(id, size),
        vec![0; size],
        "changed by a call that failed"
    );
    assert_eq!(
        data2(Call::Set, id, 0, region.last(7), 7),
        Ok(7),
        "up to the end of a page"
    );
    let region = region.read_only();
    assert_eq!(
        data2(Call::Set, id, 0, region.at(0), PAGE),
        Ok(PAGE),
        "from a read-only page"
    );
    assert_eq!(raw::free(id), Ok(0));
}

fn where_get_puts_the_data() {
    let region = Region::new(2 * PAGE);
    let read_only = Region::new(2 * PAGE).read_only();
    let size = 2 * PAGE;
    let id = new(size);
    for len in [8, 300, size] {
        for data in not_writable(&region, &read_only, len) {
            let outcome = data2(Call::Get, id, 0, data, len);
            assert_eq!(outcome, Err(Errno::FAULT), "{len} bytes to {data:x?}");
        }
        assert_eq!(data2(Call::Get, id, 0, region.last(len), len), Ok(len));
    }
    assert_eq!(raw::free(id), Ok(0));
}

/// Of a long range, the part before the hole may be copied; then its length is returned.
fn ranges_with_a_hole_far_behind() {
    let mapped = 100 * PAGE;
    let region = Region::new(mapped);
    region.put_bytes(0, &vec![b'x'; mapped]);
    let size = 200 * PAGE;
    let id = new(size);
    let done = match data2(Call::Set, id, 0, region.at(0), size) {
        Err(Errno::FAULT) => 0,
        Ok(done) if done <= mapped => done,
        other => panic!("set2 of {size} bytes, {mapped} of them there: {other:?}"),
    };
    let mut expected = vec![b'x'; done];
    expected.resize(size, 0);
    assert!(
        content(id, size) == expected,
        "not the {done} bytes that set2 has told of"
    );

    virgo::set(id.into(), 0, &vec![b'y'; size]).expect("set");
    match data2(Call::Get, id, 0, region.at(0), size) {
        Err(Errno::FAULT) => (),
        Ok(done) if done <= mapped => assert!(region.bytes(0, done) == vec![b'y'; done]),
        other => panic!("get2 of {size} bytes, {mapped} of them there: {other:?}"),
    }
    assert_eq!(raw::free(id), Ok(0));
}

fn no_data_at_no_address() {
    let id = new(SIZE);
    assert_eq!(data2(Call::Set, id, 0, NULL, 0), Ok(0));
    assert_eq!(data2(Call::Get, id, 0, NULL, 0), Ok(0));
    assert_eq!(raw::free(id), Ok(0));
}
