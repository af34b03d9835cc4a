// SPDX-License-Identifier: GPL-2.0
//! Threads that wait in the kernel, and how often they are woken.

use std::{
    fs, process, thread,
    time::{Duration, Instant},
};
use virgo_test_support::rounds::Rounds;

/// Threads that wait.
pub(crate) const MANY: Rounds = Rounds {
    debug: 100,
    slim: 500,
    soak: 2000,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const NAME: &str = "sleeper";

/// Runs `f` in such a thread.
pub(crate) fn spawn(f: impl FnOnce() + Send + 'static) {
    thread::Builder::new()
        .name(NAME.into())
        .stack_size(128 << 10)
        .spawn(f)
        .expect("thread");
}

/// How many of them sleep, and how often all of them have begun to.
fn sleeping() -> (usize, u64) {
    let mut all = (0, 0);
    for task in fs::read_dir(format!("/proc/{}/task", process::id())).expect("tasks") {
        // One that has ended meanwhile has no status.
        let path = task.expect("task").path().join("status");
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = |name| {
            status
                .lines()
                .find_map(|line: &str| line.strip_prefix(name))
                .map(str::trim)
                .unwrap_or_default()
        };
        if line("Name:") == NAME {
            all.0 += usize::from(!line("State:").starts_with('R'));
            all.1 += line("voluntary_ctxt_switches:").parse::<u64>().unwrap_or(0);
        }
    }
    all
}

/// Returns when so many sleep and none has done anything for a while: how often they have slept.
pub(crate) fn all_sleep(count: usize) -> u64 {
    let start = Instant::now();
    let mut before = sleeping();
    loop {
        assert!(start.elapsed() < PATIENCE, "they do not wait: {before:?}");
        thread::sleep(Duration::from_millis(300));
        let now = sleeping();
        if now == before && now.0 == count {
            return now.1;
        }
        before = now;
    }
}
