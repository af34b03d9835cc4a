// SPDX-License-Identifier: GPL-2.0

//! What holds for all bound interfaces.

use crate::module_parameters;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use linux::work::WorkQueue;
use virgo_utils::budget::Budget;

/// Bytes of a parameter in MiB.
pub(crate) fn mebibytes(parameter: u32) -> u64 {
    u64::from(parameter.clamp(1, 1024)) << 20
}

/// See the module's documentation.
pub(crate) struct UmbSettings {
    /// Which form what is read and written is logged in; see `print`.
    pub(crate) print: Atomic<u32>,
    /// Bytes of buffers. Devices are bound by root, or by themselves: hostile ones could be many.
    pub(crate) budget: Pin<KBox<Budget>>,
    /// Wakes those who wait, where they are many.
    pub(crate) work: Arc<WorkQueue>,
}

impl UmbSettings {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let budget = Budget::new(mebibytes(module_parameters::device_memory.value()))?;
        let settings = UmbSettings {
            print: Atomic::new(module_parameters::print_buffer.value()),
            budget,
            work: WorkQueue::new(c"umb", 0)?,
        };
        Ok(Arc::new(settings, GFP_KERNEL)?)
    }

    pub(crate) fn print(&self) -> u32 {
        self.print.load(Relaxed)
    }
}
