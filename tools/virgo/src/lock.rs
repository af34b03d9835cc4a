// SPDX-License-Identifier: GPL-2.0
//! Cluster locks.
//!
//! ```no_run
//! # fn main() -> Result<(), virgo::Error> {
//! use virgo::lock::{Mode, Session};
//! let session = Session::open()?;
//! let held = session.lock("backup", Mode::Ex)?;
//! println!("nobody else backs up; token {}", held.token);
//! session.unlock("backup")?;
//! # Ok(()) }
//! ```

pub use crate::fence::Fence;
use crate::{
    Error, Result,
    abi::{LOCK_ASYNC, LOCK_FOREVER, LOCK_TRY, LOCK_VALID, LockArgs, LockEvent, lock_op as op},
    call,
    error::Tried,
    memory::milliseconds,
};
use libc::c_int;
use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};
pub use virgo_proto::cloudsync::{MAX_NAME, Mode, VALUE};

/// How a lock is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For the configured time.
    Configured,
    /// For so long at most, rounded up to milliseconds.
    For(Duration),
    /// Until the program is killed.
    Forever,
    /// Not at all: `EAGAIN` if it is not free.
    Try,
}

/// A lock that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The fencing token: larger than that of all who had the lock before and exclude this one.
    pub token: u64,
    /// The value block.
    pub value: [u8; VALUE],
    /// Whether it is what was written last; not if who may have written it is gone.
    pub is_valid: bool,
}

/// What has happened to a lock of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// One that was asked for by [`Session::begin`] was granted.
    Granted {
        /// Its name.
        name: Vec<u8>,
        /// Its token.
        token: u64,
    },
    /// Somebody waits whom it keeps out.
    Blocks {
        /// Its name.
        name: Vec<u8>,
    },
    /// It was refused, for this errno.
    Refused {
        /// Its name.
        name: Vec<u8>,
        /// Why.
        errno: c_int,
    },
    /// The cluster went on without this node.
    Lost {
        /// Its name.
        name: Vec<u8>,
    },
    /// There was no room for events that came here: any lock of the session may have been granted, refused or
    /// lost.
    Missed,
}

/// Who has locks. They end with it, however the program ends. Its descriptor is readable when there is an
/// event.
#[derive(Debug)]
pub struct Session {
    descriptor: OwnedFd,
}

fn failed(what: &'static str, name: &[u8], errno: c_int) -> Error {
    let reason = match errno {
        libc::EINVAL if name.is_empty() => Some("a name has at least one byte"),
        libc::ENAMETOOLONG => Some("a name has at most 255 bytes"),
        libc::EHOSTDOWN => Some("there is no majority of the cluster"),
        libc::ESTALE => Some("it was lost, or has another token"),
        libc::EAGAIN => Some("somebody has it"),
        libc::ETIMEDOUT => Some("not granted in time"),
        libc::EALREADY => Some("the session has it, or waits for it"),
        _ => None,
    };
    let name = String::from_utf8_lossy(name).into_owned();
    Error::new(Tried::Lock { what, name }, errno).because(reason)
}

impl Session {
    /// A session without locks.
    ///
    /// # Errors
    ///
    /// `ENOSYS` without virgo_cloudsync; `EMFILE`.
    #[expect(unsafe_code, reason = "a descriptor that the kernel has made")]
    pub fn open() -> Result<Self> {
        let mut args = LockArgs {
            op: op::OPEN,
            fd: -1,
            ..LockArgs::default()
        };
        let fd = call::lock(&mut args, b"", None);
        let fd = fd.and_then(|fd| i32::try_from(fd).map_err(|_| libc::EBADF));
        let fd = fd.map_err(|errno| failed("open a session for", b"locks", errno))?;
        // SAFETY: The kernel has just made it for this program, and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { descriptor })
    }

    fn args(&self, op: u32, mode: Option<Mode>, wait: Wait) -> LockArgs {
        LockArgs {
            op,
            fd: self.descriptor.as_raw_fd(),
            mode: mode.map_or(0, |mode| mode.to_wire().into()),
            flags: if wait == Wait::Try { LOCK_TRY } else { 0 },
            timeout_ms: match wait {
                Wait::Configured | Wait::Try => 0,
                Wait::For(time) => milliseconds(time),
                Wait::Forever => LOCK_FOREVER,
            },
            ..LockArgs::default()
        }
    }

    /// Locks `name`, for the configured time at most.
    ///
    /// # Errors
    ///
    /// As for [`Self::lock_with`].
    pub fn lock(&self, name: impl AsRef<[u8]>, mode: Mode) -> Result<Held> {
        self.lock_with(name, mode, Wait::Configured)
    }

    /// Locks `name`.
    ///
    /// # Errors
    ///
    /// `EAGAIN` or `ETIMEDOUT` if somebody has it; `EHOSTDOWN` if there is no majority of the cluster;
    /// `EALREADY` if this session has it; `EDEADLK` if it would wait for ever.
    pub fn lock_with(&self, name: impl AsRef<[u8]>, mode: Mode, wait: Wait) -> Result<Held> {
        self.take(op::LOCK, "lock", name.as_ref(), mode, wait, [0; VALUE])
    }

