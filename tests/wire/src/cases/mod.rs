// SPDX-License-Identifier: GPL-2.0

//! The tests.

mod at_most_once;
mod auth;
mod calls;
mod clone;
mod crowd;
mod datagrams;
mod dead_letters;
mod deferred;
mod deliveries;
mod files;
mod handshake;
mod json;
mod lines;
mod mutation;
mod objects;
mod pool;
mod publishing;
mod queue;
mod queue_fences;
mod queue_limits;
mod queue_owners;
mod quota;
mod requests;
mod stalled;
mod traced;

use crate::node::Node;
use std::io;

/// A test; it fails with a panic or an error.
type Test = fn(&Node) -> io::Result<()>;

/// The tests of a module, with their names.
type Suite = &'static [(&'static str, Test)];

/// Names functions by themselves.
macro_rules! suite {
    ($($test:ident,)*) => {
        &[$((stringify!($test), $test)),*]
    };
}
use suite;

/// All tests. Those that harm the node most come last.
pub(crate) fn all() -> impl Iterator<Item = (String, Test)> {
    let suites = [
        ("lines", lines::SUITE),
        ("auth", auth::SUITE),
        ("pool", pool::SUITE),
        ("json", json::SUITE),
        ("handshake", handshake::SUITE),
        ("requests", requests::SUITE),
        ("objects", objects::SUITE),
        ("calls", calls::SUITE),
        ("clone", clone::SUITE),
        ("queue", queue::SUITE),
        ("publishing", publishing::SUITE),
        ("deferred", deferred::SUITE),
        ("deliveries", deliveries::SUITE),
        ("queue_fences", queue_fences::SUITE),
        ("queue_limits", queue_limits::SUITE),
        ("queue_owners", queue_owners::SUITE),
        ("dead_letters", dead_letters::SUITE),
        ("quota", quota::SUITE),
        ("files", files::SUITE),
        ("at_most_once", at_most_once::SUITE),
        ("datagrams", datagrams::SUITE),
        ("traced", traced::SUITE),
        ("crowd", crowd::SUITE),
        ("stalled", stalled::SUITE),
        ("mutation", mutation::SUITE),
    ];
    suites.into_iter().flat_map(|(suite, tests)| {
        let named = move |&(name, test)| (format!("{suite}::{name}"), test);
        tests.iter().map(named)
    })
}

/// What is no test, but done to a node by name: `--ignored NAME`.
pub(crate) fn others() -> impl Iterator<Item = (String, Test)> {
    let others: [(&str, Test); 2] = [
        ("crowd::flood_of_strangers", crowd::flood_of_strangers),
        ("datagrams::taken_port", datagrams::taken_port),
    ];
    others
        .into_iter()
        .map(|(name, other)| (name.to_owned(), other))
}
