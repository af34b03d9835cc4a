// SPDX-License-Identifier: GPL-2.0
//! Requests and replies, and the record of them.

use crate::{
    Test,
    support::{fails, sh, text, wait_until_whole, with_config, within},
};
use anyhow::{Result, ensure};
use std::time::Duration;
use virgo_cluster::{Cluster, Node};

pub const TESTS: &[(&str, Test)] = &[
    ("kingcobra_records_and_replies", records),
    ("kingcobra_takes_any_payload", payloads),
    ("kingcobra_never_answers_a_reply", replies),
    ("kingcobra_programs_do_requests", programs),
    ("kingcobra_functions_stay_while_they_work", functions),
    ("kingcobra_calls_functions_as_who_asks", uids),
    ("kingcobra_says_that_a_reply_is_too_long", long_reply),
    ("kingcobra_gives_back_what_it_has_not_begun", unload),
    ("kingcobra_gets_what_is_diverted", diverted),
    ("kingcobra_comes_and_goes", comes_and_goes),
    ("kingcobra_says_if_it_has_no_record", full_disk),
    ("kingcobra_does_a_dead_letter_as_nobody", deputy),
    ("kingcobra_users_take_turns", turns),
    ("kingcobra_record_is_bounded", bounded),
    ("kingcobra_replies_are_for_who_asked", private),
];

/// The record of a node.
fn log(node: &Node) -> Result<Vec<String>> {
    let lines = sh(
        node,
        "cat /var/log/kingcobra/REQUEST_REPLY.queue 2>/dev/null; :",
    )?;
    Ok(lines.lines().map(str::to_owned).collect())
}

/// A request that came from the address `from` and its reply are on record.
fn on_record(node: &Node, from: &str, request: &str, reply: &str) -> Result<()> {
    let lines = log(node)?;
    let start = format!("REQUEST#{from}#");
    let end = format!("#{request} $$");
    // The last one, if it was asked more than once.
    let asked = lines
        .iter()
        .rfind(|line| line.starts_with(&start) && line.ends_with(&end))
        .and_then(|line| line.split('#').nth(2));
    let replied = asked.map(|time| format!("REPLY#{from}#{time}#{reply} $$"));
    ensure!(
        replied.is_some_and(|replied| lines.contains(&replied)),
        "{request}: asked at {asked:?}, {lines:#?}"
    );
    Ok(())
}

const NOBODY: &str = "received, and on record; no service is registered for such requests";

fn records(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    // By another node's program.
    let said = sh(&node1, "virgo kingcobra ask --node 2 'hello, node2'")?;
    ensure!(
        said.starts_with("REPLY#a090001#") && said.ends_with(NOBODY),
        "{said}"
    );
    on_record(&node2, "a090001", "hello, node2", NOBODY)?;
    // A bare line, as with the original; the reply goes to whom it may concern.
    let watch = node1.spawn([
        "virgo",
        "queue",
        "sub",
        "kingcobra.replies.>",
        "--count",
        "1",
        "--timeout",
        "20s",
    ])?;
    within(Duration::from_secs(10), || {
        ensure!(sh(&node1, "virgo queue list")?.contains("_sub."));
        Ok(())
    })?;
    let replies = text(&node1, &node2, 60000, &["KingCobra_17August2015"])?;
    ensure!(replies == ["queued"], "{replies:?}");
    let said = watch.wait_timeout(Duration::from_secs(60))?.text()?;
    ensure!(said.starts_with("REPLY#a090001#"), "{said}");
    on_record(&node2, "a090001", "KingCobra_17August2015", NOBODY)?;
    let shown = sh(&node2, "virgo kingcobra log")?;
    ensure!(
        shown.contains("10.9.0.1  request  KingCobra_17August2015"),
        "{shown}"
    );
    let shown = sh(&node2, "virgo kingcobra log --json")?;
    ensure!(
        shown.contains("\"kind\":\"request\"")
            && shown.contains("\"text\":\"KingCobra_17August2015\""),
        "{shown}"
    );
    // The record stays.
    let before = log(&node2)?;
    node2.restart()?;
    wait_until_whole(cluster)?;
    // The first request after that finds the connection gone.
    let _ = node1.run(["virgo", "queue", "pub", "--node", "2", "t.none", "x"])?;
    ensure!(log(&node2)?.starts_with(&before));
    Ok(())
}

