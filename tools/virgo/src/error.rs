// SPDX-License-Identifier: GPL-2.0
//! Why a call has failed.

use crate::Id;
use libc::c_int;
use std::{
    fmt::{self, Display, Formatter},
    io,
};
use virgo_proto::errno::Errno;

/// Why a call has failed: what was to be done, and an errno.
///
/// ```no_run
/// use virgo::Id;
///
/// let stale: Id = "01000000a3f1c2d4".parse().expect("16 digits");
/// let error = virgo::free(stale).expect_err("freed already");
/// assert_eq!(error.errno(), libc::ESTALE);
/// assert_eq!(
///     error.to_string(),
///     "cannot free 01000000a3f1c2d4: freed, or its node has restarted (ESTALE)"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    tried: Tried,
    errno: c_int,
    /// What is wrong, if more is known than the errno says.
    reason: Option<&'static str>,
    /// A lock that guards the object has kept the caller out.
    fenced: bool,
}

/// What a call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Allocate {
        size: u64,
    },
    Set {
        id: Id,
        offset: u64,
        len: usize,
    },
    Get {
        id: Id,
        offset: u64,
        len: usize,
    },
    SetString {
        id: Id,
        len: usize,
    },
    Free {
        id: Id,
    },
    Run {
        count: usize,
    },
    Wait {
        job: u64,
    },
    WaitAny {
        count: usize,
    },
    Cancel {
        job: u64,
    },
    /// Do this with the file of this name.
    File {
        what: &'static str,
        name: String,
    },
    Queue {
        what: &'static str,
    },
    Lock {
        what: &'static str,
        name: String,
    },
}

impl Error {
    pub(crate) fn new(tried: Tried, errno: c_int) -> Self {
        Self {
            tried,
            errno,
            reason: None,
            fenced: false,
        }
    }

    /// The same, if a lock that guards the object has kept the caller out.
    pub(crate) fn by_fence(self, fenced: bool) -> Self {
        Self { fenced, ..self }
    }

    /// The same with a reason, if there is one that says more than the errno.
    pub(crate) fn because(self, reason: Option<&'static str>) -> Self {
        Self { reason, ..self }
    }

    /// Whether a call of a function or program has failed.
    pub fn is_of_call(&self) -> bool {
        matches!(
            self.tried,
            Tried::Run { .. } | Tried::Wait { .. } | Tried::WaitAny { .. } | Tried::Cancel { .. }
        )
    }

    /// Whether something with a file has failed.
    pub fn is_of_file(&self) -> bool {
        matches!(self.tried, Tried::File { .. })
    }

    /// Whether the use of a queue has failed.
    pub fn is_of_queue(&self) -> bool {
        matches!(self.tried, Tried::Queue { .. })
    }

    /// Whether it was refused since a lock guards what was to be changed: the caller has another one, or none,
    /// or somebody else has had the lock since. See [`fenced`](crate::fenced).
    pub fn is_of_fence(&self) -> bool {
        self.fenced
    }

    /// Whether the use of a cluster lock has failed.
    pub fn is_of_lock(&self) -> bool {
        matches!(self.tried, Tried::Lock { .. })
    }

