// SPDX-License-Identifier: GPL-2.0
//! What a node costs that has nothing to do, beside an idle memcached.

use crate::{
    Bench,
    report::Row,
    support::{figures, sh, start_memcached, stop},
};
use anyhow::Result;
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock: |_, _| Ok(Vec::new()),
};

/// Memory of the kernel with the modules, less what it is without them, in KiB. Of free memory
/// there would be less and more for other reasons.
const MEMORY: &str = "
    kernel() { awk '/^(Slab|VmallocUsed|Percpu|KernelStack):/ { n += $2 } END { print n }' /proc/meminfo; }
    newest_first=$(sed -n 's/^\\(virgo_[a-z_]*\\|umb\\) .*/\\1/p' /proc/modules)
    for module in $newest_first; do rmmod $module || exit; done
    sleep 1; without=$(kernel)
    for module in $(echo \"$newest_first\" | tac); do insmod /lib/virgo/$module.ko || exit; done
    sleep 1; echo virgo_kib $(($(kernel) - without))";

/// Wake-ups. All that the modules do outside of calls is work of their servers, which count it.
const WAKE_UPS: &str = "
    runs() { cat /sys/kernel/debug/virgo/*/stats | awk '/runs/ { n += $5 } END { print n }'; }
    wakes() { cat $peer/task/*/status | awk '/ctxt_switches/ { n += $2 } END { print n }'; }
    peer=/proc/$(pidof memcached)
    sleep 3; runs=$(runs); wakes=$(wakes)
    sleep 10; echo virgo_wakes $(($(runs) - runs)); echo peer_wakes $(($(wakes) - wakes))
    awk '/^VmRSS/ { print \"peer_kib\", $2 }' $peer/status";

fn instructions(node: &Node) -> Result<Vec<Row>> {
    eprintln!("measuring on {}: idle", node.name());
    let mut seen = figures(&sh(node, MEMORY)?)?;
    start_memcached(node)?;
    seen.extend(figures(&sh(node, WAKE_UPS)?)?);
    stop(node, "memcached")?;
    let peer = "memcached";
    Ok(vec![
        Row::new(
            "idle node",
            "wake-ups in 10 s",
            seen["virgo_wakes"],
            (peer, seen["peer_wakes"]),
        )
        .value_goal(0.0),
        Row::new(
            "idle node, all modules",
            "KiB resident",
            seen["virgo_kib"],
            (peer, seen["peer_kib"]),
        )
        .value_goal(4096.0),
    ])
}
