// SPDX-License-Identifier: GPL-2.0
//! The first process of the target's namespace.

use crate::{options::RunOptions, outcome, output::Ends, process, target};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::Signal},
    unistd::{ForkResult, chdir, chroot},
};
use std::{
    os::fd::{AsFd as _, OwnedFd},
    process::exit,
};
use virgo_proto::clone::OutcomeHeader;

/// Who can open this may have functions and programs run, and use files of other nodes.
const DEVICE: &str = "/dev/virgo";

/// Runs the target, reports what came of it, and ends, which ends all others in the namespace.
pub(crate) fn run(options: &RunOptions, file: &OwnedFd, ends: Ends, report: &OwnedFd) -> ! {
    let outcome = run_target(options, file, ends, report).unwrap_or_else(outcome::failed);
    outcome::send(report, outcome);
    exit(0)
}

fn run_target(
    options: &RunOptions,
    file: &OwnedFd,
    ends: Ends,
    report: &OwnedFd,
) -> nix::Result<OutcomeHeader> {
    die_with_parent(report)?;
    enclose()?;
    let target = match process::fork()? {
        ForkResult::Child => {
            let Err(errno) = target::become_it(options, file, &ends);
            // It comes before the report of the process that waits for this one, and counts.
            outcome::send(report, outcome::failed(errno));
            exit(0)
        }
        ForkResult::Parent { child } => child,
    };
    drop(ends);
    // Processes whose parents have died become children of this one.
    loop {
        let (pid, status) = process::wait()?;
        if pid == target {
            return Ok(outcome::ended(status));
        }
    }
}

/// Has the kernel kill this process when its parent dies, of whatever.
fn die_with_parent(report: &OwnedFd) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have died before: then nobody reads the reports.
    let mut parent = [PollFd::new(report.as_fd(), PollFlags::empty())];
    if poll(&mut parent, PollTimeout::ZERO)? != 0 {
        exit(0);
    }
    Ok(())
}

/// Makes what is mounted here this namespace's own, and changes it so that the target cannot get out:
///
/// - All is shown at a second place, which becomes the root. The kernel lets no process make a user
///   namespace whose root is not that of its mounts; with one, it could mount a file system that it
///   serves itself, and have processes wait in there that cannot be killed.
/// - `/proc` shows this namespace's processes, here and not elsewhere.
/// - `/dev/virgo` is not there, so the target cannot have functions and programs run or use files of other
///   nodes.
fn enclose() -> nix::Result<()> {
    const NONE: Option<&str> = None;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("/"), "/proc", NONE, bind, NONE)?;
    chdir("/proc")?;
    chroot(".")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NONE)?;
    match mount(Some("/dev/null"), DEVICE, NONE, MsFlags::MS_BIND, NONE) {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    }
}
