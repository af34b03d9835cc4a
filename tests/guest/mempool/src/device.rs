// SPDX-License-Identifier: GPL-2.0
//! The device `/dev/virgo`: what is no call there, many who have it open, and both doors at once.
#![expect(unsafe_code, reason = "ioctl and system calls take addresses")]

use crate::{
    raw::Outcome,
    region::{Address, PAGE, Region},
    rounds::Rounds,
    tests,
};
use libc::c_long;
use rustix::io::Errno;
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    thread,
};
use virgo::abi::{CALLS, DataArgs, FreeArgs, MallocArgs, ioc, nr};

tests![
    only_its_numbers_are_calls,
    only_its_type_and_directions_are_calls,
    sizes_are_judged_as_by_the_system_call,
    first_calls_have_one_size,
    addresses_are_checked,
    a_descriptor_for_one_direction_is_no_right,
    a_thousand_can_have_it_open,
    both_doors_at_once,
];

fn open() -> File {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).open("/dev/virgo");
    opened.expect("/dev/virgo")
}

/// Makes an ioctl. What the kernel writes goes to memory that is not Rust's.
fn ioctl(device: &File, command: u64, address: u64) -> Outcome {
    // SAFETY: As above: callers pass addresses of a `Region`, or of nothing.
    outcome(unsafe { libc::syscall(libc::SYS_ioctl, device.as_raw_fd(), command, address) })
}

fn system_call(number: c_long, address: Address, size: usize) -> Outcome {
    // SAFETY: What the kernel writes goes to a `Region`.
    outcome(unsafe { libc::syscall(number, address.number(), size) })
}

fn outcome(returned: c_long) -> Outcome {
    usize::try_from(returned).map_err(|_| {
        let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Errno::from_raw_os_error(error)
    })
}

/// A command with another field: its lowest bit, how many bits it has, and what they are to be.
fn with(command: u64, shift: u32, bits: u32, value: u64) -> u64 {
    (command & !(((1 << bits) - 1) << shift)) | (value << shift)
}

fn only_its_numbers_are_calls() {
    let (device, region) = (open(), Region::new(PAGE));
    let known = 0..CALLS.len() as u64;
    for number in 0..256 {
        let command = with(ioc(nr::CLONE, 0), 0, 8, number);
        // No structure has no bytes.
        let expected = if known.contains(&number) {
            Errno::INVAL
        } else {
            Errno::NOTTY
        };
        let result = ioctl(&device, command, region.at(0).number());
        // A service that is not loaded says so.
        if result != Err(Errno::NOSYS) {
            assert_eq!(result, Err(expected), "number {number}");
        }
    }
}

fn only_its_type_and_directions_are_calls() {
    let (device, region) = (open(), Region::new(PAGE));
    let free = ioc(nr::FREE2, size_of::<FreeArgs>());
    let at = region.put(0, FreeArgs::default()).number();
    assert_eq!(ioctl(&device, free, at), Err(Errno::INVAL), "no such id");
    for direction in 0..3 {
        let command = with(free, 30, 2, direction);
        assert_eq!(
            ioctl(&device, command, at),
            Err(Errno::NOTTY),
            "{direction}"
        );
    }
    for kind in 0..256 {
        // Not ours, and not those that every file has (FIOCLEX and others: 'T', 'X', 'f', 0x12 and 0).
        if ![0xb9, 0x54, 0x58, 0x66, 0x12, 0].contains(&kind) {
            let command = with(free, 8, 8, kind);
            assert_eq!(ioctl(&device, command, at), Err(Errno::NOTTY), "{kind:#x}");
        }
    }
}

fn sizes_are_judged_as_by_the_system_call() {
    let (device, region) = (open(), Region::new(8 * PAGE));
    let first = size_of::<FreeArgs>();
    let at = region.put(0, FreeArgs::default()).number();
    for size in 0..1 << 14 {
        // Beyond the structure all is zero; the id is that of nothing.
        let expected = if size > PAGE {
            Errno::TOOBIG
        } else {
            Errno::INVAL
        };
        let result = ioctl(&device, ioc(nr::FREE2, size), at);
        assert_eq!(result, Err(expected), "{size} bytes");
    }
    region.put_bytes(first, &[1]);
    let result = ioctl(&device, ioc(nr::FREE2, first + 1), at);
    assert_eq!(result, Err(Errno::TOOBIG), "what is not known is not zero");
}

