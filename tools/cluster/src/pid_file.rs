// SPDX-License-Identifier: GPL-2.0
//! QEMU processes, known by their pid files.
//!
//! QEMU holds a lock on its pid file while it lives, and the kernel tells who holds it. So a pid
//! file left behind never leads to a process that got the same number later.

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{
        Flock, FlockType, Pid, PidfdFlags, Signal, fcntl_getlk, pidfd_open, pidfd_send_signal,
    },
};
use std::{fs::File, io::ErrorKind, path::Path};

/// How long a killed process may take to be gone.
const GONE_WITHIN: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// The living process that a pid file belongs to.
fn holder(pid_file: &Path) -> Result<Option<Pid>> {
    let file = match File::open(pid_file) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", pid_file.display())),
    };
    let lock = fcntl_getlk(file, &Flock::from(FlockType::ReadLock))
        .with_context(|| format!("cannot ask for the lock on {}", pid_file.display()))?;
    Ok(lock.and_then(|lock| lock.pid))
}

/// Whether the process that a pid file belongs to lives.
pub(crate) fn alive(pid_file: &Path) -> Result<bool> {
    Ok(holder(pid_file)?.is_some())
}

/// Kills the process that a pid file belongs to, and returns when it is gone. Says whether there
/// was one.
pub(crate) fn kill(pid_file: &Path) -> Result<bool> {
    let Some(pid) = holder(pid_file)? else {
        return Ok(false);
    };
    let gone = |error| match error {
        Errno::SRCH => Ok(false),
        other => Err(other).with_context(|| format!("cannot kill QEMU, process {pid}")),
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(error) => return gone(error),
    };
    // If it still holds the lock, the number has not been given to another one in between.
    if holder(pid_file)? != Some(pid) {
        return Ok(false);
    }
    if let Err(error) = pidfd_send_signal(&process, Signal::KILL) {
        return gone(error);
    }
    if poll(
        &mut [PollFd::new(&process, PollFlags::IN)],
        Some(&GONE_WITHIN),
    )? == 0
    {
        bail!("QEMU, process {pid}, was killed and does not go away");
    }
    Ok(true)
}
