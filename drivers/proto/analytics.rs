// SPDX-License-Identifier: GPL-2.0

//! Kernel analytics: variables that are learnt outside of the kernel and steer its modules.
//!
//! [`pairs`] is the grammar of `/etc/virgo_kernel_analytics.conf` and of the lines of the stream;
//! [`number`] and [`list`] read typed values; [`variable`] is what a module declares; [`source`]
//! says where a value comes from, [`allowance`] how many values a second are taken from the stream;
//! [`rollout`] sets variables on all nodes, or on none; [`audit`] is the record of who has changed what.

pub mod allowance;
pub mod audit;
pub mod check;
pub mod list;
pub mod number;
pub mod pairs;
pub mod rollout;
pub mod source;
pub mod variable;

/// The file that is read when the module is loaded, and on request.
pub const FILE: &str = "/etc/virgo_kernel_analytics.conf";

/// TCP port of the host that the stream of variables comes from.
pub const STREAM_PORT: u16 = 64000;

/// What a node says when it has connected to the host of the stream. No line end follows, as in the
/// original.
pub const STREAM_START: &[u8] = b"KERNEL_ANALYTICS_STREAMING_START";

/// Variable that says whether the stream is used.
pub const STREAM_SWITCH: &str = "read_from_stream";

/// Variable that says which host the stream comes from.
pub const STREAM_HOST: &str = "streaming_kernel_analytics_host";

/// Bytes of a line of the stream, without its end.
pub const MAX_STREAM_LINE: usize = 16 * 1024;

/// Pairs of a line of the stream.
pub const MAX_STREAM_PAIRS: usize = 64;
