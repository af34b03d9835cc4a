// SPDX-License-Identifier: GPL-2.0
//! What a program gets that reads and writes.

use crate::{
    Test,
    gadget::Zero,
    rounds::Rounds,
    support::{errno, figure, open, pattern, polled},
};
use rustix::{event::PollFlags, fs::OFlags};
use std::{
    fs::File,
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

pub(crate) const TESTS: &[Test] = &[
    ("what_is_written_comes_back", what_is_written_comes_back),
    (
        "reads_of_any_size_lose_nothing",
        reads_of_any_size_lose_nothing,
    ),
    ("nothing_blocks_that_must_not", nothing_blocks_that_must_not),
    (
        "poll_tells_when_there_is_data",
        poll_tells_when_there_is_data,
    ),
    (
        "a_poll_does_not_hold_up_a_read",
        a_poll_does_not_hold_up_a_read,
    ),
    ("many_openers", many_openers),
    ("an_interface_is_charged", an_interface_is_charged),
    (
        "unread_data_is_dropped_at_last_close",
        unread_data_is_dropped_at_last_close,
    ),
    ("a_bad_address_fails", a_bad_address_fails),
    ("print_buffer_logs_both_forms", print_buffer_logs_both_forms),
];

fn what_is_written_comes_back() {
    let zero = Zero::loopback();
    // More than all buffers hold, so that a reader is needed.
    let sent = pattern(1 << 20, 1);
    let mut reader = open(&zero.path, OFlags::empty()).expect("open");
    let writer = {
        let sent = sent.clone();
        let mut writer = open(&zero.path, OFlags::empty()).expect("open");
        thread::spawn(move || {
            writer.write_all(&sent).expect("write");
            writer.sync_all().expect("fsync");
        })
    };
    let mut received = vec![0; sent.len()];
    reader.read_exact(&mut received).expect("read");
    writer.join().expect("writer");
    assert!(sent == received, "the data has changed");
    let umb = zero.path.trim_start_matches("/dev/");
    assert_eq!(figure(umb, "read"), Some(1 << 20));
    assert_eq!(figure(umb, "written"), Some(1 << 20));
}

fn reads_of_any_size_lose_nothing() {
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    let sent = pattern(3000, 2);
    assert_eq!(file.write(&sent).expect("write"), sent.len());
    file.sync_all().expect("fsync");
    let mut received = Vec::new();
    for size in [1, 7, 511, 512, 513, 4096].into_iter().cycle() {
        let mut part = vec![0; size];
        let n = file.read(&mut part).expect("read");
        assert!((1..=size).contains(&n));
        received.extend_from_slice(&part[..n]);
        if received.len() >= sent.len() {
            break;
        }
    }
    assert!(sent == received, "the data has changed");
    assert_eq!(file.read(&mut []).expect("nothing"), 0);
    assert_eq!(file.write(&[]).expect("nothing"), 0);
}

fn nothing_blocks_that_must_not() {
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::NONBLOCK).expect("open");
    assert_eq!(errno(file.read(&mut [0; 64])), libc::EAGAIN);
    // Nobody reads, so at some point nothing more is taken.
    let data = pattern(4096, 3);
    let mut taken = 0;
    let error = loop {
        match file.write(&data) {
            Ok(n) => taken += n,
            Err(error) => break error,
        }
        assert!(taken < 64 << 20, "it takes for ever");
        thread::yield_now();
    };
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    let mut received = Vec::new();
    while received.len() < taken {
        let mut part = vec![0; 10_000];
        match file.read(&mut part) {
            Ok(n) => received.extend_from_slice(&part[..n]),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
                polled(&file, PollFlags::IN, 5000);
            }
        }
    }
    let expected: Vec<u8> = data.iter().copied().cycle().take(taken).collect();
    assert!(received == expected, "the data has changed");
}

fn poll_tells_when_there_is_data() {
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    assert_eq!(polled(&file, PollFlags::IN, 100), PollFlags::empty());
    assert!(polled(&file, PollFlags::OUT, 1000).contains(PollFlags::OUT));
    let writer = {
        let mut file = file.try_clone().expect("dup");
        thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(200));
            file.write_all(b"wake up").expect("write");
        })
    };
    assert!(polled(&file, PollFlags::IN, 20_000).contains(PollFlags::IN));
    let mut text = [0; 64];
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"wake up");
    writer.join().expect("writer");
}

