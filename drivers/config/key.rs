// SPDX-License-Identifier: GPL-2.0

//! Keys: the one that the nodes share, and those of text sessions.

use crate::failure::ReloadFailure;
use core::ops::Deref;
use kernel::{
    prelude::*,
    str::CString, //
};
use linux::{
    crypto,
    file,
    secret::Secret, //
};
use virgo_proto::config::{
    self,
    Fault,
    Limit, //
};

/// Names a key without being one: a reload that finds the same key gives it the same number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(u64);

/// A secret; wiped when it is freed.
pub struct Key {
    secret: Secret,
    pub(crate) id: KeyId,
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.secret
    }
}

/// A key that opens text sessions, and the uid that they act as.
pub(crate) struct TextKey {
    pub(crate) uid: u32,
    pub(crate) key: Key,
}

impl Key {
    /// Reads the key at `path`; one that is among `former` keeps its number. `missing` is what is
    /// wrong if there is none. May sleep.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; or [`ENOMEM`].
    pub(crate) fn read<'a>(
        path: &str,
        missing: &'static str,
        mut former: impl Iterator<Item = &'a Key>,
    ) -> Result<Self, ReloadFailure> {
        let rejected = |reason| ReloadFailure::rejected(path, Fault::of_file(reason));
        let contents = read_file(path, config::KEY_LIMIT)?.ok_or_else(|| rejected(missing))?;
        let (uid, mode) = (contents.uid, contents.mode);
        let bytes = Secret::new(contents.bytes);
        let key = config::key(&bytes, uid, mode.into()).map_err(rejected)?;
        let same = former.find(|former| former.secret.deref() == key);
        Ok(Key {
            secret: Secret::copy_of(key)?,
            id: same.map_or_else(|| KeyId(crypto::random_u64()), |former| former.id),
        })
    }
}

/// `None` for a file that does not exist. May sleep.
///
/// # Errors
///
/// What is wrong with the file; or [`ENOMEM`].
pub(crate) fn read_file(path: &str, limit: Limit) -> Result<Option<file::Contents>, ReloadFailure> {
    let name = CString::try_from_fmt(fmt!("{path}"))?;
    let reason = match file::read(&name, limit.bytes) {
        Ok(contents) => return Ok(Some(contents)),
        Err(ENOENT) => return Ok(None),
        Err(ENOMEM) => return Err(ENOMEM.into()),
        Err(EFBIG) => limit.exceeded,
        Err(EINVAL) => config::NOT_REGULAR,
        Err(_) => "cannot be read",
    };
    Err(ReloadFailure::rejected(path, Fault::of_file(reason)))
}
