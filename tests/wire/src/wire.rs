// SPDX-License-Identifier: GPL-2.0

//! Bytes to and from a node, and what the tests ask about their stream.

use crate::node::PATIENCE;
use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

/// A connection.
pub(crate) struct Wire(pub(crate) TcpStream);

impl Wire {
    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends each byte in a segment of its own.
    pub(crate) fn send_in_single_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.iter().try_for_each(|byte| self.0.write_all(&[*byte]))
    }

    /// Receives exactly `buffer.len()` bytes.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(buffer)
    }

    /// We have nothing more to say.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// Everything up to the end of the stream, which must be a proper one.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).map_err(|e| {
            let got = rest.len();
            io::Error::new(e.kind(), format!("after {got} bytes, before the end: {e}"))
        })?;
        Ok(rest)
    }

    /// Checks that nothing arrives for `time`.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(time))?;
        let result = self.0.peek(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE))?;
        match result {
            Err(e) if is_timeout(&e) => Ok(()),
            Err(e) => Err(e),
            Ok(0) => Err(io::Error::other("the node has ended the connection")),
            Ok(_) => Err(io::Error::other("something arrived that nobody asked for")),
        }
    }

    /// Waits for the end of the connection, proper or not, and throws away what arrives before.
    /// Returns how long that took.
    pub(crate) fn end_within(&mut self, limit: Duration) -> io::Result<Duration> {
        let start = Instant::now();
        let mut waste = [0; 4096];
        loop {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                let text = format!("still connected after {limit:?}");
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            self.0.set_read_timeout(Some(left))?;
            match self.0.read(&mut waste) {
                Ok(0) => return Ok(start.elapsed()),
                Ok(_) => (),
                Err(e) if is_timeout(&e) => (),
                Err(e) if is_reset(&e) => return Ok(start.elapsed()),
                Err(e) => return Err(e),
            }
        }
    }
}

/// Whether a read or write has only taken too long.
pub(crate) fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Whether the other side has ended the connection.
pub(crate) fn is_reset(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}
