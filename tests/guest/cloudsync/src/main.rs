// SPDX-License-Identifier: GPL-2.0
//! Tests cluster locks from programs: root runs this in a guest, on any node of a cluster. Its options are those of
//! Rust's tests.

mod arguments;
mod events;
mod sessions;
mod values;

use std::process::ExitCode;
use virgo_test_support::{
    suite::{self, Test},
    tests,
};

const TESTS: &[&[Test]] = &[
    sessions::TESTS,
    values::TESTS,
    events::TESTS,
    arguments::TESTS,
];

fn main() -> ExitCode {
    suite::main("virgo_cloudsync", |test| test(), TESTS, Vec::new)
}
