// SPDX-License-Identifier: GPL-2.0
//! Files beside NFSv4.2 (the kernel's server) and 9P over TCP (diod), past the cache of the
//! client: all three have the same directory.

use crate::{
    Bench,
    report::Row,
    support::{Figures, figures, measure, measure_in_turns, reload, sh, start, stop},
};
use anyhow::Result;
use std::{thread, time::Duration};
use virgo_cluster::Node;

pub const BENCH: Bench = Bench {
    instructions,
    wall_clock,
};

/// What all of them share.
const SHARED: &str = "/var/log/virgo_fs";

/// Where small files are copied to, in the shared directory.
const SMALL: &str = "bench.small";

const NFS: &str = "NFS 4.2";
const P9: &str = "9P, diod";

fn instructions(node: &Node) -> Result<Vec<Row>> {
    let unit = "instructions";
    let here = measure(node, &format!("files {SHARED}"))?;
    keep_in_memory(node)?;
    mount_peers(node, node)?;
    let mut nfs = measure(node, "mounted-files /run/nfs")?;
    let mut p9 = measure(node, "mounted-files /run/9p")?;
    nfs.extend(small_files(node, node, "mounted-small-files /run/nfs")?);
    p9.extend(small_files(node, node, "mounted-small-files /run/9p")?);
    unmount_peers(node, node)?;
    reload(node, "cloudfs", "loopback=1")?;
    let mut there = measure(node, &format!("files 1:{SHARED}"))?;
    let open = measure(node, &format!("open-files 1:{SHARED}/bench.open"))?["open"];
    there.extend(small_files(node, node, &format!("small-files 1:{SHARED}"))?);
    reload(node, "cloudfs", "")?;
    let random = there["random4k"];
    let [
        page,
        page_9p,
        large,
        large_9p,
        written,
        written_9p,
        small,
        small_9p,
    ] = compare(unit, &there, &nfs, &p9);
    Ok(vec![
        page.ratio_goal(0.55),
        page_9p.ratio_goal(0.55),
        Row::new(
            "the same of this node",
            unit,
            here["random4k"],
            ("by network", random),
        )
        .ratio_goal(0.3),
        large.ratio_goal(0.9),
        large_9p,
        written,
        written_9p,
        small.ratio_goal(1.0),
        small_9p,
        Row::new("an open file, both ends", "bytes", open, ("a page", 4096.0)).ratio_goal(1.0),
    ])
}

fn wall_clock(client: &Node, server: &Node) -> Result<Vec<Row>> {
    keep_in_memory(server)?;
    mount_peers(client, server)?;
    let shared = format!("{}:{SHARED}", server.number());
    let [mut virgo, mut nfs, mut p9] = measure_in_turns(
        client,
        [
            &format!("files {shared}"),
            "mounted-files /run/nfs",
            "mounted-files /run/9p",
        ],
    )?;
    virgo.extend(small_files(
        client,
        server,
        &format!("small-files {shared}"),
    )?);
    nfs.extend(small_files(client, server, "mounted-small-files /run/nfs")?);
    p9.extend(small_files(client, server, "mounted-small-files /run/9p")?);
    let dead = dead(client, server)?;
    unmount_peers(client, server)?;
    let mut rows = Vec::from(compare("ns between two guests", &virgo, &nfs, &p9));
    rows.push(dead);
    Ok(rows)
}

/// Has the file system not write a file at once because it was emptied before: the disk is slow in
/// its own way each time.
fn keep_in_memory(server: &Node) -> Result<()> {
    sh(
        server,
        &format!("mount -o remount,noauto_da_alloc {SHARED}"),
    )
    .map(drop)
}

/// Has small files copied to a new directory of the one that is measured.
fn small_files(client: &Node, server: &Node, arguments: &str) -> Result<Figures> {
    let directory = format!("{SHARED}/{SMALL}");
    sh(server, &format!("mkdir -m 777 {directory}"))?;
    let figures = measure(client, &format!("{arguments}/{SMALL}"))?;
    sh(server, &format!("rm -r {directory}"))?;
    Ok(figures)
}

/// How long a program waits for a node that does not answer.
fn dead(client: &Node, server: &Node) -> Result<Row> {
    eprintln!("measuring on {}: reads of a dead node", client.name());
    let virgo = format!("dead-node {}:{SHARED}/bench.large", server.number());
    let running = [&virgo, "dead-mount /run/nfs/bench.large"]
        .map(|arguments| client.spawn(["sh", "-c", &format!("virgo-bench-guest {arguments}")]));
    // Both have opened the file by then, and not read it yet.
    thread::sleep(Duration::from_millis(1500));
    server.pause()?;
    let [virgo, nfs] = running.map(|running| figures(&running?.wait()?.text()?));
    server.resume()?;
    let (virgo, nfs) = (virgo?["dead"], nfs?["dead"]);
    Ok(Row::new(
        "read of a dead node, deadline 1000 ms",
        "ms",
        virgo,
        ("NFS, hard mount, given up", nfs),
    )
    .value_goal(1100.0))
}

/// What all three can do.
fn compare(unit: &'static str, virgo: &Figures, nfs: &Figures, p9: &Figures) -> [Row; 8] {
    let row = |what, name: &str, peer, figures: &Figures| {
        Row::new(what, unit, virgo[name], (peer, figures[name]))
    };
    [
        row("read of 4 KiB anywhere in a file", "random4k", NFS, nfs),
        row("the same", "random4k", P9, p9),
        row("read of 1 MiB in sequence", "sequential1m", NFS, nfs),
        row("the same", "sequential1m", P9, p9),
        row("write of 1 MiB in sequence", "write1m", NFS, nfs),
        row("the same", "write1m", P9, p9),
        row("copy of a file of 4 KiB there", "small", NFS, nfs),
        row("the same", "small", P9, p9),
    ]
}

/// Has `server` share the directory (by NFS without waiting for the disk, as the others do), and
/// `client` mount it at `/run/nfs` and `/run/9p`.
fn mount_peers(client: &Node, server: &Node) -> Result<()> {
    let serve = format!(
        "chmod 777 {SHARED}
        mkdir -p /var/lib/nfs && touch /var/lib/nfs/etab /var/lib/nfs/rmtab
        modprobe nfsd && mount -t nfsd nfsd /proc/fs/nfsd
        exportfs -i -o rw,async,no_root_squash,insecure,no_subtree_check,fsid=0 '*:{SHARED}'
        rpc.nfsd -p 2049 -G 10 -L 10 -N 3 -V 4.2 2 && rpc.mountd -N 3 2>/dev/null
        diod -n -l 0.0.0.0:5640 -e {SHARED} -f >/dev/null 2>&1 &"
    );
    start(server, &serve, &[2049, 5640])?;
    let address = server.address();
    let mount = format!(
        "modprobe nfsv4 && modprobe 9p && modprobe 9pnet_fd
        mkdir -p /run/nfs /run/9p
        mount.nfs4 {address}:/ /run/nfs -o vers=4.2,proto=tcp,hard
        mount -t 9p -o trans=tcp,port=5640,version=9p2000.L,aname={SHARED},uname=root \
            -o access=user,cache=none,msize=1048576 {address} /run/9p"
    );
    sh(client, &mount).map(drop)
}

fn unmount_peers(client: &Node, server: &Node) -> Result<()> {
    sh(client, "umount /run/nfs && umount /run/9p")?;
    sh(server, "rpc.nfsd 0")?;
    stop(server, "rpc.mountd diod")?;
    let unshare = format!("exportfs -ua; umount /proc/fs/nfsd; chmod 755 {SHARED}");
    sh(server, &unshare).map(drop)
}
