// SPDX-License-Identifier: GPL-2.0
//! The USB devices of this machine, as sysfs lists them.

use crate::descriptors::{HUMAN, KEYBOARD};
use rustix::fs::{self, Mode, OFlags};
use serde::Serialize;
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// Where they are.
pub const DEVICES: &str = "/sys/bus/usb/devices";

/// Where devices are by which people say something.
pub const INPUTS: &str = "/sys/class/input";

/// Class of hubs.
const HUB: u8 = 0x09;

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsbDevice {
    /// Where it is plugged in, such as `1-1.2`; root hubs are called `usb1`.
    pub port: String,
    /// Number of the bus.
    pub bus: u16,
    /// Address on it.
    pub device: u8,
    /// Vendor.
    pub vendor: u16,
    /// Product.
    pub product: u16,
    /// Class, 0 if the interfaces have their own.
    pub class: u8,
    /// Serial number, if it says one.
    pub serial: Option<String>,
    /// What it calls itself.
    pub name: Option<String>,
    /// Whether its interfaces may be used.
    pub authorized: bool,
    /// Its interfaces: none if it is not authorized.
    pub interfaces: Vec<UsbInterface>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsbInterface {
    /// As drivers call it, such as `1-1.2:1.0`.
    pub name: String,
    /// Class, subclass and protocol.
    pub class: (u8, u8, u8),
    /// The driver that is bound to it.
    pub driver: Option<String>,
    /// N of `/dev/umbN`.
    pub umb: Option<String>,
}

impl UsbDevice {
    /// Whether it is a hub, and nothing else: one interface of that class does not make a device a hub.
    pub fn is_hub(&self) -> bool {
        let hub = |i: &UsbInterface| i.class.0 == HUB;
        let is_external =
            self.class == HUB && !self.interfaces.is_empty() && self.interfaces.iter().all(hub);
        is_external || self.port.starts_with("usb")
    }

    /// Whether a person may need it to type.
    pub fn is_keyboard(&self) -> bool {
        self.interfaces
            .iter()
            .any(|i| i.class.0 == HUMAN && i.class.2 == KEYBOARD)
    }

    /// Whether all its interfaces are for people.
    pub fn is_only_human(&self) -> bool {
        self.interfaces.iter().all(|i| i.class.0 == HUMAN)
    }
}

/// A device's directory, held open: it stays that of this device, whatever is plugged in at its port.
#[derive(Debug)]
pub struct DeviceDirectory(OwnedFd);

impl DeviceDirectory {
    /// Lets the device be used, or not.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, or the device is gone.
    pub fn authorize(&self, authorized: bool) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
        let switch = fs::openat(&self.0, "authorized", flags, Mode::empty())?;
        let value = if authorized { "1" } else { "0" };
        File::from(switch).write_all(value.as_bytes())
    }
}

/// The text of an attribute: devices choose it, so it is made printable and cut.
fn text(dir: impl AsFd, name: &str) -> Option<String> {
    let attribute = fs::openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    // An attribute is at most a page.
    let mut attribute = File::from(attribute).take(4096);
    attribute.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let shown: String = text.trim().chars().take(128).collect();
    let shown = shown.replace(|c: char| c.is_control(), "?");
    (!shown.is_empty()).then_some(shown)
}

fn hex<T: TryFrom<u32>>(dir: impl AsFd, name: &str) -> Option<T> {
    T::try_from(u32::from_str_radix(&text(dir, name)?, 16).ok()?).ok()
}

fn decimal<T: TryFrom<u32>>(dir: impl AsFd, name: &str) -> Option<T> {
    T::try_from(text(dir, name)?.parse::<u32>().ok()?).ok()
}

fn open_dir(dir: impl AsFd, name: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::empty()).ok()
}

