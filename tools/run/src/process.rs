// SPDX-License-Identifier: GPL-2.0
//! What of handling processes is unsafe.
#![expect(
    unsafe_code,
    reason = "processes are made, and descriptors given to them"
)]

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::signal::{self, Signal},
    unistd::{self, ForkResult, Pid},
};
use std::{
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
};

/// How long killed processes are waited for, in milliseconds.
const PATIENCE_MS: u16 = 1000;

/// Makes a child that goes on here.
pub(crate) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: This program starts no thread, so none can have held a lock that would be held for
    // ever in the child: it may do whatever its parent may.
    unsafe { unistd::fork() }
}

/// Waits until a child has ended.
pub(crate) fn wait() -> nix::Result<(Pid, ExitStatus)> {
    let mut status = 0;
    // SAFETY: `status` is there to be written.
    let pid = Errno::result(unsafe { libc::wait(&raw mut status) })?;
    Ok((Pid::from_raw(pid), ExitStatus::from_raw(status)))
}

/// Kills the first process of a namespace, our only child. When it is gone, so are all others in
/// there.
///
/// That is waited for for [`PATIENCE_MS`] only: one of them may be stuck in the kernel, or be traced from
/// outside, and somebody waits for this program. When it has ended, the system's first process reaps
/// them.
pub(crate) fn kill(child: Pid) {
    let descriptor = open(child);
    // It is dead or alive, but not waited for: nobody else can have its number.
    let _ = signal::kill(child, Signal::SIGKILL);
    if let Ok(descriptor) = descriptor {
        let mut ended = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ended, PATIENCE_MS) == Ok(0) {
            return;
        }
    }
    let _ = wait();
}

/// A descriptor of a child, to be waited at.
fn open(child: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: Has no preconditions.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) })?;
    // SAFETY: It was just opened, and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes `target` another descriptor of `file`, which a program that is executed has, too.
pub(crate) fn duplicate(file: &OwnedFd, target: RawFd) -> nix::Result<()> {
    // SAFETY: Nothing in this program owns `target`, since `/dev/null` took the first free place.
    Errno::result(unsafe { libc::dup2(file.as_raw_fd(), target) }).map(drop)
}

/// Keeps the descriptors from `first` on from a program that is executed.
pub(crate) fn hide_descriptors(first: RawFd) -> nix::Result<()> {
    let (first, flags) = (first as u32, libc::CLOSE_RANGE_CLOEXEC as i32);
    // SAFETY: They stay open in this process.
    Errno::result(unsafe { libc::close_range(first, u32::MAX, flags) }).map(drop)
}

/// Has no signal ignored, as some are here and may have been by whoever started this.
pub(crate) fn default_signals() {
    // The kernel's own structure with all members zero: the default, no flags, nothing blocked.
    let default = [0u64; 4];
    for signal in 1..=libc::SIGRTMAX() {
        // By number, since the C library keeps the first real-time signals for itself.
        // SAFETY: The structure is valid for reads; no handler is set. Those signals that nobody
        // can ignore are refused, as they may.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
}
