// SPDX-License-Identifier: GPL-2.0
//! Streams to and from a USB device without hardware (gadget zero), while they are captured and while not, beside
//! usbmon's binary interface.

use crate::{
    Bench,
    report::Row,
    support::{figures, sh},
};
use anyhow::Result;
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock: |_, _| Ok(Vec::new()),
};

/// Times of streams of 32 MiB, in ms. The clock of /proc/uptime has steps of 10 ms.
const STREAMS: &str = "
    modprobe dummy_hcd && modprobe usb_f_ss_lb && modprobe g_zero || exit
    echo 0525 a4a0 >/sys/bus/usb/drivers/umb/new_id
    n=0; until umb=$(ls /dev/umb[0-9]* 2>/dev/null); do
        n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1
    done
    now() { read -r up rest </proc/uptime; echo ${up%.*}${up#*.}0; }
    streams() {
        start=$(now); head -c 33554432 /dev/zero >$umb; echo $1_out $(($(now) - start))
        start=$(now); head -c 33554432 $umb >/dev/null; echo $1_in $(($(now) - start))
    }
    streams warm
    streams alone
    virgo usb capture -o /dev/null type=bulk 2>/tmp/said >/tmp/said & capture=$!
    sleep 2; streams virgo
    kill -INT $capture; wait $capture
    grep -q ' 0 lost' /tmp/said || { cat /tmp/said >&2; exit 1; }
    modprobe usbmon; cat /dev/usbmon1 >/dev/null & capture=$!
    sleep 2; streams usbmon
    kill $capture; rmmod g_zero";

const ALONE: &str = "not captured";
const USBMON: &str = "usbmon, cat";

fn instructions(node: &Node) -> Result<Vec<Row>> {
    eprintln!("measuring on {}: usb", node.name());
    let seen = figures(&sh(node, STREAMS)?)?;
    let unit = "ms for 32 MiB";
    let row = |name, virgo: &str, peer_name, peer: &str| {
        Row::new(name, unit, seen[virgo], (peer_name, seen[peer]))
    };
    let out = "captured USB output, 16 KiB at once";
    let input = "captured USB input, 512 bytes at once";
    Ok(vec![
        row(out, "virgo_out", ALONE, "alone_out").ratio_goal(1.05),
        row("the same", "virgo_out", USBMON, "usbmon_out").ratio_goal(1.0),
        row(input, "virgo_in", ALONE, "alone_in").ratio_goal(1.05),
        row("the same", "virgo_in", USBMON, "usbmon_in").ratio_goal(1.0),
    ])
}
