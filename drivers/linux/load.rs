// SPDX-License-Identifier: GPL-2.0

//! How busy this machine is.

use crate::helpers;
pub use crate::helpers::virgo_load as MachineLoad;

/// Processors that there can be: their numbers are below this. Any context.
pub fn processors() -> usize {
    // SAFETY: Reads a number that does not change after boot.
    unsafe { helpers::virgo_processors() as usize }
}

/// The number of this processor; the task may run on another one when it looks at it. Any context.
pub fn this_processor() -> usize {
    // SAFETY: Reads what belongs to the processor.
    unsafe { helpers::virgo_this_processor() as usize }
}

/// Looks at all tasks and processors. Does not sleep, but takes time for each task: not to be
/// done for each request.
pub fn load() -> MachineLoad {
    let mut load = MachineLoad::default();
    // SAFETY: `load` is valid for writes.
    unsafe { helpers::virgo_load_get(&mut load) };
    load
}
