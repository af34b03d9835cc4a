#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs the cluster tests on the kernel of a lane; with a name those whose name contains it.
# On the debug kernel the tests do less than on the slim one, unless VIRGO_SOAK=1: see tests/support/src/rounds.rs.
#
# Usage: run.sh slim|debug|stock [NAME]
set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)

lane=$1
shift
export VIRGO_LANE=$lane VIRGO_TOP=$top
exec "$top/qemu/step.sh" "$lane-test" "cluster tests on the $lane kernel" \
	"$top/build/target/x86_64-unknown-linux-gnu/release/virgo-tests" --nocapture "$@"
