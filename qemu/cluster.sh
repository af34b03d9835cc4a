#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A cluster of virtual machines, one per node: 'qemu/cluster.sh help' lists the commands. The work
# is done by the tool in tools/cluster.
set -eu
. "$(dirname "$0")/paths.sh"

tool=$VIRGO_BUILD/target/x86_64-unknown-linux-gnu/release/virgo-cluster
[ -x "$tool" ] || virgo_die "the cluster tool is not built yet: run 'make image'"
VIRGO_TOP=$VIRGO_TOP exec "$tool" "$@"
