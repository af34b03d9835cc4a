#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds our modules (Kbuild) against the kernel of a lane, inside the build root.
#
# Usage: modules.sh slim|debug OUTPUT-DIR [MAKE-ARGUMENT...]
set -eu
. "$(dirname "$0")/paths.sh"

lane=$1 output=$2
shift 2
kdir=$(virgo_kdir "$lane")
mkdir -p "$output"
exec "$VIRGO_TOP/qemu/in-root" make -C "$kdir" M="$VIRGO_TOP" MO="$output" LLVM=1 \
	-j"$(nproc)" "$@" modules
