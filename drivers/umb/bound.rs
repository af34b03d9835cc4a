// SPDX-License-Identifier: GPL-2.0

//! The interfaces that are bound.

use crate::{
    device::Device,
    file::DeviceFile,
    settings::UmbSettings, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    }, //
};
use linux_usb::{
    device::Interface,
    driver::BoundInterface, //
};

/// All interfaces that are bound.
#[pin_data]
pub(crate) struct Interfaces {
    settings: Arc<UmbSettings>,
    /// Taken for moments, by nobody who waits for a device.
    #[pin]
    devices: Mutex<KVec<Arc<Device>>>,
}

impl Interfaces {
    pub(crate) fn new(settings: Arc<UmbSettings>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                settings,
                devices <- linux::new_mutex!(KVec::new(), "umb_devices"),
            }),
            GFP_KERNEL,
        )
    }

    /// Shows `see` each device, up to the first that it fails for. May sleep.
    pub(crate) fn for_each<E>(
        &self,
        see: impl FnMut(&Arc<Device>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.devices.lock().iter().try_for_each(see)
    }

    fn remove(&self, device: &Arc<Device>) {
        let mut devices = self.devices.lock();
        let at = devices.iter().position(|other| Arc::ptr_eq(other, device));
        let removed = at.and_then(|at| devices.remove(at).ok());
        drop(devices);
        drop(removed);
    }
}

/// An interface that is bound, as the USB core knows it.
pub(crate) struct Bound {
    device: Arc<Device>,
    interfaces: Arc<Interfaces>,
}

impl BoundInterface for Bound {
    type Module = Arc<Interfaces>;
    type File = DeviceFile;

    fn bind(interfaces: &Arc<Interfaces>, interface: &Interface<'_>) -> Result<Arc<Self>> {
        let device = Device::new(&interfaces.settings, interface)?;
        let bound = Bound {
            device: device.clone(),
            interfaces: interfaces.clone(),
        };
        let bound = Arc::new(bound, GFP_KERNEL)?;
        interfaces.devices.lock().push(device, GFP_KERNEL)?;
        Ok(bound)
    }

    fn named(&self, _: &Arc<Interfaces>, minor: u8) {
        self.device.named(minor);
    }

    fn open(self: ArcBorrow<'_, Self>) -> Result<DeviceFile> {
        Ok(DeviceFile::new(self.device.clone()))
    }

    fn unbind(&self) {
        self.device.end();
        self.interfaces.remove(&self.device);
    }

    fn suspend(&self) {
        self.device.suspend();
    }

    fn resume(&self, was_reset: bool) {
        self.device.resume(was_reset);
    }
}
