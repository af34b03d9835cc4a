// SPDX-License-Identifier: GPL-2.0
//! Durable queues: their log under callers with limits, on disks that fail, and with contents that
//! are not understood.
//!
//! Node 3 begins each of these tests with an empty log, and gets one afterwards.

use crate::{
    Test,
    support::{fails, sh, text, within},
};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("durable_publish_is_not_bound_by_the_callers_limits", limits),
    ("durable_publisher_is_killed_while_the_disk_hangs", hanging),
    ("durable_queue_survives_damage_to_its_own_record", orphans),
    ("durable_queue_with_an_unknown_option_stays", unknown_option),
    ("durable_log_keeps_records_of_unknown_kinds", unknown_kind),
    ("durable_log_of_a_later_format_is_not_touched", later_format),
    ("durable_queues_work_again_when_the_disk_does", failing),
    ("durable_log_has_one_limit_and_is_read_again", full_log),
    ("durable_log_that_cannot_be_begun_takes_nothing", no_begin),
    ("durable_log_is_rewritten_while_it_is_used", rewriting),
    ("durable_log_takes_no_record_out_of_a_message", forged),
    ("durable_queue_of_another_user_keeps_nobody_waiting", others),
    ("durable_peers_are_served_while_the_disk_hangs", peers),
];

const MODULE: &str = "/lib/virgo/virgo_queue.ko";
const KINGCOBRA: &str = "/lib/virgo/virgo_kingcobra.ko";
const LOG: &str = "/var/log/virgo_queue";

