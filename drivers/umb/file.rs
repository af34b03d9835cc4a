// SPDX-License-Identifier: GPL-2.0

//! An open `/dev/umbN`.

use crate::device::Device;
use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};
use linux::wait::WaitQueue;
use linux_usb::open_file::{
    OpenFile,
    Readiness, //
};

/// An open `/dev/umbN`. The device's memory stays with it when the device is unplugged.
pub(crate) struct DeviceFile(Arc<Device>);

impl DeviceFile {
    pub(crate) fn new(device: Arc<Device>) -> Self {
        device.transfers.opened();
        DeviceFile(device)
    }
}

impl Drop for DeviceFile {
    fn drop(&mut self) {
        if self.0.transfers.closed() {
            self.0.stop_input();
        }
    }
}

impl OpenFile for DeviceFile {
    fn read(&self, to: &mut UserSliceWriter, nonblocking: bool) -> Result<usize> {
        self.0.read(to, nonblocking)
    }

    fn write(&self, from: &mut UserSliceReader, nonblocking: bool) -> Result<usize> {
        self.0.write(from, nonblocking)
    }

    fn sync(&self) -> Result {
        self.0.sync()
    }

    fn readiness(&self) -> Readiness {
        self.0.start_input();
        let transfers = &self.0.transfers;
        Readiness {
            readable: self.0.input.is_some() && transfers.is_readable(),
            writable: self.0.output.is_some() && transfers.is_writable(),
            hung_up: transfers.is_gone(),
        }
    }

    fn waiters(&self) -> &WaitQueue {
        self.0.transfers.waiters.queue()
    }
}