/// The names in a directory.
fn names(dir: impl AsFd) -> Vec<String> {
    let entries = fs::Dir::read_from(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// The devices below `root`, which is [`DEVICES`], by port.
///
/// # Errors
///
/// If they cannot be listed.
pub fn devices(root: &Path) -> io::Result<Vec<UsbDevice>> {
    let held = held_devices(root)?.into_iter();
    Ok(held.map(|(device, _)| device).collect())
}

/// As [`devices`], each with its directory, from which all was read that is said of it.
///
/// # Errors
///
/// As there.
pub fn held_devices(root: &Path) -> io::Result<Vec<(UsbDevice, DeviceDirectory)>> {
    let root = File::open(root)?;
    let mut devices = Vec::new();
    for port in names(&root).into_iter().filter(|n| !n.contains(':')) {
        // A device that is unplugged meanwhile is left out.
        let Some(dir) = open_dir(&root, &port) else {
            continue;
        };
        let Some(bus) = decimal(&dir, "busnum") else {
            continue;
        };
        let prefix = format!("{port}:");
        let mut interfaces = names(&dir);
        interfaces.retain(|name| name.starts_with(&prefix));
        let device = UsbDevice {
            interfaces: interfaces
                .into_iter()
                .filter_map(|name| interface(&dir, name))
                .collect(),
            bus,
            device: decimal(&dir, "devnum").unwrap_or(0),
            vendor: hex(&dir, "idVendor").unwrap_or(0),
            product: hex(&dir, "idProduct").unwrap_or(0),
            class: hex(&dir, "bDeviceClass").unwrap_or(0),
            serial: text(&dir, "serial"),
            name: text(&dir, "product"),
            authorized: text(&dir, "authorized").is_none_or(|a| a != "0"),
            port,
        };
        devices.push((device, DeviceDirectory(dir)));
    }
    Ok(devices)
}

fn interface(device: impl AsFd, name: String) -> Option<UsbInterface> {
    let dir = open_dir(device, &name)?;
    let driver = fs::readlinkat(&dir, "driver", Vec::new()).ok();
    let driver = driver.map(|link| link.to_string_lossy().into_owned());
    let driver = driver.and_then(|link| Some(link.rsplit('/').next()?.to_owned()));
    let umb = open_dir(&dir, "usbmisc").and_then(|dir| {
        let mut names = names(&dir).into_iter();
        names.find(|name| name.starts_with("umb"))
    });
    Some(UsbInterface {
        name,
        class: (
            hex(&dir, "bInterfaceClass")?,
            hex(&dir, "bInterfaceSubClass").unwrap_or(0),
            hex(&dir, "bInterfaceProtocol").unwrap_or(0),
        ),
        driver,
        umb,
    })
}

/// Types of buses, as input devices say them: USB, and those that programs make up.
const USB_OR_VIRTUAL: [u16; 2] = [0x03, 0x06];

/// The keys of a keyboard: escape, digits and the upper row, as bits of the lowest word of its keys.
const KEYBOARD_KEYS: u64 = 0xffff_fffe;

/// How many keyboards there are below `root`, which is [`INPUTS`], that are no USB devices.
pub fn other_keyboards(root: &Path) -> usize {
    let Ok(root) = File::open(root) else {
        return 0;
    };
    let is_other_keyboard = |name: &String| {
        let dir = open_dir(&root, name)?;
        let bus: u16 = hex(open_dir(&dir, "id")?, "bustype")?;
        // Words of bits, the lowest comes last.
        let keys = text(open_dir(&dir, "capabilities")?, "key")?;
        let keys = u64::from_str_radix(keys.rsplit(' ').next()?, 16).ok()?;
        let is_keyboard = keys & KEYBOARD_KEYS == KEYBOARD_KEYS;
        (is_keyboard && !USB_OR_VIRTUAL.contains(&bus)).then_some(())
    };
    let names = names(&root).into_iter();
    let inputs = names.filter(|name| name.starts_with("input"));
    inputs
        .filter(|name| is_other_keyboard(name).is_some())
        .count()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// A made-up tree: a stick and a keyboard.
    pub(crate) fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, value: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        };
        for (port, vendor, product, class) in [
            ("1-1", "0781", "5567", ("08", "06", "50")),
            ("1-2", "046d", "c31c", ("03", "01", "01")),
        ] {
            put(&format!("{port}/busnum"), "1\n");
            put(&format!("{port}/devnum"), "5\n");
            put(&format!("{port}/idVendor"), vendor);
            put(&format!("{port}/idProduct"), product);
            put(&format!("{port}/serial"), "ABC\u{1b}[2J\n");
            put(&format!("{port}/authorized"), "1\n");
            put(&format!("{port}/{port}:1.0/bInterfaceClass"), class.0);
            put(&format!("{port}/{port}:1.0/bInterfaceSubClass"), class.1);
            put(&format!("{port}/{port}:1.0/bInterfaceProtocol"), class.2);
        }
        dir
    }

    #[test]
    fn devices_are_listed() {
        let tree = tree();
        let found = devices(tree.path()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].vendor, found[0].interfaces[0].class),
            (0x0781, (8, 6, 0x50))
        );
        assert_eq!(found[0].serial.as_deref(), Some("ABC?[2J"));
        assert!(found[1].is_keyboard() && !found[0].is_keyboard());
    }

    /// Who plugs something else in after the device was judged does not have that let in, or thrown out.
    #[test]
    fn what_was_judged_is_authorized() {
        let tree = tree();
        let held = held_devices(tree.path()).unwrap();
        let switch = |port: &str| tree.path().join(port).join("authorized");
        fs::rename(tree.path().join("1-1"), tree.path().join("gone")).unwrap();
        fs::create_dir(tree.path().join("1-1")).unwrap();
        fs::write(switch("1-1"), "1").unwrap();
        let (device, dir) = &held[0];
        assert_eq!(device.port, "1-1");
        dir.authorize(false).unwrap();
        assert_eq!(fs::read_to_string(switch("1-1")).unwrap(), "1");
        assert_eq!(fs::read_to_string(switch("gone")).unwrap(), "0");
    }

    #[test]
    fn keyboards_of_other_buses_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(other_keyboards(dir.path()), 0);
        for (name, bus, keys, count) in [
            // A power button, a keyboard at USB, one that a program has made up.
            ("input0", "0019", "10000000000000 0", 0),
            ("input1", "0003", "10000 fffffffffffffffe", 0),
            ("input2", "0006", "10000 fffffffffffffffe", 0),
            // At the port of old, and by radio.
            (
                "input3",
                "0011",
                "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe",
                1,
            ),
            ("input4", "0005", "fffffffe", 2),
        ] {
            let path = dir.path().join(name);
            for (attribute, value) in [("id/bustype", bus), ("capabilities/key", keys)] {
                let path = path.join(attribute);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{value}\n")).unwrap();
            }
            assert_eq!(other_keyboards(dir.path()), count, "{name}");
        }
    }

    #[test]
    fn an_interface_of_a_hub_makes_no_hub() {
        let interface = |class| UsbInterface {
            class,
            ..UsbInterface::default()
        };
        let device = |class, interfaces: &[(u8, u8, u8)]| UsbDevice {
            port: "1-1".to_owned(),
            class,
            interfaces: interfaces.iter().copied().map(interface).collect(),
            ..UsbDevice::default()
        };
        assert!(device(9, &[(9, 0, 0)]).is_hub());
        assert!(!device(0, &[(9, 0, 0)]).is_hub());
        assert!(!device(9, &[(9, 0, 0), (8, 6, 0x50)]).is_hub());
        assert!(!device(9, &[]).is_hub());
        let root = UsbDevice {
            port: "usb1".to_owned(),
            ..UsbDevice::default()
        };
        assert!(root.is_hub());
    }
}
