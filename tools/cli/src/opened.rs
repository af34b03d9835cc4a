// SPDX-License-Identifier: GPL-2.0
//! Open files, of this machine and of nodes, used alike.

use crate::known::Known;
use anyhow::{Context, Result};
use std::{fs, io::ErrorKind, os::unix::fs::FileExt};

/// An open file.
pub(crate) enum Opened {
    Local(fs::File),
    Cluster(virgo::File),
}

impl Opened {
    /// What is known of it.
    pub(crate) fn known(&self) -> Result<Known> {
        match self {
            Self::Cluster(file) => Ok(Known::of_cluster(&file.metadata()?)),
            Self::Local(file) => Ok(Known::of_local(&file.metadata().context("cannot look at")?)),
        }
    }

    /// Reads at byte `offset`. Fewer bytes than there is room for are the last ones.
    pub(crate) fn read_at(&self, offset: u64, data: &mut [u8]) -> Result<usize> {
        match self {
            Self::Cluster(file) => Ok(file.read_at(offset, data)?),
            Self::Local(file) => {
                let mut done = 0;
                while done < data.len() {
                    match file.read_at(&mut data[done..], offset + done as u64) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(error) if error.kind() == ErrorKind::Interrupted => (),
                        Err(error) => return Err(error).context("cannot read"),
                    }
                }
                Ok(done)
            }
        }
    }

    pub(crate) fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        match self {
            Self::Cluster(file) => Ok(file.write_at(offset, data)?),
            Self::Local(file) => file.write_all_at(data, offset).context("cannot write"),
        }
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        match self {
            Self::Cluster(file) => Ok(file.set_len(len)?),
            Self::Local(file) => file.set_len(len).context("cannot truncate"),
        }
    }

    pub(crate) fn sync(&self) -> Result<()> {
        match self {
            Self::Cluster(file) => Ok(file.sync()?),
            Self::Local(file) => file.sync_all().context("cannot bring to the disk"),
        }
    }
}
