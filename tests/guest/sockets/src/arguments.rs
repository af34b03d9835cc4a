// SPDX-License-Identifier: GPL-2.0
//! The ioctl: who may make it, and what it refuses.
#![expect(unsafe_code, reason = "an ioctl takes addresses of any kind")]

use rustix::io::Errno;
use std::{
    fs::{File, OpenOptions},
    os::fd::{AsRawFd, RawFd},
    thread,
};
use virgo::abi::{IOC_SKBUFF, SkbuffArgs, SkbuffReport};
use virgo_test_support::region::{KERNEL, NULL, PAGE, Region};

crate::tests! {
    only_who_administers_the_network_may_look,
    a_device_that_is_only_read_is_no_right,
    what_is_no_socket_is_refused,
    own_sockets_end,
    sizes_may_be_others,
    bad_arguments_are_refused,
}

fn open() -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.open("/dev/virgo").expect("/dev/virgo")
}

fn ioctl(device: &File, command: u64, argument: u64) -> Result<(), Errno> {
    // SAFETY: The kernel reads and writes no memory but that of a `Region`, if at all.
    let returned = unsafe { libc::ioctl(device.as_raw_fd(), command as _, argument) };
    match returned {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).expect("errno")),
    }
}

fn args(region: &Region, fd: RawFd) -> SkbuffArgs {
    SkbuffArgs {
        fd,
        report: region.at(PAGE).number(),
        size: size_of::<SkbuffReport>() as u32,
        ..SkbuffArgs::default()
    }
}

fn call(device: &File, region: &Region, args: SkbuffArgs) -> Result<(), Errno> {
    ioctl(device, IOC_SKBUFF, region.put(0, args).number())
}

fn socket() -> std::net::UdpSocket {
    std::net::UdpSocket::bind("127.0.0.1:0").expect("bind")
}

fn only_who_administers_the_network_may_look() {
    let (region, socket) = (Region::new(3 * PAGE), socket());
    let device = open();
    let own = args(&region, socket.as_raw_fd());
    assert_eq!(call(&device, &region, own), Ok(()));
    thread::scope(|scope| {
        let as_nobody = || {
            let nobody = 65534;
            // Of this thread only.
            // SAFETY: A system call that takes numbers.
            let returned = unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) };
            assert_eq!(returned, 0, "setresuid");
            let region = Region::new(3 * PAGE);
            for fd in [socket.as_raw_fd(), -1] {
                let result = call(&device, &region, args(&region, fd));
                assert_eq!(result, Err(Errno::PERM), "descriptor {fd}");
            }
        };
        scope.spawn(as_nobody).join().expect("nobody");
    });
}

fn a_device_that_is_only_read_is_no_right() {
    let region = Region::new(3 * PAGE);
    let device = File::open("/dev/virgo").expect("/dev/virgo");
    let result = call(&device, &region, args(&region, -1));
    assert_eq!(result, Err(Errno::BADF));
}

fn what_is_no_socket_is_refused() {
    let (device, region) = (open(), Region::new(3 * PAGE));
    for (fd, expected) in [
        (device.as_raw_fd(), Errno::NOTSOCK),
        (1000, Errno::BADF),
        (-2, Errno::BADF),
        (i32::MIN, Errno::BADF),
    ] {
        let result = call(&device, &region, args(&region, fd));
        assert_eq!(result, Err(expected), "descriptor {fd}");
    }
}

fn own_sockets_end() {
    let (device, region) = (open(), Region::new(3 * PAGE));
    let after = |number| SkbuffArgs {
        number,
        ..args(&region, -1)
    };
    let (mut number, mut count) = (0, 0);
    while call(&device, &region, after(number)) == Ok(()) {
        // Behind size and flags.
        let next = region.number(PAGE + 8);
        assert!(next > number, "{next} after {number}");
        (number, count) = (next, count + 1);
    }
    assert!(count > 0, "there are listeners at least");
    for number in [number, i32::MAX as u64, u64::MAX] {
        let result = call(&device, &region, after(number));
        assert_eq!(result, Err(Errno::NOENT), "after {number}");
    }
}

fn sizes_may_be_others() {
    let (device, region, socket) = (open(), Region::new(3 * PAGE), socket());
    let whole = size_of::<SkbuffReport>();
    for size in [0, 4, whole - 1, whole, whole + 1, PAGE] {
        region.put_bytes(PAGE, &[0x55; 2 * PAGE]);
        let args = SkbuffArgs {
            size: size as u32,
            ..args(&region, socket.as_raw_fd())
        };
        assert_eq!(call(&device, &region, args), Ok(()), "{size}");
        let bytes = region.bytes(PAGE, 2 * PAGE);
        assert!(bytes[size..].iter().all(|&byte| byte == 0x55), "{size}");
        if size >= 4 {
            assert_eq!(bytes[..4], (whole as u32).to_ne_bytes());
        }
        if size > whole {
            assert!(bytes[whole..size].iter().all(|&byte| byte == 0), "{size}");
        }
    }
    // The arguments may be of a later version, too.
    let at = region.put(0, args(&region, socket.as_raw_fd())).number();
    let with = |size: u64| (IOC_SKBUFF & !(0x3fff << 16)) | (size << 16);
    region.put_bytes(size_of::<SkbuffArgs>(), &[0; 8]);
    assert_eq!(ioctl(&device, with(40), at), Ok(()));
    region.put_bytes(size_of::<SkbuffArgs>(), &[1]);
    assert_eq!(ioctl(&device, with(40), at), Err(Errno::TOOBIG));
    assert_eq!(ioctl(&device, with(31), at), Err(Errno::INVAL));
    assert_eq!(ioctl(&device, with(0x3fff), at), Err(Errno::TOOBIG));
}

fn bad_arguments_are_refused() {
    let (device, region, socket) = (open(), Region::new(3 * PAGE), socket());
    let good = args(&region, socket.as_raw_fd());
    for (bad, expected) in [
        (SkbuffArgs { flags: 1, ..good }, Errno::INVAL),
        (
            SkbuffArgs {
                reserved: 1,
                ..good
            },
            Errno::INVAL,
        ),
        (SkbuffArgs { number: 1, ..good }, Errno::INVAL),
        (
            SkbuffArgs {
                size: u32::MAX,
                ..good
            },
            Errno::TOOBIG,
        ),
    ] {
        assert_eq!(call(&device, &region, bad), Err(expected), "{bad:?}");
    }
    let places = [NULL, region.end(), region.last(8)]
        .into_iter()
        .chain(KERNEL);
    for place in places {
        let bad = SkbuffArgs {
            report: place.number(),
            ..good
        };
        assert_eq!(call(&device, &region, bad), Err(Errno::FAULT), "{place:?}");
        let result = ioctl(&device, IOC_SKBUFF, place.number());
        assert_eq!(result, Err(Errno::FAULT), "{place:?}");
    }
}
