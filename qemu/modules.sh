#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds our modules (Kbuild) against the kernel of a lane, inside the build root.
#
# Usage: modules.sh slim|debug|stock OUTPUT-DIR [MAKE-ARGUMENT...]
set -eu
. "$(dirname "$0")/paths.sh"

lane=$1 output=$2
shift 2
kdir=$(virgo_kdir "$lane")
mkdir -p "$output"
toolchain=LLVM=1
# Debian's kernel was built by gcc.
[ "$lane" != stock ] || toolchain=$(<"$kdir/virgo-arguments")
# shellcheck disable=SC2086 # words
exec "$VIRGO_TOP/qemu/in-root" make -C "$kdir" M="$VIRGO_TOP" MO="$output" $toolchain \
	-j"$(nproc)" "$@" modules
