// SPDX-License-Identifier: GPL-2.0
//! Tests the system calls on files: root runs this program in a guest, on any node of a cluster.
//! Its options are those of Rust's tests.
//!
//! No test may leave a file or an open one, see [`place`]. How much is done of what is repeated:
//! see [`rounds`].

mod arguments;
mod confined;
mod contention;
mod data;
mod descriptors;
mod fences;
mod flickering;
mod leases;
mod names;
mod opening;
mod original;
mod owner;
mod place;
mod quota;
mod raw;
mod streams;

use libtest_mimic::Trial;
use std::process::ExitCode;
use virgo_test_support::{
    region, rounds,
    suite::{self, Test},
    tests,
};

const TESTS: &[&[Test]] = &[
    arguments::TESTS,
    opening::TESTS,
    data::TESTS,
    names::TESTS,
    original::TESTS,
    owner::TESTS,
    confined::TESTS,
    descriptors::TESTS,
    fences::TESTS,
    contention::TESTS,
];

/// Those that a cluster test asks for by name, after it has spoilt something.
const ON_REQUEST: [&[Test]; 4] = [
    contention::ON_REQUEST,
    leases::ON_REQUEST,
    quota::ON_REQUEST,
    streams::ON_REQUEST,
];

fn main() -> ExitCode {
    suite::main("virgo_cloudfs", run, TESTS, on_request)
}

fn on_request() -> Vec<Trial> {
    let tests = ON_REQUEST.into_iter().flatten();
    tests
        .map(|test| suite::trial(test, run).with_ignored_flag(true))
        .collect()
}

fn run(test: fn()) {
    test();
    place::assert_settles();
}
