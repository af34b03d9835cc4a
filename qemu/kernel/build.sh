#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds one kernel inside the build root, then copies what its users need of it: QEMU the image,
# our modules, Clippy and rustdoc the headers, build scripts, symbols and Rust metadata.
#
# Usage: build.sh VIRGO_TOP WORK OUT FRAGMENT...
set -eu
top=$1 work=$2 out=$3
shift 3

mkdir -p "$out"
"$top/qemu/kernel/source.sh" "$top" "$work"

cd "$work"
cat "$@" >virgo.config
make LLVM=1 allnoconfig KCONFIG_ALLCONFIG=virgo.config

# An option whose dependencies are not met vanishes without a word: compare.
if grep '^CONFIG_.*=[^n]' virgo.config | grep -Fxv -f .config; then
	echo "The configuration fragments ask for the options above, but the kernel did not take"
	echo "them: a dependency is missing, or the option is gone from this version."
	exit 1
fi

make LLVM=1 -j"$(nproc)" bzImage modules

make LLVM=1 run-command KBUILD_RUN_COMMAND="scripts/package/install-extmod-build $out"
# Sources that are preprocessed are left out: make would do it anew for each build of modules, and build all after it.
find rust -type f ! -name '*.o' ! -name '*.rs.S' >keep
find . -name '*.ko' >>keep
printf '%s\n' .config .clippy.toml .rustfmt.toml arch/x86/boot/bzImage >>keep
tar -cf - -T keep | tar -C "$out" -xf -
