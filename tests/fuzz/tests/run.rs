// SPDX-License-Identifier: GPL-2.0

//! Lets libFuzzer run each target for a moment; `tests/fuzz/run SECONDS` does it for longer.

use std::process::Command;

#[test]
fn every_target_holds_for_two_seconds() {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/run");
    let status = Command::new(run).arg("2").status();
    let status = status.unwrap_or_else(|e| panic!("{run}: {e}"));
    assert!(
        status.success(),
        "{run} says {status}; see its output above"
    );
}