fn payloads(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    for payload in ["a#b##c", "#", "with blanks", "REQUESTS#x"] {
        let said = sh(&node, &format!("virgo kingcobra ask '{payload}'"))?;
        ensure!(said.starts_with("REPLY#a090002#"), "{said}");
        on_record(&node, "a090002", payload, NOBODY)?;
    }
    // The header is not the client's to write.
    let said = sh(&node, "virgo kingcobra ask 'REQUEST#7f000001#1:1#mine'")?;
    ensure!(said.starts_with("REPLY#a090002#"), "{said}");
    on_record(&node, "a090002", "mine", NOBODY)?;
    let before = log(&node)?.len();
    for bad in [
        "REQUEST#",
        "REQUEST###",
        "REQUEST#1#2#3",
        "REPLY#",
        "REPLY##1:1#x",
        "REQUEST#zz#1:1#x",
    ] {
        let said = sh(&node, &format!("virgo kingcobra ask '{bad}'"))?;
        ensure!(said.starts_with("not a record"), "{bad}: {said}");
    }
    ensure!(
        log(&node)?.len() == before,
        "what is no record is on record"
    );
    // What a line cannot hold.
    sh(&node, "virgo kingcobra ask \"$(printf 'two\\nlines')\"")?;
    ensure!(
        log(&node)?
            .iter()
            .any(|line| line.ends_with("#two\\x0alines $$"))
    );
    let (said, _) = fails(
        &node,
        "head -c 1048576 /dev/zero | tr '\\0' x | virgo queue pub requests",
    )?;
    ensure!(said.contains("EMSGSIZE"), "{said}");
    Ok(())
}

/// Two nodes that hand each other their replies as requests stop at once.
fn replies(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let forward = |from: &Node, to: u32| {
        from.spawn([
            "sh".to_owned(),
            "-c".to_owned(),
            format!(
                "virgo queue sub 'kingcobra.replies.>' --timeout 15s |
                     while read -r line; do virgo queue pub --node {to} requests \"$line\"; done"
            ),
        ])
    };
    let before = [log(&node1)?.len(), log(&node2)?.len()];
    let forwarders = [forward(&node1, 2)?, forward(&node2, 1)?];
    std::thread::sleep(Duration::from_secs(3));
    sh(&node1, "virgo kingcobra ask --node 2 'ping'")?;
    for forwarder in forwarders {
        forwarder.wait_timeout(Duration::from_secs(60))?;
    }
    let after = [log(&node1)?, log(&node2)?];
    let new = [&after[0][before[0]..], &after[1][before[1]..]];
    let requests = new.iter().flat_map(|log| log.iter());
    let requests = requests.filter(|line| line.starts_with("REQUEST#")).count();
    ensure!(requests == 1, "one request became {requests}: {new:#?}");
    // A reply that somebody types is on record as one.
    let said = text(&node1, &node2, 60000, &["REPLY#a090001#1:2#what I say"])?;
    ensure!(said == ["queued"], "{said:?}");
    within(Duration::from_secs(5), || {
        let log = log(&node2)?;
        ensure!(
            log.iter()
                .any(|line| line == "REPLY#a090001#1:2#what I say $$"),
            "{log:#?}"
        );
        Ok(())
    })
}

fn programs(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    let service = node2.spawn(["virgo", "kingcobra", "serve", "tr", "a-z", "A-Z"])?;
    let problems = node2.spawn([
        "virgo",
        "kingcobra",
        "serve",
        "--type",
        "problem",
        "wc",
        "-c",
    ])?;
    let result = within(Duration::from_secs(20), || {
        let said = sh(&node1, "virgo kingcobra ask --node 2 'do it'")?;
        ensure!(said.ends_with("#DO IT"), "{said}");
        let said = sh(&node1, "virgo kingcobra ask --node 2 'problem: slow'")?;
        ensure!(said.trim_end().ends_with("#4"), "{said}");
        Ok(())
    });
    for daemon in [service, problems] {
        daemon.kill()?;
        daemon.wait()?;
    }
    result?;
    let said = sh(&node1, "virgo kingcobra ask --node 2 'suggestion: faster'")?;
    ensure!(said.ends_with(NOBODY), "{said}");
    sh(
        &node2,
        "virgo queue delete kingcobra.service; virgo queue delete kingcobra.problem",
    )?;
    Ok(())
}