/// Ends what uses the queues of node 3, unloads them and empties the log.
fn unload(node: &Node) -> Result<()> {
    sh(
        node,
        &format!(
            "! lsmod | grep -q virgo_kingcobra || rmmod virgo_kingcobra
             ! lsmod | grep -q virgo_queue || rmmod virgo_queue
             rm -f {LOG}/*"
        ),
    )?;
    Ok(())
}

fn load(node: &Node, parameters: &str) -> Result<()> {
    sh(node, &format!("insmod {MODULE} {parameters}"))?;
    Ok(())
}

fn reload(node: &Node, parameters: &str) -> Result<()> {
    sh(node, "rmmod virgo_queue")?;
    load(node, parameters)
}

/// Does `test` on node 3, whose log is empty before and after; the module is not loaded.
fn with_empty_log(cluster: &Cluster, test: impl FnOnce(&Node) -> Result<()>) -> Result<()> {
    let node = cluster.node(3);
    unload(&node)?;
    let result = test(&node);
    let restored = unload(&node).and_then(|()| {
        load(&node, "")?;
        sh(&node, &format!("insmod {KINGCOBRA}"))
    });
    result?;
    restored?;
    Ok(())
}

/// A number or word of `virgo queue status`.
fn status(node: &Node, name: &str) -> Result<String> {
    let said = sh(node, "virgo queue status")?;
    let start = format!("{name}: ");
    let line = said.lines().find_map(|line| line.strip_prefix(&start));
    Ok(line.unwrap_or_default().to_owned())
}

/// All messages of a queue, one a line.
fn take_all(node: &Node, queue: &str) -> Result<String> {
    sh(
        node,
        &format!(
            "while virgo queue take --timeout 300ms --count 100 {queue} 2>/dev/null; do :; done"
        ),
    )
}

fn limits(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        load(node, "")?;
        sh(
            node,
            "ulimit -f 0
             virgo queue create t.limits durable &&
             seq 100 | virgo queue pub --lines t.limits &&
             virgo queue take t.limits",
        )
        .context("with a limit of no bytes a file")?;
        reload(node, "")?;
        let left = take_all(node, "t.limits")?;
        let expected: Vec<_> = (2..=100).map(|n| n.to_string()).collect();
        ensure!(left.lines().eq(expected), "{left}");
        Ok(())
    })
}

/// The file system is frozen: nobody's write ends.
fn hanging(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        load(node, "")?;
        sh(
            node,
            "virgo queue create t.hang durable; virgo queue create t.memory
             virgo queue pub t.hang first",
        )?;
        sh(node, "fsfreeze --freeze /run/disk")?;
        let publisher = node.spawn(["virgo", "queue", "pub", "--timeout", "50s", "t.hang", "x"])?;
        std::thread::sleep(Duration::from_secs(2));
        let start = Instant::now();
        let killed = publisher
            .kill()
            .and_then(|()| publisher.wait_timeout(Duration::from_secs(10)).map(drop));
        let took = start.elapsed();
        // Others are not concerned, and what is there can be taken.
        let others = sh(
            node,
            "virgo queue pub t.memory x && virgo queue take t.memory && virgo queue take t.hang",
        );
        sh(node, "fsfreeze --unfreeze /run/disk")?;
        killed.context("it cannot be killed")?;
        ensure!(took < Duration::from_secs(8), "killed after {took:?}");
        ensure!(others? == "x\nfirst");
        sh(node, "virgo queue pub t.hang last")?;
        reload(node, "")?;
        let left = take_all(node, "t.hang")?;
        // Nobody knows of the one that was killed.
        ensure!(left.ends_with("last") && !left.contains("first"), "{left}");
        Ok(())
    })
}

/// Flips a bit in the options of the record that a queue was made.
fn orphans(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        load(node, "")?;
        sh(
            node,
            "virgo queue create t.harm durable ack=12345; virgo queue create t.fine durable
             for i in 1 2 3; do virgo queue pub t.harm message-$i; virgo queue pub t.fine $i; done
             rmmod virgo_queue",
        )?;
        let harm = format!(
            "cd {LOG}; f=messages.0; [ -s $f ] || f=messages.1
             at=$(strings -t d $f | grep ack=12345 | awk '{{ print $1 }}'); [ -n \"$at\" ] || exit 1
             printf X | dd of=$f bs=1 seek=$at conv=notrunc 2>/dev/null; md5sum <$f"
        );
        let sum = sh(node, &harm)?;
        load(node, "")?;
        let kept = status(node, "moved aside")?;
        ensure!(kept == format!("{LOG}/kept.1"), "moved aside: {kept}");
        ensure!(
            sh(node, &format!("md5sum <{kept}"))? == sum,
            "it was changed"
        );
        let lost = status(node, "messages without their queue's record")?;
        ensure!(lost == "3", "{lost}");
        // Also after the log was written anew, and read again.
        reload(node, "")?;
        let said = take_all(node, "t.harm")?;
        ensure!(said == "message-1\nmessage-2\nmessage-3", "{said}");
        ensure!(take_all(node, "t.fine")? == "1\n2\n3");
        let replies = text(node, node, 60000, &["status"])?;
        let said = replies.first().map_or("", String::as_str);
        ensure!(
            said.contains("durable=\"ready\"") && said.contains(&format!("kept=\"{LOG}/kept.1\"")),
            "{said}"
        );
        let console = node.console()?;
        ensure!(
            console.contains("kept.1"),
            "the kernel's log does not say where it is"
        );
        Ok(())
    })
}

/// CRC-32C, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    })
}

/// A record of the log as formats 0 and 1 have it; see `drivers/proto/queue/record.rs`.
fn record(kind: u8, priority: u8, number: u64, queue: &str, data: &str) -> Vec<u8> {
    let body = [queue, queue, data].concat().into_bytes();
    let mut record = vec![0xf6, 0x56, 0x51, 0x4c, kind, priority];
    record.extend([queue.len() as u8; 2]);
    record.extend((data.len() as u32).to_le_bytes());
    record.extend(crc(&body).to_le_bytes());
    record.extend(number.to_le_bytes());
    record.extend([0; 16]);
    record.extend(crc(&record).to_le_bytes());
    record.extend([0; 4]);
    record.extend(body);
    record.resize(record.len().next_multiple_of(8), 0);
    record
}

const BEGIN: u8 = 1;
const WHOLE: u8 = 2;
const CREATE: u8 = 3;
const PUBLISH: u8 = 5;

/// Bytes as `printf` takes them.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

/// Writes records to the log of a node whose module is not loaded.
fn write(node: &Node, records: &[Vec<u8>]) -> Result<String> {
    let bytes = octal(&records.concat());
    sh(
        node,
        &format!("printf '{bytes}' >{LOG}/messages.0; md5sum <{LOG}/messages.0"),
    )
}

fn unknown_option(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        let options = "durable deliveries=7 colour=red";
        write(
            node,
            &[
                record(BEGIN, 0, 1, "", ""),
                record(CREATE, 0, 0, "t.odd", options),
                record(PUBLISH, 4, 1, "t.odd", "message"),
                record(WHOLE, 0, 0, "", ""),
            ],
        )?;
        load(node, "")?;
        let there = format!("grep -l '{options}' {LOG}/messages.*");
        sh(node, &there).context("the option is gone")?;
        reload(node, "")?;
        sh(node, &there).context("the option is gone after the second time")?;
        let said = take_all(node, "t.odd")?;
        ensure!(said == "message", "{said}");
        Ok(())
    })
}

fn unknown_kind(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        let sum = write(
            node,
            &[
                record(BEGIN, 0, 1, "", ""),
                record(CREATE, 0, 0, "t.kind", "durable"),
                record(77, 0, 0, "t.kind", "something of a later version"),
                record(PUBLISH, 4, 1, "t.kind", "message"),
                record(WHOLE, 0, 0, "", ""),
            ],
        )?;
        load(node, "")?;
        let kept = status(node, "moved aside")?;
        ensure!(
            sh(node, &format!("md5sum <{kept}"))? == sum,
            "kept: '{kept}'"
        );
        ensure!(status(node, "records unknown")? == "1");
        ensure!(take_all(node, "t.kind")? == "message");
        Ok(())
    })
}

fn later_format(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        let sum = write(
            node,
            &[
                record(BEGIN, 200, 1, "", ""),
                record(CREATE, 0, 0, "t.later", "durable"),
                record(PUBLISH, 4, 1, "t.later", "message"),
                record(WHOLE, 200, 1, "", ""),
            ],
        )?;
        load(node, "")?;
        ensure!(status(node, "durable queues")? == "unusable");
        let reason = status(node, "reason")?;
        ensure!(reason.contains("later format"), "{reason}");
        let (said, _) = fails(node, "virgo queue create t.new durable")?;
        ensure!(said.contains("EROFS"), "{said}");
        // Others work.
        sh(
            node,
            "virgo queue create t.new && virgo queue pub t.new x && virgo queue take t.new",
        )?;
        sh(node, "rmmod virgo_queue")?;
        let after = sh(node, &format!("md5sum <{LOG}/messages.0"))?;
        ensure!(after == sum, "it was changed");
        Ok(())
    })
}

/// Writes to the files are refused for a time.
fn failing(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        load(node, "")?;
        sh(
            node,
            "virgo queue create t.fail durable ack=0 && seq 5 | virgo queue pub --lines t.fail",
        )?;
        sh(node, &format!("chattr +i {LOG}/messages.*"))?;
        let refused = fails(node, "virgo queue pub t.fail 6");
        let again = fails(node, "virgo queue pub t.fail 7");
        let state = status(node, "durable queues");
        // What is there can be taken all the same.
        let taken = sh(node, "virgo queue take --count 2 t.fail");
        sh(node, &format!("chattr -i {LOG}/messages.*"))?;
        for refused in [refused, again] {
            let (said, _) = refused.context("who was refused was not told")?;
            ensure!(said.contains("EIO"), "{said}");
        }
        let state = state?;
        ensure!(state == "failed", "{state}");
        ensure!(taken? == "1\n2");
        within(Duration::from_secs(30), || {
            sh(node, "virgo queue pub t.fail 8")
        })
        .context("the disk works again")?;
        ensure!(status(node, "durable queues")? == "ready");
        ensure!(status(node, "disk failures")? == "1");
        reload(node, "")?;
        let left = take_all(node, "t.fail")?;
        // Of the first that was refused nobody knows whether it is there.
        ensure!(
            left == "3\n4\n5\n8" || left == "3\n4\n5\n6\n8",
            "there is {left}"
        );
        Ok(())
    })
}

/// The log may have a mebibyte: it is full before the disk is, and what it has is read.
fn full_log(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        let small = "max_log_bytes=1048576";
        load(node, small)?;
        let fill = "head -c 50000 /dev/zero | tr '\\0' x | virgo queue pub t.full";
        sh(node, "virgo queue create t.full durable")?;
        let count = sh(
            node,
            &format!(
                "i=0; while {fill} 2>/tmp/said; do i=$((i + 1)); [ $i -lt 100 ] || break; done; echo $i"
            ),
        )?;
        let said = sh(node, "cat /tmp/said; rm /tmp/said")?;
        ensure!(said.contains("ENOSPC"), "after {count}: {said}");
        let count: usize = count.parse()?;
        ensure!((10..20).contains(&count), "{count} found room");
        let is_small = format!(
            "[ $(wc -c <{LOG}/messages.0) -le 1048576 ] && [ $(wc -c <{LOG}/messages.1) -le 1048576 ]"
        );
        sh(node, &is_small)?;
        reload(node, small)?;
        // What was taken makes room.
        sh(node, "virgo queue take --count 3 t.full >/dev/null")?;
        within(Duration::from_secs(20), || sh(node, fill)).context("room again")?;
        reload(node, small)?;
        sh(node, &is_small)?;
        let left = take_all(node, "t.full")?;
        ensure!(
            left.lines().count() == count - 2,
            "{}",
            left.lines().count()
        );
        Ok(())
    })
}

/// Far more is published and taken than a file may have; both go on while it is begun anew.
fn rewriting(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        let small = "max_log_bytes=1048576";
        load(node, small)?;
        sh(
            node,
            "virgo queue create t.kept durable ack=0; virgo queue create t.flow durable ack=0
             seq 20 | virgo queue pub --lines t.kept",
        )?;
        let before: u64 = status(node, "generation")?.parse()?;
        let line = "x".repeat(1000);
        // One publishes, another one takes, and a third makes and deletes queues.
        let script = format!(
            "(for i in $(seq 40); do
                  for j in $(seq 100); do echo $((i * 100 + j)) {line}; done |
                      virgo queue pub --timeout 20s --lines t.flow || exit 1
              done; touch /tmp/published) &
             (while [ ! -e /tmp/published ]; do
                  virgo queue create t.come durable && virgo queue pub t.come x; virgo queue delete t.come
              done) >/dev/null 2>&1 &
             got=0
             while [ $got -lt 3900 ]; do
                 n=$(virgo queue take --timeout 20s --count 100 t.flow | wc -l)
                 [ $n -gt 0 ] || break
                 got=$((got + n))
             done
             wait; rm /tmp/published; echo $got"
        );
        let run = node.spawn(["sh", "-c", &script])?;
        let got = run.wait_timeout(Duration::from_secs(300))?.text()?;
        let got: usize = got.trim().parse()?;
        let after: u64 = status(node, "generation")?.parse()?;
        ensure!(
            after >= before + 3,
            "it was begun anew {} times",
            after - before
        );
        reload(node, small)?;
        let left = take_all(node, "t.flow")?;
        ensure!(
            got + left.lines().count() == 4000,
            "{got} and {}",
            left.lines().count()
        );
        let kept = take_all(node, "t.kept")?;
        let expected: Vec<_> = (1..=20).map(|n| n.to_string()).collect();
        ensure!(kept.lines().eq(expected), "{kept}");
        Ok(())
    })
}

/// The record of a message is damaged whose data look like records.
fn forged(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        load(node, "")?;
        let records = [
            record(CREATE, 0, 0, "t.forged", "durable mode=77"),
            record(PUBLISH, 4, 1, "t.forged", "forged"),
        ];
        // Where a record may begin.
        let data = octal(&[b"FORG", &records.concat()[..]].concat());
        sh(
            node,
            &format!(
                "virgo queue create t.mine durable
                 printf '{data}' | virgo queue pub t.mine
                 virgo queue pub t.mine last; rmmod virgo_queue"
            ),
        )?;
        // In the head of the record, which is before the names.
        sh(
            node,
            &format!(
                "cd {LOG}; f=messages.0; [ -s $f ] || f=messages.1
                 at=$(strings -t d $f | grep t.mineFORG | awk '{{ print $1 }}'); [ -n \"$at\" ] || exit 1
                 printf X | dd of=$f bs=1 seek=$((at - 24)) conv=notrunc 2>/dev/null"
            ),
        )?;
        load(node, "")?;
        let list = sh(node, "virgo queue list")?;
        ensure!(!list.contains("t.forged"), "{list}");
        ensure!(status(node, "moved aside")? == format!("{LOG}/kept.1"));
        ensure!(take_all(node, "t.mine")? == "last");
        Ok(())
    })
}

/// The file system has room for some records, but not for a log: what is answered is there all the same.
fn no_begin(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        sh(node, &format!("mount -t tmpfs -o size=128k tmpfs {LOG}"))?;
        let result = small_disk(node);
        let unloaded = sh(node, "rmmod virgo_queue");
        sh(node, &format!("umount {LOG}"))?;
        unloaded?;
        load(node, "")?;
        result
    })
}

fn small_disk(node: &Node) -> Result<()> {
    load(node, "")?;
    let publish = "virgo queue create t.small durable && virgo queue pub t.small x";
    let accepted = sh(node, publish).is_ok();
    reload(node, "")?;
    if accepted {
        ensure!(
            take_all(node, "t.small")? == "x",
            "an accepted message is gone"
        );
    }
    sh(node, &format!("mount -o remount,size=8m {LOG}"))?;
    within(Duration::from_secs(90), || {
        sh(node, "virgo queue create t.large durable")
    })
    .context("after the disk has got room")?;
    sh(node, "virgo queue pub t.large y")?;
    reload(node, "")?;
    ensure!(take_all(node, "t.large")? == "y");
    Ok(())
}

/// A user's durable queue is bound to names to which others publish; the file system is frozen.
fn others(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        load(node, "")?;
        let made = text(
            node,
            node,
            60000,
            &["create t.theirs durable bind=t.free.>"],
        )?;
        ensure!(made == ["OK"], "{made:?}");
        sh(node, "fsfreeze --freeze /run/disk")?;
        let publisher =
            node.spawn(["virgo", "queue", "pub", "--timeout", "50s", "t.free.x", "x"])?;
        let start = Instant::now();
        let published = publisher.wait_timeout(Duration::from_secs(20));
        let took = start.elapsed();
        sh(node, "fsfreeze --unfreeze /run/disk")?;
        ensure!(published?.success(), "it was refused");
        ensure!(took < Duration::from_secs(10), "it took {took:?}");
        ensure!(take_all(node, "t.theirs")? == "x");
        Ok(())
    })
}

/// What one program of a node waits for keeps its others from nothing.
fn peers(cluster: &Cluster) -> Result<()> {
    with_empty_log(cluster, |node| {
        load(node, "")?;
        let peer = cluster.node(1);
        sh(
            &peer,
            "virgo queue create --node 3 t.hang durable && virgo queue create --node 3 t.memory",
        )?;
        sh(node, "fsfreeze --freeze /run/disk")?;
        let publish = "virgo queue pub --node 3 --timeout 50s t.hang x";
        let create = "virgo queue create --node 3 t.new durable";
        let waiting = [publish, create].map(|command| peer.spawn(["sh", "-c", command]));
        std::thread::sleep(Duration::from_secs(1));
        let start = Instant::now();
        let others = sh(
            &peer,
            "virgo queue pub --node 3 t.memory x && virgo queue take --node 3 t.memory",
        );
        let purged = sh(&peer, "virgo queue purge --node 3 t.memory");
        let took = start.elapsed();
        // It waits for the disk as well, and nobody waits for it any more when its turn comes.
        let deleted = sh(&peer, "virgo queue delete --node 3 t.hang");
        sh(node, "fsfreeze --unfreeze /run/disk")?;
        let [published, created] = waiting;
        ensure!(published?.wait_timeout(Duration::from_secs(60))?.success());
        created?.wait_timeout(Duration::from_secs(60))?;
        ensure!(others? == "x" && took < Duration::from_secs(10), "{took:?}");
        purged.context("purging a queue that has nothing to do with the disk")?;
        ensure!(deleted.is_err(), "deleted while the disk hangs");
        ensure!(
            take_all(node, "t.hang")? == "x",
            "deleted by who had given up"
        );
        Ok(())
    })
}
