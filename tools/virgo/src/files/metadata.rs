// SPDX-License-Identifier: GPL-2.0
//! What is known of files.

use super::name::{error, path};
use crate::{Result, abi, call};
use std::{
    ffi::OsStr,
    time::{Duration, SystemTime},
};

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct Metadata(abi::Stat);

impl From<abi::Stat> for Metadata {
    fn from(stat: abi::Stat) -> Self {
        Self(stat)
    }
}

impl Metadata {
    /// All of it.
    pub fn stat(&self) -> &abi::Stat {
        &self.0
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.0.size
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.size == 0
    }

    fn is(&self, kind: libc::mode_t) -> bool {
        self.0.mode & libc::S_IFMT == kind
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }

    /// When its content changed last.
    pub fn modified(&self) -> SystemTime {
        let seconds = Duration::from_secs(self.0.mtime_s.unsigned_abs());
        let since = match self.0.mtime_s {
            0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
            _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
        };
        let nanoseconds = Duration::from_nanos(self.0.mtime_ns.into());
        let exact = since.and_then(|since| since.checked_add(nanoseconds));
        // Another node may say what this machine's clock cannot show.
        exact.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// What is known of the file of this name.
///
/// # Errors
///
/// As for [`Open::open`].
pub fn metadata(name: impl AsRef<OsStr>) -> Result<Metadata> {
    stat(name.as_ref(), 0)
}

/// Like [`metadata`], of a symbolic link itself.
///
/// # Errors
///
/// As for [`Open::open`].
pub fn symlink_metadata(name: impl AsRef<OsStr>) -> Result<Metadata> {
    stat(name.as_ref(), abi::STAT_NO_FOLLOW)
}

fn stat(name: &OsStr, flags: u32) -> Result<Metadata> {
    let stat = call::stat_at(&path("look at", name)?, flags, 0);
    stat.map(Metadata::from)
        .map_err(|errno| error("look at", name, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_cannot_be_are_no_panic() {
        for (mtime_s, mtime_ns) in [(i64::MAX, u32::MAX), (i64::MIN, 0), (-1, 5)] {
            let _ = Metadata(abi::Stat {
                mtime_s,
                mtime_ns,
                ..Default::default()
            })
            .modified();
        }
    }

    #[test]
    fn times_before_1970_are_times() {
        let stat = abi::Stat {
            mtime_s: -1,
            mtime_ns: 500_000_000,
            ..Default::default()
        };
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(500);
        assert_eq!(Metadata(stat).modified(), before);
    }
}