/// A module stays while its function does a request, and can go afterwards.
fn functions(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "insmod /lib/virgo/tests/virgo_test_functions.ko")?;
    let unload = "rmmod virgo_test_functions";
    let ask = "virgo kingcobra ask --timeout 20s --node 2 'problem: it is slow'";
    let asked = node1.spawn(["sh", "-c", ask])?;
    within(Duration::from_secs(10), || {
        let log = sh(&node2, "tail -n 1 /var/log/kingcobra/REQUEST_REPLY.queue")?;
        ensure!(
            log.starts_with("REQUEST#") && log.contains("it is slow"),
            "{log}"
        );
        Ok(())
    })?;
    let (said, _) = fails(&node2, unload)?;
    ensure!(said.contains("temporarily unavailable"), "{said}");
    let said = asked.wait()?.text()?;
    ensure!(said.ends_with("#done"), "{said}");
    within(Duration::from_secs(10), || sh(&node2, unload))?;
    let said = sh(&node1, ask)?;
    ensure!(said.ends_with(NOBODY), "{said}");
    Ok(())
}

/// A function is called as the uid that asks, not as root.
fn uids(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    sh(&node2, "insmod /lib/virgo/tests/virgo_test_functions.ko")?;
    let checks = || -> Result<()> {
        let ask = "virgo kingcobra ask 'suggestion: as whom?'";
        let said = sh(&node2, ask)?;
        ensure!(said.ends_with("#uid=0"), "{said}");
        let said = sh(&node2, &format!("su user -c \"{ask}\""))?;
        let uid = sh(&node2, "id -u user")?;
        ensure!(said.ends_with(&format!("#uid={uid}")), "{said}");
        let ask = "virgo kingcobra ask --node 2 'suggestion: as whom?'";
        let said = sh(&node1, &format!("su user -c \"{ask}\""))?;
        ensure!(
            said.contains("#uid=") && !said.ends_with("#uid=0"),
            "{said}"
        );
        // A text session is not root, either.
        let from = text(&node2, &node2, 60000, &["suggestion: by text"])?;
        ensure!(from == ["queued"], "{from:?}");
        within(Duration::from_secs(5), || {
            on_record(&node2, "a090002", "suggestion: by text", "uid=65534")
        })?;
        with_config(&node2, "callers = kingcobra_suggestion 7", || {
            let (said, _) = fails(&node2, &format!("su user -c \"{ask}\""))?;
            ensure!(said.contains("#ERR EACCES "), "{said}");
            let said = sh(&node2, ask)?;
            ensure!(said.ends_with("#uid=0"), "{said}");
            Ok(())
        })
    };
    let result = checks();
    sh(&node2, "rmmod virgo_test_functions")?;
    result
}

/// With the head of its record a reply has to fit a message; if it does not, who asks is told at once,
/// and the server lives.
fn long_reply(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let service = node.spawn([
        "virgo",
        "kingcobra",
        "serve",
        "sh",
        "-c",
        "head -c $(cat) /dev/zero | tr '\\0' x",
    ])?;
    let checks = within(Duration::from_secs(20), || {
        let said = sh(&node, "virgo kingcobra ask 1000")?;
        ensure!(said.ends_with(&"x".repeat(1000)), "{said}");
        Ok(())
    })
    .and_then(|()| {
        let (said, _) = fails(&node, "virgo kingcobra ask --timeout 20s 65530")?;
        ensure!(said.contains("#ERR EMSGSIZE "), "{} bytes", said.len());
        let said = sh(&node, "virgo kingcobra ask 10")?;
        ensure!(said.ends_with("#xxxxxxxxxx"), "{said}");
        Ok(())
    });
    service.kill()?;
    service.wait()?;
    sh(&node, "virgo queue delete kingcobra.service")?;
    checks
}