    /// Changes the mode of a lock. To a weaker one than PW or EX it writes `value`.
    ///
    /// # Errors
    ///
    /// As for [`Self::lock_with`], and the lock is as it was; `ENOENT` if this session does not have it;
    /// `ESTALE` if it was lost.
    pub fn convert(
        &self,
        name: impl AsRef<[u8]>,
        mode: Mode,
        wait: Wait,
        value: [u8; VALUE],
    ) -> Result<Held> {
        self.take(op::CONVERT, "convert", name.as_ref(), mode, wait, value)
    }

    fn take(
        &self,
        op: u32,
        what: &'static str,
        name: &[u8],
        mode: Mode,
        wait: Wait,
        mut value: [u8; VALUE],
    ) -> Result<Held> {
        let mut args = self.args(op, Some(mode), wait);
        let done = call::lock(&mut args, name, Some(&mut value));
        done.map_err(|errno| failed(what, name, errno))?;
        Ok(Held {
            token: args.token,
            value,
            is_valid: args.flags & LOCK_VALID != 0,
        })
    }

    /// Asks for a lock and does not wait: it is granted if this returns it, or an event follows, within the
    /// configured time.
    ///
    /// # Errors
    ///
    /// As for [`Self::lock_with`].
    pub fn begin(&self, name: impl AsRef<[u8]>, mode: Mode) -> Result<Option<Held>> {
        self.begin_with(name, mode, Wait::Configured)
    }

    /// Asks for a lock and does not wait: it is granted if this returns it, or an event follows: the grant, or
    /// after the time of `wait` a refusal for `ETIMEDOUT`, or `EHOSTDOWN` if there is no majority of the cluster.
    ///
    /// # Errors
    ///
    /// As for [`Self::lock_with`].
    pub fn begin_with(
        &self,
        name: impl AsRef<[u8]>,
        mode: Mode,
        wait: Wait,
    ) -> Result<Option<Held>> {
        let name = name.as_ref();
        let mut args = self.args(op::LOCK, Some(mode), wait);
        args.flags |= LOCK_ASYNC;
        let mut value = [0; VALUE];
        match call::lock(&mut args, name, Some(&mut value)) {
            Ok(_) => Ok(Some(Held {
                token: args.token,
                value,
                is_valid: args.flags & LOCK_VALID != 0,
            })),
            Err(libc::EINPROGRESS) => Ok(None),
            Err(errno) => Err(failed("lock", name, errno)),
        }
    }

    /// Gives a lock back, or stops waiting for it.
    ///
    /// # Errors
    ///
    /// `ENOENT` if this session does not have it; `ESTALE` if it was lost.
    pub fn unlock(&self, name: impl AsRef<[u8]>) -> Result<()> {
        self.unlock_with(name, 0, None)
    }

    /// Gives a lock back if it has this token, or whatever it has for 0, and writes its value block, if it
    /// is held in PW or EX.
    ///
    /// # Errors
    ///
    /// As for [`Self::unlock`]; `ESTALE` if it has another token.
    pub fn unlock_with(
        &self,
        name: impl AsRef<[u8]>,
        token: u64,
        value: Option<[u8; VALUE]>,
    ) -> Result<()> {
        let name = name.as_ref();
        let mut args = self.args(op::UNLOCK, None, Wait::Configured);
        args.token = token;
        let mut value = value;
        call::lock(&mut args, name, value.as_mut())
            .map_err(|errno| failed("unlock", name, errno))?;
        Ok(())
    }

    /// Has programs that this one starts, or becomes by exec, keep the session, too.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    #[expect(unsafe_code, reason = "fcntl")]
    pub fn keep_on_exec(&self) -> Result<()> {
        // SAFETY: Changes a flag of a descriptor that is open.
        match unsafe { libc::fcntl(self.descriptor.as_raw_fd(), libc::F_SETFD, 0) } {
            -1 => {
                let errno = std::io::Error::last_os_error().raw_os_error();
                Err(failed("pass on", b"locks", errno.unwrap_or(libc::EBADF)))
            }
            _ => Ok(()),
        }
    }

    /// The next event; waits for it.
    ///
    /// # Errors
    ///
    /// `EINTR` if a signal comes.
    pub fn next_event(&self) -> Result<SessionEvent> {
        let error = |e: std::io::Error| {
            failed(
                "read an event of",
                b"locks",
                e.raw_os_error().unwrap_or(libc::EIO),
            )
        };
        let mut bytes = [0; size_of::<LockEvent>()];
        let mut file = File::from(self.descriptor.try_clone().map_err(error)?);
        file.read_exact(&mut bytes).map_err(error)?;
        let number =
            |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        let token = u64::from_ne_bytes(bytes[..8].try_into().unwrap_or_default());
        let len = (number(20) as usize).min(MAX_NAME);
        let name = bytes[24..24 + len].to_vec();
        Ok(match number(8) {
            1 => SessionEvent::Granted { name, token },
            2 => SessionEvent::Blocks { name },
            3 => SessionEvent::Refused {
                name,
                errno: number(16) as c_int,
            },
            5 => SessionEvent::Missed,
            _ => SessionEvent::Lost { name },
        })
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
