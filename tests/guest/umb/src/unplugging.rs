// SPDX-License-Identifier: GPL-2.0
//! Devices that go away while they are used.

use crate::{
    Test,
    gadget::Zero,
    rounds::Rounds,
    support::{errno, open, pattern, polled, wait_for},
};
use rustix::{event::PollFlags, fs::OFlags};
use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

pub(crate) const TESTS: &[Test] = &[
    ("unplugged_during_read_write_and_poll", unplugged),
    ("unbound_and_bound_by_hand", unbound),
    ("not_unloaded_while_open", not_unloaded_while_open),
    ("a_reset_leaves_it_bound", a_reset_leaves_it_bound),
    (
        "a_reset_cancels_what_is_under_way",
        a_reset_cancels_what_is_under_way,
    ),
];

/// A thread that uses the device until it fails, and says how.
fn user(mut use_it: impl FnMut() -> io::Result<usize> + Send + 'static) -> JoinHandle<i32> {
    thread::spawn(move || {
        loop {
            if let Err(error) = use_it() {
                return error.raw_os_error().expect("an error of the kernel");
            }
        }
    })
}

/// What a transfer may end with when the plug is pulled; after that it is ENODEV.
const ENDS: [i32; 4] = [libc::ENODEV, libc::EIO, libc::EPROTO, libc::ETIMEDOUT];

fn unplugged() {
    let rounds = Rounds {
        debug: 20,
        slim: 50,
        soak: 10_000,
    };
    for round in 0..rounds.count() {
        let zero = Zero::loopback();
        let file = || open(&zero.path, OFlags::empty()).expect("open");
        let (idle, mut reader, mut writer, syncer) = (file(), file(), file(), file());
        let data = pattern(5000, 4);
        let users = [
            user(move || reader.read(&mut [0; 100])),
            user(move || writer.write(&data)),
            user(move || syncer.sync_all().map(|()| 0)),
        ];
        thread::sleep(Duration::from_millis((round % 7 * 3) as u64));
        Zero::unplug();
        for user in users {
            let error = user.join().expect("user");
            assert!(ENDS.contains(&error), "{error}");
        }
        wait_for("the hang-up", || {
            // Transfers may fail before the core says that the device is gone.
            let seen = polled(&idle, PollFlags::IN, 1000);
            seen.contains(PollFlags::HUP).then_some(())
        });
        wait_for("ENODEV", || {
            let mut idle = &idle;
            (errno(idle.write(b"x")) == libc::ENODEV).then_some(())
        });
        let path = Path::new(&zero.path);
        wait_for("the device file to go", || (!path.exists()).then_some(()));
    }
}

fn unbound() {
    let zero = Zero::loopback();
    for _ in 0..10 {
        let mut reader = open(&zero.path, OFlags::empty()).expect("open");
        let mut held = reader.try_clone().expect("dup");
        let user = user(move || reader.read(&mut [0; 100]));
        thread::sleep(Duration::from_millis(20));
        fs::write("/sys/bus/usb/drivers/umb/unbind", &zero.interface).expect("unbind");
        assert_eq!(user.join().expect("user"), libc::ENODEV);
        assert_eq!(errno(held.write(b"x")), libc::ENODEV);
        assert_eq!(errno(held.sync_all()), libc::ENODEV);
        fs::write("/sys/bus/usb/drivers/umb/bind", &zero.interface).expect("bind");
        wait_for("the device file", || {
            Path::new(&zero.path).exists().then_some(())
        });
        let mut file = open(&zero.path, OFlags::empty()).expect("open");
        file.write_all(b"again").expect("write");
        let mut text = [0; 64];
        let n = file.read(&mut text).expect("read");
        assert_eq!(&text[..n], b"again");
        // That of before the unbinding is not of the device of now.
        assert_eq!(errno(held.read(&mut [0; 10])), libc::ENODEV);
    }
}

fn not_unloaded_while_open() {
    let zero = Zero::loopback();
    let mut reader = open(&zero.path, OFlags::empty()).expect("open");
    let user = user(move || reader.read(&mut [0; 100]));
    thread::sleep(Duration::from_millis(50));
    let status = std::process::Command::new("rmmod")
        .arg("umb")
        .output()
        .expect("rmmod");
    assert!(!status.status.success(), "umb was unloaded under a reader");
    drop(zero);
    assert!(ENDS.contains(&user.join().expect("user")));
}

/// A reset of the port does not unbind: what was open goes on.
fn a_reset_leaves_it_bound() {
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::empty()).expect("open");
    file.write_all(b"before").expect("write");
    let mut text = [0; 64];
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"before");
    reset(&zero);
    // A write that was under way may have been cancelled, and is told of; this one was not.
    file.write_all(b"after").expect("write");
    let n = file.read(&mut text).expect("read");
    assert_eq!(&text[..n], b"after");
}

/// What waits for the device when its port is reset, as when it is suspended, ends or goes on.
fn a_reset_cancels_what_is_under_way() {
    let zero = Zero::loopback();
    let mut file = open(&zero.path, OFlags::NONBLOCK).expect("open");
    // Nobody reads what comes back, so at some point nothing more is taken.
    let data = pattern(4096, 9);
    wait_for("the buffers to be full", || {
        let full = file.write(&data).is_err() && {
            thread::sleep(Duration::from_millis(200));
            file.write(&data).is_err()
        };
        full.then_some(())
    });
    let syncer = file.try_clone().expect("dup");
    let syncer = thread::spawn(move || errno(syncer.sync_all()));
    thread::sleep(Duration::from_millis(50));
    reset(&zero);
    assert_eq!(syncer.join().expect("syncer"), libc::EIO);
    // It goes on: what was written is lost, what is written now arrives.
    wait_for("the device to take something", || file.write(b"after").ok());
    let mut received = Vec::new();
    wait_for("that to come back", || {
        let mut part = [0; 10_000];
        let n = file.read(&mut part).ok()?;
        received.extend_from_slice(&part[..n]);
        received.ends_with(b"after").then_some(())
    });
}

/// USBDEVFS_RESET.
#[expect(unsafe_code, reason = "ioctl")]
pub(crate) fn reset(zero: &Zero) {
    use std::os::fd::AsRawFd;
    let (bus, device) = zero.address;
    let path = format!("/dev/bus/usb/{bus:03}/{device:03}");
    let usbfs = open(&path, OFlags::empty()).expect("usbfs");
    // SAFETY: The operation has no argument.
    let result = unsafe { libc::ioctl(usbfs.as_raw_fd(), 0x5514) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
