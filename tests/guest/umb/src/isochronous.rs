// SPDX-License-Identifier: GPL-2.0
//! Isochronous transfers, which umb does not make itself: through usbfs. The controller without hardware fails
//! them, after it has taken them; what the host wants of them is captured all the same.
#![expect(unsafe_code, reason = "ioctl")]

use crate::{
    Test,
    captures::captured,
    raw_gadget::{ID, Played},
    support::{open, pattern, wait_for},
};
use rustix::fs::OFlags;
use std::{fs::File, io, os::fd::AsRawFd, path::Path};
use virgo_usb::{packet::Transfer, sysfs};

pub(crate) const TESTS: &[Test] = &[(
    "isochronous_transfers_are_captured_with_their_descriptors",
    descriptors,
)];

/// The endpoint that the device has.
pub(crate) const ENDPOINT: [u8; 7] = [7, 5, 0x04, 1, 0, 2, 1];

/// Bytes of the packets of a transfer.
const PACKETS: [u32; 4] = [100, 0, 512, 7];

/// `struct usbdevfs_urb` with its packets.
#[repr(C)]
struct Urb {
    kind: u8,
    endpoint: u8,
    status: i32,
    flags: u32,
    buffer: *const u8,
    buffer_length: i32,
    actual_length: i32,
    start_frame: i32,
    number_of_packets: i32,
    error_count: i32,
    signal: u32,
    context: usize,
    /// Length, actual length and status.
    packets: [[u32; 3]; PACKETS.len()],
}

fn ioctl<T>(usbfs: &File, request: u64, argument: *mut T) {
    // SAFETY: Callers pass what the request wants.
    let result = unsafe { libc::ioctl(usbfs.as_raw_fd(), request as _, argument) };
    assert_eq!(result, 0, "{request:x}: {}", io::Error::last_os_error());
}

/// Has the kernel send `data`, and waits for the end of that.
fn send(usbfs: &File, data: &[u8]) {
    let mut urb = Urb {
        kind: 0,
        endpoint: ENDPOINT[2],
        status: 0,
        // USBDEVFS_URB_ISO_ASAP
        flags: 2,
        buffer: data.as_ptr(),
        buffer_length: data.len() as i32,
        actual_length: 0,
        start_frame: 0,
        number_of_packets: PACKETS.len() as i32,
        error_count: 0,
        signal: 0,
        context: 0,
        packets: PACKETS.map(|len| [len, 0, 0]),
    };
    let mut done: *mut Urb = std::ptr::null_mut();
    // USBDEVFS_CLAIMINTERFACE, USBDEVFS_SUBMITURB, USBDEVFS_REAPURB: the URB and its buffer stay until then.
    ioctl(usbfs, 0x8004_550f, &mut 0u32);
    ioctl(usbfs, 0x8038_550a, &mut urb);
    ioctl(usbfs, 0x4008_550c, &mut done);
    assert!(std::ptr::eq(done, &urb));
}

fn descriptors() {
    let _device = Played::start("isochronous", 0);
    let device = wait_for("the device", || {
        let devices = sysfs::devices(Path::new(sysfs::DEVICES)).ok()?;
        devices
            .into_iter()
            .find(|d| (d.vendor, d.product) == ID && !d.interfaces.is_empty())
    });
    let (bus, number) = (device.bus, device.device);
    let usbfs = open(
        &format!("/dev/bus/usb/{bus:03}/{number:03}"),
        OFlags::empty(),
    )
    .expect("usbfs");
    let sent = pattern(PACKETS.iter().sum::<u32>() as usize, 8);
    let filter = format!("bus={bus} device={number} type=isochronous");
    let (packets, lost) = captured(&filter, || send(&usbfs, &sent));
    assert_eq!((packets.len(), lost), (2, 0));
    let submitted = &packets[0];
    assert_eq!(
        (submitted.event(), submitted.transfer()),
        ('S', Transfer::Isochronous)
    );
    assert!(submitted.data() == sent, "the data");
    let mut offset = 0;
    for (packet, len) in submitted.bytes()[64..].chunks(16).zip(PACKETS) {
        let word = |at: usize| u32::from_ne_bytes(packet[at..at + 4].try_into().expect("4 bytes"));
        assert_eq!((word(4), word(8), word(12)), (offset, len, 0));
        offset += len;
    }
    let completed = &packets[1];
    assert_eq!((completed.event(), completed.id()), ('C', submitted.id()));
    assert!(completed.status() < 0);
    assert_eq!(completed.bytes().len(), 64 + 16 * PACKETS.len());
    // What is cut is told.
    let (packets, _) = captured(&format!("{filter} snap=10"), || send(&usbfs, &sent));
    let cut = &packets[0];
    assert_eq!(cut.data(), &sent[..10]);
    assert_eq!(cut.original_len() as usize, submitted.bytes().len());
}
