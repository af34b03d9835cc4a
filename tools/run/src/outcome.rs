// SPDX-License-Identifier: GPL-2.0
//! What came of the target, and the pipe by which its parent tells.

use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{self, pipe2},
};
use std::{
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::ExitStatus,
};
use virgo_proto::clone::{OutcomeHeader, state};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// An outcome without output.
pub(crate) fn outcome(state: u32, value: i64) -> OutcomeHeader {
    OutcomeHeader {
        key: 0.into(),
        value: value.into(),
        state: state.into(),
        out_len: 0.into(),
        err_len: 0.into(),
        flags: 0.into(),
    }
}

/// The target did not run to its end.
pub(crate) fn failed(errno: Errno) -> OutcomeHeader {
    outcome(state::FAILED, i64::from(errno as i32))
}

/// The target has ended.
pub(crate) fn ended(status: ExitStatus) -> OutcomeHeader {
    match (status.code(), status.signal()) {
        (Some(code), _) => outcome(state::EXITED, code.into()),
        (None, signal) => outcome(state::KILLED, signal.unwrap_or_default().into()),
    }
}

/// The end to read outcomes from, and the one to write to. An outcome is passed as one piece.
pub(crate) fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC)
}

/// Tells an outcome. If nobody is there to hear it, nobody is told.
pub(crate) fn send(report: &OwnedFd, outcome: OutcomeHeader) {
    let _ = unistd::write(report, outcome.as_bytes());
}

/// The next outcome that was told.
///
/// # Errors
///
/// `EIO`: whoever should have told it is dead.
pub(crate) fn receive(reports: &OwnedFd) -> nix::Result<OutcomeHeader> {
    let mut bytes = [0; size_of::<OutcomeHeader>()];
    let read = unistd::read(reports, &mut bytes)?;
    let outcome = bytes
        .get(..read)
        .and_then(|bytes| OutcomeHeader::read_from_bytes(bytes).ok());
    outcome.ok_or(Errno::EIO)
}
