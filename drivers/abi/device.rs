// SPDX-License-Identifier: GPL-2.0

//! `/dev/virgo`: a program that can open it may use VIRGO.
//!
//! C side: `device.c`, which says why.

use crate::generated;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The device, as long as it is there.
pub struct CallDevice(());

impl CallDevice {
    /// Makes the device. At most one at a time. May sleep.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if there are no device numbers left, [`ENOMEM`].
    pub fn register() -> Result<Self> {
        // SAFETY: The structure is registered once: dropping its owner takes it back.
        to_result(unsafe { generated::virgo_device_register() })?;
        Ok(CallDevice(()))
    }
}

impl Drop for CallDevice {
    fn drop(&mut self) {
        // SAFETY: It was registered by `register`.
        unsafe { generated::virgo_device_unregister() };
    }
}

/// Checks that the calling program may use VIRGO. May sleep.
///
/// # Errors
///
/// [`EPERM`] if it cannot open the device; [`ENOMEM`], [`ENFILE`] and [`EINTR`] if that could not be
/// found out.
pub fn check_caller() -> Result {
    // SAFETY: Called by a task that has a table of files and a root directory, as all have that make
    // system calls.
    match to_result(unsafe { generated::virgo_device_check() }) {
        Err(e) if !matches!(e, ENOMEM | ENFILE | EINTR | ERESTARTSYS) => Err(EPERM),
        result => result,
    }
}
