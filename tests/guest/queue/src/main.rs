// SPDX-License-Identifier: GPL-2.0
//! Tests queues and topics from programs: root runs this in a guest, on any node of a cluster. Its options are those of
//! Rust's tests.
//!
//! How much is done of what is repeated: see [`rounds`].

mod fences;
mod losses;
mod memory;
mod owners;
mod publishing;
mod queue;
mod room;
mod shares;
mod sleepers;
mod waiting;

use std::process::ExitCode;
use virgo_test_support::{
    rounds,
    suite::{self, Test},
    tests,
};

const TESTS: &[&[Test]] = &[
    queue::TESTS,
    publishing::TESTS,
    fences::TESTS,
    losses::TESTS,
    owners::TESTS,
    shares::TESTS,
    memory::TESTS,
    waiting::TESTS,
    room::TESTS,
];

fn main() -> ExitCode {
    suite::main("virgo_queue", |test| test(), TESTS, Vec::new)
}
