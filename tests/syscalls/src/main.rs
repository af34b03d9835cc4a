// SPDX-License-Identifier: GPL-2.0
//! Tests the system calls of a running node: root runs this program in a guest, on any node of a
//! cluster or on one that is alone. Its options are those of Rust's tests.
//!
//! Some tests do less on a debug kernel, see [`rounds`]. No test may leave more cluster memory taken than it found, see [`pool`].

mod absent;
mod arguments;
mod chunks;
mod content;
mod device;
mod full;
mod ids;
mod pointers;
mod pool;
mod raw;
mod region;
#[path = "../../rounds.rs"]
mod rounds;
mod starved;
mod strings;
mod threads;

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
    chunks::TESTS,
    content::TESTS,
    device::TESTS,
    full::TESTS,
    ids::TESTS,
    pointers::TESTS,
    starved::TESTS,
    strings::TESTS,
    threads::TESTS,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other: some tests use up the pool, and all look at how full it is.
    arguments.test_threads = Some(1);
    if !arguments.list {
        if let Err(reason) = prepared() {
            eprintln!("virgo-syscall-tests: {reason}");
            return ExitCode::FAILURE;
        }
    }
    let mut trials: Vec<_> = TESTS.iter().copied().flatten().map(trial).collect();
    trials.extend(absent::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(&(name, test): &Test) -> Trial {
    let name = name.trim_start_matches(concat!(env!("CARGO_CRATE_NAME"), "::"));
    Trial::test(name, move || {
        let before = pool::used();
        test();
        pool::assert_settles(before);
        Ok(())
    })
}

/// Says why the tests cannot run here.
fn prepared() -> Result<(), &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("the tests need root, in a guest: they use up the memory pool");
    }
    if !raw::is_loaded("virgo_mempool") {
        return Err("the module virgo_mempool is not loaded");
    }
    // What a former life of this node had on other nodes is freed now, not during a test.
    pool::greet();
    Ok(())
}
