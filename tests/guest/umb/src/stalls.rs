// SPDX-License-Identifier: GPL-2.0
//! Endpoints that stall: who is told, and when the stall is ended.

use crate::{
    Test,
    captures::setups,
    hostile::bound,
    raw_gadget::Played,
    support::{errno, open, wait_for},
    unplugging::reset,
};
use rustix::fs::OFlags;
use std::{
    fs,
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};
use virgo_usb::live::Live;

pub(crate) const TESTS: &[Test] = &[
    (
        "a_reset_ends_a_stall_and_is_not_disturbed",
        a_reset_ends_a_stall,
    ),
    (
        "an_error_in_a_long_write_is_told",
        an_error_in_a_long_write_is_told,
    ),
    (
        "an_error_is_not_told_to_the_next_who_opens",
        an_error_is_not_for_the_next,
    ),
];

/// While a device is reset it is not asked to end a stall, and after that there is none.
fn a_reset_ends_a_stall() {
    let _device = Played::start("resettable", 0);
    let zero = bound();
    let mut file = open(&zero.path, OFlags::NONBLOCK).expect("open");
    let mut text = [0; 64];
    let mut read = || file.read(&mut text).map(|n| text[..n].to_vec());
    assert_eq!(wait_for("data", || read().ok()), b"before");
    wait_for("the stall", || (errno(read()) == libc::EPIPE).then_some(()));
    let filter = format!("bus={} type=control event=submit", zero.address.0);
    let mut live = Live::start(&filter).expect("capture");
    let resetting = thread::spawn(move || reset(&zero));
    let mut seen = Vec::new();
    // The device is slow to say what it is.
    wait_for("the reset", || {
        seen.extend(setups(&mut live));
        let asked = seen.iter().any(|s| matches!(s, [0x80, 6, _, 1, ..]));
        asked.then_some(())
    });
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end {
        // What other URBs have met may not have been told yet.
        let error = errno(read());
        assert!([libc::EAGAIN, libc::EPIPE].contains(&error), "{error}");
        thread::sleep(Duration::from_millis(1));
    }
    resetting.join().expect("reset");
    assert_eq!(wait_for("data", || read().ok()), b"after");
    seen.extend(setups(&mut live));
    let cleared = seen.iter().any(|setup| setup[..2] == [2, 1]);
    assert!(
        !cleared,
        "the device was asked to end the stall: {seen:02x?}"
    );
}

/// That of a piece of a long write, which is told of by its length only.
fn an_error_in_a_long_write_is_told() {
    let settings = "/sys/kernel/debug/virgo/umb/settings";
    let _device = Played::start("deaf", 0);
    let mut file = open(&bound().path, OFlags::empty()).expect("open");
    // So that each piece takes longer than the device to refuse the one before.
    fs::write(settings, "print_buffer 1").expect("settings");
    let written = file.write(&[0xaa; 3 << 14]).expect("the first piece");
    fs::write(settings, "print_buffer 0").expect("settings");
    println!("{written} bytes taken");
    let error = errno(file.sync_all());
    assert!([libc::EPIPE, libc::EIO].contains(&error), "{error}");
}

fn an_error_is_not_for_the_next() {
    let _device = Played::start("deaf", 0);
    let zero = bound();
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    file.write_all(b"lost").expect("write");
    // The device refuses it meanwhile.
    thread::sleep(Duration::from_millis(500));
    drop(file);
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    file.sync_all().expect("nothing was written");
    file.write_all(b"after").expect("write");
    let mut text = [0; 64];
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"after");
}
