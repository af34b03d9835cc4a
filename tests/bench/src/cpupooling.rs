// SPDX-License-Identifier: GPL-2.0
//! The processor pool beside other ways to have another machine do something: a SunRPC NULL call
//! of rpcbind, by libtirpc and by a client that does nothing but send and receive; a request and
//! reply of 64 bytes by NATS; a command by ssh.

use crate::{
    Bench,
    report::Row,
    support::{measure, measure_in_turns, reload, start, start_nats, stop},
};
use anyhow::Result;
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock,
};

const NULL: &str = "SunRPC NULL call";
const BARE: &str = "the same, bare client";
const NATS: &str = "NATS request";
const SSH: &str = "ssh host true";

fn instructions(node: &Node) -> Result<Vec<Row>> {
    let unit = "instructions";
    start_peers(node)?;
    let null = measure(node, "rpc 127.0.0.1")?["null"];
    let bare = measure(node, "rpc-bare 127.0.0.1")?["bare"];
    let nats = measure(node, "nats 127.0.0.1")?["nats"];
    let ssh = measure(node, "ssh 127.0.0.1")?["ssh"];
    stop_peers(node)?;
    let local = measure(node, "noop 1")?;
    reload(node, "cpupooling", "loopback=1")?;
    let remote = measure(node, "noop 1")?;
    let program = measure(node, "program 1")?;
    reload(node, "cpupooling", "")?;
    let (noop, each) = (remote["noop"], remote["noop1000"]);
    Ok(vec![
        Row::new(
            "call of a function that does nothing",
            unit,
            noop,
            (NULL, null),
        )
        .ratio_goal(0.55),
        Row::new("the same", unit, noop, (BARE, bare)),
        Row::new("the same", unit, noop, (NATS, nats)).ratio_goal(0.3),
        Row::new(
            "the same, 1000 at once",
            unit,
            each,
            ("one at a time", noop),
        )
        .ratio_goal(0.125),
        Row::new("the same on this node", unit, local["noop"], (NULL, null)),
        Row::new("program with output", unit, program["program"], (SSH, ssh)).ratio_goal(0.3),
    ])
}

fn wall_clock(client: &Node, server: &Node) -> Result<Vec<Row>> {
    let unit = "ns between two guests";
    start_peers(server)?;
    let [null, bare, nats, noop] = measure_in_turns(
        client,
        [
            &format!("rpc {}", server.address()),
            &format!("rpc-bare {}", server.address()),
            &format!("nats {}", server.address()),
            &format!("noop {}", server.number()),
        ],
    )?;
    stop_peers(server)?;
    let noop = noop["noop"];
    Ok(vec![
        Row::new(
            "call of a function that does nothing",
            unit,
            noop,
            (NULL, null["null"]),
        ),
        Row::new("the same", unit, noop, (BARE, bare["bare"])),
        Row::new("the same", unit, noop, (NATS, nats["nats"])),
    ])
}

fn start_peers(node: &Node) -> Result<()> {
    let ssh = "mkdir -p /etc/dropbear /root/.ssh /dev/pts
        mount | grep -q /dev/pts || mount -t devpts devpts /dev/pts
        [ -e /etc/dropbear/key ] || dropbearkey -t ed25519 -f /etc/dropbear/key >/dev/null 2>&1
        [ -e /root/.ssh/id ] || dropbearkey -t ed25519 -f /root/.ssh/id 2>/dev/null |
            grep ^ssh- >/root/.ssh/authorized_keys
        chmod -R go= /root /root/.ssh
        dropbear -r /etc/dropbear/key -p 22";
    start(node, "mkdir -p /run/rpcbind && rpcbind -i", &[111])?;
    start(node, ssh, &[22])?;
    start_nats(node)
}

fn stop_peers(node: &Node) -> Result<()> {
    stop(node, "rpcbind nats-server dropbear")
}