/// rmmod does not wait for what was not begun: that goes back to the queue.
fn unload(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let before = log(&node)?.len();
    sh(&node, "insmod /lib/virgo/tests/virgo_test_functions.ko")?;
    // Sixteen are done at a time, each in three seconds.
    sh(
        &node,
        "for i in $(seq 64); do echo problem: $i; done | virgo queue pub --lines requests",
    )?;
    within(Duration::from_secs(10), || {
        ensure!(log(&node)?.len() >= before + 16, "they are not begun");
        Ok(())
    })?;
    let start = std::time::Instant::now();
    let gone = sh(&node, "rmmod virgo_kingcobra");
    let took = start.elapsed();
    let begun = log(&node)?.len() - before;
    sh(
        &node,
        "insmod /lib/virgo/virgo_kingcobra.ko; virgo queue list",
    )?;
    gone?;
    // All are done in the end.
    within(Duration::from_secs(60), || {
        let lines = log(&node)?;
        let done = lines[before..].iter();
        let done = done.filter(|line| line.starts_with("REPLY#")).count();
        ensure!(done == 64, "{done} of 64 are done");
        Ok(())
    })?;
    within(Duration::from_secs(10), || {
        sh(&node, "rmmod virgo_test_functions")
    })?;
    println!("rmmod took {took:?}; {begun} records were there");
    ensure!(took < Duration::from_secs(9), "rmmod took {took:?}");
    Ok(())
}

/// Text for the processor pool becomes a request, and so do lines that are no command of the memory
/// pool.
fn diverted(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let change = "cp /etc/virgo_cloud.conf /tmp/good
         echo 'use_as_kingcobra_service = yes' >>/etc/virgo_cloud.conf; virgo config reload";
    sh(&node, change)?;
    let said = text(&node, &node, 10000, &["KingCobraRequest_11February2016"]);
    let to_pool = text(
        &node,
        &node,
        30000,
        &["virgo_cloud_malloc(1)", "for the pool"],
    );
    sh(
        &node,
        "cp /tmp/good /etc/virgo_cloud.conf; virgo config reload",
    )?;
    ensure!(said? == ["queued"]);
    let to_pool = to_pool?;
    ensure!(
        to_pool[0].len() == 16 && to_pool[1] == "queued",
        "{to_pool:?}"
    );
    let free = format!("virgo_cloud_free({})", to_pool[0]);
    ensure!(text(&node, &node, 30000, &[&free])? == ["kernel memory freed"]);
    for request in ["KingCobraRequest_11February2016", "for the pool"] {
        within(Duration::from_secs(5), || {
            on_record(&node, "a090002", request, NOBODY)
        })?;
    }
    Ok(())
}

/// Requests wait while there is nobody to do them; a module whose handler works is not unloaded
/// under it.
fn comes_and_goes(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "rmmod virgo_kingcobra; virgo queue pub requests 'waits for you'",
    )?;
    sh(&node, "insmod /lib/virgo/virgo_kingcobra.ko")?;
    within(Duration::from_secs(10), || {
        on_record(&node, "a090003", "waits for you", NOBODY)
    })?;
    // A service that is slow, and the module that waits for it.
    let service = node.spawn([
        "virgo",
        "kingcobra",
        "serve",
        "sh",
        "-c",
        "sleep 2; echo done",
    ])?;
    within(Duration::from_secs(10), || {
        ensure!(sh(&node, "virgo queue list")?.contains("kingcobra.service"));
        Ok(())
    })?;
    let asker = node.spawn(["virgo", "kingcobra", "ask", "slowly"])?;
    std::thread::sleep(Duration::from_millis(500));
    // It ends when the request is done, not before.
    let gone = sh(&node, "rmmod virgo_kingcobra");
    let said = asker.wait_timeout(Duration::from_secs(60))?.text()?;
    service.kill()?;
    service.wait()?;
    sh(
        &node,
        "lsmod | grep -q virgo_kingcobra || insmod /lib/virgo/virgo_kingcobra.ko",
    )?;
    sh(&node, "virgo queue delete kingcobra.service")?;
    gone?;
    ensure!(said.contains("#done"), "{said}");
    Ok(())
}

fn full_disk(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(3);
    sh(
        &node,
        "dd if=/dev/zero of=/run/disk/fill bs=1M 2>/dev/null; dd if=/dev/zero of=/run/disk/fill2 bs=1 2>/dev/null; sync; :",
    )?;
    let said = sh(
        &node,
        "for i in $(seq 50); do virgo kingcobra ask \"$(head -c 4000 /dev/zero | tr '\\0' x)\" | cut -c 1-60; done",
    );
    sh(&node, "rm /run/disk/fill /run/disk/fill2")?;
    let said = said?;
    ensure!(said.contains("ENOSPC"), "{said}");
    let said = sh(&node, "virgo kingcobra ask again")?;
    ensure!(said.ends_with(NOBODY), "{said}");
    ensure!(
        log(&node)?.iter().all(|line| line.ends_with(" $$")),
        "half a line"
    );
    Ok(())
}

