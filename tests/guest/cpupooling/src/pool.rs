// SPDX-License-Identifier: GPL-2.0
//! The processor pool of this node, and which nodes there are.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};
use virgo::{
    Call, Ended, On, Outcome,
    status::{Cpupool, Status},
};
pub(crate) use virgo_test_support::nodes::{nodes, other_node, this_node};

/// How long what was ended may take to end: the processors are emulated.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing waits longer for something to end. 200 cancelled calls took the debug kernel up to 93 s on
/// a slow machine, and less than 10 s on others.
const SETTLE: Duration = Duration::from_secs(180);

/// Jobs of this node, and calls that run or wait here.
pub(crate) fn state() -> Cpupool {
    Status::default().cpupool().expect("the pool's state")
}

/// Calls that run or wait on node `on`, as it says itself.
pub(crate) fn running(on: u32) -> u32 {
    let outcome = virgo::run(&Call::new("node").on(On::Node(on))).expect("run");
    assert_eq!(outcome.ended, Ended::Returned(on.into()), "{outcome:?}");
    // The reply has told how loaded the node is.
    let seen = state().seen;
    let seen = seen.iter().find(|seen| u32::from(seen.node) == on);
    let load = seen.and_then(|seen| seen.load.as_ref());
    load.expect("a node that has just replied").calls
}

/// Waits until `test` holds.
pub(crate) fn eventually(what: &str, test: impl Fn() -> bool) {
    let end = Instant::now() + SETTLE;
    while !test() {
        assert!(Instant::now() < end, "not within {SETTLE:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The jobs whose results were not taken.
pub(crate) fn jobs() -> BTreeSet<u64> {
    state().made.iter().map(|made| made.job).collect()
}

/// Waits until nothing runs anywhere, and no job is left that was not there before.
pub(crate) fn assert_settles(before: &BTreeSet<u64>) {
    let nodes = nodes();
    eventually("no job is left", || jobs().is_subset(before));
    eventually("nothing runs", || {
        nodes.iter().all(|&node| running(node) == 0)
    });
}

/// Runs a call, which must end well.
pub(crate) fn run(call: &Call) -> Outcome {
    virgo::run(call).unwrap_or_else(|error| panic!("{call:?}: {error}"))
}

/// How a call of `target` with `args` ends, on each node.
pub(crate) fn ends_everywhere(target: &str, args: &[&str], ended: Ended) {
    for node in nodes() {
        let outcome = run(&Call::new(target).args(args).on(On::Node(node)));
        assert_eq!(outcome.ended, ended, "{target} {args:?}: {outcome:?}");
        assert_eq!(outcome.node, node, "{target}");
        if matches!(ended, Ended::Failed(_)) {
            assert_eq!(outcome.stdout, b"", "{target}");
            assert_ne!(outcome.stderr, b"", "a reason for {target}");
        }
    }
}
