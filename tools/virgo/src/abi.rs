// SPDX-License-Identifier: GPL-2.0
//! Numbers and structures of the system calls, as `include/uapi/linux/virgo.h` has them.

mod clone;
mod files;
mod lock;
mod memory;
mod numbers;
mod queue;
mod skbuff;
#[cfg(test)]
mod tests;

pub use clone::*;
pub use files::*;
pub use lock::*;
pub use memory::*;
pub use numbers::*;
pub use queue::*;
pub use skbuff::*;
