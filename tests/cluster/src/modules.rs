// SPDX-License-Identifier: GPL-2.0
//! Modules that come and go, and their configuration.

use crate::{
    Test,
    rounds::Rounds,
    support::{fails, sh, text, wait_until_whole},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("stubs_without_and_with_a_module", stubs),
    ("unload_while_calls_are_inside", unload_inside),
    (
        "unload_while_the_device_is_open",
        unload_while_device_is_open,
    ),
    ("load_and_unload_under_traffic", load_unload),
    ("unload_while_a_session_ends", unload_while_a_session_ends),
    ("open_debugfs_files_keep_their_modules", open_debugfs_files),
    ("bad_configuration_changes_nothing", bad_configuration),
    ("key_must_be_secret", key_file),
    ("wrong_key_is_refused", wrong_key),
];

const TEST_CALLS: &str = "/lib/virgo/tests/virgo_test_calls.ko";

/// Unloads the service, for the time of `during`.
fn without_mempool<T>(node: &Node, during: impl FnOnce() -> Result<T>) -> Result<T> {
    sh(node, "rmmod virgo_mempool")?;
    let result = during();
    sh(node, "insmod /lib/virgo/virgo_mempool.ko")?;
    result
}

fn stubs(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let (said, _) = fails(&node, &format!("insmod {TEST_CALLS}"))?;
    ensure!(said.contains("busy"), "second registrant: {said}");
    without_mempool(&node, || {
        let (said, _) = fails(&node, "virgo malloc 1")?;
        ensure!(said.contains("ENOSYS"), "{said}");
        sh(&node, &format!("insmod {TEST_CALLS}"))?;
        let (said, _) = fails(&node, "virgo malloc 1")?;
        sh(&node, "rmmod virgo_test_calls")?;
        ensure!(said.contains("EOPNOTSUPP"), "{said}");
        Ok(())
    })
}

fn unload_inside(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    without_mempool(&node, || {
        sh(&node, &format!("insmod {TEST_CALLS}"))?;
        for door in doors(&node)? {
            // Its malloc sleeps for as many milliseconds as bytes were asked for.
            let door = format!("VIRGO_DOOR={door}");
            let inside = node.spawn(["env", &door, "virgo_call_malloc", "3000"])?;
            std::thread::sleep(Duration::from_millis(1000));
            let (said, _) = fails(&node, "rmmod virgo_test_calls")?;
            ensure!(said.contains("temporarily unavailable"), "{said}");
            let result = inside.wait()?.text()?;
            ensure!(result.trim() == "3000", "{result}");
        }
        sh(&node, "rmmod virgo_test_calls")?;
        Ok(())
    })
}

/// The ways by which programs of a node can make calls.
fn doors(node: &Node) -> Result<&'static [&'static str]> {
    let has_calls = sh(
        node,
        "grep -q ' register_virgo_calls$' /proc/kallsyms && echo yes || true",
    )?;
    Ok(match &*has_calls {
        "yes" => &["syscall", "device"],
        _ => &["device"],
    })
}

