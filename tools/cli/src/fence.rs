// SPDX-License-Identifier: GPL-2.0
//! Locks that guard what is to be changed, as the command line has them: NAME:TOKEN.

use anyhow::{Context, Result};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};
use virgo::{Within, lock::Fence};

/// A lock and the token with which it was granted.
pub(crate) fn text(name: &OsStr, token: u64) -> OsString {
    let mut text = name.to_owned();
    text.push(format!(":{token}"));
    text
}

/// Takes a lock and its token apart: the name may have colons.
pub(crate) fn parse(text: &OsStr) -> Result<Fence> {
    let mut parts = text.as_bytes().rsplitn(2, |byte| *byte == b':');
    let token = parts.next().unwrap_or_default();
    let token = std::str::from_utf8(token).ok();
    let token = token.and_then(|token| token.parse().ok());
    let name = parts.next().filter(|name| !name.is_empty());
    let fence = token.zip(name).map(|(token, name)| Fence::new(name, token));
    fence.with_context(|| format!("{} is not LOCK:TOKEN", text.to_string_lossy()))
}

/// The library's calls, with a lock if there is one.
pub(crate) fn within(fence: Option<&Fence>) -> Within<'_> {
    fence.map(virgo::fenced).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_is_taken_apart() {
        for name in ["a", "a:b", ":", "my lock"] {
            let fence = parse(&text(OsStr::new(name), 1 << 40)).unwrap();
            assert_eq!(fence, Fence::new(name, 1 << 40));
        }
        for bad in ["", "a", ":7", "a:", "a:x", "a:-1"] {
            assert!(parse(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
