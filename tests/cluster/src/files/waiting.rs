// SPDX-License-Identifier: GPL-2.0
//! Who waits for files, and whom that holds up.

use super::{EXPORT, on_request, wait_until_open};
use crate::support::{DEADLINE, SLACK, sh, wait_until_whole, with_config, within};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use virgo_cluster::Cluster;

/// On a network with a long way to go, large reads and writes take less time than one request after
/// the other would.
pub fn several(cluster: &Cluster) -> Result<()> {
    const WAY: Duration = Duration::from_millis(200);
    const REQUESTS: u32 = 64;
    let node1 = cluster.node(1);
    let delay = format!("root netem delay {}ms", WAY.as_millis());
    sh(&node1, "head -c 4194304 /dev/urandom >/tmp/far")?;
    sh(&node1, &format!("/usr/sbin/tc qdisc add dev node2 {delay}"))?;
    let timed = |command: String| -> Result<Duration> {
        let start = Instant::now();
        sh(&node1, &command)?;
        Ok(start.elapsed())
    };
    let put = timed(format!("virgo put /tmp/far 2:{EXPORT}/far"));
    let got = timed(format!("virgo cp 2:{EXPORT}/far /tmp/back"));
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    let (put, got) = (put?, got?);
    println!("written in {put:?}, read in {got:?}");
    ensure!(put.max(got) < REQUESTS * WAY);
    sh(&node1, "cmp /tmp/far /tmp/back && rm /tmp/far /tmp/back")?;
    sh(&cluster.node(2), &format!("rm {EXPORT}/far"))?;
    Ok(())
}

/// With less room on the way than a reply needs.
pub fn left_behind(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let small = "for way in rmem wmem; do
                     cat /proc/sys/net/ipv4/tcp_$way >/tmp/$way
                     echo '4096 8192 8192' >/proc/sys/net/ipv4/tcp_$way
                 done";
    let again = "for way in rmem wmem; do cat /tmp/$way >/proc/sys/net/ipv4/tcp_$way; done";
    let reconnect = "rmmod virgo_cloudfs && insmod /lib/virgo/virgo_cloudfs.ko";
    sh(&node2, small)?;
    sh(&node1, &format!("{small}; {reconnect}"))?;
    sh(
        &node1,
        "/usr/sbin/tc qdisc add dev node2 root netem delay 2ms",
    )?;
    let test = on_request(&node1, &["replies_that_nobody_takes_are_not_in_the_way"])?;
    let tested = test.wait_timeout(Duration::from_secs(300));
    sh(&node1, "/usr/sbin/tc qdisc del dev node2 root")?;
    sh(&node2, again)?;
    sh(&node1, &format!("{again}; {reconnect}"))?;
    wait_until_whole(cluster)?;
    tested?.text()?;
    Ok(())
}

/// Somebody has a lease on a file, or a delegation of a directory: who wants to change it waits until
/// that is given back, and nobody else does.
pub fn leases(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!(
            "mkdir -m 777 {EXPORT}/leased; echo 1 >{EXPORT}/leased/a; chmod 666 {EXPORT}/leased/a"
        ),
    )?;
    let attempts = [
        ("a", "virgo_open(2:{}/a,O_RDWR)", "0"),
        ("a", "virgo_open(2:{}/a,O_WRONLY|O_TRUNC)", "0"),
        ("a", "virgo_open(2:{}/a,O_RDONLY|O_TRUNC)", "0"),
        ("", "virgo_open(2:{}/b,O_WRONLY|O_CREAT)", "0"),
        ("", "virgo_cloud_mkdir(2:{}/c)", "made"),
        ("", "virgo_cloud_rename(2:{}/b,2:{}/d)", "renamed"),
        ("", "virgo_cloud_unlink(2:{}/d)", "removed"),
    ];
    // Node 2 may have been dead, and is not asked again at once.
    within(DEADLINE, || sh(&node1, "virgo cat 2:/srv/ro/readme"))?;
    let appears = |name: &str| {
        let patience = Duration::from_secs(20);
        within(patience, || sh(&node2, &format!("[ -e /run/{name} ]")))
    };
    for (held, command, expected) in attempts {
        // There is no lease on what is open for writing.
        wait_until_open(&node2, 0)?;
        let held = format!("VIRGO_HELD={EXPORT}/leased/{held}");
        let holder = on_request(&node2, &[&held, "leases::one_is_held"])?;
        appears("held")?;
        let command = command.replace("{}", &format!("{EXPORT}/leased"));
        let typed = format!(
            "printf 'auth %s\\n{command}\\nquit\\n' $(cat /etc/virgo.key) | nc 127.0.0.1 50000"
        );
        let waiting = node1.spawn(["sh", "-c", &typed])?;
        if let Err(e) = appears("asked") {
            let said = waiting.wait()?.text()?;
            return Err(e.context(format!("{command}: {said}")));
        }
        sh(&node1, "virgo cat 2:/srv/ro/readme")?;
        sh(&node2, "touch /run/release")?;
        let said = waiting.wait()?.text()?;
        ensure!(
            said.trim() == format!("OK\n{expected}"),
            "{command}: {said}"
        );
        holder.wait_timeout(Duration::from_secs(60))?.text()?;
        sh(&node2, "rm /run/held /run/asked /run/release")?;
    }
    sh(&node2, &format!("rm -r {EXPORT}/leased"))?;
    Ok(())
}

