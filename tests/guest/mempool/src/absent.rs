// SPDX-License-Identifier: GPL-2.0
//! Calls that no loaded module serves.

use crate::raw;
use libc::c_long;
use libtest_mimic::{Completion, Trial};
use rustix::io::Errno;
use virgo::abi::{CALLS, nr};
use virgo_test_support::suite::is_loaded;

/// The module that serves a call.
fn module(number: c_long) -> &'static str {
    match number {
        nr::CLONE | nr::CLONE2 | nr::WAIT | nr::CANCEL => "virgo_cpupooling",
        nr::OPEN..=nr::WRITE | nr::OPEN2..=nr::READDIR => "virgo_cloudfs",
        nr::QUEUE => "virgo_queue",
        nr::LOCK => "virgo_cloudsync",
        _ => "virgo_mempool",
    }
}

/// One test for each call that another module than virgo_mempool serves. It is passed over if that
/// is loaded.
pub(crate) fn trials() -> Vec<Trial> {
    let others = CALLS
        .iter()
        .filter(|&&(_, number)| module(number) != "virgo_mempool");
    let mut trials: Vec<_> = others
        .map(|&(name, number)| {
            Trial::ignorable_test(format!("absent::{name}"), move || {
                let module = module(number);
                if is_loaded(module) {
                    return Ok(Completion::ignored_with(format!("{module} is loaded")));
                }
                refused(number);
                Ok(Completion::Completed)
            })
        })
        .collect();
    trials.push(Trial::test("absent::the_number_behind_the_last", || {
        refused(nr::LOCK + 1);
        Ok(())
    }));
    trials
}

fn refused(number: c_long) {
    assert_eq!(raw::bare(number), Err(Errno::NOSYS), "call {number}");
}
