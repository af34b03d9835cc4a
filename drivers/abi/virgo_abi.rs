// SPDX-License-Identifier: GPL-2.0

//! The interface of VIRGO to the programs of its node: calls, with the structures that they take,
//! and the device `/dev/virgo`.
//!
//! A program makes a call by system call, if the kernel has VIRGO's, or by `ioctl(2)` on the device,
//! which every kernel can have. Both end in the same function of the module that serves the call.
//! Services use this crate; it knows none of them.

#![deny(missing_docs)]

#[allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    improper_ctypes,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]
mod generated {
    include!(concat!(env!("VIRGO_GENERATED"), "/abi/abi_generated.rs"));
}

pub mod args;
pub mod calls;
pub mod device;
pub mod fence;
