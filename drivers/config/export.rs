// SPDX-License-Identifier: GPL-2.0

//! Directories for other nodes.

use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use linux::vfs::{
    Beneath,
    Credentials,
    Directories,
    File, //
};
use virgo_proto::{
    cloudfs::below,
    config::ExportUser, //
};

/// A directory for other nodes, and as whom they use it.
pub struct Export {
    /// The directories of all exports of the configuration.
    dirs: Arc<Directories>,
    /// Which of them is this one's.
    index: usize,
    /// The absolute path that names begin with.
    path: CString,
    /// Whether they may change anything.
    pub writable: bool,
    cred: Credentials,
}

impl Export {
    /// An export of the directory with this index, which is called `path`.
    pub(crate) fn new(
        dirs: Arc<Directories>,
        index: usize,
        path: CString,
        writable: bool,
        owner: ExportUser,
    ) -> Result<Self> {
        Ok(Export {
            dirs,
            index,
            path,
            writable,
            cred: Credentials::new(owner.uid, owner.gid)?,
        })
    }

    /// What is left of `path` in this directory, if it begins with it.
    pub fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        below(path, self.path.to_bytes())
    }

    /// Whether `file` is in it, and in no export inside it. May sleep.
    pub(crate) fn has(&self, file: &File) -> bool {
        self.dirs.has(self.index, file)
    }

    /// The directory, and who uses it.
    ///
    /// # Errors
    ///
    /// None: it is among them.
    pub fn beneath(&self) -> Result<Beneath<'_>> {
        self.dirs.beneath(self.index, &self.cred).ok_or(EINVAL)
    }
}
