// SPDX-License-Identifier: GPL-2.0
//! Programs and library functions that run on another node, well and badly behaved.
//!
//! Node 1 calls, and node 2 runs what is built from `tests/library`.

use crate::{
    Test,
    clone::wait_until_here,
    rounds::Rounds,
    support::{SLACK, fails, sh, with_config, within},
};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use virgo_cluster::{Cluster, Node, Output, RunningCommand};

pub const TESTS: &[(&str, Test)] = &[
    ("program_runs_on_another_node", program),
    ("program_has_no_rights_there", rights),
    ("program_does_not_use_the_cluster", no_device),
    ("arguments_match_their_patterns", patterns),
    ("only_what_is_listed_runs", listed),
    ("listed_paths_are_taken_to_the_letter", paths),
    ("library_functions_run_on_another_node", library),
    ("bad_library_calls_say_why", bad_library),
    ("a_crash_is_seen_and_harms_nobody", crash),
    ("hanging_programs_end_at_the_deadline", deadline),
    ("output_until_the_deadline_is_shown", until_deadline),
    ("cancelled_programs_end", cancel),
    ("programs_of_a_killed_caller_end", killed_caller),
    ("nothing_is_left_behind", leave),
    ("output_of_every_length_comes_back", lengths),
    ("a_gibibyte_of_output_is_cut", gibibyte),
];

const PROGRAM: &str = "/usr/lib/virgo/test/virgo_cloud_test_main";
const LIBRARY: &str = "/usr/lib/virgo/test/libvirgo_test.so";

/// What appears in the command lines of all that is started for a call.
const STARTED: &[&str] = &["virgo-run", "virgo_kernelupcall", "virgo_cloud_test"];

/// Starts `virgo clone` on node 1, for node 2.
fn spawn(cluster: &Cluster, words: &str) -> Result<RunningCommand> {
    let script = format!("exec virgo clone --on 2 {words}");
    cluster.node(1).spawn(["sh", "-c", &script])
}

/// What comes of `virgo clone` on node 1, for node 2.
fn clone(cluster: &Cluster, words: &str) -> Result<Output> {
    spawn(cluster, words)?.wait_timeout(Duration::from_secs(300))
}

/// What such a call prints, and its exit status.
fn check(cluster: &Cluster, words: &str, status: i32, out: &str, err: &str) -> Result<()> {
    let output = clone(cluster, words)?;
    let said = (
        output.status,
        &*String::from_utf8_lossy(&output.stdout),
        &*String::from_utf8_lossy(&output.stderr),
    );
    ensure!(said == (status, out, err), "{words}: {said:?}");
    Ok(())
}

/// Such a call fails and says `reason`.
fn refused(cluster: &Cluster, words: &str, reason: &str) -> Result<()> {
    let (said, _) = fails(&cluster.node(1), &format!("virgo clone --on 2 {words}"))?;
    ensure!(said.contains(reason), "{words}: {said}");
    Ok(())
}

/// The processes of a node that were started for calls: user and command line.
fn processes(node: &Node) -> Result<Vec<String>> {
    let all = sh(node, "ps -o user,args")?;
    let started = |line: &&str| STARTED.iter().any(|name| line.contains(name));
    Ok(all.lines().filter(started).map(str::to_owned).collect())
}

/// Waits until the program, called with `words`, runs as nobody on `node`.
fn wait_until_runs(node: &Node, words: &str) -> Result<()> {
    within(Duration::from_secs(20), || {
        let seen = processes(node)?;
        let runs = |line: &String| line.starts_with("nobody ") && line.ends_with(words);
        ensure!(seen.iter().any(runs), "'{words}' is not among {seen:?}");
        Ok(())
    })
}

/// Waits until nothing is left of calls on `node`.
fn wait_until_gone(node: &Node) -> Result<()> {
    wait_until_here(node, 0)?;
    let left = processes(node)?;
    ensure!(left.is_empty(), "still there: {left:?}");
    Ok(())
}

fn program(cluster: &Cluster) -> Result<()> {
    let words = format!("{PROGRAM} args '' 'a b' '$HOME;*' --on 3");
    check(cluster, &words, 0, "\na b\n$HOME;*\n--on\n3\n", "")?;
    check(cluster, &format!("{PROGRAM} exit 7"), 7, "out\n", "err\n")?;
    let original = "virgo_cloud_test_main: child\nvirgo_cloud_test_main: parent\n";
    check(cluster, PROGRAM, 0, original, "")?;
    let said = sh(
        &cluster.node(1),
        &format!("virgo clone --json --on 2 {PROGRAM} exit 0"),
    )?;
    let expected = "{\"node\":2,\"state\":\"exited\",\"stderr\":\"err\\n\",\
        \"stdout\":\"out\\n\",\"truncated\":false,\"value\":0}";
    ensure!(said == expected, "{said}");
    wait_until_gone(&cluster.node(2))
}

