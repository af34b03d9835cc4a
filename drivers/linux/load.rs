// SPDX-License-Identifier: GPL-2.0

//! How busy this machine is.

use crate::helpers;
pub use crate::helpers::virgo_load as Load;

/// Looks at all tasks and processors. Does not sleep, but takes time for each task: not to be
/// done for each request.
pub fn load() -> Load {
    let mut load = Load::default();
    // SAFETY: `load` is valid for writes.
    unsafe { helpers::virgo_load_get(&mut load) };
    load
}
