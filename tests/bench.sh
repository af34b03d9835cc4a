#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Measures VIRGO beside its peers; see docs/benchmarks.md. With a name only the services whose names
# contain it.
set -eu
VIRGO_TOP=$(cd "$(dirname "$0")/.." && pwd -P)
export VIRGO_TOP
exec "$VIRGO_TOP/build/target/x86_64-unknown-linux-gnu/release/virgo-bench" "$@"
