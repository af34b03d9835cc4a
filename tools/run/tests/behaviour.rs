// SPDX-License-Identifier: GPL-2.0
//! Runs virgo-run with targets that behave well and badly. Where the tests are not root, or may
//! not make namespaces, they say so and count as ignored.

mod program;

use libtest_mimic::{Arguments, Failed, Trial};
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{ptrace, signal::Signal, wait::waitpid},
};
use program::{Program, Run, processes, wait_until};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::ExitCode,
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};
use virgo_proto::clone::state;

/// A user of the tests' own.
const UID: u32 = 61_234;

/// Longer than any test should take; tests of timeouts have shorter ones.
const PATIENCE: Duration = Duration::from_secs(60);

type Test = fn(&Program);

const TESTS: &[(&str, Test)] = &[
    (
        "status_and_both_outputs_come_back",
        status_and_both_outputs_come_back,
    ),
    ("arguments_arrive_unchanged", arguments_arrive_unchanged),
    ("signals_are_the_true_ones", signals_are_the_true_ones),
    ("values_come_back", values_come_back),
    (
        "a_value_is_not_asked_for_unless_wanted",
        a_value_is_not_asked_for_unless_wanted,
    ),
    ("user_has_no_rights", user_has_no_rights),
    ("surroundings_are_clean", surroundings_are_clean),
    ("scripts_run", scripts_run),
    ("what_cannot_run_is_told", what_cannot_run_is_told),
    ("paths_are_exact", paths_are_exact),
    ("hang_ends_by_the_deadline", hang_ends_by_the_deadline),
    ("closed_outputs_are_no_end", closed_outputs_are_no_end),
    (
        "endless_printing_ends_by_the_deadline",
        endless_printing_ends_by_the_deadline,
    ),
    ("a_gibibyte_is_cut", a_gibibyte_is_cut),
    (
        "fork_bomb_ends_by_the_deadline",
        fork_bomb_ends_by_the_deadline,
    ),
    (
        "what_is_left_behind_is_killed",
        what_is_left_behind_is_killed,
    ),
    ("cancelling_kills_all", cancelling_kills_all),
    ("killing_virgo_run_kills_all", killing_virgo_run_kills_all),
    (
        "a_target_that_is_traced_holds_nobody",
        a_target_that_is_traced_holds_nobody,
    ),
    ("there_are_no_user_namespaces", there_are_no_user_namespaces),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let reason = why_not().err();
    if let Some(reason) = reason {
        eprintln!("virgo-run is not tested here: {reason}");
    }
    // Compiled by the first test that runs, removed after the last.
    let program = Arc::new(LazyLock::new(Program::compile as fn() -> Program));
    let trial = |&(name, test): &(&str, Test)| {
        let program = Arc::clone(&program);
        let trial = Trial::test(name, move || {
            test(&program);
            Ok::<(), Failed>(())
        });
        trial.with_ignored_flag(reason.is_some())
    };
    libtest_mimic::run(&arguments, TESTS.iter().map(trial).collect()).exit_code()
}

/// Says why virgo-run cannot do its work here. Asks in a thread, which alone is changed by it.
fn why_not() -> Result<(), &'static str> {
    let namespaces = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID));
    match namespaces.join() {
        _ if !nix::unistd::geteuid().is_root() => Err("it takes root"),
        Ok(Ok(())) => Ok(()),
        _ => Err("root may not make namespaces here"),
    }
}

fn errno(errno: Errno) -> i64 {
    i64::from(errno as i32)
}

fn status_and_both_outputs_come_back(program: &Program) {
    let result = program.run(&["exit", "7"]);
    assert_eq!(result.end(), (state::EXITED, 7));
    assert_eq!((result.out(), result.err()), ("out\n", "err\n"));
    assert!(!result.truncated);

    let result = program.run(&[]);
    assert_eq!(result.end(), (state::EXITED, 0));
    assert_eq!(
        result.out(),
        "virgo_cloud_test_main: child\nvirgo_cloud_test_main: parent\n"
    );
}

fn arguments_arrive_unchanged(program: &Program) {
    let result = program.run(&["args", "", "a b", "$HOME;*", "--uid", "\u{e9}"]);
    assert_eq!(result.out(), "\na b\n$HOME;*\n--uid\n\u{e9}\n");
}

