// SPDX-License-Identifier: GPL-2.0
//! A stream from program to program, while its queues and those of VIRGO's own sockets are watched at 10 Hz,
//! and while not.

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

/// Times of streams of 100 MB, in ms. The clock of /proc/uptime has steps of 10 ms.
const STREAMS: &str = "
    now() { read -r up rest </proc/uptime; echo ${up%.*}${up#*.}0; }
    # An end of input that never comes: nc ends a connection as soon as one of its inputs has ended.
    mkfifo /tmp/never && exec 9<>/tmp/never && rm /tmp/never || exit
    stream() {
        nc -l -p 7985 <&9 >/dev/null & reader=$!
        until grep -q ':1F31 00000000:0000 0A' /proc/net/tcp; do sleep 0.1; done
        start=$(now)
        head -c 100000000 /dev/zero | nc 127.0.0.1 7985 & writer=$!
        until grep -q ':1F31 .* 01 ' /proc/net/tcp; do sleep 0.1; done
        [ -z \"$2\" ] || { virgo net watch --json $2 >/tmp/looks & watch=$!; }
        wait $reader; echo $1 $(($(now) - start))
        wait $writer
        [ -z \"$2\" ] || { kill -INT $watch 2>/dev/null; wait $watch; }
    }
    stream warm
    stream alone
    stream own '--interval 100ms'
    grep -q role.:.listener /tmp/looks || exit 1
    stream named '--interval 100ms 127.0.0.1:7985'
    grep -q send_queued /tmp/looks || exit 1";

fn instructions(node: &Node) -> Result<Vec<Row>> {
    eprintln!("measuring on {}: net", node.name());
    let seen = figures(&sh(node, STREAMS)?)?;
    let row = |name, virgo: &str| {
        let alone = ("not watched", seen["alone"]);
        Row::new(name, "ms for 100 MB", seen[virgo], alone).ratio_goal(1.01)
    };
    Ok(vec![
        row("TCP stream, VIRGO's sockets watched at 10 Hz", "own"),
        row("TCP stream, itself watched at 10 Hz", "named"),
    ])
}
