// SPDX-License-Identifier: GPL-2.0
//! A suite: a program that root runs in a guest. Its options are those of Rust's tests.

use libtest_mimic::{Arguments, Trial};
use std::{path::Path, process::ExitCode};

/// A test: its name, and what panics if it fails.
pub type Test = (&'static str, fn());

/// The tests of a module, named after it.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub(crate) const TESTS: &[$crate::suite::Test] = &[
            $((concat!(module_path!(), "::", stringify!($test)), $test)),*
        ];
    };
}

/// Runs the suite of `module`, which must be loaded, as `tests`, each of them by `run`.
///
/// One after the other: all look at what is left.
pub fn main(
    module: &str,
    run: fn(fn()),
    tests: &[&'static [Test]],
    others: impl FnOnce() -> Vec<Trial>,
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if !arguments.list {
        if let Err(reason) = check(module) {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    }
    let tests = tests.iter().copied().flatten();
    let mut trials: Vec<_> = tests.map(|test| trial(test, run)).collect();
    trials.extend(others());
    // Who asks for one by name is told if there is none, instead of that none has failed.
    if let (true, Some(wanted)) = (arguments.ignored, &arguments.filter) {
        if !trials.iter().any(|trial| trial.name().contains(wanted)) {
            eprintln!("no test is called '{wanted}'");
            return ExitCode::FAILURE;
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One test, without the name of its program.
pub fn trial(&(name, test): &Test, run: fn(fn())) -> Trial {
    let name = name.split_once("_tests::").map_or(name, |(_, name)| name);
    Trial::test(name, move || {
        run(test);
        Ok(())
    })
}

/// Says why the tests cannot run here.
fn check(module: &str) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the tests need root, in a guest".into());
    }
    if !is_loaded(module) {
        return Err(format!("the module {module} is not loaded"));
    }
    Ok(())
}

/// Whether a kernel module is loaded.
pub fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}
