// SPDX-License-Identifier: GPL-2.0
//! The agent inside a guest, which runs commands and copies files there.
//!
//! It takes one client at a time, so a lock is held for the time of a connection, and connections
//! are kept short.

use crate::{failure::Failure, run_dir::NodeDir};
use anyhow::{Context, Error, Result, anyhow};
use qapi::{
    Command, ExecuteError, Qga, Stream,
    qga::{
        guest_file_close, guest_file_open, guest_file_read, guest_file_write, guest_sync_delimited,
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, mkfifoat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long the agent may be silent; a guest that is emulated by a busy host is slow.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a file that go into one message.
const CHUNK: usize = 1 << 20;

const NONBLOCK: i32 = OFlags::NONBLOCK.bits() as i32;

/// Marks the begin of the answer to `guest-sync-delimited`; in no other place of the protocol.
const DELIMITER: u8 = 0xff;

/// A connection to the agent.
pub(crate) struct Agent {
    qga: Qga<Stream<BufReader<Fifo>, BufWriter<Fifo>>>,
    node: String,
    timeout: Duration,
    _lock: File,
}

/// Makes the FIFOs over which QEMU connects the agent.
pub(crate) fn create_fifos(dir: &NodeDir) -> Result<()> {
    for path in [input(dir), output(dir)] {
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)
            .with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(())
}

/// What QEMU reads.
fn input(dir: &NodeDir) -> PathBuf {
    dir.agent().with_extension("in")
}

/// What QEMU writes.
fn output(dir: &NodeDir) -> PathBuf {
    dir.agent().with_extension("out")
}

impl Agent {
    /// Connects to the agent of `node`, whose QEMU runs. Waits for the agent if it has yet to start.
    pub(crate) fn connect(dir: &NodeDir, node: String, timeout: Duration) -> Result<Self> {
        let lock = dir.lock()?;
        let open = || -> io::Result<_> {
            Ok(Stream::new(
                BufReader::new(Fifo::open_read(&output(dir), timeout)?),
                BufWriter::new(Fifo::open_write(&input(dir), timeout)?),
            ))
        };
        let stream = open().map_err(|error| explain(error.into(), &node, timeout, "answer"))?;
        let mut agent = Self {
            qga: Qga::new(stream),
            node,
            timeout,
            _lock: lock,
        };
        match agent.synchronise() {
            Ok(()) => Ok(agent),
            Err(error) => Err(explain(error, &agent.node, timeout, "answer")),
        }
    }

    /// Skips what an earlier client, gone in the middle of something, left half-said or unread.
    fn synchronise(&mut self) -> Result<(), ExecuteError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let id = (i64::from(now.subsec_nanos()) << 32) | i64::from(process::id());
        // Makes the agent forget half a command.
        self.qga.inner_mut().write_all(&[DELIMITER])?;
        self.qga.write_command(&guest_sync_delimited { id })?;
        loop {
            if self.qga.inner_mut().skip_until(DELIMITER)? == 0 {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            if self.qga.read_response::<guest_sync_delimited>()? == id {
                return Ok(());
            }
        }
    }

    /// Has the agent do something. `what` completes the sentence 'the node did not'.
    pub(crate) fn execute<C: Command>(&mut self, command: &C, what: &str) -> Result<C::Ok> {
        self.qga
            .execute(command)
            .map_err(|error| explain(error, &self.node, self.timeout, what))
    }

    /// The content of a file.
    pub(crate) fn read_file(&mut self, path: &str) -> Result<Vec<u8>> {
        self.with_file(path, "r", |agent, handle| {
            let what = format!("read {path}");
            let command = guest_file_read {
                handle,
                count: Some(CHUNK as i64),
            };
            let mut content = Vec::new();
            loop {
                let part = agent.execute(&command, &what)?;
                content.extend(part.buf_b64);
                if part.eof {
                    return Ok(content);
                }
            }
        })
    }

    /// Makes a file, or replaces its content.
    pub(crate) fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.with_file(path, "w", |agent, handle| {
            let what = format!("write {path}");
            let mut rest = content;
            while !rest.is_empty() {
                let part = rest[..rest.len().min(CHUNK)].to_vec();
                let command = guest_file_write {
                    handle,
                    buf_b64: part,
                    count: None,
                };
                let written = agent.execute(&command, &what)?.count;
                rest = usize::try_from(written)
                    .ok()
                    .and_then(|written| rest.get(written..))
                    .with_context(|| format!("the agent of {} cannot count", agent.node))?;
            }
            Ok(())
        })
    }

    fn with_file<T>(
        &mut self,
        path: &str,
        mode: &str,
        action: impl FnOnce(&mut Self, i64) -> Result<T>,
    ) -> Result<T> {
        let open = guest_file_open {
            path: path.into(),
            mode: Some(mode.into()),
        };
        let handle = self.execute(&open, &format!("open {path}"))?;
        let result = action(self, handle);
        // Also after an error; then that is the one to tell.
        let closed = self.execute(&guest_file_close { handle }, &format!("close {path}"));
        let result = result?;
        closed?;
        Ok(result)
    }
}

fn explain(error: ExecuteError, node: &str, after: Duration, what: &str) -> Error {
    let node = node.to_owned();
    let error = match error {
        ExecuteError::Qapi(error) => return anyhow!("{node} did not {what}: {}", error.desc),
        ExecuteError::Io(error) => error,
    };
    match error.kind() {
        ErrorKind::TimedOut => Failure::TimedOut {
            node,
            what: what.into(),
            after,
        }
        .into(),
        // QEMU was alive a moment ago.
        ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Failure::Dead(node).into(),
        _ => Error::new(error).context(format!("cannot talk to the agent of {node}")),
    }
}

/// One end of a FIFO, whose other end is QEMU's, with a limit to the time that nothing happens.
struct Fifo {
    file: File,
    timeout: Duration,
}

impl Fifo {
    fn open_read(path: &Path, timeout: Duration) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .custom_flags(NONBLOCK)
            .open(path)?;
        Ok(Self { file, timeout })
    }

    fn open_write(path: &Path, timeout: Duration) -> io::Result<Self> {
        match File::options()
            .write(true)
            .custom_flags(NONBLOCK)
            .open(path)
        {
            Ok(file) => Ok(Self { file, timeout }),
            // Nobody reads.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => {
                Err(ErrorKind::BrokenPipe.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Does something as soon as it can be done at once.
    fn when_ready<T>(
        &mut self,
        events: PollFlags,
        mut action: impl FnMut(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match action(&mut self.file) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                other => return other,
            }
            let timeout = Timespec::try_from(self.timeout).map_err(io::Error::other)?;
            if poll(&mut [PollFd::new(&self.file, events)], Some(&timeout))? == 0 {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }
}

impl Read for Fifo {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::IN, |file| file.read(buffer))
    }
}

impl Write for Fifo {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::OUT, |file| file.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