fn first_calls_have_one_size() {
    let (device, region) = (open(), Region::new(PAGE));
    let at = region.put(0, [0u64; 4]).number();
    for number in nr::MALLOC..=nr::FREE {
        for size in [0, 1, 8, 31, 33, 40, PAGE] {
            let result = ioctl(&device, ioc(number, size), at);
            assert_eq!(result, Err(Errno::INVAL), "call {number}, {size} bytes");
        }
    }
}

fn addresses_are_checked() {
    let device = open();
    let (unmapped, kernel) = (8, 0xffff_8000_0000_0000);
    for (number, size) in [
        (nr::MALLOC, 32),
        (nr::FREE, 32),
        (nr::MALLOC2, size_of::<MallocArgs>()),
        (nr::GET2, size_of::<DataArgs>()),
    ] {
        for address in [0, unmapped, kernel, u64::MAX - 7] {
            let result = ioctl(&device, ioc(number, size), address);
            assert_eq!(result, Err(Errno::FAULT), "call {number} at {address:#x}");
        }
    }
}

fn a_descriptor_for_one_direction_is_no_right() {
    let region = Region::new(PAGE);
    let at = region.put(0, FreeArgs::default()).number();
    for write in [false, true] {
        let mut options = OpenOptions::new();
        let opened = options.read(!write).write(write).open("/dev/virgo");
        let device = opened.expect("/dev/virgo");
        let result = ioctl(&device, ioc(nr::FREE2, size_of::<FreeArgs>()), at);
        assert_eq!(result, Err(Errno::BADF));
    }
}

/// An allocation made and freed by one of the doors.
fn use_memory(device: &File) {
    let region = Region::new(PAGE);
    let args = MallocArgs {
        size: 10,
        ..MallocArgs::default()
    };
    let at = region.put(0, args).number();
    let made = ioctl(device, ioc(nr::MALLOC2, size_of::<MallocArgs>()), at);
    assert_eq!(made, Ok(0));
    let id = region.number(std::mem::offset_of!(MallocArgs, id));
    let at = region.put(0, [id, 0, 0, 0]).number();
    assert_eq!(ioctl(device, ioc(nr::FREE, 32), at), Ok(0));
}

fn a_thousand_can_have_it_open() {
    let devices: Vec<_> = (0..1000).map(|_| open()).collect();
    for device in devices.iter().step_by(100) {
        use_memory(device);
    }
}

/// What one door has made is the other's, too, while both are in use. Passed over on a kernel that
/// has one door only.
fn both_doors_at_once() {
    let rounds = Rounds {
        debug: 200,
        slim: 1000,
        soak: 20000,
    }
    .count();
    let probe = Region::new(PAGE);
    let at = probe.put(0, FreeArgs::default());
    if system_call(nr::FREE2, at, size_of::<FreeArgs>()) == Err(Errno::NOSYS) {
        return;
    }
    let device = open();
    thread::scope(|scope| {
        for by_device in [false, true, false, true] {
            let device = &device;
            scope.spawn(move || {
                let region = Region::new(PAGE);
                let enter = |by_device, number, address: Address, size: usize| match by_device {
                    true => ioctl(device, ioc(number, size), address.number()),
                    false => system_call(number, address, size),
                };
                for round in 0..rounds {
                    let args = MallocArgs {
                        size: 100,
                        ..MallocArgs::default()
                    };
                    let at = region.put(0, args);
                    let size = size_of::<MallocArgs>();
                    assert_eq!(enter(by_device, nr::MALLOC2, at, size), Ok(0));
                    let id = region.number(std::mem::offset_of!(MallocArgs, id));
                    let data = region.put(256, round as u64).number();
                    let args = DataArgs {
                        id,
                        len: 8,
                        data,
                        ..DataArgs::default()
                    };
                    let size = size_of::<DataArgs>();
                    assert_eq!(
                        enter(!by_device, nr::SET2, region.put(0, args), size),
                        Ok(8)
                    );
                    region.put(256, 0u64);
                    assert_eq!(enter(by_device, nr::GET2, region.put(0, args), size), Ok(8));
                    assert_eq!(region.number(256), round as u64);
                    let args = FreeArgs {
                        id,
                        ..FreeArgs::default()
                    };
                    let size = size_of::<FreeArgs>();
                    assert_eq!(
                        enter(!by_device, nr::FREE2, region.put(0, args), size),
                        Ok(0)
                    );
                }
            });
        }
    });
}
