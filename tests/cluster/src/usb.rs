// SPDX-License-Identifier: GPL-2.0
//! USB: what the command line captures, what Wireshark's programs read of it, policies, and a device of
//! QEMU's.

use crate::{
    Test,
    support::{fails, sh, within},
};
use anyhow::{Context, Result, ensure};
use std::{env, fs, path::PathBuf, process::Command, time::Duration};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("usb_written_bytes_arrive_at_qemu", serial),
    ("usb_capture_is_read_by_tshark", tshark),
    ("usb_capture_ends_with_all_that_came", ends),
    ("usb_report_is_a_page", report),
    ("usb_policy_denies_and_allows", policy),
];

/// Plugs gadget zero in, which sends back what it is sent, and has umb bind it: $umb is its device,
/// $port where it is plugged in.
const PLUG: &str = "modprobe dummy_hcd; modprobe usb_f_ss_lb; modprobe g_zero loopdefault=1
    grep -q '0525 a4a0' /sys/bus/usb/drivers/umb/new_id || echo '0525 a4a0' >/sys/bus/usb/drivers/umb/new_id
    n=0; until umb=$(ls -d /sys/bus/usb/devices/*:*/usbmisc/umb* 2>/dev/null | while read -r u; do
            [ $(cat ${u%%:*}/idProduct) != a4a0 ] || echo $u; done) && [ -n \"$umb\" ]; do
        n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1
    done
    port=${umb%%:*}; port=${port##*/}; umb=/dev/${umb##*/}
    until [ -e $umb ]; do sleep 0.1; done
";

/// Runs a script with gadget zero plugged in, and pulls the plug.
fn with_zero(node: &Node, script: &str) -> Result<String> {
    let result = sh(node, &format!("{PLUG}{script}"));
    sh(node, "rmmod g_zero")?;
    result
}

fn serial(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let bind = "echo '0403 6001' >/sys/bus/usb/drivers/umb/new_id
        n=0; until ls -d /sys/bus/usb/devices/*:*/usbmisc/umb* 2>/dev/null; do
            n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1
        done";
    let found = sh(&node, bind)?;
    let umb = found.lines().next().context("no device")?;
    let umb = umb.rsplit('/').next().context("no name")?;
    sh(
        &node,
        &format!("seq 5000 | dd of=/dev/{umb} bs=7000 conv=fsync"),
    )?;
    let expected: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    within(Duration::from_secs(10), || {
        let arrived = node.usb_serial()?;
        ensure!(
            arrived == expected.as_bytes(),
            "{} of {} bytes",
            arrived.len(),
            expected.len()
        );
        Ok(())
    })?;
    // As it was: no driver.
    sh(
        &node,
        "echo '0403 6001' >/sys/bus/usb/drivers/umb/remove_id",
    )?;
    let interface = umb_interface(&node, umb)?;
    sh(
        &node,
        &format!("echo -n {interface} >/sys/bus/usb/drivers/umb/unbind"),
    )?;
    Ok(())
}

/// The interface that a device belongs to.
fn umb_interface(node: &Node, umb: &str) -> Result<String> {
    let path = sh(
        node,
        &format!("echo /sys/bus/usb/devices/*:*/usbmisc/{umb}"),
    )?;
    let interface = path.split('/').nth(5).context("no interface")?;
    Ok(interface.to_owned())
}

/// A program of the build root on a file, which lies where the root sees it.
fn in_root(command: &[&str]) -> Result<String> {
    let top = PathBuf::from(env::var_os("VIRGO_TOP").context("VIRGO_TOP")?);
    let output = Command::new(top.join("qemu/in-root"))
        .args(command)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It does not like to be root.
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| !line.starts_with("Running as user") && !line.trim().is_empty())
        .collect();
    ensure!(
        output.status.success() && warnings.is_empty(),
        "{command:?}: {said}"
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where the root sees it.
fn host_file(name: &str) -> Result<String> {
    let top = env::var("VIRGO_TOP").context("VIRGO_TOP")?;
    Ok(format!("{top}/build/{name}"))
}

/// Captures while `seq 3000` goes to gadget zero and comes back, into /tmp/usb.pcapng.
const CAPTURE: &str = "set -e
    virgo usb capture -o /tmp/usb.pcapng >/tmp/capture.out 2>&1 &
    capture=$!
    n=0; until grep -q '^captures [1-9]' /sys/kernel/debug/virgo/umb/devices; do
        n=$((n + 1)); [ $n -lt 100 ] || { cat /tmp/capture.out; exit 1; }; sleep 0.1
    done
    # dd does not wait for the end of a file that has none.
    seq 3000 >/tmp/sent; size=$(stat -c %s /tmp/sent)
    head -c $size $umb >/tmp/received & reader=$!
    cat /tmp/sent >$umb
    wait $reader; cmp /tmp/sent /tmp/received
    sleep 0.5; kill -INT $capture; wait $capture; cat /tmp/capture.out";

fn tshark(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let said = with_zero(&node, CAPTURE)?;
    ensure!(said.contains(" 0 lost"), "{said}");
    let file = host_file("usb-test.pcapng")?;
    fs::write(&file, node.get_bytes("/tmp/usb.pcapng")?)?;
    let expected: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    let hex: String = expected.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (event, direction) in [("'S'", 0), ("'C'", 1)] {
        let filter = format!(
            "usb.transfer_type == 3 && usb.urb_type == {event} && usb.endpoint_address.direction == {direction}"
        );
        let fields = [
            "tshark",
            "-r",
            &file,
            "-Y",
            &filter,
            "-T",
            "fields",
            "-e",
            "usb.bus_id",
            "-e",
            "usb.data_len",
            "-e",
            "usb.capdata",
        ];
        let mut found = String::new();
        for line in in_root(&fields)?.lines() {
            let mut fields = line.split('\t').map(str::trim);
            let (bus, len) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
            let data = fields.next().unwrap_or("");
            // Numbers of the header, in the order of the machine.
            let (bus, len): (u16, usize) = (bus.parse()?, len.parse()?);
            ensure!(bus < 16 && len == data.len() / 2, "bus {bus}, {len} bytes");
            found.push_str(data);
        }
        ensure!(
            found == hex,
            "{event}: {} digits, not {}",
            found.len(),
            hex.len()
        );
    }
    let malformed = in_root(&[
        "tshark",
        "-r",
        &file,
        "-Y",
        "_ws.malformed || _ws.expert.severity >= 6291456",
    ])?;
    ensure!(malformed.is_empty(), "{malformed}");
    let about = in_root(&["capinfos", "-T", "-r", "-E", "-c", &file])?;
    ensure!(about.contains("usb-linux-mmap"), "{about}");
    fs::remove_file(&file)?;
    Ok(())
}

/// What the kernel has kept is read when the capture is ended.
fn ends(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let script = CAPTURE
        .replace("head -c", "kill -STOP $capture; head -c")
        .replace(
            "sleep 0.5; kill -INT $capture",
            "kill -INT $capture; kill -CONT $capture",
        );
    let said = with_zero(&node, &format!("{script}; echo $size sent"))?;
    let number = |before: &str| -> Result<u64> {
        let words: Vec<_> = said.split_whitespace().collect();
        let at = words.iter().position(|word| *word == before);
        let word = at.and_then(|at| words.get(at.checked_sub(1)?));
        Ok(word.context(said.clone())?.parse()?)
    };
    let (seen, sent) = (number("bytes")?, number("sent")?);
    ensure!(seen >= 2 * sent, "{said}");
    ensure!(said.contains(" 0 lost"), "{said}");
    Ok(())
}

fn report(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    with_zero(&node, CAPTURE)?;
    let page = sh(
        &node,
        "virgo usb report /tmp/usb.pcapng -o /tmp/usb.html && cat /tmp/usb.html",
    )?;
    ensure!(page.contains("Nothing unusual was found"), "{page}");
    // Digits and line ends.
    ensure!(page.contains("Different bytes: 11 "), "{page}");
    let (said, _) = fails(&node, "virgo usb report /etc/hosts -o /tmp/x.html")?;
    ensure!(said.contains("no pcapng file"), "{said}");
    Ok(())
}

fn policy(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(1);
    let said = with_zero(
        &node,
        "set -e; cd /tmp
        switch=/sys/bus/usb/devices/$port/authorized
        printf '# test\\ndeny id=0525:*\\nlog all\\n' >policy
        virgo usb policy policy; echo dry $(cat $switch)
        virgo usb policy policy --apply >/dev/null; echo applied $(cat $switch)
        echo 'allow all' >policy
        virgo usb policy policy --apply >/dev/null; echo allowed $(cat $switch)
        # Its interfaces go with the first, so the line does not fit the second time.
        printf 'deny class=ff\nallow all\n' >policy
        virgo usb policy policy --apply >/dev/null; echo class $(cat $switch)
        virgo usb policy policy --apply >/dev/null; echo again $(cat $switch)
        echo 1 >$switch",
    )?;
    for expected in [
        "line 2: 1 devices",
        "dry 1",
        "applied 0",
        "allowed 1",
        "class 0",
        "again 0",
    ] {
        ensure!(said.contains(expected), "{said}");
    }
    let (said, _) = fails(
        &node,
        "echo 'forbid all' >/tmp/policy; virgo usb policy /tmp/policy",
    )?;
    ensure!(said.contains("line 1"), "{said}");
    Ok(())
}
