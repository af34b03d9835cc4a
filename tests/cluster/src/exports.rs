// SPDX-License-Identifier: GPL-2.0
//! Who may do what in exports: in one inside another, and when others have files open.

use crate::{
    Test,
    support::{fails, sh, text, wait_until_whole, with_config},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("an_export_inside_another_is_its_own", nested),
    ("an_export_stays_where_it_was_found", looked_up_once),
    ("an_export_mounted_inside_another_stays", mounted),
    ("one_user_does_not_have_all_files_open", quota),
];

const EXPORT: &str = "/var/log/virgo_fs";

/// Ways to name what is in `archive`, and what comes of changing it by them.
const WAYS: &[(&str, &str)] = &[
    ("archive", "EROFS"),
    ("/archive", "EROFS"),
    ("./archive", "EROFS"),
    (".//./archive/.", "EROFS"),
    ("link", "EXDEV"),
    ("plain/../archive", "EXDEV"),
    ("plain/up/archive", "EXDEV"),
];

/// The export of the whole directory is for reading and writing, two inside it only for reading.
fn nested(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!(
            "mkdir -p {EXPORT}/data/archive/sub {EXPORT}/data/plain {EXPORT}/data/mid/deep && cd {EXPORT}/data
             echo kept | tee archive/x >mid/deep/x; ln -s archive link; ln -s .. plain/up
             ln -s archive/x file; echo new >plain/new; chown -R -h 65534:65534 ."
        ),
    )?;
    let lines = format!("export = {EXPORT}/data/archive ro\nexport = {EXPORT}/data/mid/deep/ ro");
    let result = with_config(&node2, &lines, || {
        for from in [&node1, &node2] {
            change(from)?;
            move_away(from)?;
        }
        Ok(())
    });
    let left = sh(
        &node2,
        &format!("cd {EXPORT}/data && cat archive/x mid/deep/x && ls archive plain mid"),
    );
    sh(&node2, &format!("rm -r {EXPORT}/data"))?;
    result?;
    let left = left?;
    ensure!(
        left == "kept\nkept\narchive:\nsub\nx\n\nmid:\ndeep\n\nplain:\nnew\nup",
        "{left}"
    );
    Ok(())
}

fn refused(from: &Node, command: &str, errno: &str) -> Result<()> {
    let replies = text(from, from, 50000, &[command])?;
    let expected = format!("ERR {errno} ");
    ensure!(
        replies.iter().all(|reply| reply.starts_with(&expected)),
        "{command}: {replies:?}, expected {errno}"
    );
    Ok(())
}

/// Nothing in the inner export is changed by any name.
fn change(from: &Node) -> Result<()> {
    let data = format!("2:{EXPORT}/data");
    for (way, errno) in WAYS {
        for command in [
            format!("virgo_open({data}/{way}/x,O_WRONLY)"),
            format!("virgo_open({data}/{way}/x,O_RDONLY|O_TRUNC)"),
            format!("virgo_open({data}/{way}/new,O_WRONLY|O_CREAT)"),
            format!("virgo_unlink({data}/{way}/x)"),
            format!("virgo_rmdir({data}/{way}/sub)"),
            format!("virgo_mkdir({data}/{way}/new)"),
            format!("virgo_rename({data}/{way}/x,{data}/{way}/y)"),
        ] {
            refused(from, &command, errno)?;
        }
        let (into, out) = (
            format!("virgo_rename({data}/plain/new,{data}/{way}/new)"),
            format!("virgo_rename({data}/{way}/x,{data}/plain/x)"),
        );
        refused(from, &into, errno)?;
        refused(from, &out, errno)?;
        // It is read where the name says that it is the inner export's.
        let cat = format!("virgo cat {data}/{way}/x");
        match *errno {
            "EROFS" => ensure!(sh(from, &cat)? == "kept", "{cat}"),
            _ => ensure!(fails(from, &cat)?.0.contains(errno), "{cat}"),
        }
    }
    refused(from, &format!("virgo_open({data}/file,O_WRONLY)"), "EXDEV")?;
    refused(from, &format!("virgo_stat({data}/link/x)"), "EXDEV")?;
    refused(from, &format!("virgo_readdir({data}/link)"), "EXDEV")?;
    ensure!(sh(from, &format!("virgo cat {data}/plain/new"))? == "new");
    Ok(())
}

