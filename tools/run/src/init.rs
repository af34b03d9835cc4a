// SPDX-License-Identifier: GPL-2.0
//! The first process of the target's namespace.

use crate::{options::Options, outcome, output::Ends, process, target};
use nix::{
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::Signal},
    unistd::ForkResult,
};
use std::{
    os::fd::{AsFd as _, OwnedFd},
    process::exit,
};
use virgo_proto::clone::Outcome;

/// Runs the target, reports what came of it, and ends, which ends all others in the namespace.
pub(crate) fn run(options: &Options, file: &OwnedFd, ends: Ends, report: &OwnedFd) -> ! {
    let outcome = run_target(options, file, ends, report).unwrap_or_else(outcome::failed);
    outcome::send(report, outcome);
    exit(0)
}

fn run_target(
    options: &Options,
    file: &OwnedFd,
    ends: Ends,
    report: &OwnedFd,
) -> nix::Result<Outcome> {
    die_with_parent(report)?;
    mount_proc()?;
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

/// Shows this namespace's processes in `/proc`, here and not elsewhere.
fn mount_proc() -> nix::Result<()> {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, NONE)
}
