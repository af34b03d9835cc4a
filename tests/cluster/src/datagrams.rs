// SPDX-License-Identifier: GPL-2.0
//! Short requests as datagrams: that they go so, and what happens when they cannot.

use crate::{
    Test,
    support::{sh, wait_until_whole, with_config},
};
use anyhow::{Context, Result, ensure};
use std::{thread::sleep, time::Duration};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("gets_and_sets_go_as_datagrams", usual),
    ("datagrams_that_are_lost_are_repeated", loss),
    ("datagrams_are_not_used_where_they_are_not_wanted", unwanted),
    ("without_a_udp_port_there_are_connections", taken_port),
    ("datagrams_that_do_not_fit_go_by_the_connection", mtu),
    ("a_cut_link_ends_and_datagrams_come_back", cut),
    ("datagrams_that_vanish_cost_a_moment", vanish),
    (
        "requests_with_little_time_do_not_wait_for_lost_datagrams",
        little_time,
    ),
    (
        "a_datagram_that_is_given_up_leaves_the_connection",
        given_up,
    ),
    (
        "datagrams_that_are_given_up_find_room_on_a_full_connection",
        given_up_when_full,
    ),
    (
        "a_request_given_up_by_one_user_keeps_no_other_from_datagrams",
        given_up_by_another,
    ),
    ("a_link_that_becomes_slower_is_not_flooded", slower),
    ("a_link_that_was_slow_is_measured_again", slow_for_a_while),
    (
        "a_closed_connection_is_noticed_before_a_datagram_goes",
        closed,
    ),
    ("udp_that_is_blocked_is_used_again_later", blocked),
    ("keys_change_while_datagrams_go", key_change),
    ("modules_go_while_datagrams_arrive", unload),
];

/// A number that `node` shows of its link to the memory pool of node 2.
fn of_link(node: &Node, column: usize) -> Result<u64> {
    let peers = sh(node, "cat /sys/kernel/debug/virgo/mempool/peers")?;
    let line = peers.lines().find(|line| line.starts_with("2 "));
    let number = line.and_then(|line| line.split(' ').nth(column));
    Ok(number.context("no link to node 2")?.parse()?)
}

/// Connections that `node` has made to the memory pool of node 2.
fn connections(node: &Node) -> Result<u64> {
    of_link(node, 2)
}

/// Calls of `node` to the memory pool of node 2 whose replies have come as datagrams.
fn by_datagram(node: &Node) -> Result<u64> {
    of_link(node, 4)
}