/// It is the node that runs it that says as whom, whoever calls.
fn rights(cluster: &Cluster) -> Result<()> {
    let ids = format!("{PROGRAM} ids");
    check(cluster, &ids, 0, "65534 65534 0\n", "")?;
    with_config(&cluster.node(2), "run_as = 1000", || {
        check(cluster, &ids, 0, "1000 1000 0\n", "")
    })
}

/// What runs for another node does not call on.
fn no_device(cluster: &Cluster) -> Result<()> {
    let list = "executable = /usr/bin/virgo";
    with_config(&cluster.node(2), list, || {
        sh(&cluster.node(1), "virgo clone --on 2 /usr/bin/virgo help")?;
        refused(cluster, "/usr/bin/virgo clone noop", "EPERM")
    })
}

fn patterns(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    let program = "/tmp/patterned";
    sh(&node2, &format!("cp {PROGRAM} {program}"))?;
    let listed = format!("executable = {program} args /srv/* x\nexecutable = {program} exit");
    let checks = with_config(&node2, &listed, || {
        check(
            cluster,
            &format!("{program} args /srv/ro x"),
            0,
            "/srv/ro\nx\n",
            "",
        )?;
        check(cluster, &format!("{program} exit"), 0, "out\n", "err\n")?;
        for words in [
            "",
            "args",
            "args /srv/ro",
            "args /srv/ro x x",
            "args /srv/ro xx",
            "args /etc/passwd x",
            "args 'x /srv/ro' x",
            "exit 0",
        ] {
            let reason = "not allowed (EACCES): not allowed: /etc/virgo_cloud.conf of this node \
                has no 'executable' line for this path and these arguments";
            refused(cluster, &format!("{program} {words}"), reason)?;
        }
        Ok(())
    });
    sh(&node2, &format!("rm {program}"))?;
    checks
}

fn listed(cluster: &Cluster) -> Result<()> {
    for words in [
        "/bin/busybox ls",
        "/usr/lib/virgo/test/../test/virgo_cloud_test_main",
        "/usr/lib/virgo/test/./virgo_cloud_test_main",
        "/usr/lib/virgo//test/virgo_cloud_test_main",
        // A library is not a program.
        LIBRARY,
    ] {
        refused(cluster, words, "has no 'executable' line")?;
    }
    for words in [
        "/usr/lib/virgo/../virgo/test/libvirgo_test.so:virgo_test_sum 1",
        &format!("{PROGRAM}:main"),
    ] {
        refused(cluster, words, "has no 'library' line")?;
    }
    // The list is that of the node which runs it.
    let list = format!("executable = {PROGRAM}\nexecutable = /usr/bin/virgo");
    with_config(&cluster.node(1), &list, || {
        sh(&cluster.node(1), "virgo clone --on 1 /usr/bin/virgo help")?;
        refused(cluster, "/usr/bin/virgo help", "EACCES")
    })
}

/// What is listed is a path: nobody who can put a symbolic link into it chooses what runs.
fn paths(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    sh(
        &node2,
        &format!(
            "mkdir /tmp/p /tmp/p/folder; cd /tmp/p; cp {PROGRAM} folder/program
             ln -s folder/program link; ln -s folder short; echo text >text; echo x >program
             chmod +x program; ln -s {LIBRARY} link.so"
        ),
    )?;
    let list = "executable = /tmp/p/folder/program
        executable = /tmp/p/link
        executable = /tmp/p/short/program
        executable = /tmp/p/folder
        executable = /tmp/p/nothing
        executable = /tmp/p/text
        executable = /tmp/p/program
        library = /tmp/p/link.so";
    let checks = with_config(&node2, list, || {
        check(cluster, "/tmp/p/folder/program exit 0", 0, "out\n", "err\n")?;
        for (path, errno) in [
            ("/tmp/p/link", "ELOOP"),
            ("/tmp/p/short/program", "ELOOP"),
            ("/tmp/p/folder", "EACCES"),
            ("/tmp/p/nothing", "ENOENT"),
            ("/tmp/p/text", "EACCES"),
            ("/tmp/p/program", "ENOEXEC"),
        ] {
            refused(cluster, path, &format!("({errno})"))?;
        }
        let call = "/tmp/p/link.so:virgo_test_sum 1";
        check(
            cluster,
            call,
            126,
            "",
            "virgo_kernelupcall_plugin: /tmp/p/link.so: Too many symbolic links encountered\n",
        )
    });
    sh(&node2, "rm -r /tmp/p")?;
    checks?;
    for line in [
        "executable = /tmp/../usr/lib/virgo/test/virgo_cloud_test_main",
        "executable = virgo_cloud_test_main",
        "library = /usr/lib/./virgo/test/libvirgo_test.so",
    ] {
        let taken = with_config(&node2, line, || Ok(()));
        ensure!(taken.is_err(), "'{line}' is taken");
    }
    Ok(())
}

