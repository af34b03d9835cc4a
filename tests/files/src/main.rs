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
mod flickering;
mod leases;
mod names;
mod opening;
mod original;
mod owner;
mod place;
mod quota;
mod raw;
#[path = "../../rounds.rs"]
mod rounds;

/// Memory that system calls may do anything to: the same as in the other suite, which uses all.
#[path = "../../syscalls/src/region.rs"]
#[allow(dead_code, reason = "the other suite uses more of it")]
mod region;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// A test: its name, and what panics if it fails.
type Test = (&'static str, fn());

/// The tests of a module, named after it.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] = &[
            $((concat!(module_path!(), "::", stringify!($test)), $test)),*
        ];
    };
}
use tests;

const TESTS: &[&[Test]] = &[
    arguments::TESTS,
    opening::TESTS,
    data::TESTS,
    names::TESTS,
    original::TESTS,
    owner::TESTS,
    confined::TESTS,
    descriptors::TESTS,
    contention::TESTS,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other: all look at what is left.
    arguments.test_threads = Some(1);
    if !arguments.list {
        if let Err(reason) = prepared() {
            eprintln!("virgo-file-tests: {reason}");
            return ExitCode::FAILURE;
        }
    }
    let mut trials: Vec<_> = TESTS.iter().copied().flatten().map(trial).collect();
    // Those that a cluster test asks for by name, after it has spoilt something.
    let on_request = [
        contention::ON_REQUEST,
        leases::ON_REQUEST,
        quota::ON_REQUEST,
    ];
    let on_request = on_request.into_iter().flatten();
    trials.extend(on_request.map(|test| trial(test).with_ignored_flag(true)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(&(name, test): &Test) -> Trial {
    let name = name.trim_start_matches(concat!(env!("CARGO_CRATE_NAME"), "::"));
    Trial::test(name, move || {
        test();
        place::assert_settles();
        Ok(())
    })
}

/// Says why the tests cannot run here.
fn prepared() -> Result<(), &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("the tests need root, in a guest");
    }
    if !place::is_loaded("virgo_cloudfs") {
        return Err("the module virgo_cloudfs is not loaded");
    }
    Ok(())
}
