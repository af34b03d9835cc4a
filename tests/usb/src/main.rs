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
#[path = "../../rounds.rs"]
mod rounds;
mod support;
mod transfers;
mod unplugging;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// A test; it panics if it fails.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    if let [_, word, name, seed] = &words[..] {
        if word == raw_gadget::PLAY {
            hostile::play(name, seed.parse().expect("a number"));
            return ExitCode::SUCCESS;
        }
    }
    let mut arguments = Arguments::from_args();
    // There is one controller.
    arguments.test_threads = Some(1);
    let tests = [
        transfers::TESTS,
        unplugging::TESTS,
        captures::TESTS,
        hostile::TESTS,
        isochronous::TESTS,
    ];
    let trial = |&(name, test): &Test| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = tests.concat().iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
