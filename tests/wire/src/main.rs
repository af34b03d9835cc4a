// SPDX-License-Identifier: GPL-2.0

//! Tests a running node from outside, over its ports: what good clients get, and what bad ones
//! cannot do.
//!
//! Runs on a machine that the node's configuration names, as root for the key. `--help` lists the
//! flags, which are those of `cargo test`; the rest comes from the environment:
//!
//! | variable           | what                                          | default          |
//! |--------------------|-----------------------------------------------|------------------|
//! | `VIRGO_TARGET`     | address of the node                           | `127.0.0.1`      |
//! | `VIRGO_KEY_FILE`   | the cluster's key                             | `/etc/virgo.key` |
//! | `VIRGO_TEXT_KEY_FILE` | a key of text sessions that act as nobody (65534) | `/etc/virgo_text.key` |
//! | `VIRGO_NODE`       | number of the node where this runs            | as debugfs says  |
//! | `VIRGO_FUZZ_SECONDS` | how long to send mutations of good sessions | `5`              |
//! | `VIRGO_FUZZ_SEED`  | which mutations                               | random           |
//!
//! Some tests do less on a debug kernel, see [`rounds`]. Those whose name begins with `slow_` take up
//! to a minute; `--skip slow_` leaves them out.

mod calls;
mod cases;
mod memory;
mod node;
mod peer;
mod text;
mod wire;

use crate::node::Node;
use libtest_mimic::{Arguments, Trial};
use std::{process::ExitCode, sync::Arc};
use virgo_test_support::rounds;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests look at counters of the node and fill its tables: one after the other.
    arguments.test_threads = Some(1);
    let node = match Node::from_env() {
        Ok(node) => Arc::new(node),
        Err(reason) => {
            eprintln!("virgo-wire-tests: {reason}");
            return ExitCode::from(2);
        }
    };
    let trial = |(name, test): (_, fn(&Node) -> _)| {
        let node = node.clone();
        Trial::test(name, move || Ok(test(&node)?))
    };
    let others = cases::others().map(|other| trial(other).with_ignored_flag(true));
    let trials = cases::all().map(trial).chain(others);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
