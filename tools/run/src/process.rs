// SPDX-License-Identifier: GPL-2.0
//! What of handling processes is unsafe.
#![expect(
    unsafe_code,
    reason = "processes are made, and descriptors given to them"
)]

use nix::{
    errno::Errno,
    sys::signal::{self, Signal},
    unistd::{self, ForkResult, Pid},
};
use std::{
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::process::ExitStatusExt as _,
    },
    process::ExitStatus,
};

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
pub(crate) fn kill(child: Pid) {
    // It is dead or alive, but not waited for: nobody else can have its number.
    let _ = signal::kill(child, Signal::SIGKILL);
    let _ = wait();
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
