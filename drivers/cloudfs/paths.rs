// SPDX-License-Identifier: GPL-2.0

//! Names of files as programs and people give them.

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use linux::bytes::Fill;
use virgo_proto::cloudfs::{
    BadName,
    FileName,
    MAX_PATH, //
};

/// Most bytes of a name: the longest path, and 64 nodes before it.
const MAX_NAME: usize = MAX_PATH + 64 * "node64,".len();

/// Takes a name apart.
///
/// # Errors
///
/// [`ENOENT`] if it is empty, [`ENAMETOOLONG`], [`ENODEV`] if there can be no such node,
/// [`EINVAL`] if the path is not absolute or has a NUL.
pub(crate) fn parse(name: &[u8]) -> Result<FileName<'_>> {
    FileName::parse(name).map_err(|bad| match bad {
        BadName::Empty => ENOENT,
        BadName::TooLong => ENAMETOOLONG,
        BadName::Node => ENODEV,
        BadName::Path => EINVAL,
    })
}

/// A name that a program has given.
pub(crate) struct UserName(KVec<u8>);

impl UserName {
    /// Copies the string at `address`. May sleep.
    ///
    /// # Errors
    ///
    /// [`EFAULT`], [`ENAMETOOLONG`], [`ENOMEM`].
    pub(crate) fn read(address: UserPtr) -> Result<Self> {
        let mut bytes = KVec::new();
        // One more than a name may have, to tell one that fits from one that was cut; and the NUL.
        bytes.put_zeros(MAX_NAME + 2, GFP_KERNEL_ACCOUNT)?;
        let len = UserSlice::new(address, MAX_NAME + 2)
            .reader()
            .strcpy_into_buf(&mut bytes)?
            .to_bytes()
            .len();
        if len > MAX_NAME {
            return Err(ENAMETOOLONG);
        }
        bytes.truncate(len);
        Ok(UserName(bytes))
    }

    /// See [`parse`].
    pub(crate) fn parse(&self) -> Result<FileName<'_>> {
        parse(&self.0)
    }
}