/// Who reads without waiting what there is gets it, whoever else polls.
fn a_poll_does_not_hold_up_a_read() {
    let rounds = Rounds {
        debug: 500,
        slim: 5000,
        soak: 50_000,
    };
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::NONBLOCK).expect("open");
    let ended = Arc::new(AtomicBool::new(false));
    let poller = {
        let (ended, file) = (ended.clone(), file.try_clone().expect("dup"));
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                polled(&file, PollFlags::IN, 0);
            }
        })
    };
    let mut refused = 0;
    for _ in 0..rounds.count() {
        // Less than a packet, which the gadget would keep until it has some more.
        file.write_all(&[7; 100]).expect("write");
        assert!(polled(&file, PollFlags::IN, 20_000).contains(PollFlags::IN));
        let mut text = [0; 200];
        while let Err(error) = file.read(&mut text) {
            assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
            refused += 1;
        }
    }
    ended.store(true, Ordering::Relaxed);
    poller.join().expect("poller");
    println!("{refused} reads refused");
    // A poll may look for what is to be done just when there is something.
    assert!(refused <= rounds.count() / 200, "{refused}");
}

/// Not less than what leaves device files for others.
fn an_interface_is_charged() {
    let before = figure("memory", "memory").expect("the charges");
    let _zero = Zero::loopback();
    assert_eq!(figure("memory", "memory"), Some(before + (128 << 10)));
}

fn many_openers() {
    let zero = Zero::loopback();
    let files: Vec<File> = (0..900)
        .map(|_| open(&zero.path, OFlags::NONBLOCK).expect("open"))
        .collect();
    let umb = zero.path.trim_start_matches("/dev/");
    assert_eq!(figure(umb, "openers"), Some(900));
    (&files[0]).write_all(b"from the first").expect("write");
    assert!(polled(&files[899], PollFlags::IN, 20_000).contains(PollFlags::IN));
    let mut text = [0; 64];
    let n = (&files[899]).read(&mut text).expect("read");
    assert_eq!(&text[..n], b"from the first");
    drop(files);
    assert_eq!(figure(umb, "openers"), Some(0));
}

fn unread_data_is_dropped_at_last_close() {
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    file.write_all(b"nobody reads this").expect("write");
    assert!(polled(&file, PollFlags::IN, 20_000).contains(PollFlags::IN));
    drop(file);
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    file.write_all(b"fresh").expect("write");
    let mut text = [0; 64];
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"fresh");
}

#[expect(unsafe_code, reason = "bad addresses")]
fn a_bad_address_fails() {
    use std::os::fd::AsRawFd;
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    let nowhere = 4096 as *mut libc::c_void;
    // SAFETY: There is no memory at this address, so none is written to.
    let result = unsafe { libc::write(file.as_raw_fd(), nowhere, 100) };
    assert_eq!(
        (result, std::io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EFAULT))
    );
    file.write_all(b"kept").expect("write");
    assert!(polled(&file, PollFlags::IN, 20_000).contains(PollFlags::IN));
    // SAFETY: As above.
    let result = unsafe { libc::read(file.as_raw_fd(), nowhere, 100) };
    assert_eq!(
        (result, std::io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EFAULT))
    );
    // What could not be copied is still there.
    let mut text = [0; 64];
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"kept");
}

fn print_buffer_logs_both_forms() {
    let zero = Zero::loopback();
    let settings = "/sys/kernel/debug/virgo/umb/settings";
    let log = |form: &str| {
        std::fs::write(settings, format!("print_buffer {form}\n")).expect("settings");
        let output = std::process::Command::new("dmesg").output().expect("dmesg");
        let before = output.stdout.len();
        let mut file = open(&zero.path, OFlags::empty()).expect("open");
        // Buffers of the second before count, too.
        thread::sleep(std::time::Duration::from_millis(1100));
        file.write_all(&[0xe6, 0x0c]).expect("write");
        file.sync_all().expect("fsync");
        let output = std::process::Command::new("dmesg").output().expect("dmesg");
        String::from_utf8_lossy(output.stdout.get(before..).unwrap_or(&output.stdout)).into_owned()
    };
    let first = log("1");
    assert!(first.contains("begin print_buffer(): "), "{first}");
    assert!(first.contains("print_buffer() byte: e6\n"), "{first}");
    assert!(first.contains("print_buffer() byte: c\n"), "{first}");
    let second = log("2");
    assert!(second.contains("e6 c \n"), "{second}");
    assert_eq!(
        errno(std::fs::write(settings, "print_buffer 3")),
        libc::EINVAL
    );
    std::fs::write(settings, "print_buffer 0").expect("settings");
}
