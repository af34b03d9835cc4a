// SPDX-License-Identifier: GPL-2.0
//! Names as the kernel, and as people want them.

use crate::{Error, Result, error::Tried};
use libc::c_int;
use std::{
    ffi::{CString, OsStr},
    os::unix::ffi::OsStrExt,
};

/// For a system call that is to do `what`.
pub(super) fn path(what: &'static str, name: &OsStr) -> Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| error(what, name, libc::EINVAL))
}

/// What a system call that was to do `what` has failed with.
pub(super) fn error(what: &'static str, name: &OsStr, errno: c_int) -> Error {
    let name = shown(name);
    Error::new(Tried::File { what, name }, errno)
}

/// A name for people: bytes that are no text, and what a terminal would obey, as `\xNN`.
pub fn shown(name: impl AsRef<OsStr>) -> String {
    let mut text = String::new();
    for chunk in name.as_ref().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            match character.is_control() {
                true => text.extend(character.escape_default()),
                false => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    #[test]
    fn names_are_shown_without_harm() {
        let name = OsString::from_vec(b"a\n\x1b[2J\xff\xc3\xa4".to_vec());
        assert_eq!(shown(name), "a\\n\\u{1b}[2J\\xff\u{e4}");
    }
}
