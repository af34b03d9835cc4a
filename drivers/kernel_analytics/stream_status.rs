// SPDX-License-Identifier: GPL-2.0

//! What is counted of the stream.

use kernel::{
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use virgo_utils::{
    Failure,
    LogLimit,
    Reply, //
};

/// See the module's documentation.
pub(crate) struct StreamStatus {
    pub(crate) connected: Atomic<bool>,
    pub(crate) connections: Atomic<u64>,
    pub(crate) lines: Atomic<u64>,
    pub(crate) values: Atomic<u64>,
    /// Lines that were not taken.
    pub(crate) refused: Atomic<u64>,
    /// Connections that have failed or ended since a value was taken.
    pub(crate) failures: Atomic<u32>,
    /// Bounds log lines that the host, and those who may set variables, can cause.
    pub(crate) log: Pin<KBox<LogLimit>>,
}

impl StreamStatus {
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Self> {
        Ok(StreamStatus {
            connected: Atomic::new(false),
            connections: Atomic::new(0),
            lines: Atomic::new(0),
            values: Atomic::new(0),
            refused: Atomic::new(0),
            failures: Atomic::new(0),
            log: LogLimit::new()?,
        })
    }

    /// Adds to the reply of the command `stats`.
    pub(crate) fn stats(&self, reply: &mut Reply<'_>) -> Result<(), Failure> {
        reply.field("stream_connected", self.connected.load(Relaxed).into())?;
        reply.field("stream_connections", self.connections.load(Relaxed))?;
        reply.field("stream_lines", self.lines.load(Relaxed))?;
        reply.field("stream_values", self.values.load(Relaxed))?;
        reply.field("stream_refused", self.refused.load(Relaxed))
    }

    /// Shows it to root: a line.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = self.connected.load(Relaxed);
        let state = if connected { "connected" } else { "-" };
        writeln!(f, "# stream state connections lines values refused")?;
        writeln!(
            f,
            "stream {state} {} {} {} {}",
            self.connections.load(Relaxed),
            self.lines.load(Relaxed),
            self.values.load(Relaxed),
            self.refused.load(Relaxed)
        )
    }
}
