// SPDX-License-Identifier: GPL-2.0
//! The USB devices of this machine, as sysfs lists them.

use serde::Serialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where they are.
pub const DEVICES: &str = "/sys/bus/usb/devices";

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
            .any(|i| i.class.0 == 3 && i.class.2 == 1)
    }
}

/// The text of an attribute: devices choose it, so it is made printable and cut.
fn text(path: &Path, name: &str) -> Option<String> {
    let bytes = fs::read(path.join(name)).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let shown: String = text.trim().chars().take(128).collect();
    let shown = shown.replace(|c: char| c.is_control(), "?");
    (!shown.is_empty()).then_some(shown)
}

fn hex<T: TryFrom<u32>>(path: &Path, name: &str) -> Option<T> {
    T::try_from(u32::from_str_radix(&text(path, name)?, 16).ok()?).ok()
}

fn decimal<T: TryFrom<u32>>(path: &Path, name: &str) -> Option<T> {
    T::try_from(text(path, name)?.parse::<u32>().ok()?).ok()
}

/// The devices below `root`, which is [`DEVICES`], by port.
///
/// # Errors
///
/// If they cannot be listed.
pub fn devices(root: &Path) -> io::Result<Vec<UsbDevice>> {
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root)? {
        names.push(entry?.path());
    }
    names.sort();
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let mut devices = Vec::new();
    for path in &names {
        let Some(port) = name(path).filter(|n| !n.contains(':')) else {
            continue;
        };
        let prefix = format!("{port}:");
        let interfaces = names
            .iter()
            .filter(|p| name(p).is_some_and(|n| n.starts_with(&prefix)))
            .filter_map(|p| interface(p, name(p)?));
        // A device that is unplugged meanwhile is left out.
        let Some(bus) = decimal(path, "busnum") else {
            continue;
        };
        devices.push(UsbDevice {
            interfaces: interfaces.collect(),
            bus,
            device: decimal(path, "devnum").unwrap_or(0),
            vendor: hex(path, "idVendor").unwrap_or(0),
            product: hex(path, "idProduct").unwrap_or(0),
            class: hex(path, "bDeviceClass").unwrap_or(0),
            serial: text(path, "serial"),
            name: text(path, "product"),
            authorized: text(path, "authorized").is_none_or(|a| a != "0"),
            port,
        });
    }
    Ok(devices)
}

fn interface(path: &Path, name: String) -> Option<UsbInterface> {
    let driver = fs::read_link(path.join("driver")).ok();
    let last = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let umb = fs::read_dir(path.join("usbmisc")).ok();
    let umb = umb.into_iter().flatten().flatten().find_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("umb").then_some(name)
    });
    Some(UsbInterface {
        name,
        class: (
            hex(path, "bInterfaceClass")?,
            hex(path, "bInterfaceSubClass").unwrap_or(0),
            hex(path, "bInterfaceProtocol").unwrap_or(0),
        ),
        driver: driver.as_deref().and_then(last),
        umb,
    })
}

/// Lets the device be used, or not.
///
/// # Errors
///
/// If the kernel refuses.
pub fn authorize(root: &Path, port: &str, authorized: bool) -> io::Result<()> {
    let value = if authorized { "1" } else { "0" };
    fs::write(root.join(port).join("authorized"), value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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
            put(&format!("{port}:1.0/bInterfaceClass"), class.0);
            put(&format!("{port}:1.0/bInterfaceSubClass"), class.1);
            put(&format!("{port}:1.0/bInterfaceProtocol"), class.2);
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
