// SPDX-License-Identifier: GPL-2.0

//! Allocation flags for which the kernel crate has no names.

use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// In any context, and charged to the memory cgroup of the current task.
pub fn atomic_account() -> Flags {
    GFP_ATOMIC | (GFP_KERNEL_ACCOUNT & !GFP_KERNEL)
}

/// Without waiting for memory, and charged to the memory cgroup of the current task.
pub fn nowait_account() -> Flags {
    GFP_NOWAIT | (GFP_KERNEL_ACCOUNT & !GFP_KERNEL)
}