/// Services come and go while a program has the device open, and are used and missed by it; the module
/// of the device stays until it is closed.
fn unload_while_device_is_open(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let script = "
        export VIRGO_DOOR=device
        order=\"$(grep -v '^#' /lib/virgo/order)\"
        exec 3<>/dev/virgo || exit 1
        for i in 1 2 3; do
            id=$(virgo malloc 10) && virgo free $id || exit 1
            rmmod virgo_mempool || exit 1
            if virgo malloc 10 2>/tmp/said; then exit 1; fi
            grep -q ENOSYS /tmp/said || { cat /tmp/said; exit 1; }
            insmod /lib/virgo/virgo_mempool.ko || exit 1
        done
        for m in virgo_sample_echo $(echo \"$order\" | tac); do
            [ $m != virgo_config ] || ! rmmod $m 2>/tmp/said || { echo $m went; exit 1; }
            [ $m != virgo_config ] || exec 3>&-
            n=0; until rmmod $m 2>>/tmp/said; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.1; done
        done
        grep -q 'virgo_config.*temporarily unavailable' /tmp/said || { cat /tmp/said; exit 1; }
        if virgo malloc 10 2>/tmp/said; then exit 1; fi
        grep -q ENOSYS /tmp/said || { cat /tmp/said; exit 1; }
        for m in $order virgo_sample_echo; do insmod /lib/virgo/$m.ko || exit 1; done";
    sh(&node, script)?;
    wait_until_whole(cluster)
}

/// All modules, round after round, while other nodes use this one by all three ways.
fn load_unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    let stop = "/tmp/stop";
    let traffic = "until [ -e /tmp/stop ]; do
            virgo clone noop; virgo clone echo x; virgo clone --timeout 300ms sleep 1000
            id=$(virgo malloc 300000) && virgo set $id data && virgo get $id --length 4 && virgo free $id
            (echo \"auth $(cat /etc/virgo_text.key)\"; echo 'virgo_cloud_malloc(10)'; echo stats) | nc -w 2 10.9.0.3 30000
            (echo \"auth $(cat /etc/virgo_text.key)\"; echo 'echo(x)'; sleep 1) | nc -w 2 10.9.0.3 7007
            virgo clone --on 3 noop; virgo clone --on 3 sleep 20
            virgo clone --on 3 virgo_cloud_test_kernelspace
        done >/dev/null 2>&1; rm /tmp/stop";
    let running: Vec<_> = cluster
        .nodes()
        .map(|node| node.spawn(["sh", "-c", traffic]))
        .collect::<Result<_>>()?;
    let n = Rounds {
        debug: 3,
        slim: 10,
        soak: 200,
    }
    .count();
    let order = "$(grep -v '^#' /lib/virgo/order) virgo_sample_echo";
    let unload = "for m in virgo_sample_echo $(grep -v '^#' /lib/virgo/order | tac); do
            n=0; until rmmod $m 2>/dev/null; do
                n=$((n + 1)); [ $n -lt 300 ] || { echo \"cannot unload $m\" >&2; exit 1; }; sleep 0.05
            done
        done";
    let load = format!("for m in {order}; do insmod /lib/virgo/$m.ko || exit 1; done");
    let script = format!(
        "i=0; while [ $i -lt {n} ]; do i=$((i + 1)); {unload}; {load}; sleep 0.3; done; echo $i rounds"
    );
    let patience = Duration::from_secs(60 + 30 * n as u64);
    let result = node.run_with_timeout(["sh", "-c", &script], patience);
    for node in cluster.nodes() {
        sh(&node, &format!("touch {stop}"))?;
    }
    for job in running {
        job.wait_timeout(Duration::from_secs(120))?;
    }
    println!("{}", result?.text()?.trim());
    wait_until_whole(cluster)
}

/// A session that was ended, and whose work still waits for a dead node, must not have its server wait
/// for itself when it goes.
fn unload_while_a_session_ends(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let id = sh(&node1, "virgo malloc 100 --place 2")?;
    node2.pause()?;
    let unloaded = sh(
        &node1,
        &format!(
            "(echo \"auth $(cat /etc/virgo.key)\"; echo 'virgo_cloud_get({id})'; sleep 30) 2>&1 |
                nc 127.0.0.1 30000 >/tmp/said 2>&1 &
             until grep -q OK /tmp/said; do sleep 0.1; done; sleep 0.5
             virgo sessions mempool --end $(virgo sessions mempool | awk '$3 == \"text\" {{ print $2 }}')
             sleep 0.2; rmmod virgo_mempool && insmod /lib/virgo/virgo_mempool.ko"
        ),
    );
    node2.resume()?;
    unloaded?;
    wait_until_whole(cluster)
}

/// A module goes when nobody has one of its files open: the kernel looks at the file's operations when
/// it is closed.
fn open_debugfs_files(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let script = "
        cd /sys/kernel/debug/virgo
        # Whether a module stays while its file is open.
        stays() {
            exec 3<$2 && cat <&3 >/dev/null || exit 1
            if rmmod $1 2>/tmp/said; then gone=1; else gone=0; fi
            exec 3<&-
            [ $gone = 0 ] || { echo $1 went while $2 was open; exit 1; }
            grep -q 'temporarily unavailable' /tmp/said || { cat /tmp/said; exit 1; }
            echo $2
        }
        for file in */*; do
            module=virgo_${file%%/*}
            [ $module != virgo_umb ] || module=umb
            stays $module $file
        done
        # And now it goes.
        order=\"$(grep -v '^#' /lib/virgo/order)\"
        for m in virgo_sample_echo $(echo \"$order\" | tac); do
            [ $m != virgo_config ] || stays virgo_config config
            n=0; until rmmod $m 2>/dev/null; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.1; done
        done
        for m in $order virgo_sample_echo; do insmod /lib/virgo/$m.ko || exit 1; done";
    let seen = sh(&node, script)?;
    for file in ["mempool/stats", "queue/state", "cloudfs/peers", "config"] {
        ensure!(seen.lines().any(|line| line == file), "{seen}");
    }
    wait_until_whole(cluster)
}

fn bad_configuration(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let before = sh(&node, "cat /sys/kernel/debug/virgo/config")?;
    sh(
        &node,
        "cp /etc/virgo_cloud.conf /tmp/good; echo 'nodes = 10.9.0' >>/etc/virgo_cloud.conf",
    )?;
    let (said, _) = fails(&node, "virgo config reload")?;
    let (checked, _) = fails(&node, "virgo config check")?;
    sh(&node, "cp /tmp/good /etc/virgo_cloud.conf")?;
    for said in [said, checked] {
        ensure!(said.contains("/etc/virgo_cloud.conf:8"), "{said}");
        ensure!(said.contains("IPv4"), "{said}");
    }
    let after = sh(&node, "grep -v ^rejected /sys/kernel/debug/virgo/config")?;
    ensure!(before == after, "{before} became {after}");
    sh(&node, "virgo config check && virgo config reload")?;
    ensure!(sh(&node, "cat /sys/kernel/debug/virgo/config")? == before);
    Ok(())
}

fn key_file(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    sh(
        &node,
        "cp -p /etc/virgo.key /tmp/k; cp /etc/virgo_cloud.conf /tmp/good",
    )?;
    for (spoil, expected) in [
        ("chmod 640 /etc/virgo.key", "/etc/virgo.key: must be root's"),
        ("chown 1:0 /etc/virgo.key", "/etc/virgo.key: must be root's"),
        ("rm /etc/virgo.key", "/etc/virgo.key: does not exist"),
        (
            "echo short >/etc/virgo.key",
            "/etc/virgo.key: shorter than 16",
        ),
        (
            "head -c 4097 /dev/zero >/etc/virgo.key",
            "/etc/virgo.key: longer than 4096",
        ),
        (
            "echo 'key_file = /tmp' >>/etc/virgo_cloud.conf",
            "/tmp: not a regular file",
        ),
        (
            "echo 'self = 10.9.0.99' >>/etc/virgo_cloud.conf",
            "/etc/virgo_cloud.conf:8: self: not among",
        ),
    ] {
        sh(&node, spoil)?;
        let reload = fails(&node, "virgo config reload");
        let check = fails(&node, "virgo config check");
        sh(
            &node,
            "cp -p /tmp/k /etc/virgo.key; cp /tmp/good /etc/virgo_cloud.conf",
        )?;
        // The kernel and the command line read for themselves, and say the same.
        for (said, _) in [reload?, check?] {
            ensure!(said.contains(expected), "{spoil}: {said}");
        }
    }
    sh(&node, "virgo config check && virgo config reload")?;
    Ok(())
}

fn wrong_key(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        "cp /etc/virgo.key /tmp/key; cp /etc/virgo_text.key /tmp/text_key
         echo another-key-of-no-use >/etc/virgo.key; echo another-of-no-use >/etc/virgo_text.key
         virgo config reload;
         echo stop >/sys/kernel/debug/virgo/mempool/peers; echo start >/sys/kernel/debug/virgo/mempool/peers",
    )?;
    let there = fails(&node2, "virgo malloc 10 --place 1");
    let telnet = text(&node2, &node1, 30000, &["help"]);
    sh(
        &node2,
        "cp /tmp/key /etc/virgo.key; cp /tmp/text_key /etc/virgo_text.key; virgo config reload",
    )?;
    let (said, _) = there?;
    ensure!(said.contains("EKEYREJECTED"), "{said}");
    ensure!(telnet.is_err(), "the wrong key opens a text session");
    wait_until_whole(cluster)
}