/// The inner export stays where it is: elsewhere it would be the outer one's.
fn move_away(from: &Node) -> Result<()> {
    let data = format!("2:{EXPORT}/data");
    for command in [
        format!("virgo_rename({data}/archive,{data}/other)"),
        format!("virgo_rename({data}/plain/../archive,{data}/other)"),
        format!("virgo_rename({data}/mid,{data}/other)"),
        format!("virgo_rmdir({data}/archive)"),
        format!("virgo_rmdir({data}/plain/../archive)"),
        format!("virgo_rename({data}/plain,{data}/plain/../archive)"),
        format!("virgo_rename({data}/plain,{data}/mid)"),
    ] {
        let replies = text(from, from, 50000, &[&command])?;
        ensure!(
            replies.iter().all(|reply| {
                reply.starts_with("ERR EBUSY ") || reply.starts_with("ERR EROFS ")
            }),
            "{command}: {replies:?}"
        );
    }
    Ok(())
}

/// What others put on the way to an exported directory changes nothing until the configuration is read
/// again, neither for it nor for other exports.
fn looked_up_once(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!(
            "mkdir -p {EXPORT}/once/real {EXPORT}/once/other /tmp/secrets && cd {EXPORT}/once
             echo right >real/x; echo wrong >/tmp/secrets/x; chmod 755 /tmp/secrets
             ln -s real way; chown -R -h 65534:65534 ."
        ),
    )?;
    let lines = format!(
        "export = {EXPORT}/once/way ro\nexport = {EXPORT}/once/other ro\n\
         export = {EXPORT}/once/missing ro"
    );
    let checks = || -> Result<()> {
        // As the user of the outer export might do it.
        sh(
            &node2,
            &format!(
                "cd {EXPORT}/once && rm way && ln -s /tmp/secrets way
                 rmdir other && ln -s other other"
            ),
        )?;
        for from in [&node1, &node2] {
            let said = sh(from, &format!("virgo cat 2:{EXPORT}/once/way/x"))?;
            ensure!(said == "right", "{said}");
            let said = sh(from, &format!("virgo cat 2:{EXPORT}/once/real/x"));
            // The inner export is that directory, by whatever name.
            ensure!(said.is_err(), "{said:?}");
            sh(from, &format!("virgo ls 2:{EXPORT}/once"))?;
            let (said, _) = fails(from, &format!("virgo ls 2:{EXPORT}/once/missing"))?;
            ensure!(said.contains("ENOENT"), "{said}");
        }
        Ok(())
    };
    let result = with_config(&node2, &lines, checks);
    sh(&node2, &format!("rm -r {EXPORT}/once /tmp/secrets"))?;
    result
}

/// The directory that another file system, which is exported by itself, is mounted in is not renamed
/// through the export around it. While it is exported it is not unmounted.
fn mounted(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let dir = format!("{EXPORT}/around");
    sh(
        &node2,
        &format!(
            "mkdir -p {dir}/mid/inner && chown -R 65534:65534 {dir}
             mount -t tmpfs tmpfs {dir}/mid/inner && echo inner >{dir}/mid/inner/x"
        ),
    )?;
    let lines = format!("export = {dir}/mid/inner ro");
    let checks = || -> Result<()> {
        for from in [&node1, &node2] {
            for (old, new) in [("mid", "other"), ("mid/inner", "mid/other")] {
                let rename = format!("virgo_rename(2:{dir}/{old},2:{dir}/{new})");
                let replies = text(from, from, 50000, &[&rename])?;
                let kept = |reply: &String| {
                    reply.starts_with("ERR EBUSY ") || reply.starts_with("ERR EROFS ")
                };
                ensure!(replies.iter().all(kept), "{rename}: {replies:?}");
            }
            let said = sh(from, &format!("virgo cat 2:{dir}/mid/inner/x"))?;
            ensure!(said == "inner", "{said}");
        }
        fails(&node2, &format!("umount {dir}/mid/inner"))?;
        Ok(())
    };
    let result = with_config(&node2, &lines, checks);
    sh(&node2, &format!("umount {dir}/*/inner && rm -r {dir}"))?;
    result
}

/// The limit of the node that has the files, then that of the node that uses them.
fn quota(cluster: &Cluster) -> Result<()> {
    const LIMIT: &str = "VIRGO_LIMIT=20";
    let load = |node: &Node, with: &str| {
        let reload = format!("rmmod virgo_cloudfs && insmod /lib/virgo/virgo_cloudfs.ko {with}");
        sh(node, &reload)
    };
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    // The other node of node 1 is node 2.
    for (node, with, more) in [
        (&node2, "max_open=20", ""),
        (&node1, "max_files=20", ""),
        (&node1, "max_files=20", "VIRGO_HERE=1"),
    ] {
        load(node, with)?;
        wait_until_whole(cluster)?;
        let test = format!(
            "{LIMIT} {more} virgo-cloudfs-tests --ignored --nocapture quota::open_files_are_shared"
        );
        let tested = node1
            .spawn(["sh", "-c", &test])?
            .wait_timeout(Duration::from_secs(120));
        load(node, "")?;
        wait_until_whole(cluster)?;
        tested?.text()?;
    }
    Ok(())
}