/// Writes and reads numbers in memory of node 2, `rounds` times. Fails if one is not what was written.
fn rounds(node: &Node, rounds: u32) -> Result<()> {
    let script = format!(
        "id=$(virgo malloc 100 --place 2) || exit
         for i in $(seq {rounds}); do
             virgo set $id $i || exit
             got=$(virgo get $id --length ${{#i}}) || exit
             [ \"$got\" = $i ] || {{ echo \"$got instead of $i\" >&2; exit 1; }}
         done
         virgo free $id"
    );
    sh(node, &script).map(drop)
}

/// How many calls go as datagrams in `count` rounds.
fn used_in(node: &Node, count: u32) -> Result<u64> {
    let before = by_datagram(node)?;
    rounds(node, count)?;
    Ok(by_datagram(node)? - before)
}

/// Has datagrams be used: the probe that goes with a request has time to be answered.
fn warm_up(node: &Node) -> Result<()> {
    rounds(node, 1)?;
    for _ in 0..40 {
        if used_in(node, 2)? > 0 {
            return Ok(());
        }
        sleep(Duration::from_millis(500));
    }
    anyhow::bail!("no datagrams are used")
}

fn usual(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    warm_up(&node1)?;
    let used = used_in(&node1, 20)?;
    // Some may be declined, since something of another task is being carried out.
    ensure!(used >= 30, "{used} of 40 gets and sets");
    Ok(())
}

fn loss(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    warm_up(&node1)?;
    let netem = "root netem loss 30% duplicate 20% delay 2ms 2ms reorder 25%";
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {netem}"))?;
    sh(&node2, &format!("/usr/sbin/tc qdisc add dev node1 {netem}"))?;
    let used = used_in(&node1, 40);
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    let used = used?;
    println!("{used} of 80 calls went as datagrams");
    ensure!(used > 0, "no datagrams got through");
    wait_until_whole(cluster)
}

fn unwanted(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    for node in [&node1, &node2] {
        warm_up(&node1)?;
        let used = with_config(node, "datagrams = no", || {
            // Node 1 has to find out that node 2 does not answer any more.
            rounds(&node1, 2)?;
            used_in(&node1, 5)
        })?;
        ensure!(used == 0, "{used} calls went as datagrams");
    }
    // Node 2 has not told node 1 that it takes some again: the next connection does.
    sh(
        &node2,
        "rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko",
    )?;
    wait_until_whole(cluster)?;
    warm_up(&node1)
}

fn taken_port(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "rmmod virgo_mempool")?;
    let taker = node2.spawn(["virgo-wire-tests", "--ignored", "datagrams::taken_port"])?;
    sleep(Duration::from_secs(1));
    let loaded = sh(&node2, "insmod /lib/virgo/virgo_mempool.ko");
    let used = wait_until_whole(cluster).and_then(|()| {
        rounds(&node1, 1)?;
        used_in(&node1, 5)
    });
    sh(
        &node2,
        "pkill -f datagrams::taken_port || killall virgo-wire-tests",
    )?;
    drop(taker);
    loaded?;
    sh(
        &node2,
        "rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko",
    )?;
    wait_until_whole(cluster)?;
    let used = used?;
    ensure!(used == 0, "{used} calls went as datagrams");
    warm_up(&node1)
}

/// Node 2 may send less than the replies have.
fn mtu(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    warm_up(&node1)?;
    sh(&node2, "ip link set node1 mtu 600")?;
    let long = sh(
        &node1,
        "id=$(virgo malloc 1000 --place 2) && for i in 1 2 3 4 5; do
             virgo get $id --length 1000 | wc -c || exit; done && virgo free $id",
    );
    let short = used_in(&node1, 5);
    sh(&node2, "ip link set node1 mtu 1500")?;
    let long = long?;
    ensure!(long.lines().all(|line| line.trim() == "1000"), "{long}");
    ensure!(short? > 0, "what fits does not go as datagrams any more");
    Ok(())
}

fn cut(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    warm_up(&node1)?;
    let id = sh(&node1, "virgo malloc 10 --place 2")?;
    cluster.cut(1, 2)?;
    let failed = sh(&node1, &format!("! virgo get {id} --length 1"));
    cluster.heal()?;
    failed.context("a get by a link that is cut")?;
    wait_until_whole(cluster)?;
    sh(&node1, &format!("virgo free {id}"))?;
    warm_up(&node1)
}

/// Has node 2 drop all datagrams of node 1 without a word, as a network does that lets none through: node 1
/// still has the connection on which node 2 has said that it takes some.
fn in_black_hole<T>(cluster: &Cluster, during: impl FnOnce(&Node) -> Result<T>) -> Result<T> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let before = connections(&node1)?;
    let result = with_config(&node2, "datagrams = no", || {
        let result = during(&node1)?;
        let made = connections(&node1)? - before;
        ensure!(made == 0, "{made} connections were made anew");
        Ok(result)
    });
    // The next connection has datagrams again.
    sh(
        &node2,
        "rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko",
    )?;
    wait_until_whole(cluster)?;
    let result = result?;
    warm_up(&node1)?;
    Ok(result)
}

/// Hundredths of a second that `count` gets take.
fn time_of_gets(node: &Node, id: &str, count: u32) -> Result<u64> {
    let script = format!(
        "now() {{ cut -d' ' -f1 /proc/uptime | tr -d .; }}
         begin=$(now)
         for i in $(seq {count}); do virgo get {id} --length 1 >/dev/null || exit; done
         echo $(($(now) - begin))"
    );
    Ok(sh(node, &script)?.parse()?)
}

/// Datagrams that the memory pool of `node` has dropped.
fn refused(node: &Node) -> Result<u64> {
    let stats = sh(node, "head -n 1 /sys/kernel/debug/virgo/mempool/stats")?;
    let last = stats.split(' ').next_back();
    Ok(last.context("no statistics")?.parse()?)
}

fn vanish(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    warm_up(&node1)?;
    let id = sh(&node1, "virgo malloc 10 --place 2")?;
    in_black_hole(cluster, |node1| {
        let before = (by_datagram(node1)?, refused(&node2)?);
        let took = time_of_gets(node1, &id, 100)?;
        let used = by_datagram(node1)? - before.0;
        ensure!(used == 0, "{used} calls went as datagrams");
        // One request that was repeated, and then a probe now and then, ever more rarely.
        let lost = refused(&node2)? - before.1;
        println!("{lost} datagrams were lost in {took}0 ms");
        ensure!((1..=4 + 6).contains(&lost), "{lost} datagrams were lost");
        Ok(())
    })
}

/// The round trip is long, so that it takes longer to find out that a datagram is lost than the requests
/// have time.
fn little_time(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem delay 100ms",
    )?;
    let result = warm_up(&node1).and_then(|()| {
        let id = sh(&node1, "virgo malloc 10 --place 2")?;
        in_black_hole(cluster, |node1| {
            with_config(node1, "deadline_ms = 600", || time_of_gets(node1, &id, 5))
        })
    });
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    result.map(drop)
}

/// Programs are killed while they wait for the answer to a long datagram: others, which use the same
/// connection, are not to notice.
fn given_up(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    warm_up(&node1)?;
    let before = connections(&node1)?;
    sh(
        &node2,
        "/usr/sbin/tc qdisc add dev node1 root netem delay 50ms",
    )?;
    let killed = sh(
        &node1,
        "id=$(virgo malloc 1000 --place 2) && text=$(head -c 900 /dev/zero | tr '\\0' x)
         for i in $(seq 10 39); do
             virgo set $id $text & sleep 0.0$i; kill -9 $! 2>/dev/null; wait $!
         done
         virgo free $id",
    );
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    killed?;
    let made = connections(&node1)? - before;
    ensure!(made == 0, "{made} connections were made anew");
    warm_up(&node1)
}

/// Has node 1 connect anew: what is known of the round trip begins with the connection, and it takes few
/// bytes before the first are acknowledged.
fn connect_anew(cluster: &Cluster) -> Result<()> {
    sh(
        &cluster.node(2),
        "rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko",
    )?;
    wait_until_whole(cluster)?;
    warm_up(&cluster.node(1))
}

/// Has programs on node 1 set 64 KiB of node 2 again and again, one after the other each, until
/// `/tmp/enough` is there.
const LONG_SETS: &str = "head -c 65536 /dev/zero >/tmp/long
     long=$(virgo malloc 64K --place 2) || exit
     for i in 1 2 3 4; do
         while [ ! -e /tmp/enough ]; do virgo set $long </tmp/long 2>/dev/null; done &
     done";

/// Many programs are killed at once while they wait for answers to long datagrams, and the connection
/// has no room for more.
fn given_up_when_full(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    connect_anew(cluster)?;
    let netem = "root netem delay 150ms";
    sh(
        &node1,
        &format!("/usr/sbin/tc qdisc add dev node2 {netem} rate 4mbit"),
    )?;
    sh(&node2, &format!("/usr/sbin/tc qdisc add dev node1 {netem}"))?;
    let killed = warm_up(&node1).and_then(|()| {
        let before = connections(&node1)?;
        sh(
            &node1,
            &format!(
                "rm -f /tmp/enough /tmp/start && mkfifo /tmp/start
                 id=$(virgo malloc 2000 --place 2) && text=$(head -c 1100 /dev/zero | tr '\\0' x)
                 for i in $(seq 30); do
                     (read line </tmp/start; exec virgo set $id $text) 2>/dev/null & pids=\"$pids $!\"
                 done
                 {LONG_SETS}
                 sleep 1; : >/tmp/start; sleep 0.7
                 kill -9 $pids; touch /tmp/enough; wait; rm /tmp/enough /tmp/start /tmp/long"
            ),
        )?;
        Ok(connections(&node1)? - before)
    });
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    let made = killed?;
    ensure!(made == 0, "{made} connections were made anew");
    warm_up(&node1)
}

/// A user has given up a request, and always has others under way after that.
fn given_up_by_another(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    warm_up(&node1)?;
    sh(
        &node2,
        "/usr/sbin/tc qdisc add dev node1 root netem delay 200ms",
    )?;
    let result = warm_up(&node1).and_then(|()| {
        sh(
            &node1,
            "rm -f /tmp/enough
             cat >/tmp/others <<'EOF'
             id=$(virgo malloc 64K --place 2) || exit
             for i in 1 2 3 4 5 6 7 8; do
                 while [ ! -e /tmp/enough ]; do virgo get $id >/dev/null; done &
             done
             sleep 1
             virgo get $id >/dev/null & sleep 0.2; kill -9 $!
             wait
             virgo free $id
EOF
             chmod 755 /tmp/others",
        )?;
        let others = node1.spawn(["su", "user", "-c", "sh /tmp/others"])?;
        sleep(Duration::from_secs(4));
        let used = used_in(&node1, 10);
        sh(&node1, "touch /tmp/enough")?;
        others.wait()?;
        sh(&node1, "rm /tmp/enough /tmp/others")?;
        used
    });
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    let used = result?;
    println!("{used} of 20 gets and sets went as datagrams");
    ensure!(used >= 10, "{used} of 20 gets and sets");
    Ok(())
}

/// When the round trip becomes longer than is waited for, that is found out: otherwise all requests would
/// be sent several times from then on.
fn slower(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    connect_anew(cluster)?;
    let id = sh(&node1, "virgo malloc 10 --place 2")?;
    time_of_gets(&node1, &id, 50)?;
    let sent = || -> Result<u64> {
        let packets = sh(&node1, "cat /sys/class/net/node2/statistics/tx_packets")?;
        Ok(packets.parse()?)
    };
    let netem = "/usr/sbin/tc qdisc add dev node1 root netem delay 50ms";
    sh(&node2, netem)?;
    let gets = || -> Result<(u64, u64)> {
        time_of_gets(&node1, &id, 20)?;
        let before = (sent()?, by_datagram(&node1)?);
        time_of_gets(&node1, &id, 100)?;
        Ok((sent()? - before.0, by_datagram(&node1)? - before.1))
    };
    let result = gets();
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    sh(&node1, &format!("virgo free {id}"))?;
    let (sent, used) = result?;
    println!("{sent} packets for 100 gets, {used} of them by datagrams");
    ensure!(used >= 80, "{used} of 100 gets");
    ensure!(sent <= 160, "{sent} packets for 100 gets");
    Ok(())
}

/// The round trip was so long that requests with little time go by the connection. When it is short again
/// that is found out, though all requests have little time.
fn slow_for_a_while(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let netem = "/usr/sbin/tc qdisc add dev node1 root netem delay 250ms";
    sh(&node2, netem)?;
    let slow = warm_up(&node1);
    sh(&node2, "/usr/sbin/tc qdisc del dev node1 root")?;
    slow?;
    let id = sh(&node1, "virgo malloc 10 --place 2")?;
    let before = by_datagram(&node1)?;
    with_config(&node1, "deadline_ms = 390", || {
        for _ in 0..40 {
            // On a slow machine some may be out of time.
            sh(&node1, &format!("virgo get {id} --length 1 || true"))?;
            if by_datagram(&node1)? > before {
                return Ok(());
            }
            sleep(Duration::from_millis(500));
        }
        anyhow::bail!("no datagrams are used")
    })
}

/// All goes by datagrams, and node 2 ends the connection: the next request finds that out.
fn closed(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    warm_up(&node1)?;
    let id = sh(&node1, "virgo malloc 10 --place 2")?;
    used_in(&node1, 2)?;
    sh(
        &node2,
        "rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko",
    )?;
    // What was allocated is gone with the module.
    sh(&node1, &format!("! virgo get {id} --length 1"))?;
    let lost = refused(&node2)?;
    ensure!(lost == 0, "{lost} datagrams of an ended session");
    wait_until_whole(cluster)?;
    warm_up(&node1)
}

/// The network lets no UDP through, in one direction or both, and later does again. The connection stays.
fn blocked(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let tc = "/usr/sbin/tc";
    let drop_udp = "protocol ip u32 match ip protocol 17 0xff action drop";
    let block = |(node, device): (&Node, &str)| {
        let script = format!(
            "{tc} qdisc add dev {device} clsact && {tc} filter add dev {device} egress {drop_udp}"
        );
        sh(node, &script)
    };
    let unblock =
        |(node, device): (&Node, &str)| sh(node, &format!("{tc} qdisc del dev {device} clsact"));
    let ways = [(&node1, "node2"), (&node2, "node1")];
    for blocked in [&ways[..1], &ways[1..], &ways[..]] {
        warm_up(&node1)?;
        let before = connections(&node1)?;
        for way in blocked {
            block(*way)?;
        }
        let used = used_in(&node1, 10);
        for way in blocked {
            unblock(*way)?;
        }
        let used = used?;
        ensure!(used == 0, "{used} calls went as datagrams");
        warm_up(&node1)?;
        let made = connections(&node1)? - before;
        ensure!(made == 0, "{made} connections were made anew");
    }
    Ok(())
}

fn key_change(cluster: &Cluster) -> Result<()> {
    let node1 = cluster.node(1);
    warm_up(&node1)?;
    let work = node1.spawn([
        "sh",
        "-c",
        "id=$(virgo malloc 10 --place 2)
         while [ ! -e /tmp/enough ]; do virgo get $id --length 1 >/dev/null 2>&1; done
         virgo free $id",
    ])?;
    for key in [
        "another key of the cluster, 1",
        "another key of the cluster, 2",
    ] {
        for node in cluster.nodes() {
            sh(
                &node,
                &format!(
                    "[ -e /tmp/key ] || cp -p /etc/virgo.key /tmp/key
                     echo '{key}' >/etc/virgo.key && virgo config reload"
                ),
            )?;
        }
        sleep(Duration::from_millis(500));
    }
    for node in cluster.nodes() {
        sh(&node, "mv /tmp/key /etc/virgo.key && virgo config reload")?;
    }
    let whole = wait_until_whole(cluster);
    sh(&node1, "touch /tmp/enough")?;
    work.wait()?;
    sh(&node1, "rm /tmp/enough")?;
    whole?;
    warm_up(&node1)
}

fn unload(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    warm_up(&node1)?;
    let work = node1.spawn([
        "sh",
        "-c",
        "while [ ! -e /tmp/enough ]; do
             id=$(virgo malloc 10 --place 2 2>/dev/null)
             for i in 1 2 3 4 5; do virgo get $id --length 1 >/dev/null 2>&1; done
             virgo free $id 2>/dev/null
         done",
    ])?;
    for _ in 0..5 {
        sleep(Duration::from_millis(700));
        sh(
            &node2,
            "rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko",
        )?;
    }
    sh(&node1, "touch /tmp/enough")?;
    work.wait()?;
    sh(&node1, "rm /tmp/enough")?;
    wait_until_whole(cluster)?;
    warm_up(&node1)
}
