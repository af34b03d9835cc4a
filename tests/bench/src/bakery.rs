// SPDX-License-Identifier: GPL-2.0
//! The bakery lock that nobody else wants, beside a mutex: a test module takes and releases both.

use crate::{
    Bench,
    report::Row,
    support::{figures, sh},
};
use anyhow::Result;
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock: |_, _| Ok(Vec::new()),
};

const MEASURE: &str = "
    dmesg -c >/dev/null
    insmod /lib/virgo/tests/virgo_test_bakery.ko measure=1 && rmmod virgo_test_bakery || exit 1
    dmesg | sed -n 's/.*: bakery \\([0-9]*\\) mutex \\([0-9]*\\)$/bakery \\1\\nmutex \\2/p'";

fn instructions(node: &Node) -> Result<Vec<Row>> {
    eprintln!("measuring on {}: bakery", node.name());
    let seen = figures(&sh(node, MEASURE)?)?;
    let mutex = ("mutex", seen["mutex"]);
    Ok(vec![Row::new(
        "bakery lock of 16 participants, taken and released",
        "instructions",
        seen["bakery"],
        mutex,
    )])
}