fn library(cluster: &Cluster) -> Result<()> {
    let call = |symbol: &str| format!("{LIBRARY}:{symbol}");
    let echo = call("virgo_test_echo hello 'my world'");
    check(cluster, &echo, 0, "hello my world\n14\n", "")?;
    check(cluster, &call("virgo_test_sum 40 2 -47"), 0, "-5\n", "")?;
    for name in ["virgo_cloud_test", "_Z16virgo_cloud_testPv"] {
        let words = call(&format!("{name} text"));
        check(cluster, &words, 0, "virgo_cloud_test: text\n0\n", "")?;
    }
    let said = sh(
        &cluster.node(1),
        &format!("virgo clone -v --on 2 {} 2>&1", call("virgo_test_sum 1")),
    )?;
    ensure!(said == "virgo: node 2: returned 1\n1", "{said}");
    wait_until_gone(&cluster.node(2))
}

fn bad_library(cluster: &Cluster) -> Result<()> {
    for symbol in ["virgo_test_nothing", "system", "_start"] {
        let said = format!(
            "virgo_kernelupcall_plugin: {LIBRARY} has no function {symbol} or _Z{}{symbol}Pv\n",
            symbol.len()
        );
        check(cluster, &format!("{LIBRARY}:{symbol} x"), 127, "", &said)?;
    }
    for symbol in ["", "a-b", "a.b"] {
        refused(cluster, &format!("{LIBRARY}:{symbol}"), "(EINVAL)")?;
    }
    let node2 = cluster.node(2);
    sh(&node2, "echo text >/tmp/text.so")?;
    let list = "library = /tmp/nothing.so\nlibrary = /tmp/text.so";
    let checks = with_config(&node2, list, || {
        let missing = "virgo_kernelupcall_plugin: /tmp/nothing.so: No such file or directory\n";
        check(cluster, "/tmp/nothing.so:f", 127, "", missing)?;
        let output = clone(cluster, "/tmp/text.so:f")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status == 126 && said.contains("/tmp/text.so"),
            "{output:?}"
        );
        Ok(())
    });
    sh(&node2, "rm /tmp/text.so")?;
    checks
}

