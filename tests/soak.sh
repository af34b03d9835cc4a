#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each fuzz target for two minutes, then the cluster tests with their full counts on the debug
# kernel. VIRGO_FUZZ_SECONDS=N fuzzes each target for N seconds instead.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)

seconds=${VIRGO_FUZZ_SECONDS:-120}
"$top/qemu/step.sh" fuzz "fuzz targets, $seconds s each" \
	"$top/qemu/in-root" "$top/tests/fuzz/run" "$seconds"
cat "$top/build/log/fuzz.log"
VIRGO_SOAK=1 exec "$top/tests/run.sh" debug
