// SPDX-License-Identifier: GPL-2.0

//! Keeping modules loaded while their code runs.

use crate::helpers;
use kernel::prelude::*;

/// Keeps a module from being unloaded.
pub struct Pinned(&'static ThisModule);

impl Pinned {
    /// Pins `module`; `None` if it is being unloaded, or its initialisation has not succeeded yet. Any
    /// context.
    pub fn new(module: &'static ThisModule) -> Option<Self> {
        // SAFETY: The pointer is that of a module, by the type's promise.
        let pinned = unsafe { helpers::virgo_module_pin(module.as_ptr()) };
        // Not `then_some`: what that makes for nothing it drops, and dropping unpins.
        pinned.then(|| Pinned(module))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: `new` has pinned it.
        unsafe { helpers::virgo_module_unpin(self.0.as_ptr()) };
    }
}
