// SPDX-License-Identifier: GPL-2.0

//! Tests umb inside a guest, as root: with the kernel's gadgets on a controller without hardware
//! (dummy_hcd), and with devices that the tests themselves play (raw-gadget).
//!
//! `--help` lists the flags, which are those of `cargo test`. Some tests do less on a debug kernel, see
//! [`rounds`].

mod captures;
mod gadget;
mod hostile;
mod isochronous;
mod raw_gadget;
mod stalls;
mod support;
mod transfers;
mod unplugging;

use std::process::ExitCode;
use virgo_test_support::{
    rounds,
    suite::{self, Test},
};

const TESTS: &[&[Test]] = &[
    transfers::TESTS,
    unplugging::TESTS,
    captures::TESTS,
    hostile::TESTS,
    stalls::TESTS,
    isochronous::TESTS,
];

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    if let [_, word, name, seed] = &words[..] {
        if word == raw_gadget::PLAY {
            hostile::play(name, seed.parse().expect("a number"));
            return ExitCode::SUCCESS;
        }
    }
    suite::main("umb", |test| test(), TESTS, Vec::new)
}
