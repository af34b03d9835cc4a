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
    include!(concat!(
        env!("VIRGO_GENERATED"),
        "/linux/helpers_generated.rs"
    ));
}

pub mod append;
pub mod bytes;
pub mod closing;
pub mod crypto;
pub mod datagram;
pub mod deadline;
pub mod debugfs;
pub mod descriptor;
pub mod file;
pub mod gfp;
pub mod killable;
pub mod load;
pub mod module;
pub mod net;
pub mod pages;
pub mod program;
pub mod rcu;
pub mod rwlock;
pub mod secret;
pub mod skbuff;
pub mod socket;
pub mod trace;
pub mod try_lock;
pub mod user;
pub mod vfs;
pub mod wait;
pub mod waiters;
pub mod work;

/// A name for a lock's lockdep class, the same for all modules that use the code: lockdep compares
/// addresses, and each module that instantiates the code, or has it inlined, would have a literal of its
/// own, which goes with that module.
#[macro_export]
macro_rules! lock_name {
    ($name:literal) => {{
        static NAME: &::kernel::str::CStr =
            match ::kernel::str::CStr::from_bytes_with_nul(::core::concat!($name, "\0").as_bytes())
            {
                Ok(name) => name,
                Err(_) => panic!("a name has no NUL"),
            };
        NAME
    }};
}

/// Like the kernel's macro, for code that other modules instantiate: see [`lock_name!`].
#[macro_export]
macro_rules! new_mutex {
    ($data:expr, $name:literal) => {
        ::kernel::sync::Mutex::new(
            $data,
            $crate::lock_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}

/// Like the kernel's macro, for code that other modules instantiate: see [`lock_name!`].
#[macro_export]
macro_rules! new_spinlock {
    ($data:expr, $name:literal) => {
        ::kernel::sync::SpinLock::new(
            $data,
            $crate::lock_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}

/// Like the kernel's macro, for code that other modules instantiate: see [`lock_name!`].
#[macro_export]
macro_rules! new_spinlock_irq {
    ($data:expr, $name:literal) => {
        ::kernel::sync::SpinLockIrq::new(
            $data,
            $crate::lock_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
