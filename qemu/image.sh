#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Makes the guest image of a lane, build/LANE/initramfs.cpio, from the guest's own files
# (qemu/guest), the programs of the build root, and what is built by now: modules of the lane,
# the command line tool, and the test programs in build/guest. `bench` is the slim lane with what
# VIRGO is compared with; `stock` has modules of Debian's kernel that its guests need to have a disk and
# a network.
#
# Usage: image.sh slim|debug|bench|stock
set -eu
. "$(dirname "$0")/paths.sh"

case ${1:-} in
slim | debug | bench | stock) ;;
*) virgo_die "usage: qemu/image.sh slim|debug|bench|stock" ;;
esac
exec "$VIRGO_TOP/qemu/in-root" "$VIRGO_TOP/qemu/guest/pack" "$1"
