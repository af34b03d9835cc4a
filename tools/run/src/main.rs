// SPDX-License-Identifier: GPL-2.0
//! Runs one program for another node. The kernel starts it, as root, when it has found the
//! program's path on the list of those that are allowed:
//!
//! ```text
//! virgo-run --uid U --gid G --timeout-ms N --max-output BYTES [--returns] -- PATH [ARG...]
//! ```
//!
//! On standard output it writes one [`OutcomeHeader`] with the target's output, and nothing else to
//! anywhere. Its exit status is 0 if it could write that.
//!
//! There are three processes:
//!
//! 1. this one, which [watches](watch) time, output, and whether the kernel cancels;
//! 2. the [first process](init) of a PID namespace: when it dies, so does all that the target has
//!    started, however that hides;
//! 3. the [target], its child and not itself the first process, since that one would not be
//!    killed by signals of its own.

mod init;
mod limits;
mod options;
mod outcome;
mod output;
mod process;
mod target;
mod watch;

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        stat::Mode,
    },
    unistd::{ForkResult, dup2_stderr, dup2_stdin},
};
use options::RunOptions;
use output::TargetOutput;
use std::{
    env,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::ExitCode,
    time::Instant,
};
use virgo_proto::clone::OutcomeHeader;

fn main() -> ExitCode {
    let start = Instant::now();
    let mut output = TargetOutput::default();
    let outcome = run(start, &mut output).unwrap_or_else(outcome::failed);
    match write(&output.result(outcome)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(start: Instant, output: &mut TargetOutput) -> nix::Result<OutcomeHeader> {
    // Nothing that is found wrong here may be said where the result goes. The descriptor takes
    // the first free place, so that none that follows is the target's third.
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stderr(&null)?;

    let options = RunOptions::parse(env::args_os())?;
    let file = virgo_exact_path::open(options.path())?;
    let deadline = start + options.timeout;
    prctl::set_dumpable(false)?;
    let cancelled = cancellation()?;
    let ends = output.open(&options)?;
    let (reports, report) = outcome::pipe()?;
    new_namespaces()?;
    match process::fork()? {
        ForkResult::Child => {
            output.close();
            drop(reports);
            init::run(&options, &file, ends, &report)
        }
        ForkResult::Parent { child } => {
            drop((ends, report));
            let outcome = watch::until_end(output, &reports, &cancelled, deadline);
            process::kill(child);
            output.rest();
            Ok(output.returned(outcome))
        }
    }
}

/// SIGTERM, by which the kernel cancels, to be waited for beside other things.
fn cancellation() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
}

/// The next child is in namespaces of its own: of processes, of mounts for the sake of its
/// `/proc`, and of System V objects, which would otherwise outlive their makers. Kernels without
/// that last one are too small to be shared with strangers, but they do run in the tests.
fn new_namespaces() -> nix::Result<()> {
    let needed = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    match unshare(needed | CloneFlags::CLONE_NEWIPC) {
        Err(Errno::EINVAL) => unshare(needed),
        result => result,
    }
}

fn write(result: &[u8]) -> io::Result<()> {
    let file: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    File::from(file).write_all(result)
}
