// SPDX-License-Identifier: GPL-2.0

//! Open files of this node, which whoever has them open can change only as their fences let it.
//!
//! The lock that is said when a file is opened holds for all that is done with it. Opening raises the fence, so
//! who had the lock before is kept out from then on. What only reads, and who may only read, is not asked.

use crate::{
    fences::{
        FileFence,
        FileFences, //
    },
    held::HeldFile,
    local, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    uaccess::UserPtr, //
};
use linux::{
    pages::Pages,
    vfs::{
        File,
        FileStat, //
    }, //
};
use virgo_config::Config;
use virgo_proto::{
    cloudfs::open as flags,
    fence::FenceClaim,
    worker_shares::WorkOwner, //
};

/// By what a file that is open for writing is changed.
struct WriteAccess {
    fence: FileFence,
    /// The lock that whoever has opened it has.
    claim: Option<FenceClaim>,
}

/// A file that was just opened. To be held, or closed: see [`linux::closing`].
pub(crate) struct NewFile {
    access: Option<WriteAccess>,
    file: File,
}

/// An open file. Its fields are dropped in order: the fence goes before the file.
pub(crate) struct FencedFile {
    access: Option<WriteAccess>,
    file: HeldFile,
}

/// Whether a file may be opened with these flags by who has the lock `claim`, or none: what is only read needs
/// none.
pub(crate) fn may_claim(how: u32, claim: Option<FenceClaim>) -> bool {
    claim.is_none() || how & flags::WRITE != 0
}

/// Opens `path` for who has the lock `claim`, or none; `how` are flags of [`virgo_proto::cloudfs::open`] that
/// [`may_claim`]. Sleeps for the disk.
///
/// # Errors
///
/// As open(2); those of [`FileFence::change`], if the file is to be cut or there is a lock.
pub(crate) fn open(
    fences: &Arc<FileFences>,
    config: &Config,
    path: &[u8],
    (how, mode): (u32, u16),
    claim: Option<FenceClaim>,
) -> Result<NewFile> {
    let (file, is_cut) = local::open(config, path, how, mode)?;
    let begin = || -> Result<Option<WriteAccess>> {
        if how & flags::WRITE == 0 && !is_cut {
            return Ok(None);
        }
        let fence = FileFences::of(fences, &file)?;
        match (is_cut, claim) {
            (true, _) => fence.change(&file, claim, File::empty)?,
            (false, Some(_)) => fence.change(&file, claim, |_| Ok(()))?,
            (false, None) => (),
        }
        Ok(Some(WriteAccess { fence, claim }))
    };
    match begin() {
        Ok(access) => Ok(NewFile { access, file }),
        Err(e) => {
            file.close();
            Err(e)
        }
    }
}

impl NewFile {
    /// Closes it now.
    pub(crate) fn close(self) {
        drop(self.access);
        self.file.close();
    }

    /// Has it held.
    pub(crate) fn held(self, hold: impl FnOnce(File) -> HeldFile) -> FencedFile {
        FencedFile {
            access: self.access,
            file: hold(self.file),
        }
    }

    /// Tells the file system that it is on from others.
    pub(crate) fn device(&self) -> u32 {
        self.file.device()
    }
}

impl FencedFile {
    /// Whether `config` still has an export that it is in, for what it was opened for. May sleep.
    pub(crate) fn is_exported_by(&self, config: &Config) -> bool {
        config.is_exported(&self.file)
    }

    /// Makes a change, if the fence lets it.
    fn change<T>(&self, change: impl FnOnce(&File) -> Result<T>) -> Result<T> {
        match &self.access {
            Some(access) => access.fence.change(&self.file, access.claim, change),
            // The kernel refuses it.
            None => change(&self.file),
        }
    }

    /// As [`File::write`].
    ///
    /// # Errors
    ///
    /// As there; those of [`FileFence::change`]. So for all that changes the file.
    pub(crate) fn write(&self, offset: u64, from: &[u8]) -> Result<usize> {
        self.change(|file| file.write(offset, from))
    }

    /// As [`File::write_user`].
    pub(crate) fn write_user(&self, offset: u64, from: UserPtr, len: usize) -> Result<usize> {
        self.change(|file| file.write_user(offset, from, len))
    }

    /// As [`File::truncate`].
    pub(crate) fn truncate(&self, size: u64) -> Result {
        self.change(|file| file.truncate(size))
    }

    /// As [`File::sync`]; of a file that a lock guards everything, and its fence.
    pub(crate) fn sync(&self, data_only: bool) -> Result {
        let is_fenced = match &self.access {
            Some(access) => access.fence.is_closed()?,
            None => false,
        };
        self.file.sync(data_only && !is_fenced)
    }

    /// As [`File::read`].
    pub(crate) fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize> {
        self.file.read(offset, to)
    }

    /// As [`File::read_cached`].
    pub(crate) fn read_cached(&self, offset: u64, to: &mut [u8]) -> Result<usize> {
        self.file.read_cached(offset, to)
    }

    /// As [`File::read_user`].
    pub(crate) fn read_user(&self, offset: u64, to: UserPtr, len: usize) -> Result<usize> {
        self.file.read_user(offset, to, len)
    }

    /// As [`File::cached_pages`].
    pub(crate) fn cached_pages(&self, offset: u64, len: usize) -> Result<Pages> {
        self.file.cached_pages(offset, len)
    }

    /// As [`File::stat`].
    pub(crate) fn stat(&self) -> Result<FileStat> {
        self.file.stat()
    }

    /// As [`File::is_synchronous`].
    pub(crate) fn is_synchronous(&self) -> bool {
        self.file.is_synchronous()
    }

    /// Who uses it.
    pub(crate) fn owner(&self) -> WorkOwner {
        self.file.closer().owner()
    }
}
