#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Makes sure that there is a tree to build modules against for Debian's own kernel in the build root.
# It is made once into the cache.
set -eu
. "$(dirname "$0")/paths.sh"

kdir=$(virgo_kdir stock)
[ -d "$kdir" ] && exit

exec 8>"$VIRGO_CACHE/stock.lock"
if ! flock -n 8; then
	echo "waiting for another make that is making the metadata of Debian's kernel"
	flock 8
fi
[ -d "$kdir" ] && exit

"$VIRGO_TOP/qemu/step.sh" stock "Rust metadata of Debian's kernel (about three minutes on 2 cores)" \
	"$VIRGO_TOP/qemu/in-root" "$VIRGO_TOP/qemu/stock/rust-metadata" "$(virgo_stock_release)" "$kdir"
