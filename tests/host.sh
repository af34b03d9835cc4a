#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs the tests that need no guest; with a name those whose name contains it. Runs inside the
# build root: qemu/in-root tests/host.sh [NAME]
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || tests/stock/refusals

# The cluster tests are run by tests/run.sh.
cargo test --manifest-path tools/Cargo.toml --workspace --locked --exclude virgo-tests -- "$@"
tools/dynamic build
tests/library/build
tools/dynamic test -- "$@"
