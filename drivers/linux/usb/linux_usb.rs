// SPDX-License-Identifier: GPL-2.0

//! What umb needs of Linux's USB core and the `kernel` crate does not offer yet.
//!
//! Like the `linux` crate, which is linked into virgo_config and shared by all modules, but part of
//! umb alone: only that module depends on the USB core. Each file wraps one facility of the kernel in
//! types that are safe to use in any order and from any thread, unless their docs say otherwise.

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
mod helpers {
    include!(concat!(
        env!("VIRGO_GENERATED"),
        "/linux/usb/usb_generated.rs"
    ));
}

pub mod device;
pub mod driver;
pub mod misc;
pub mod monitor;
pub mod mutex;
pub mod open_file;
pub mod ring;
pub mod urb;