    /// What is wrong, if more is known than the errno says.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    /// The file that was to be used; `None` if it was none, or one that is open.
    pub fn file(&self) -> Option<&str> {
        match &self.tried {
            Tried::File { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The error number, as in `<errno.h>`.
    pub fn errno(&self) -> c_int {
        self.errno
    }

    /// The allocation that was to be used; `None` if there was to be one, and for calls.
    pub fn id(&self) -> Option<Id> {
        match self.tried {
            Tried::Allocate { .. }
            | Tried::Run { .. }
            | Tried::Wait { .. }
            | Tried::WaitAny { .. }
            | Tried::Cancel { .. }
            | Tried::File { .. }
            | Tried::Queue { .. }
            | Tried::Lock { .. } => None,
            Tried::Set { id, .. }
            | Tried::Get { id, .. }
            | Tried::SetString { id, .. }
            | Tried::Free { id } => Some(id),
        }
    }
}

impl Display for Tried {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocate { size } => write!(f, "allocate {size} bytes"),
            Self::Set { id, offset, len } => write!(f, "set {len} bytes of {id} from {offset} on"),
            Self::Get { id, offset, len } => write!(f, "get {len} bytes of {id} from {offset} on"),
            Self::SetString { id, len } => write!(f, "set {id} to a string of {len} bytes"),
            Self::Free { id } => write!(f, "free {id}"),
            Self::Run { count: 1 } => write!(f, "run a call"),
            Self::Run { count } => write!(f, "run {count} calls"),
            Self::Wait { job } => write!(f, "wait for job {job}"),
            Self::WaitAny { count } => write!(f, "wait for {count} jobs"),
            Self::Cancel { job } => write!(f, "cancel job {job}"),
            Self::File { what, name } => write!(f, "{what} {name}"),
            Self::Queue { what } => f.write_str(what),
            Self::Lock { what, name } => write!(f, "{what} {name}"),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let errno = Reason(self.errno);
        match self.reason {
            Some(reason) => write!(f, "cannot {}: {reason} ({})", self.tried, errno.name()),
            None => write!(f, "cannot {}: {errno}", self.tried),
        }
    }
}

/// Shows what an errno means to VIRGO, and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(
    /// The errno.
    pub c_int,
);

impl Reason {
    /// The errno that VIRGO has of this number.
    fn known(self) -> Option<Errno> {
        let known = Errno::from_wire(self.0.unsigned_abs());
        (known.to_wire() == self.0.unsigned_abs()).then_some(known)
    }

    /// The symbolic name, or the number.
    fn name(self) -> String {
        match self.known() {
            Some(errno) => errno.name().to_owned(),
            None => format!("os error {}", self.0),
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.known() {
            // The text of proto is about text commands.
            Some(Errno::ENOSYS) => write!(f, "no module serves the call (ENOSYS)"),
            Some(errno) => write!(f, "{} ({})", errno.text(), errno.name()),
            None => io::Error::from_raw_os_error(self.0).fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    /// Keeps the [kind](io::Error::kind) and what was tried; the errno is that of the inner error.
    fn from(error: Error) -> Self {
        Self::new(Self::from_raw_os_error(error.errno).kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_happened_to_what() {
        let id = Id::from(0xa);
        let set = Tried::Set {
            id,
            offset: 4,
            len: 3,
        };
        let cases = [
            (
                Error::new(set, libc::EPERM),
                "cannot set 3 bytes of 000000000000000a from 4 on: belongs to another user (EPERM)",
            ),
            (
                Error::new(Tried::Allocate { size: 9 }, libc::ENOSYS),
                "cannot allocate 9 bytes: no module serves the call (ENOSYS)",
            ),
            (
                Error::new(Tried::Free { id }, libc::ENOTTY),
                "cannot free 000000000000000a: Inappropriate ioctl for device (os error 25)",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_reason_is_said_instead_of_what_the_errno_means() {
        let error = |errno, reason| {
            let error = Error::new(Tried::Queue { what: "publish" }, errno);
            error.because(reason).to_string()
        };
        assert_eq!(
            error(libc::EINVAL, Some("expected a name")),
            "cannot publish: expected a name (EINVAL)"
        );
        assert_eq!(
            error(libc::ENOTTY, Some("why")),
            "cannot publish: why (os error 25)"
        );
        assert_eq!(
            error(libc::EINVAL, None),
            "cannot publish: not valid (EINVAL)"
        );
    }

    #[test]
    fn says_which_jobs() {
        let text = |tried, errno| Error::new(tried, errno).to_string();
        assert_eq!(
            text(Tried::WaitAny { count: 3 }, libc::ETIMEDOUT),
            "cannot wait for 3 jobs: no answer in time (ETIMEDOUT)"
        );
        assert_eq!(
            text(Tried::Cancel { job: 7 }, libc::ESRCH),
            "cannot cancel job 7: no such job (ESRCH)"
        );
    }

    #[test]
    fn names_the_allocation() {
        let id = Id::from(7);
        assert_eq!(Error::new(Tried::Free { id }, libc::EPERM).id(), Some(id));
        assert_eq!(
            Error::new(Tried::Allocate { size: 1 }, libc::EPERM).id(),
            None
        );
    }

    #[test]
    fn becomes_an_io_error_of_the_same_kind() {
        let id = Id::from(7);
        let error = io::Error::from(Error::new(Tried::Free { id }, libc::EPERM));
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
        assert_eq!(inner.map(Error::errno), Some(libc::EPERM));
    }
}
