// SPDX-License-Identifier: GPL-2.0
//! Tests the system calls that run functions: root runs this program in a guest, on any node of a cluster. Its options
//! are those of Rust's tests.
//!
//! No test may leave a job whose result nobody takes, nor a call that still runs.
//! How much is done of what is repeated: see [`rounds`].

mod arguments;
mod batch;
mod crowd;
mod functions;
mod jobs;
mod names;
mod pool;
mod raw;

use std::process::ExitCode;
use virgo_test_support::{
    region, rounds,
    suite::{self, Test},
    tests,
};

const TESTS: &[&[Test]] = &[
    functions::TESTS,
    names::TESTS,
    arguments::TESTS,
    batch::TESTS,
    jobs::TESTS,
    crowd::TESTS,
];

fn main() -> ExitCode {
    suite::main("virgo_cpupooling", run, TESTS, Vec::new)
}

fn run(test: fn()) {
    let before = pool::jobs();
    test();
    pool::assert_settles(&before);
}