fn signals_are_the_true_ones(program: &Program) {
    for (what, signal) in [("crash", Signal::SIGSEGV), ("abort", Signal::SIGABRT)] {
        assert_eq!(
            program.run(&[what]).end(),
            (state::KILLED, signal as i64),
            "{what}"
        );
    }
    // Also one that has only a number.
    let script = program.script("kill -40 $$\n");
    assert_eq!(Run::new(&script).result().end(), (state::KILLED, 40));
}

fn values_come_back(program: &Program) {
    let run = |words: &[&str]| program.call(words).returns().result();
    assert_eq!(run(&["return", "-5"]).end(), (state::RETURNED, -5));
    assert_eq!(run(&["exit", "0"]).end(), (state::EXITED, 0));
    assert_eq!(run(&["exit", "3"]).end(), (state::EXITED, 3));
    assert_eq!(
        run(&["abort"]).end(),
        (state::KILLED, Signal::SIGABRT as i64)
    );
}

fn a_value_is_not_asked_for_unless_wanted(program: &Program) {
    // Its descriptor is not there.
    assert_eq!(program.run(&["return", "5"]).end(), (state::EXITED, 1));
}

fn user_has_no_rights(program: &Program) {
    assert_eq!(program.run(&["ids"]).out(), format!("{UID} {UID} 0\n"));

    let status = Run::new("/usr/bin/cat")
        .words(&["/proc/self/status"])
        .result();
    let field = |name: &str| {
        let line = status
            .out()
            .lines()
            .find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    for set in ["CapPrm:", "CapEff:", "CapAmb:", "CapInh:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Groups:"), "");
    for set in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
}

fn surroundings_are_clean(_: &Program) {
    let environment = Run::new("/usr/bin/env").result();
    let names: Vec<_> = environment
        .out()
        .lines()
        .map(|line| line.split('=').next())
        .collect();
    assert_eq!(names, [Some("PATH"), Some("HOME"), Some("LANG")]);

    // The last one is of the directory that is listed.
    let descriptors = Run::new("/usr/bin/ls").words(&["/proc/self/fd"]).result();
    assert_eq!(descriptors.out(), "0\n1\n2\n3\n");
    let input = Run::new("/usr/bin/readlink")
        .words(&["/proc/self/fd/0", "/proc/self/cwd"])
        .result();
    assert_eq!(input.out(), "/dev/null\n/\n");

    // The target and the first process of its namespace, and nobody else.
    let seen = Run::new("/usr/bin/find")
        .words(&["/proc", "-maxdepth", "1", "-name", "[0-9]*"])
        .result();
    assert_eq!(seen.out(), "/proc/1\n/proc/2\n");
}

fn scripts_run(program: &Program) {
    let script = program.script("echo \"$# $1\"\nexit 4\n");
    let result = Run::new(&script).words(&["a b", "c"]).result();
    assert_eq!(
        (result.end(), result.out()),
        ((state::EXITED, 4), "2 a b\n")
    );
}

fn what_cannot_run_is_told(program: &Program) {
    let fails = |path: &str| {
        let result = Run::new(path).result();
        assert_eq!((result.out(), result.err()), ("", ""), "{path}");
        result.end()
    };
    let dir = program.dir();
    let file = format!("{dir}/no-program");
    fs::write(&file, "").unwrap();
    assert_eq!(fails(&file), (state::FAILED, errno(Errno::EACCES)));
    fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(fails(&file), (state::FAILED, errno(Errno::ENOEXEC)));
    fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(fails(&file), (state::FAILED, errno(Errno::EACCES)));
    assert_eq!(fails(dir), (state::FAILED, errno(Errno::EACCES)));
    assert_eq!(
        fails(&format!("{dir}/nothing")),
        (state::FAILED, errno(Errno::ENOENT))
    );

    let root = Run::new(program.path()).uid(0).result();
    assert_eq!(root.end(), (state::FAILED, errno(Errno::EPERM)));
}

