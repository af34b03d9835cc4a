// SPDX-License-Identifier: GPL-2.0
//! Tests the system calls that run functions, and that of queues: root runs this program in a guest, on any node of a
//! cluster. Its options are those of Rust's tests.
//!
//! No test may leave a job whose result nobody takes, nor a call that still runs.
//! How much is done of what is repeated: see [`rounds`].

mod arguments;
mod batch;
mod crowd;
mod functions;
mod jobs;
mod losses;
mod names;
mod pool;
mod publishing;
mod queue;
mod queue_memory;
mod queue_owners;
mod queue_shares;
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
    functions::TESTS,
    names::TESTS,
    arguments::TESTS,
    batch::TESTS,
    jobs::TESTS,
    crowd::TESTS,
    queue::TESTS,
    publishing::TESTS,
    losses::TESTS,
    queue_owners::TESTS,
    queue_shares::TESTS,
    queue_memory::TESTS,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other: all look at what runs.
    arguments.test_threads = Some(1);
    if !arguments.list {
        if let Err(reason) = prepared() {
            eprintln!("virgo-clone-tests: {reason}");
            return ExitCode::FAILURE;
        }
    }
    let trials = TESTS.iter().copied().flatten().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(&(name, test): &Test) -> Trial {
    let name = name.trim_start_matches(concat!(env!("CARGO_CRATE_NAME"), "::"));
    Trial::test(name, move || {
        let before = pool::jobs();
        test();
        pool::assert_settles(&before);
        Ok(())
    })
}

/// Says why the tests cannot run here.
fn prepared() -> Result<(), &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("the tests need root, in a guest");
    }
    if !pool::is_loaded("virgo_cpupooling") {
        return Err("the module virgo_cpupooling is not loaded");
    }
    Ok(())
}