fn crash(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    for (call, signal) in [
        (format!("{PROGRAM} crash"), 11),
        (format!("{PROGRAM} abort"), 6),
        (format!("{LIBRARY}:virgo_test_crash"), 11),
    ] {
        check(cluster, &call, 128 + signal, "", "")?;
        let said = format!("virgo: node 2: killed by signal {signal}\n");
        check(cluster, &format!("-v {call}"), 128 + signal, "", &said)?;
    }
    let output = clone(cluster, &format!("{LIBRARY}:virgo_test_panic because"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status == 128 + 6 && said.contains("because"),
        "{output:?}"
    );
    sh(&node1, "virgo clone --on 2 noop")?;
    wait_until_gone(&node2)
}

/// Programs and functions that do not end, and what they are seen as.
fn endless() -> [(String, &'static str); 3] {
    [
        (format!("{PROGRAM} hang"), " hang"),
        (format!("{PROGRAM} close"), " close"),
        (
            format!("{LIBRARY}:virgo_test_sleep 200000"),
            "libvirgo_test.so virgo_test_sleep 200000",
        ),
    ]
}

fn deadline(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    let time = Duration::from_secs(4);
    for (call, seen) in endless() {
        let start = Instant::now();
        let running = spawn(cluster, &format!("--timeout 4s {call}"))?;
        wait_until_runs(&node2, seen)?;
        let ended = running.wait_timeout(time + SLACK)?;
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(
            !ended.success() && said.contains("(ETIMEDOUT)"),
            "{call}: {said}"
        );
        ensure!(took >= time, "{call}: it took {took:?}");
        wait_until_gone(&node2).context(call)?;
    }
    Ok(())
}

/// What a program had printed when its time was over is not lost.
fn until_deadline(cluster: &Cluster) -> Result<()> {
    let output = clone(cluster, &format!("--timeout 4s {PROGRAM} talk"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.stdout == b"so far", "{output:?}");
    ensure!(
        !output.success() && said.contains("(ETIMEDOUT)") && said.contains("and errors"),
        "{said}"
    );
    wait_until_gone(&cluster.node(2))
}

fn cancel(cluster: &Cluster) -> Result<()> {
    let (node1, node2) = (cluster.node(1), cluster.node(2));
    for (call, seen) in endless() {
        let job = sh(
            &node1,
            &format!("virgo clone --async --on 2 --timeout 200s {call}"),
        )?;
        wait_until_runs(&node2, seen)?;
        sh(&node1, &format!("virgo cancel {job}"))?;
        wait_until_gone(&node2).context(call)?;
        let (said, _) = fails(&node1, &format!("virgo wait {job}"))?;
        ensure!(said.contains("ECANCELED"), "{said}");
    }
    Ok(())
}

fn killed_caller(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    for (call, seen) in endless() {
        let caller = spawn(cluster, &format!("--timeout 200s {call}"))?;
        wait_until_runs(&node2, seen)?;
        caller.kill()?;
        caller.wait()?;
        wait_until_gone(&node2).context(call)?;
    }
    Ok(())
}

fn leave(cluster: &Cluster) -> Result<()> {
    check(cluster, &format!("{PROGRAM} leave"), 0, "left\n", "")?;
    let node2 = cluster.node(2);
    let left = processes(&node2)?;
    ensure!(left.is_empty(), "still there: {left:?}");
    // A segment belongs to no process; the second one can be made since the first one is gone.
    for _ in 0..2 {
        check(cluster, &format!("{PROGRAM} share 7777"), 0, "", "")?;
    }
    let left = sh(&node2, "grep -c ' 7777 ' /proc/sysvipc/shm || true")?;
    ensure!(left == "0", "{left} segments are still there");
    Ok(())
}

/// A call keeps 64 KiB, and says that there was more; nobody keeps the rest.
/// A result that just fits a frame, and one that does not.
fn lengths(cluster: &Cluster) -> Result<()> {
    const OUT: usize = 64 << 10;
    for errors in [0, 184, 185, 200, 224, 225, 300] {
        let words = format!("--timeout 20s {PROGRAM} say {OUT} {errors}");
        let output = clone(cluster, &words)?;
        let said = (output.status, output.stdout.len(), output.stderr.len());
        ensure!(said == (0, OUT, errors), "{words}: {said:?}");
    }
    Ok(())
}

fn gibibyte(cluster: &Cluster) -> Result<()> {
    let node2 = cluster.node(2);
    let mebibytes = Rounds {
        debug: 128,
        slim: 1024,
        soak: 1024,
    }
    .count();
    let watch = "least=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo); echo $least
        until [ -e /tmp/stop ]; do
            now=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
            [ $now -ge $least ] || least=$now; sleep 0.2
        done; echo $least; rm /tmp/stop";
    let watched = node2.spawn(["sh", "-c", watch])?;
    let words = format!("--timeout 200s {PROGRAM} print {mebibytes}");
    let start = Instant::now();
    let output = clone(cluster, &words);
    sh(&node2, "touch /tmp/stop")?;
    let memory = watched.wait()?.text()?;
    let output = output?;
    let (len, said) = (output.stdout.len(), String::from_utf8_lossy(&output.stderr));
    ensure!(output.success(), "{}: {said}", output.status);
    ensure!(
        len == 64 << 10 && output.stdout.iter().all(|&byte| byte == b'x'),
        "{len} bytes"
    );
    ensure!(
        said == "virgo: there was more output than a node keeps\n",
        "{said}"
    );
    let (before, least) = memory.split_once('\n').context("two numbers")?;
    let (before, least): (u64, u64) = (before.parse()?, least.trim().parse()?);
    println!(
        "{mebibytes} MiB in {:?}; {} KiB of {before} were used",
        start.elapsed(),
        before - least
    );
    ensure!(before - least < 32 << 10, "{before} KiB became {least} KiB");
    wait_until_gone(&node2)
}