/// Commands of a text session on this node, with waits between them.
fn session(commands: &[&str]) -> String {
    let lines: String = commands
        .iter()
        .map(|command| format!("echo '{command}'; sleep 2; "))
        .collect();
    format!("(echo \"auth $(cat /etc/virgo_text.key)\"; {lines} echo quit) | nc 127.0.0.1 60000")
}

/// Who owns a queue does not get requests done in the name of whoever publishes to it.
fn deputy(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    sh(&node, "insmod /lib/virgo/tests/virgo_test_functions.ko")?;
    let session = session(&[
        "create t.deputy deliveries=1 dead=requests mode=72",
        "sub t.deputy ack",
        "queues",
    ]);
    let result = sh(
        &node,
        &format!(
            "{session} >/dev/null & sleep 3; virgo queue pub t.deputy 'suggestion: deputy'; wait"
        ),
    )
    .and_then(|_| {
        within(Duration::from_secs(10), || {
            on_record(&node, "a090002", "suggestion: deputy", "uid=65534")
        })
    });
    sh(
        &node,
        "rmmod virgo_test_functions; virgo queue delete t.deputy",
    )?;
    result
}

const MODULE: &str = "/lib/virgo/virgo_kingcobra.ko";

/// Does `during` with the module loaded with these parameters.
fn with_parameters(
    node: &Node,
    parameters: &str,
    during: impl FnOnce() -> Result<()>,
) -> Result<()> {
    sh(
        node,
        &format!("rmmod virgo_kingcobra && insmod {MODULE} {parameters}"),
    )?;
    let result = during();
    sh(node, &format!("rmmod virgo_kingcobra && insmod {MODULE}"))?;
    result
}

fn turns(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let service = node.spawn(["virgo", "kingcobra", "serve", "sh", "-c", "sleep 1; cat"])?;
    let result = with_parameters(&node, "max_running=1", || {
        let flood: String = (0..8).map(|n| format!("flood {n}\\n")).collect();
        sh(
            &node,
            &format!("printf '{flood}' | su user -c 'virgo queue pub --lines requests'"),
        )?;
        sh(&node, "virgo kingcobra ask --timeout 30s 'one of root'")?;
        within(Duration::from_secs(40), || {
            on_record(&node, "a090002", "flood 7", "flood 7")
        })?;
        let log = log(&node)?;
        let replied = |text: &str| {
            let end = format!("#{text} $$");
            let is_it = |line: &String| line.starts_with("REPLY#") && line.ends_with(&end);
            log.iter().rposition(is_it)
        };
        ensure!(replied("one of root") < replied("flood 5"), "{log:#?}");
        Ok(())
    });
    service.kill()?;
    service.wait()?;
    sh(&node, "virgo queue delete kingcobra.service")?;
    result
}

fn bounded(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let file = "/var/log/kingcobra/REQUEST_REPLY.queue";
    with_parameters(&node, "max_log_bytes=8192", || {
        let long = "x".repeat(500);
        sh(
            &node,
            &format!(
                "for i in $(seq 40); do virgo kingcobra ask 'bounded {long}' >/dev/null; done"
            ),
        )?;
        for name in [file.to_owned(), format!("{file}.1")] {
            let size: usize = sh(&node, &format!("wc -c <{name}"))?.parse()?;
            ensure!(size <= 8192 + 2000, "{name}: {size}");
        }
        ensure!(log(&node)?.iter().all(|line| line.ends_with(" $$")));
        Ok(())
    })
}

/// A user hears what was replied to it, and not what was replied to others.
fn private(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(2);
    let session = session(&["sub kingcobra.replies.>", "queues", "mine", "queues"]);
    let said = sh(
        &node,
        &format!(
            "{session} >/tmp/heard & sleep 3; virgo kingcobra ask theirs >/dev/null; wait; cat /tmp/heard"
        ),
    )?;
    let heard = said
        .lines()
        .filter(|line| line.starts_with("message="))
        .count();
    ensure!(heard == 1, "{said}");
    Ok(())
}
