// SPDX-License-Identifier: GPL-2.0
//! Making, changing and removing names.

use super::name::{error, path, shown};
use crate::{Error, Result, abi, call, error::Tried};
use std::ffi::OsStr;

/// Removes a file.
///
/// # Errors
///
/// As unlink(2), and as for [`Open::open`].
pub fn remove_file(name: impl AsRef<OsStr>) -> Result<()> {
    remove(name.as_ref(), 0)
}

/// Removes an empty directory.
///
/// # Errors
///
/// As rmdir(2), and as for [`Open::open`].
pub fn remove_dir(name: impl AsRef<OsStr>) -> Result<()> {
    remove(name.as_ref(), abi::UNLINK_DIRECTORY)
}

fn remove(name: &OsStr, flags: u32) -> Result<()> {
    match call::unlink(&path("remove", name)?, flags, 0) {
        Ok(_) => Ok(()),
        Err(errno) => Err(error("remove", name, errno)),
    }
}

/// Gives a file another name, on the same node and in the same export; what has that name goes.
///
/// # Errors
///
/// As rename(2), `EXDEV` among them, and as for [`Open::open`].
pub fn rename(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<()> {
    change_name(from.as_ref(), to.as_ref(), 0)
}

/// Like [`rename`], unless something has that name already (`EEXIST`).
///
/// # Errors
///
/// As for [`rename`].
pub fn rename_new(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<()> {
    change_name(from.as_ref(), to.as_ref(), abi::RENAME_NO_REPLACE)
}

fn change_name(from: &OsStr, to: &OsStr, flags: u32) -> Result<()> {
    match call::rename(&path("rename", from)?, &path("rename to", to)?, flags, 0) {
        Ok(_) => Ok(()),
        Err(errno) => {
            let name = format!("{} to {}", shown(from), shown(to));
            Err(Error::new(
                Tried::File {
                    what: "rename",
                    name,
                },
                errno,
            ))
        }
    }
}

/// Makes a directory.
///
/// # Errors
///
/// As mkdir(2), and as for [`Open::open`].
pub fn create_dir(name: impl AsRef<OsStr>) -> Result<()> {
    create_dir_with_mode(name, 0o777)
}

/// Like [`create_dir`], with permissions `mode`, of which the umask takes away.
///
/// # Errors
///
/// As for [`create_dir`].
pub fn create_dir_with_mode(name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
    let name = name.as_ref();
    match call::mkdir(&path("make", name)?, mode, 0) {
        Ok(_) => Ok(()),
        Err(errno) => Err(error("make", name, errno)),
    }
}
