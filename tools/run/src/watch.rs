// SPDX-License-Identifier: GPL-2.0
//! Waits for what ends a call: the target's end, the deadline, or the kernel's wish.

use crate::{outcome, output::TargetOutput};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signalfd::SignalFd,
};
use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::Instant,
};
use virgo_proto::clone::OutcomeHeader;

/// Reads the target's output until the end, and says what that was.
pub(crate) fn until_end(
    output: &mut TargetOutput,
    reports: &OwnedFd,
    cancelled: &SignalFd,
    deadline: Instant,
) -> OutcomeHeader {
    loop {
        match wait(output, reports, cancelled, deadline) {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => output.read(),
            Err(errno) => return outcome::failed(errno),
        };
    }
}

/// Waits until something happens; `None` if it is not the end.
fn wait(
    output: &TargetOutput,
    reports: &OwnedFd,
    cancelled: &SignalFd,
    deadline: Instant,
) -> nix::Result<Option<OutcomeHeader>> {
    // A target that prints without a pause does not get more time for it.
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Errno::ETIMEDOUT);
    }
    let awaited = [cancelled.as_fd(), reports.as_fd()]
        .into_iter()
        .chain(output.pipes());
    let mut awaited: Vec<_> = awaited
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    if poll(&mut awaited, timeout)? == 0 {
        return Err(Errno::ETIMEDOUT);
    }
    match awaited.as_slice() {
        [cancelled, ..] if cancelled.any() == Some(true) => Err(Errno::ECANCELED),
        [_, report, ..] if report.any() == Some(true) => outcome::receive(reports).map(Some),
        _ => Ok(None),
    }
}
