// SPDX-License-Identifier: GPL-2.0
//! Using and freeing allocations.

use crate::{Error, Id, Result, call, error::Tried, fence::Fence};
use libc::EIO;
use std::{
    ffi::{CStr, CString},
    time::Duration,
};

/// Bytes that [`get_string`] asks for at a time.
const STRING_STEP: usize = 4096;

/// Copies `data` into allocation `id`, from byte `offset` on.
///
/// # Errors
///
/// `EFBIG` if it goes beyond the end of the allocation; `EINVAL` for an id that no node has issued;
/// `ESTALE` for one that is freed, or whose node has restarted; `EPERM` if the allocation belongs
/// to another uid and is not shared; `ENOLCK` if a lock guards it, see [`fenced`]; `EHOSTDOWN`, `ETIMEDOUT` or `ECONNRESET` if other nodes do
/// not answer; `ENOSYS` if virgo_mempool is not loaded. A part of the bytes may have been copied:
/// the error says from which byte on it failed.
pub fn set(id: Id, offset: u64, data: &[u8]) -> Result<()> {
    Within::default().set(id, offset, data)
}

/// Copies bytes of allocation `id` into `data`, from byte `offset` on. Returns how many: fewer
/// than there is room for only at the end of the allocation.
///
/// # Errors
///
/// As for [`set`], but never `EFBIG`.
pub fn get(id: Id, offset: u64, data: &mut [u8]) -> Result<usize> {
    Within::default().get(id, offset, data)
}

/// Frees allocation `id`. Root may free those of others.
///
/// # Errors
///
/// As for [`set`], but never `EFBIG`. If a node that has a part of it does not answer, the
/// allocation stays and can be freed again.
pub fn free(id: Id) -> Result<()> {
    Within::default().free(id)
}

/// Copies a string into allocation `id`, and its NUL if there is room.
///
/// # Errors
///
/// As for [`set`]; `EMSGSIZE` for a string of 64 KiB or more.
pub fn set_string(id: Id, text: &CStr) -> Result<()> {
    let len = text.count_bytes();
    match call::set(id.into(), text) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::new(Tried::SetString { id, len }, errno)),
    }
}

/// Returns the string in allocation `id`: its bytes up to the first NUL, or all.
///
/// This is the system call `virgo_get` for a caller who need not know the allocation's size.
///
/// # Errors
///
/// As for [`get`].
pub fn get_string(id: Id) -> Result<CString> {
    let mut text = Vec::new();
    loop {
        let start = text.len();
        text.resize(start + STRING_STEP, 0);
        get(id, start as u64, &mut text[start..])?;
        // Bytes behind the end of the allocation stay NULs.
        if let Ok(text) = CStr::from_bytes_until_nul(&text) {
            return Ok(text.to_owned());
        }
    }
}

/// Sets the deadline of calls: they end within `timeout`, rounded up to milliseconds.
///
/// One that has copied only some of the bytes by then may take as long again to find out why.
///
/// ```no_run
/// use std::time::Duration;
///
/// # let id = virgo::Id::from(0);
/// let mut text = [0; 5];
/// virgo::within(Duration::from_millis(200)).get(id, 0, &mut text)?;
/// # Ok::<(), virgo::Error>(())
/// ```
pub fn within(timeout: Duration) -> Within<'static> {
    Within {
        timeout_ms: milliseconds(timeout),
        fence: None,
    }
}

/// Says which lock guards what the calls change: an allocation that was set with a token refuses smaller
/// ones of the same lock, other locks, and those who have none. So what a holder writes late, who does not
/// know that somebody else has the lock since, is refused.
///
/// Each piece of an allocation that is split has a fence of its own: whoever gets the lock begins with a
/// set of no bytes, which raises those of all pieces. Its owner, and root, may free an allocation without
/// its lock.
///
/// ```no_run
/// use virgo::lock::{Fence, Mode, Session};
///
/// # let id = virgo::Id::from(0);
/// let session = Session::open()?;
/// let held = session.lock("ledger", Mode::Ex)?;
/// let fence = Fence::new("ledger", held.token);
/// // ESTALE if somebody else has had the lock since.
/// virgo::fenced(&fence).set(id, 0, b"total 17")?;
/// # Ok::<(), virgo::Error>(())
/// ```
pub fn fenced(fence: &Fence) -> Within<'_> {
    Within::default().fenced(fence)
}

