// SPDX-License-Identifier: GPL-2.0
//! Names of nothing, of what is not allowed, and wrong arguments. All are refused by the node that
//! the call went to, with a reason.

use crate::{
    pool::{self, ends_everywhere},
    raw,
};
use rustix::io::Errno;
use virgo::{Call, Ended, On};

crate::tests![
    unknown_names,
    names_that_are_none,
    long_names,
    wrong_arguments,
    too_many_arguments,
    executables_that_are_not_listed,
    libraries_that_are_not_listed,
    nodes_that_are_not,
    the_call_of_2017_says_why,
];

fn unknown_names() {
    for name in [
        "nothing",
        "noop ",
        "NOOP",
        "noo",
        "noopp",
        "virgo_config",
        "\u{e4}",
    ] {
        ends_everywhere(name, &[], Ended::Failed(libc::ENOENT));
    }
}

fn names_that_are_none() {
    for name in ["", "/lib/x.so:", "/lib/x.so:a-b", "/lib/x.so:a b"] {
        ends_everywhere(name, &[], Ended::Failed(libc::EINVAL));
    }
    for node in pool::nodes() {
        let outcome = pool::run(&Call::new(b"\xff\xfe").on(On::Node(node)));
        assert_eq!(outcome.ended, Ended::Failed(libc::EINVAL), "no UTF-8");
    }
}

fn long_names() {
    for len in [256, 4096, 10 * 1024, 32 * 1024 - 1] {
        ends_everywhere(&"x".repeat(len), &[], Ended::Failed(libc::ENOENT));
        let path = format!("/{}", "x".repeat(len - 1));
        ends_everywhere(&path, &[], Ended::Failed(libc::EACCES));
    }
    let error = virgo::run(&Call::new("x".repeat(32 * 1024))).expect_err("too long");
    assert_eq!(error.errno(), libc::E2BIG);
}

fn wrong_arguments() {
    for (name, args) in [
        ("noop", &["x"][..]),
        ("noop", &[""]),
        ("echo", &[]),
        ("echo", &["a", "b"]),
        ("sleep", &[]),
        ("sleep", &["1", "1"]),
        ("sleep", &["x"]),
        ("sleep", &[""]),
        ("sleep", &["1x"]),
        ("sleep", &["0x10"]),
        ("sleep", &["9223372036854775808"]),
        ("spin", &["1.5"]),
    ] {
        ends_everywhere(name, args, Ended::Failed(libc::EINVAL));
    }
    // Numbers, but none that it takes: the function itself says so, without a reason.
    for number in ["-1", "4294967296", "9223372036854775807"] {
        for node in pool::nodes() {
            let outcome = pool::run(&Call::new("sleep").arg(number).on(On::Node(node)));
            assert_eq!(outcome.ended, Ended::Failed(libc::EINVAL), "{number}");
        }
    }
}

fn too_many_arguments() {
    for count in [17, 100, 10_000] {
        ends_everywhere("noop", &vec!["x"; count], Ended::Failed(libc::EINVAL));
    }
}

fn executables_that_are_not_listed() {
    for path in [
        "/bin/busybox",
        "/bin/sh",
        "/",
        "//",
        "/nothing",
        "/usr/bin",
        // Other ways to what may be listed.
        "/usr/bin/../bin/virgo_cloud_test_main",
        "/usr/bin/./virgo_cloud_test_main",
        "/usr//bin/virgo_cloud_test_main",
        "/usr/bin/virgo_cloud_test_main/",
        "//usr/bin/virgo_cloud_test_main",
    ] {
        ends_everywhere(path, &[], Ended::Failed(libc::EACCES));
    }
    // What is no absolute path is no program.
    ends_everywhere("bin/sh", &[], Ended::Failed(libc::ENOENT));
    ends_everywhere("../bin/sh", &[], Ended::Failed(libc::ENOENT));
}

fn libraries_that_are_not_listed() {
    for name in [
        "/lib/libc.so.6:system",
        "/usr/lib/../lib/libvirgo_test.so:add",
        "/usr/lib//libvirgo_test.so:add",
        "/:x",
    ] {
        ends_everywhere(name, &[], Ended::Failed(libc::EACCES));
    }
}

/// Numbers that a node may have, but none has; and numbers that none can have.
fn nodes_that_are_not() {
    let beyond = pool::nodes().into_iter().max().unwrap_or(0) + 1;
    for number in [beyond, 64, 65, 255] {
        let outcome = pool::run(&Call::new("noop").on(On::Node(number)));
        assert_eq!(outcome.ended, Ended::Failed(libc::ENODEV), "{number}");
    }
    for number in [256, 257, u32::MAX] {
        let error = virgo::run(&Call::new("noop").on(On::Node(number))).expect_err("no node");
        assert_eq!(error.errno(), libc::ENODEV, "{number}");
    }
}

fn the_call_of_2017_says_why() {
    for (line, errno) in [
        ("nothing", Errno::NOENT),
        ("noop x", Errno::INVAL),
        ("sleep x", Errno::INVAL),
        ("", Errno::INVAL),
        ("  ", Errno::INVAL),
        ("/bin/sh -c ls", Errno::ACCESS),
    ] {
        assert_eq!(raw::clone_line(line), Err(errno), "'{line}'");
    }
}
