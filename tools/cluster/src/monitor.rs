// SPDX-License-Identifier: GPL-2.0
//! The QEMU monitor: controls a guest from outside.

use crate::{failure::Failure, qemu::DISK};
use anyhow::{Error, Result, anyhow};
use qapi::{
    Command, ExecuteError, Qmp, Stream,
    qmp::{RunState, block_set_io_throttle, cont, query_status, set_link, stop},
};
use serde_json::json;
use std::{
    io::{self, BufRead, BufReader, BufWriter, ErrorKind},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// QEMU answers at once, unless the host is very busy.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to the monitor. There is one at a time; others wait until it is closed.
pub(crate) struct Monitor {
    qmp: Qmp<Stream<BufReader<UnixStream>, BufWriter<UnixStream>>>,
    node: String,
}

impl Monitor {
    /// Connects to the monitor of `node`, whose QEMU runs.
    pub(crate) fn connect(path: &Path, node: String) -> Result<Self> {
        let open = || -> io::Result<_> {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.set_write_timeout(Some(TIMEOUT))?;
            Ok(Stream::new(
                BufReader::new(socket.try_clone()?),
                BufWriter::new(socket),
            ))
        };
        let stream = open().map_err(|error| explain(error.into(), &node, "greet"))?;
        let mut monitor = Self {
            qmp: Qmp::new(stream),
            node,
        };
        match monitor.handshake() {
            Ok(()) => Ok(monitor),
            Err(error) => Err(explain(error, &monitor.node, "greet")),
        }
    }

    fn handshake(&mut self) -> Result<(), ExecuteError> {
        // The library panics when there is nothing to read.
        if self.qmp.inner_mut().fill_buf()?.is_empty() {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        self.qmp.handshake().map(drop)
    }

    fn execute<C: Command>(&mut self, command: C) -> Result<C::Ok> {
        self.qmp
            .execute(&command)
            .map_err(|error| explain(error, &self.node, C::NAME))
    }

    /// Whether the guest's processors are stopped.
    pub(crate) fn is_paused(&mut self) -> Result<bool> {
        Ok(self.execute(query_status {})?.status == RunState::paused)
    }

    pub(crate) fn pause(&mut self) -> Result<()> {
        self.execute(stop {}).map(drop)
    }

    pub(crate) fn resume(&mut self) -> Result<()> {
        self.execute(cont {}).map(drop)
    }

    /// Lets packets pass over a link, or loses them.
    pub(crate) fn set_link(&mut self, name: String, up: bool) -> Result<()> {
        self.execute(set_link { name, up }).map(drop)
    }

    /// Lets the disk take this many bytes a second; 0: as many as it can.
    pub(crate) fn throttle_disk(&mut self, bytes: u32) -> Result<()> {
        let limits = serde_json::from_value(json!({
            "device": DISK, "bps": 0, "bps_rd": 0, "bps_wr": bytes,
            "iops": 0, "iops_rd": 0, "iops_wr": 0,
        }))?;
        self.execute(block_set_io_throttle(limits)).map(drop)
    }
}

fn explain(error: ExecuteError, node: &str, what: &str) -> Error {
    let node = node.to_owned();
    let error = match error {
        ExecuteError::Qapi(error) => {
            return anyhow!("QEMU of {node} refused {what}: {}", error.desc);
        }
        ExecuteError::Io(error) => error,
    };
    match error.kind() {
        // What a socket says when its time is up.
        ErrorKind::WouldBlock => {
            let what = format!("{what} (its QEMU)");
            Failure::TimedOut {
                node,
                what,
                after: TIMEOUT,
            }
            .into()
        }
        // It was alive a moment ago.
        ErrorKind::NotFound
        | ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Failure::Dead(node).into(),
        _ => Error::new(error).context(format!("cannot talk to the monitor of {node}")),
    }
}