/// Calls with a deadline, see [`within`]; the default is the one that the node's configuration
/// sets. Each of the methods is what the function of its name is; a timeout above 300 s is
/// `EINVAL`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Within<'a> {
    pub(crate) timeout_ms: u32,
    fence: Option<&'a Fence>,
}

impl<'a> Within<'a> {
    /// The same with a lock, see [`fenced`].
    pub fn fenced(self, fence: &'a Fence) -> Self {
        Self {
            fence: Some(fence),
            ..self
        }
    }

    /// Why an allocation refuses a change: `ESTALE` has two reasons.
    fn refused(self, tried: Tried, id: Id, errno: i32) -> Error {
        let is_there = || call::get2(id.into(), 0, &mut [], self.timeout_ms).is_ok();
        let reason = match (errno, self.fence) {
            (libc::ESTALE, Some(_)) if is_there() => {
                Some("somebody else has had the lock since this token was granted")
            }
            (libc::ENOLCK, Some(_)) => Some("another lock guards it"),
            (libc::ENOLCK, None) => Some("a lock guards it"),
            _ => None,
        };
        Error::new(tried, errno)
            .because(reason)
            .by_fence(reason.is_some())
    }

    /// See [`set`].
    ///
    /// # Errors
    ///
    /// As for [`set`]; `ESTALE` if somebody else has had the lock since, `ENOLCK` if another lock guards it.
    pub fn set(self, id: Id, mut offset: u64, mut data: &[u8]) -> Result<()> {
        loop {
            let len = data.len();
            match call::set2(id.into(), offset, data, self.timeout_ms, self.fence) {
                Ok(n) if n >= len => return Ok(()),
                Ok(n @ 1..) => {
                    data = &data[n..];
                    offset += n as u64;
                }
                // Nothing done and no error: the call does not do that, but a loop must end.
                Ok(0) => return Err(Error::new(Tried::Set { id, offset, len }, EIO)),
                Err(errno) => return Err(self.refused(Tried::Set { id, offset, len }, id, errno)),
            }
        }
    }

    /// See [`get`].
    ///
    /// # Errors
    ///
    /// As for [`get`].
    pub fn get(self, id: Id, offset: u64, data: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        loop {
            let rest = &mut data[done..];
            let (offset, len) = (offset.saturating_add(done as u64), rest.len());
            match call::get2(id.into(), offset, rest, self.timeout_ms) {
                // Less than was asked for is not the end yet: the rest may have failed.
                Ok(n @ 1..) if n < len => done += n,
                Ok(n) => return Ok(done + n),
                Err(errno) => return Err(Error::new(Tried::Get { id, offset, len }, errno)),
            }
        }
    }

    /// See [`free`].
    ///
    /// # Errors
    ///
    /// As for [`free`]; `ESTALE` if somebody else has had the lock since, `ENOLCK` if another lock guards
    /// it.
    pub fn free(self, id: Id) -> Result<()> {
        match call::free2(id.into(), self.timeout_ms, self.fence) {
            Ok(_) => Ok(()),
            Err(errno) => Err(self.refused(Tried::Free { id }, id, errno)),
        }
    }
}

/// The number for the arguments of a call. It is never 0, which would mean the configured one.
pub(crate) fn milliseconds(timeout: Duration) -> u32 {
    let rounded_up = timeout.as_nanos().div_ceil(1_000_000).max(1);
    u32::try_from(rounded_up).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up() {
        assert_eq!(milliseconds(Duration::ZERO), 1);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(7)), 7);
        assert_eq!(milliseconds(Duration::from_micros(7_001)), 8);
        assert_eq!(milliseconds(Duration::MAX), u32::MAX);
    }
}
