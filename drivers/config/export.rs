// SPDX-License-Identifier: GPL-2.0

//! Directories for other nodes.

use kernel::{
    prelude::*,
    str::CString, //
};
use linux::vfs::{
    Beneath,
    Credentials, //
};
use virgo_proto::{
    cloudfs::below,
    config::Owner, //
};

/// A directory for other nodes, and as whom they use it.
pub struct Export {
    dir: CString,
    /// Whether they may change anything.
    pub writable: bool,
    cred: Credentials,
}

impl Export {
    pub(crate) fn new(path: &str, writable: bool, owner: Owner) -> Result<Self> {
        Ok(Export {
            dir: CString::try_from_fmt(fmt!("{path}"))?,
            writable,
            cred: Credentials::new(owner.uid, owner.gid)?,
        })
    }

    /// What is left of `path` in this directory, if it begins with it.
    pub fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        below(path, self.dir.to_bytes())
    }

    /// The directory, and who uses it.
    pub fn beneath(&self) -> Beneath<'_> {
        Beneath {
            dir: &self.dir,
            cred: &self.cred,
        }
    }
}
