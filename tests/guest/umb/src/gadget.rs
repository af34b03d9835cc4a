// SPDX-License-Identifier: GPL-2.0
//! Gadget zero: a device that sends back what it is sent, or sends and takes anything.

use crate::support::{run, wait_for};
use std::{fs, path::Path, sync::Once};
use virgo_usb::sysfs;

const VENDOR: u16 = 0x0525;
const PRODUCT: u16 = 0xa4a0;

/// Gadget zero, plugged in and bound to umb.
pub(crate) struct Zero {
    /// `/dev/umbN`.
    pub(crate) path: String,
    /// `PORT:CONFIGURATION.INTERFACE`.
    pub(crate) interface: String,
    /// Bus and address.
    pub(crate) address: (u16, u8),
}

fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        run(&["modprobe", "dummy_hcd"]);
        // What gadget zero consists of; guests have no program by which the kernel loads it.
        run(&["modprobe", "usb_f_ss_lb"]);
        add_id(VENDOR, PRODUCT);
    });
}

/// Has umb bind a type of device.
pub(crate) fn add_id(vendor: u16, product: u16) {
    let id = format!("{vendor:04x} {product:04x}");
    fs::write("/sys/bus/usb/drivers/umb/new_id", id).expect("new_id");
}

/// The device with an id that umb is bound to, if it is there.
pub(crate) fn find(vendor: u16, product: u16) -> Option<Zero> {
    let devices = sysfs::devices(Path::new(sysfs::DEVICES)).ok()?;
    let device = devices
        .into_iter()
        .find(|d| (d.vendor, d.product) == (vendor, product))?;
    let address = (device.bus, device.device);
    let bound = |i: sysfs::UsbInterface| {
        let path = format!("/dev/{}", i.umb?);
        Path::new(&path).exists().then_some(Zero {
            path,
            interface: i.name,
            address,
        })
    };
    device.interfaces.into_iter().find_map(bound)
}

impl Zero {
    /// Plugs it in: one that sends back what it is sent.
    pub(crate) fn loopback() -> Self {
        Self::plug(&["loopdefault=1"])
    }

    fn plug(parameters: &[&str]) -> Self {
        prepare();
        run(&[&["modprobe", "g_zero"], parameters].concat());
        wait_for("gadget zero", || find(VENDOR, PRODUCT))
    }

    /// Pulls the plug.
    pub(crate) fn unplug() {
        run(&["rmmod", "g_zero"]);
    }
}

impl Drop for Zero {
    fn drop(&mut self) {
        if Path::new("/sys/module/g_zero").exists() {
            Zero::unplug();
        }
    }
}
