#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What umb does, shown on one node with a serial adapter that QEMU plays: it is bound, what is written
# to it arrives at QEMU, and a capture of that is opened by tshark and drawn as a page. Exit status 0 only
# if every step did what it says.
set -Eeuo pipefail
top=$(cd "$(dirname "$0")/.." && pwd -P)
cluster=$top/qemu/cluster.sh
VIRGO_RUN_DIR=$(mktemp -d /tmp/virgo-usb.XXXXXX)
export VIRGO_RUN_DIR
out=$top/build/demo-usb
trap '"$cluster" down >/dev/null 2>&1 || true; rm -rf "$VIRGO_RUN_DIR"' EXIT

step() {
	printf '\n== %s\n' "$*"
}

guest() {
	"$cluster" run node1 -- sh -c "$1" </dev/null
}

step 'a node with a USB serial adapter'
"$cluster" up -n 1 --usb

step 'umb takes the adapter, as it would any device'
guest "echo 0403 6001 >/sys/bus/usb/drivers/umb/new_id
	until [ -e /dev/umb0 ]; do sleep 0.1; done; virgo usb devices"

step 'capture, and write to it meanwhile'
guest "virgo usb capture -o /tmp/demo.pcapng & capture=\$!
	until grep -q '^captures [1-9]' /sys/kernel/debug/virgo/umb/devices; do sleep 0.1; done
	seq 1000 | dd of=/dev/umb0 conv=fsync 2>/dev/null
	sleep 0.5; kill -INT \$capture; wait \$capture
	virgo usb report /tmp/demo.pcapng -o /tmp/demo.html"

step 'what has arrived at QEMU'
arrived=$(find "$VIRGO_RUN_DIR" -name usb-serial)
seq 1000 | cmp - "$arrived"
echo "  the $(stat -c %s "$arrived") bytes that were written"

step 'what tshark reads of the capture'
mkdir -p "$out"
for file in demo.pcapng demo.html; do
	"$cluster" get node1 "/tmp/$file" "$out/$file"
done
"$top/qemu/in-root" tshark -r "$out/demo.pcapng" 2>/dev/null | tail -5

printf '\nCapture and report: %s\n' "$out"
