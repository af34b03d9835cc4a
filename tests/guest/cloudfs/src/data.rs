// SPDX-License-Identifier: GPL-2.0
//! Bytes that are written are those that are read.

use crate::{
    flickering::Flickering,
    place::{errno, everywhere},
    rounds::Rounds,
    tests,
};
use std::{
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};
use virgo::{File, Open};

tests![
    bytes_come_back,
    positions_are_64_bits,
    ends_are_ends,
    sizes_are_set,
    what_is_written_is_seen_at_once,
    what_is_synced_is_synced,
    memory_that_comes_and_goes_is_filled,
];

/// Bytes that differ from their neighbours, and at each 64 KiB.
fn pattern(len: usize, start: usize) -> Vec<u8> {
    (start..start + len)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

fn open(name: &str) -> File {
    let open = Open::new().read().write().create();
    open.open(name).unwrap_or_else(|error| panic!("{error}"))
}

fn bytes_come_back() {
    const KIB: usize = 1024;
    everywhere(|dir| {
        for len in [0, 1, 4095, 4096, 64 * KIB, 64 * KIB + 1, 1000 * KIB + 7] {
            let file = open(&dir.at(&len.to_string()));
            let data = pattern(len, 0);
            file.write_at(0, &data).expect("write");
            let mut read = vec![0; len + 1];
            assert_eq!(file.read_at(0, &mut read).expect("read"), len);
            assert!(read[..len] == data, "{len} bytes");
            assert_eq!(file.metadata().expect("stat").len(), len as u64);
            for (at, part) in [
                (1, 4096),
                (4095, 4097),
                (5000, 64 * KIB),
                (70_001, 300 * KIB),
            ] {
                let wanted = &data[len.min(at)..len.min(at + part)];
                let mut read = vec![0; part];
                let n = file.read_at(at as u64, &mut read).expect("read");
                assert!(read[..n] == *wanted, "{part} of {len} at {at}");
            }
            // In the middle, not on any border.
            if len > 100 {
                file.write_at(33, b"other").expect("write");
                file.read_at(30, &mut read[..10]).expect("read");
                assert_eq!(&read[3..8], b"other");
                assert_eq!(read[..3], data[30..33]);
                assert_eq!(read[8..10], data[38..40]);
            }
        }
    });
}

fn positions_are_64_bits() {
    everywhere(|dir| {
        let file = open(&dir.at("sparse"));
        let far = (5 << 30) + 3;
        file.write_at(far, b"far").expect("write");
        assert_eq!(file.metadata().expect("stat").len(), far + 3);
        let mut data = [1; 8];
        assert_eq!(file.read_at(far - 5, &mut data).expect("read"), 8);
        assert_eq!(&data, b"\0\0\0\0\0far");
        assert_eq!(file.read_at(0, &mut data).expect("read"), 8);
        assert_eq!(data, [0; 8]);
    });
}

fn ends_are_ends() {
    everywhere(|dir| {
        let file = open(&dir.at("a"));
        file.write_at(0, b"abc").expect("write");
        let mut data = [0; 8];
        for (at, expected) in [(0, 3), (2, 1), (3, 0), (4, 0), (1 << 40, 0)] {
            assert_eq!(file.read_at(at, &mut data).expect("read"), expected);
        }
        assert_eq!(errno(file.read_at(1 << 63, &mut data)), libc::EINVAL);
        // What is behind the end is left as it is.
        let mut data = vec![b'x'; 300 * 1024];
        assert_eq!(file.read_at(0, &mut data).expect("read"), 3);
        assert!(data[3..].iter().all(|byte| *byte == b'x'));
        // Nothing comes as fast as something.
        let start = Instant::now();
        for _ in 0..50 {
            assert_eq!(file.read_at(3, &mut data[..65536]).expect("read"), 0);
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert!(data[3..].iter().all(|byte| *byte == b'x'));
        // More than a file can have.
        assert_eq!(errno(file.write_at(1 << 62, b"x")), libc::EFBIG);
        assert_eq!(file.metadata().expect("stat").len(), 3);
    });
}

fn sizes_are_set() {
    everywhere(|dir| {
        let file = open(&dir.at("a"));
        file.write_at(0, b"abcdef").expect("write");
        file.set_len(3).expect("cut");
        file.set_len(5).expect("lengthen");
        let mut data = [1; 8];
        assert_eq!(file.read_at(0, &mut data).expect("read"), 5);
        assert_eq!(&data[..5], b"abc\0\0");
        assert_eq!(errno(file.set_len(1 << 63)), libc::EINVAL);
        assert_eq!(errno(file.set_len(1 << 62)), libc::EFBIG);
    });
}

/// Also by who has opened it before, on its node and elsewhere.
fn what_is_written_is_seen_at_once() {
    everywhere(|dir| {
        let [a, b] = [(); 2].map(|()| open(&dir.at("a")));
        for i in 0..20u8 {
            a.write_at(0, &[i; 100]).expect("write");
            let mut data = [0xff; 100];
            assert_eq!(b.read_at(0, &mut data).expect("read"), 100);
            assert_eq!(data, [i; 100]);
        }
        if let Ok(local) = std::fs::File::open(format!("{}/a", dir.path())) {
            let mut data = [0; 100];
            local.read_exact_at(&mut data, 0).expect("read");
            assert_eq!(data, [19; 100]);
        }
    });
}

fn what_is_synced_is_synced() {
    everywhere(|dir| {
        let file = open(&dir.at("a"));
        file.write_at(0, &[1; 10_000]).expect("write");
        file.sync().expect("sync");
        file.sync_data().expect("sync");
        let each = Open::new().write().sync().open(dir.at("a")).expect("open");
        each.write_at(0, b"x").expect("write");
    });
}

/// Replies are written without page faults first; this takes the other way often.
fn memory_that_comes_and_goes_is_filled() {
    const LEN: usize = 64 * 1024;
    let count = Rounds {
        debug: 50,
        slim: 300,
        soak: 10_000,
    }
    .count();
    everywhere(|dir| {
        let file = open(&dir.at("a"));
        let data = pattern(2 * LEN, 0);
        file.write_at(0, &data).expect("write");
        Flickering::new(LEN).flicker(|memory| {
            for round in 0..count {
                let at = round * 1237 % LEN;
                assert_eq!(file.read_at(at as u64, memory).expect("read"), LEN);
                assert!(*memory == data[at..at + LEN], "round {round}");
            }
        });
    });
}
