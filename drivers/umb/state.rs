// SPDX-License-Identifier: GPL-2.0

//! What all bound interfaces share.

use crate::{
    device::Device,
    module_parameters, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use virgo_utils::budget::Budget;

/// Bytes of a parameter in MiB.
pub(crate) fn mebibytes(parameter: u32) -> u64 {
    u64::from(parameter.clamp(1, 1024)) << 20
}

/// State of the driver.
#[pin_data]
pub(crate) struct State {
    /// Which form what is read and written is logged in; see `print`.
    pub(crate) print: Atomic<u32>,
    /// Bytes of buffers. Devices are bound by root, or by themselves: hostile ones could be many.
    pub(crate) budget: Pin<KBox<Budget>>,
    /// Interfaces that are bound. Taken for moments, by nobody who waits for a device.
    #[pin]
    pub(crate) devices: Mutex<KVec<Arc<Device>>>,
}

impl State {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let budget = Budget::new(mebibytes(module_parameters::device_memory.value()))?;
        Arc::pin_init(
            pin_init!(Self {
                print: Atomic::new(module_parameters::print_buffer.value()),
                budget,
                devices <- linux::new_mutex!(KVec::new(), "umb_devices"),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn print(&self) -> u32 {
        self.print.load(Relaxed)
    }
}
