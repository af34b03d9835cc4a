// SPDX-License-Identifier: GPL-2.0
//! How full the memory pools of the cluster are: what each of them says in a text session.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};
use virgo::{
    Allocation, Place,
    status::{Config, Status},
};
pub(crate) use virgo_test_support::nodes::{nodes, this_node};

const PORT: u16 = 30000;
const KEY: &str = "/etc/virgo_text.key";

/// Most requests to a node that a test has under way at once.
const AT_ONCE: usize = 8;

/// Bytes taken of all pools together.
pub(crate) fn used() -> u64 {
    all("used")
}

/// Bytes left in all pools together.
pub(crate) fn room() -> u64 {
    all("limit") - all("used")
}

/// Bytes taken of this node's pool.
pub(crate) fn used_here() -> u64 {
    here("used")
}

/// Bytes that this node's pool may take.
pub(crate) fn limit() -> u64 {
    here("limit")
}

fn here(name: &str) -> u64 {
    let Config { me, nodes, .. } = config();
    let this = nodes.iter().find(|node| node.number == me);
    shown_at(this.expect("this node is one of them").address, name)
}

/// The sum of what all pools show under this name.
fn all(name: &str) -> u64 {
    let nodes = config().nodes;
    nodes.iter().map(|node| shown_at(node.address, name)).sum()
}

/// Uses the memory of every node, so that it notices who is there and who has gone.
pub(crate) fn greet() {
    for node in nodes() {
        let byte = Allocation::new(1).place(Place::Node(node)).allocate();
        let freed = byte.and_then(virgo::free);
        freed.unwrap_or_else(|error| panic!("node {node}: {error}"));
    }
}

/// Waits until no more bytes are taken than before a test. What a caller has given up waiting for
/// is undone when as many requests as then are under way again, so there are some at once; it may
/// also be from an earlier test.
pub(crate) fn assert_settles(before: u64) {
    let end = Instant::now() + Duration::from_secs(5);
    let mut after = used();
    while after > before && Instant::now() < end {
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(greet);
            }
        });
        after = used();
    }
    assert!(
        after <= before,
        "{} bytes of cluster memory stay taken",
        after - before
    );
}

fn config() -> Config {
    Status::default()
        .config()
        .expect("the configuration in force")
}

fn shown_at(address: Ipv4Addr, name: &str) -> u64 {
    let reply = text(address, "stats").unwrap_or_else(|e| panic!("{address}:{PORT}: {e}"));
    let shown = reply
        .split_whitespace()
        .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        .and_then(|number| number.parse().ok());
    shown.unwrap_or_else(|| panic!("{address}:{PORT}: 'stats' says '{reply}'"))
}

/// Gives this node a text command, and returns all that was answered.
pub(crate) fn say(command: &str) -> String {
    let Config { me, nodes, .. } = config();
    let this = nodes.iter().find(|node| node.number == me);
    let address = this.expect("this node is one of them").address;
    text(address, command).expect("a text session")
}

/// Gives a text command, and returns all that was answered.
fn text(address: Ipv4Addr, command: &str) -> std::io::Result<String> {
    let key = fs::read_to_string(KEY).unwrap_or_default();
    let mut session = TcpStream::connect((address, PORT))?;
    session.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(session, "auth {}\n{command}\nquit\n", key.trim())?;
    let mut replies = String::new();
    session.read_to_string(&mut replies)?;
    Ok(replies)
}
