#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Unpacks Debian's kernel source into the folder WORK and puts VIRGO's system calls into it. Runs inside
# the build root.
#
# Usage: source.sh VIRGO_TOP WORK
set -eu
top=$1 work=$2

mkdir -p "$work"
tar -C "$work" -xf /usr/src/linux-source-*.tar.xz --strip-components=1
cp "$top/syscalls/kernel/virgo_calls.c" "$work/kernel/"
cp "$top/include/linux/virgo_calls.h" "$work/include/linux/"
patch -d "$work" -p1 --no-backup-if-mismatch <"$top/syscalls/virgo-syscalls.patch"