fn paths_are_exact(program: &Program) {
    let (dir, path) = (program.dir(), program.path());
    let link = format!("{dir}/link");
    symlink(path, &link).unwrap();
    assert_eq!(
        Run::new(&link).result().end(),
        (state::FAILED, errno(Errno::ELOOP))
    );

    let detour = format!("{dir}/../{}", path.trim_start_matches("/tmp/"));
    assert_eq!(
        Run::new(&detour).result().end(),
        (state::FAILED, errno(Errno::EINVAL))
    );
}

/// Runs what does not end by itself; nothing of it is left.
fn assert_times_out(program: &Program, what: &[&str], timeout: Duration) {
    let start = Instant::now();
    let result = program.call(what).uid(UID + 1).timeout(timeout).result();
    assert_eq!(
        result.end(),
        (state::FAILED, errno(Errno::ETIMEDOUT)),
        "{what:?}"
    );
    assert!(
        start.elapsed() >= timeout && start.elapsed() < PATIENCE,
        "{:?}",
        start.elapsed()
    );
    assert_eq!(processes(program.path(), what), [], "{what:?}");
}

fn hang_ends_by_the_deadline(program: &Program) {
    assert_times_out(program, &["hang"], Duration::from_millis(300));
}

fn closed_outputs_are_no_end(program: &Program) {
    assert_times_out(program, &["close"], Duration::from_millis(300));
}

fn endless_printing_ends_by_the_deadline(program: &Program) {
    assert_times_out(program, &["print", "100000000"], Duration::from_millis(500));
}

fn fork_bomb_ends_by_the_deadline(program: &Program) {
    assert_times_out(program, &["bomb"], Duration::from_millis(500));
}

fn a_gibibyte_is_cut(program: &Program) {
    let result = program.run(&["print", "1024"]);
    assert_eq!(result.end(), (state::EXITED, 0));
    assert_eq!(result.out(), "x".repeat(1000));
    assert!(result.truncated);
}

fn what_is_left_behind_is_killed(program: &Program) {
    let start = Instant::now();
    let result = program.run(&["leave"]);
    assert_eq!((result.end(), result.out()), ((state::EXITED, 0), "left\n"));
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(processes(program.path(), &["leave"]), []);
}

fn cancelling_kills_all(program: &Program) {
    let what = ["hang", "cancelled"];
    let running = program.call(&what).start();
    wait_until(|| processes(program.path(), &what).len() == 1);
    running.signal(Signal::SIGTERM);
    assert_eq!(
        running.result().end(),
        (state::FAILED, errno(Errno::ECANCELED))
    );
    assert_eq!(processes(program.path(), &what), []);
}

fn killing_virgo_run_kills_all(program: &Program) {
    let what = ["hang", "orphaned"];
    let running = program.call(&what).start();
    wait_until(|| processes(program.path(), &what).len() == 1);
    running.signal(Signal::SIGKILL);
    wait_until(|| processes(program.path(), &what).is_empty());
}

/// A dead process stays until whoever traces it looks, which may be never.
fn a_target_that_is_traced_holds_nobody(program: &Program) {
    let what = ["hang", "traced"];
    let running = program.call(&what).start();
    wait_until(|| processes(program.path(), &what).len() == 1);
    let target = processes(program.path(), &what)[0];
    ptrace::seize(target, ptrace::Options::empty()).unwrap();
    let ended = thread::spawn(move || {
        running.signal(Signal::SIGTERM);
        running.result().end()
    });
    let start = Instant::now();
    while !ended.is_finished() && start.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(10));
    }
    let is_in_time = ended.is_finished();
    waitpid(target, None).unwrap();
    assert_eq!(
        ended.join().unwrap(),
        (state::FAILED, errno(Errno::ECANCELED))
    );
    assert!(is_in_time, "it waits for a process that is traced");
}

/// With one a target could mount what it serves itself, and wait there where nothing can kill it.
fn there_are_no_user_namespaces(_: &Program) {
    let unshare = |words: &[&str]| Run::new("/usr/bin/unshare").words(words).result();
    let result = unshare(&["--user", "/bin/true"]);
    assert_eq!(result.end(), (state::EXITED, 1), "{}", result.err());
    assert!(result.err().contains("not permitted"), "{}", result.err());
}