/// A copy waits for a disk that is too slow for it; other files of that node are read meanwhile.
pub fn slow_disk(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let quick = format!("2:{EXPORT}/quick");
    // Read once, so that the next time is no news to the disk.
    sh(
        &node1,
        &format!(
            "head -c 2000000 /dev/urandom >/tmp/slow &&
             echo quick >/tmp/quick && virgo put /tmp/quick {quick} && virgo cat {quick}"
        ),
    )?;
    node2.throttle_disk(64 << 10)?;
    let copy = node1.spawn(["virgo", "put", "/tmp/slow", &format!("2:{EXPORT}/slow")])?;
    std::thread::sleep(Duration::from_secs(2));
    let start = Instant::now();
    let read = sh(&node1, &format!("virgo cat {quick}"));
    let took = start.elapsed();
    let copied = copy.wait();
    node2.throttle_disk(0)?;
    let copied = copied?;
    sh(&node1, "rm /tmp/slow /tmp/quick")?;
    sh(
        &node2,
        &format!("rm -f {EXPORT}/slow {EXPORT}/.virgo-part-* {EXPORT}/quick"),
    )?;
    ensure!(read? == "quick");
    let said = String::from_utf8_lossy(&copied.stderr);
    ensure!(
        said.contains("ETIMEDOUT"),
        "the disk was not too slow: {said}"
    );
    println!("read in {took:?}");
    Ok(())
}

/// While nothing can be written to the disk of node 2, and many wait for that, the same node uses another
/// file system there at once, and does not take the connection for broken. Later all go on.
pub fn hung(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let other = "/tmp/other";
    sh(
        &node2,
        &format!("mkdir -p {other} && chown 65534:65534 {other} && echo there >{other}/there"),
    )?;
    let connections = || {
        let peers = "/sys/kernel/debug/virgo/cloudfs/peers";
        sh(&node1, &format!("awk '$1 == 2 {{ print $3 }}' {peers}"))
    };
    let checks = || -> Result<()> {
        sh(&node1, &format!("virgo ls 2:{EXPORT}"))?;
        let before = connections()?;
        sh(&node2, "fsfreeze --freeze /run/disk")?;
        let waiting = (0..40)
            .map(|n| node1.spawn(["virgo", "put", "/etc/hosts", &format!("2:{EXPORT}/hung{n}")]))
            .collect::<Result<Vec<_>, _>>();
        std::thread::sleep(Duration::from_secs(2));
        let start = Instant::now();
        let done = sh(
            &node1,
            &format!(
                "virgo cat 2:{other}/there && virgo put /etc/hosts 2:{other}/new &&
                 virgo ls 2:{other}"
            ),
        );
        let took = start.elapsed();
        // Nothing is heard any more.
        std::thread::sleep(2 * DEADLINE);
        let after = connections();
        sh(&node2, "fsfreeze --unfreeze /run/disk")?;
        for copy in waiting? {
            copy.wait()?;
        }
        let (done, after) = (done?, after?);
        ensure!(before == after, "{before} and {after} connections");
        ensure!(done == "there\nnew\nthere", "{done}");
        println!("others took {took:?}");
        ensure!(took < SLACK + DEADLINE, "{took:?}");
        sh(&node1, &format!("virgo put /etc/hosts 2:{EXPORT}/after"))?;
        wait_until_open(&node2, 0)
    };
    let result = with_config(&node2, &format!("export = {other} rw"), checks);
    sh(
        &node2,
        &format!("rm -rf {other} {EXPORT}/hung* {EXPORT}/after {EXPORT}/.virgo-*"),
    )?;
    result
}

/// Node 3 has more waiting for the disk of node 2 than there are workers for it, when it is taken out of the
/// configuration. What had begun is done, the rest is not.
pub fn removed(cluster: &Cluster) -> Result<()> {
    const FILES: usize = 40;
    let (node2, node3) = (cluster.node(2), cluster.node(3));
    let files =
        format!("rm -f {EXPORT}/mine*; cd {EXPORT} && touch $(seq {FILES} | sed 's,^,mine,')");
    sh(&node2, &files)?;
    sh(&node3, &format!("virgo ls 2:{EXPORT}"))?;
    sh(&node2, "fsfreeze --freeze /run/disk")?;
    let ask = format!(
        "for n in $(seq {FILES}); do
             (echo \"auth $(cat /etc/virgo_text.key)\"
              echo \"virgo_cloud_unlink(2:{EXPORT}/mine$n)\"; sleep 8) | nc 127.0.0.1 50000 &
         done >/dev/null 2>&1; sleep 2"
    );
    let asked = sh(&node3, &ask);
    let change = "cp -p /etc/virgo_c*.conf /tmp/
        sed -i 's/, 10.9.0.3//' /etc/virgo_cloud.conf /etc/virgo_client.conf
        virgo config reload";
    let changed = sh(&node2, change);
    sh(&node2, "fsfreeze --unfreeze /run/disk")?;
    std::thread::sleep(Duration::from_secs(2));
    let left = sh(&node2, &format!("ls {EXPORT} | grep -c ^mine"));
    sh(
        &node2,
        &format!("cp -p /tmp/virgo_c*.conf /etc/; virgo config reload; rm -f {EXPORT}/mine*"),
    )?;
    asked.and(changed)?;
    let left: usize = left?.parse()?;
    println!("{left} of {FILES} files were left");
    ensure!((FILES / 4..FILES).contains(&left), "{left} files are left");
    wait_until_whole(cluster)
}
