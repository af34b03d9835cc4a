#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The cluster tests with their full counts, on the debug kernel, and the fuzzers for ten minutes.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)

"$top/tests/fuzz/run" 600
VIRGO_SOAK=1 exec "$top/tests/run.sh" debug
