// SPDX-License-Identifier: GPL-2.0

//! The files of umb in debugfs, `/sys/kernel/debug/virgo/umb`.

use crate::{
    bound::Interfaces,
    capture::Captures,
    device::Device,
    settings::UmbSettings, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
    uaccess::UserSliceReader, //
};
use linux::debugfs::Content;
use virgo_proto::command::parse_u64;

/// `devices`: what is bound, and what is captured.
pub(crate) struct DevicesFile {
    pub(crate) interfaces: Arc<Interfaces>,
    pub(crate) settings: Arc<UmbSettings>,
    pub(crate) captures: Arc<Captures>,
}

impl Content for DevicesFile {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.interfaces.for_each(|device| show_device(device, f))?;
        let budget = &self.settings.budget;
        writeln!(f, "memory {} {}", budget.used(), budget.limit())?;
        self.captures.show(f)
    }
}

fn show_device(device: &Device, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (bus, number) = device.usb.numbers();
    let address = |endpoint: &Option<linux_usb::device::Endpoint>| {
        endpoint.as_ref().map_or(0, |e| e.address())
    };
    writeln!(
        f,
        "umb{} bus {bus} device {number} interface {} in {:02x} out {:02x} openers {} read {} written {}",
        device.minor.load(Relaxed),
        device.number,
        address(&device.input),
        address(&device.output),
        device.transfers.openers(),
        device.bytes_read.load(Relaxed),
        device.bytes_written.load(Relaxed),
    )
}

/// `settings`: takes `print_buffer 0|1|2`.
pub(crate) struct SettingsFile(pub(crate) Arc<UmbSettings>);

impl Content for SettingsFile {
    const WRITABLE: bool = true;

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "print_buffer {}", self.0.print())
    }

    fn write(&self, text: &mut UserSliceReader) -> Result {
        let mut line = [0; 32];
        let line = line.get_mut(..text.len()).ok_or(EINVAL)?;
        text.read_slice(line)?;
        let form = line.trim_ascii().strip_prefix(b"print_buffer ");
        let form = form.and_then(parse_u64).filter(|form| *form <= 2);
        self.0.print.store(form.ok_or(EINVAL)? as u32, Relaxed);
        Ok(())
    }
}
