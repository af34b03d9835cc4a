// SPDX-License-Identifier: GPL-2.0
//! Tests socket buffer debug from programs: root runs this in a guest. Its options are those of Rust's tests.

mod arguments;
mod tcp;
mod udp;

use std::process::ExitCode;
use virgo_test_support::{
    suite::{self, Test},
    tests,
};

const TESTS: &[&[Test]] = &[tcp::TESTS, udp::TESTS, arguments::TESTS];

fn main() -> ExitCode {
    suite::main("virgo_config", |test| test(), TESTS, Vec::new)
}
