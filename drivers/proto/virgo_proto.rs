// SPDX-License-Identifier: GPL-2.0

//! What VIRGO nodes say to each other and to people, without I/O.
//!
//! This crate needs `core` and `zerocopy` only: it allocates nothing, has no `unsafe` and no
//! reachable panic. The same source is linked into the kernel modules and compiled by cargo for
//! the tools, the tests, Miri and the fuzzers.

// The kernel build passes `no_std` itself.
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

#[cfg(test)]
extern crate std;

pub mod admission;
pub mod analytics;
pub mod bakery;
pub mod balance;
pub mod clock;
pub mod clone;
pub mod cloudfs;
pub mod cloudsync;
pub mod command;
pub mod config;
pub mod datagram;
pub mod errno;
pub mod eventnet;
pub mod fence;
pub mod frame;
pub mod handshake;
mod hex;
pub mod histogram;
pub mod json;
pub mod kingcobra;
pub mod line;
pub mod load_view;
pub mod mempool;
pub mod pace;
pub mod pieces;
pub mod queue;
pub mod scan;
pub mod slots;
pub mod sort;
pub mod usb;
pub mod vuid;
pub mod worker_shares;
