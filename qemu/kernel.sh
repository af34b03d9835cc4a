#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Makes sure that the kernel of a lane is there: slim (fast) or debug (KASAN, lockdep, kmemleak).
# It is built once into the cache; KDIR= names a tree of your own to use for slim instead.
#
# Usage: kernel.sh slim|debug
set -eu
. "$(dirname "$0")/paths.sh"

# Says what a tree lacks that modules are to be built against and guests booted with.
check_prepared() {
	local tree=$1 missing=() line
	for line in Module.symvers rust/libkernel.rmeta arch/x86/boot/bzImage; do
		[ -e "$tree/$line" ] || missing+=("  $line does not exist")
	done
	for line in CONFIG_RUST=y CONFIG_VIRGO_SYSCALLS=y \
		"CONFIG_RUSTC_VERSION_TEXT=\"$("$VIRGO_TOP/qemu/in-root" rustc --version)\""; do
		grep -qFx "$line" "$tree/.config" 2>/dev/null || missing+=("  .config does not say $line")
	done
	[ ${#missing[@]} = 0 ] || virgo_die "KDIR=$tree is not ready for VIRGO's modules:" "${missing[@]}" \
		"Copy the files and apply the patch as qemu/kernel/source.sh does, configure with at least" \
		"qemu/kernel/slim.config, and build with the compilers of the build root:" \
		"  KDIR=$tree qemu/in-root make -C $tree LLVM=1 bzImage modules"
}

lane=$1
kdir=$(virgo_kdir "$lane")
if [ "$lane" = slim ] && [ -n "${KDIR:-}" ]; then
	check_prepared "$kdir"
	exit
fi
[ -d "$kdir" ] && exit

exec 8>"$VIRGO_CACHE/kernel-$lane.lock"
if ! flock -n 8; then
	echo "waiting for another make that is building the $lane kernel"
	flock 8
fi
[ -d "$kdir" ] && exit

fragments=("$VIRGO_TOP/qemu/kernel/slim.config")
[ "$lane" = slim ] || fragments+=("$VIRGO_TOP/qemu/kernel/$lane.config")
work=$VIRGO_CACHE/kernel-$lane.work
new=$VIRGO_CACHE/kernel-$lane.new
rm -rf "$work" "$new"
"$VIRGO_TOP/qemu/step.sh" "kernel-$lane" "Linux with the VIRGO patch, $lane configuration (about ten minutes on 2 cores)" \
	"$VIRGO_TOP/qemu/in-root" "$VIRGO_TOP/qemu/kernel/build.sh" \
	"$VIRGO_TOP" "$work" "$new" "${fragments[@]}"
rm -rf "$work"
mv -T "$new" "$kdir"
