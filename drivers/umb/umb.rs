// SPDX-License-Identifier: GPL-2.0

//! umb (USBmd): programs talk to USB devices by `/dev/umbN`, and see what all devices of this machine
//! say by `/dev/umbmon`.
//!
//! The first part is a driver for interfaces with bulk or interrupt endpoints, bound by hand: through
//! `bind` or `new_id` in `/sys/bus/usb/drivers/umb`. The second part does not touch what it watches.

mod bound;
mod capture;
mod device;
mod file;
mod input;
mod output;
mod print;
mod settings;
mod show;
mod transfers;
mod waiting;

use crate::{
    bound::{
        Bound,
        Interfaces, //
    },
    capture::Captures,
    settings::UmbSettings,
    show::{
        DevicesFile,
        SettingsFile, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use linux::debugfs::DebugFile;
use linux_usb::{
    driver::UsbDriver,
    misc::Misc, //
};

module! {
    type: Umb,
    name: "umb",
    authors: ["The VIRGO developers"],
    description: "VIRGO: USB devices for programs, and captures of USB traffic",
    license: "GPL",
    params: {
        print_buffer: u32 {
            default: 0,
            description: "Log what is read and written: 1 a byte a line, 2 a buffer a line",
        },
        device_memory: u32 {
            default: 16,
            description: "MiB of buffers for all devices that are bound, 128 KiB or more each (1 to 1024)",
        },
        capture_memory: u32 {
            default: 64,
            description: "MiB of buffers for all captures (1 to 1024)",
        },
    },
}

/// The device that is bound without being asked to: a modem of the time when this was first written.
const DEFAULT_ID: (u16, u16) = (0x12d1, 0x140b);

/// Fields are dropped in order: first nobody can open anything, then all interfaces are unbound.
#[pin_data]
struct Umb {
    #[pin]
    _settings: DebugFile<SettingsFile>,
    #[pin]
    _devices: DebugFile<DevicesFile>,
    #[pin]
    _captures: Misc<Captures>,
    #[pin]
    _driver: UsbDriver<Bound>,
}

impl kernel::InPlaceModule for Umb {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let settings = UmbSettings::new()?;
            let interfaces = Interfaces::new(settings.clone())?;
            let dir = virgo_config::node()?.debugfs().subdir(c"umb")?;
            let captures = Arc::new(Captures::new(&settings.work)?, GFP_KERNEL)?;
            Ok(try_pin_init!(Self {
                _driver <- UsbDriver::register(module, c"umb", c"umb%d", DEFAULT_ID, interfaces.clone()),
                _captures <- Misc::register(module, c"umbmon", captures.clone()),
                _devices <- DebugFile::new(
                    module,
                    &dir,
                    c"devices",
                    DevicesFile {
                        interfaces: interfaces.clone(),
                        settings: settings.clone(),
                        captures: captures.clone(),
                    },
                ),
                _settings <- DebugFile::new(module, &dir, c"settings", SettingsFile(settings.clone())),
            }? Error))
        })
    }
}
