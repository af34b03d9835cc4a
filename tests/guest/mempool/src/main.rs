// SPDX-License-Identifier: GPL-2.0
//! Tests the memory pool from programs: root runs this in a guest, on any node of a cluster or on one that is alone.
//! Its options are those of Rust's tests.
//!
//! Some tests do less on a debug kernel, see [`rounds`]. No test may leave more cluster memory taken than it found, see [`pool`].

mod absent;
mod arguments;
mod chunks;
mod content;
mod device;
mod fences;
mod full;
mod ids;
mod pointers;
mod pool;
mod raw;
mod starved;
mod strings;
mod threads;

use std::{process::ExitCode, sync::Once};
use virgo_test_support::{
    region, rounds,
    suite::{self, Test},
    tests,
};

const TESTS: &[&[Test]] = &[
    arguments::TESTS,
    chunks::TESTS,
    content::TESTS,
    device::TESTS,
    fences::TESTS,
    full::TESTS,
    ids::TESTS,
    pointers::TESTS,
    starved::TESTS,
    strings::TESTS,
    threads::TESTS,
];

fn main() -> ExitCode {
    suite::main("virgo_mempool", run, TESTS, absent::trials)
}

fn run(test: fn()) {
    // What a former incarnation of this node had on other nodes is freed now, not during the first test.
    static GREETED: Once = Once::new();
    GREETED.call_once(pool::greet);
    let before = pool::used();
    test();
    pool::assert_settles(before);
}
