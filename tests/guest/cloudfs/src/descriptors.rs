// SPDX-License-Identifier: GPL-2.0
//! Descriptors: whose they are, how many there may be, and that they are closed with their holder.

use crate::{
    place::{Dir, PATIENCE, errno, everywhere, is_open, open_here, other_node, this_node},
    raw, tests,
};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};
use virgo::{
    File, Open,
    abi::{FsyncArgs, StatArgs, TruncateArgs, nr},
};

tests![
    only_files_of_the_cluster_are_taken,
    they_are_closed_by_close,
    they_do_not_outlive_an_exec,
    there_are_as_many_as_the_process_may_have,
    a_node_has_a_limit_and_others_do_not_notice,
];

fn only_files_of_the_cluster_are_taken() {
    let ordinary = std::fs::File::open("/dev/null").expect("open");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&ordinary);
    for fd in [-1, i32::MIN, i32::MAX, 12345, fd] {
        let outcome = raw::with(
            nr::FSYNC,
            FsyncArgs {
                fd,
                ..Default::default()
            },
        );
        assert_eq!(outcome, Err(Errno::BADF), "{fd}");
        let outcome = raw::with(
            nr::TRUNCATE,
            TruncateArgs {
                fd,
                ..Default::default()
            },
        );
        assert_eq!(outcome, Err(Errno::BADF), "{fd}");
        let outcome = raw::with(
            nr::STAT,
            StatArgs {
                fd,
                ..Default::default()
            },
        );
        assert_eq!(outcome, Err(Errno::BADF), "{fd}");
        assert_eq!(raw::close(fd.into()), Err(Errno::BADF), "{fd}");
    }
    assert!(is_open(&ordinary));
}

fn they_are_closed_by_close() {
    everywhere(|dir| {
        let name = format!("{}\0", dir.at("a"));
        let fd = i64::try_from(raw::open_name(&name).expect("open")).expect("a descriptor");
        assert_eq!(open_here(), 1);
        assert_eq!(raw::close(fd), Ok(0));
        assert_eq!(open_here(), 0);
    });
}

fn they_do_not_outlive_an_exec() {
    let dir = Dir::on(this_node());
    let file = Open::new()
        .write()
        .create()
        .open(dir.at("a"))
        .expect("open");
    let listed = Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .expect("ls");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(!listed.contains("virgo"), "{listed}");
    assert_eq!(open_here(), 1);
    drop(file);
}

fn there_are_as_many_as_the_process_may_have() {
    let dir = Dir::on(other_node());
    let name = dir.at("a");
    let first = Open::new().write().create().open(&name).expect("open");
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(32),
        ..limit
    };
    setrlimit(Resource::Nofile, few).expect("setrlimit");
    let mut files = Vec::new();
    let error = loop {
        match File::open(&name) {
            Ok(file) => files.push(file),
            Err(error) => break error.errno(),
        }
        assert!(files.len() < 64);
    };
    setrlimit(Resource::Nofile, limit).expect("setrlimit");
    assert_eq!(error, libc::EMFILE);
    first.write_at(0, b"x").expect("the others can be used");
}

/// The limit is a parameter of the module; the guests have the default.
fn a_node_has_a_limit_and_others_do_not_notice() {
    const LIMIT: usize = 4096;
    let dir = Dir::on(other_node());
    let name = dir.at("a");
    drop(Open::new().write().create().open(&name).expect("open"));
    let limit = getrlimit(Resource::Nofile);
    let many = Rlimit {
        current: Some(10_000),
        maximum: Some(10_000),
    };
    setrlimit(Resource::Nofile, many).expect("setrlimit");
    let mut files = Vec::new();
    let error = loop {
        match File::open(&name) {
            Ok(file) => files.push(file),
            Err(error) => break error.errno(),
        }
        assert!(files.len() <= LIMIT);
    };
    assert_eq!(error, libc::EMFILE);
    // What this process had closed a moment ago may still count.
    assert!(files.len() > LIMIT - 200, "{}", files.len());
    files[0]
        .read_at(0, &mut [0; 1])
        .expect("open ones can be used");
    let here = Dir::on(this_node());
    drop(
        Open::new()
            .write()
            .create()
            .open(here.at("a"))
            .expect("this node"),
    );
    assert_eq!(errno(virgo::metadata(dir.at("b"))), libc::ENOENT);
    drop(files);
    let end = Instant::now() + PATIENCE;
    while let Err(error) = File::open(&name) {
        assert!(Instant::now() < end, "{error}");
        thread::sleep(Duration::from_millis(100));
    }
    setrlimit(Resource::Nofile, limit).expect("setrlimit");
}
