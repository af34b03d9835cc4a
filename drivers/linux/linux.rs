// SPDX-License-Identifier: GPL-2.0

//! What VIRGO needs of Linux and the `kernel` crate does not offer yet.
//!
//! This is the only crate that names bindings. Each file wraps one facility of the kernel in
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
    use kernel::{
        bindings::*,
        ffi, //
    };

    include!(concat!(
        env!("VIRGO_LINUX_GENERATED"),
        "/helpers_generated.rs"
    ));
}

pub mod calls;
pub mod crypto;
pub mod deadline;
pub mod file;
pub mod net;
pub mod rwlock;
pub mod user;
pub mod wait;
pub mod work;
