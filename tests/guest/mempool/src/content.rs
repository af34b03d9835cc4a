// SPDX-License-Identifier: GPL-2.0
//! What is in memory: zeros at first, then what was set, and nothing of anybody else.

use crate::rounds::Rounds;
use virgo::{Allocation, Id};

crate::tests![
    new_memory_is_zero,
    freed_memory_is_not_seen_again,
    every_byte_survives,
    parts_are_set_where_they_belong,
];

/// Bytes, a page, a chunk, and several on all nodes.
const SIZES: [usize; 6] = [1, 100, 4096, 65536, 65537, 300_000];

fn new(size: usize) -> Id {
    Allocation::new(size as u64)
        .allocate()
        .expect("an allocation")
}

fn content(id: Id, size: usize) -> Vec<u8> {
    let mut content = vec![0xee; size];
    assert_eq!(virgo::get(id, 0, &mut content), Ok(size));
    content
}

fn assert_zero(id: Id, size: usize) {
    let foreign = content(id, size).iter().filter(|&&byte| byte != 0).count();
    assert_eq!(foreign, 0, "bytes of {size} that are not zero");
}

fn new_memory_is_zero() {
    for size in SIZES {
        let id = new(size);
        assert_zero(id, size);
        virgo::free(id).expect("free");
    }
}

fn freed_memory_is_not_seen_again() {
    let at_once = Rounds {
        debug: 1,
        slim: 5,
        soak: 5,
    };
    for size in SIZES {
        for _ in 0..2 {
            let ids: Vec<_> = (0..at_once.count()).map(|_| new(size)).collect();
            for id in ids {
                assert_zero(id, size);
                virgo::set(id, 0, &vec![0xaa; size]).expect("set");
                virgo::free(id).expect("free");
            }
        }
    }
}

fn every_byte_survives() {
    for size in SIZES {
        let id = new(size);
        // Every value in every place of 256, with zeros among them.
        let data: Vec<_> = (0..size).map(|at| (at ^ (at >> 8)) as u8).collect();
        virgo::set(id, 0, &data).expect("set");
        assert!(content(id, size) == data, "{size} bytes came back changed");
        virgo::free(id).expect("free");
    }
}

fn parts_are_set_where_they_belong() {
    let size = 300_000;
    let id = new(size);
    let mut expected = vec![0; size];
    for (offset, len) in [
        (0, 1),
        (65535, 2),
        (65536, 65536),
        (131_071, 131_074),
        (299_999, 1),
    ] {
        let part = vec![len as u8 | 1; len];
        virgo::set(id, offset as u64, &part).expect("set");
        expected[offset..][..len].copy_from_slice(&part);
        assert!(
            content(id, size) == expected,
            "after setting {len} bytes at {offset}"
        );
    }
    virgo::free(id).expect("free");
}
