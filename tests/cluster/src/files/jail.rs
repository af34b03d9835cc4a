// SPDX-License-Identifier: GPL-2.0
//! Attempts to leave an export.

use super::EXPORT;
use crate::{
    rounds::Rounds,
    support::{fails, sh, text},
};
use anyhow::{Result, ensure};
use virgo_cluster::Cluster;

/// What must not be reached, from node 1 and on node 2 itself.
pub fn jail(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(
        &node2,
        &format!(
            "mkdir -p {EXPORT}/jail/dir /tmp/outside && cd {EXPORT}/jail
             echo secret >/tmp/outside/secret; chmod 777 /tmp/outside; chmod 666 /tmp/outside/secret
             ln -s /tmp/outside/secret absolute; ln -s ../../../../../tmp/outside/secret relative
             ln -s /tmp/outside dirlink; ln -s ../../../../../tmp/outside dirlink2
             ln -s /proc/self/root procroot; ln -s /proc/1/root/tmp/outside/secret procfile
             ln -s /proc/self/cwd cwd; ln -s .. up; ln -s ../.. upup; ln -s loop loop
             ln -s {EXPORT}/jail/dir inside; ln -s dir within; echo fine >dir/file
             mkdir mnt && mount --bind /tmp/outside mnt; chown -R -h 65534:65534 . 2>/dev/null; true"
        ),
    )?;
    // What leads out, and what is inside all the same.
    let out = [
        "../../../../tmp/outside/secret",
        "dir/../../../../../tmp/outside/secret",
        "absolute",
        "relative",
        "dirlink/secret",
        "dirlink2/secret",
        "procroot/tmp/outside/secret",
        "procfile",
        "cwd/tmp/outside/secret",
        "upup/../../tmp/outside/secret",
        "up/../../../../tmp/outside/secret",
        "mnt/secret",
        "inside/file",
    ];
    let checks = || -> Result<()> {
        for node in [&node1, &node2] {
            for name in out {
                let path = format!("2:{EXPORT}/jail/{name}");
                for command in [
                    format!("virgo cat {path}"),
                    format!("virgo ls {path}"),
                    format!("virgo put /etc/hosts {path}"),
                ] {
                    let (said, _) = fails(node, &command)?;
                    ensure!(said.contains("EXDEV"), "{command}: {said}");
                    ensure!(!said.contains("secret\n"), "{command}: {said}");
                }
            }
            let (said, _) = fails(node, &format!("virgo cat 2:{EXPORT}/jail/loop"))?;
            ensure!(said.contains("ELOOP"), "{said}");
            for name in [
                "dir/file",
                "within/file",
                "up/jail/dir/file",
                "dir/../dir/./file",
            ] {
                let said = sh(node, &format!("virgo cat 2:{EXPORT}/jail/{name}"))?;
                ensure!(said == "fine", "{name}: {said}");
            }
            // Through links nothing is made, changed or removed outside.
            for command in [
                format!("virgo_cloud_unlink(2:{EXPORT}/jail/dirlink/secret)"),
                format!("virgo_cloud_unlink(2:{EXPORT}/jail/mnt/secret)"),
                format!("virgo_cloud_mkdir(2:{EXPORT}/jail/dirlink/new)"),
                format!("virgo_cloud_mkdir(2:{EXPORT}/jail/../../x)"),
                format!("virgo_cloud_rename(2:{EXPORT}/jail/dir/file,2:{EXPORT}/jail/dirlink/f)"),
                format!("virgo_cloud_rename(2:{EXPORT}/jail/mnt/secret,2:{EXPORT}/jail/s)"),
                format!("virgo_cloud_open(2:{EXPORT}/jail/dirlink/new,O_RDWR|O_CREAT)"),
                format!("virgo_cloud_open(2:{EXPORT}/jail/absolute,O_WRONLY|O_TRUNC)"),
                format!("virgo_cloud_readdir(2:{EXPORT}/jail/mnt)"),
                format!("virgo_cloud_stat(2:{EXPORT}/jail/dirlink/secret)"),
            ] {
                let replies = text(node, node, 50000, &[&command])?;
                ensure!(
                    replies[0].starts_with("ERR EXDEV "),
                    "{command}: {replies:?}"
                );
            }
        }
        let said = sh(&node2, "cat /tmp/outside/secret; ls /tmp/outside")?;
        ensure!(said == "secret\nsecret", "{said}");
        Ok(())
    };
    let result = checks();
    sh(
        &node2,
        &format!("umount {EXPORT}/jail/mnt; rm -r {EXPORT}/jail /tmp/outside"),
    )?;
    result
}

/// While directories are moved out of the export and back, `..` never leads out of it.
pub fn race(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let rounds = Rounds {
        debug: 20,
        slim: 100,
        soak: 5000,
    }
    .count();
    // Both on the disk of the export, one beside it: exported is only a part of the disk.
    sh(
        &node2,
        &format!(
            "cp /etc/virgo_cloud.conf /tmp/good && mkdir -p {EXPORT}/in/a/b {EXPORT}/out
             echo secret >{EXPORT}/secret; chmod 644 {EXPORT}/secret
             sed -i 's#export = {EXPORT} rw#export = {EXPORT}/in rw#' /etc/virgo_cloud.conf
             virgo config reload
             (until [ -e /tmp/stop ]; do mv {EXPORT}/in/a/b {EXPORT}/out; mv {EXPORT}/out/b {EXPORT}/in/a
              done; rm /tmp/stop) >/dev/null 2>&1 &"
        ),
    )?;
    let look = format!(
        "for i in $(seq {rounds}); do virgo cat 2:{EXPORT}/in/a/b/../../../secret
            virgo cat 2:{EXPORT}/in/a/b/../../secret; done 2>/tmp/errors; wc -l </tmp/errors"
    );
    let looked = sh(&node1, &look);
    sh(
        &node2,
        "touch /tmp/stop; while [ -e /tmp/stop ]; do sleep 0.1; done",
    )?;
    sh(
        &node2,
        &format!(
            "cp /tmp/good /etc/virgo_cloud.conf; virgo config reload
             rm -r {EXPORT}/in {EXPORT}/out {EXPORT}/secret"
        ),
    )?;
    let said = looked?;
    ensure!(!said.contains("secret"), "{said}");
    ensure!(
        said.parse::<usize>().is_ok_and(|lines| lines >= 2 * rounds),
        "{said}"
    );
    Ok(())
}
