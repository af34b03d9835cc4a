// SPDX-License-Identifier: GPL-2.0

//! Socket buffer debug: `virgo_skbuff_debug()` for modules in Rust. `include/linux/virgo_skbuff.h` has it
//! for modules in C.

pub use linux::skbuff::{
    BufferReport,
    QueueReport,
    SocketQueue,
    SocketQueues, //
};

use linux::net::Stream;

/// Writes what lies in the queues of a connection to the kernel's log, as often as the rate of messages
/// about the network allows it. [`Stream::queues`] reports the same to the caller.
///
/// Any context but hard interrupts; does not sleep.
pub fn virgo_skbuff_debug(stream: &Stream) {
    stream.log_queues();
}
