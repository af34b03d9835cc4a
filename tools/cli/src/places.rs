// SPDX-License-Identifier: GPL-2.0
//! Names that leave open which node has the file: `1,3:/path`, `random:/path`.

use crate::{failure, output::Printer};
use anyhow::{Result, ensure};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};
use virgo_proto::cloudfs::{At, FileName};

/// Whether a name leaves open on which node the file is.
pub(crate) fn is_open(name: &OsStr) -> bool {
    let name = FileName::parse(name.as_bytes());
    name.is_ok_and(|name| matches!(name.at, At::Copies(_) | At::Policy(_)))
}

/// Chooses a node for each name of something to be read that leaves it open, by opening it. Tells
/// those for which there is none, and leaves them out; `false` then.
///
/// All that is done with a file afterwards is done on that node.
pub(crate) fn choose(output: Printer, names: &mut Vec<OsString>) -> bool {
    let count = names.len();
    names.retain_mut(|name| match chosen(name) {
        Ok(chosen) => {
            *name = chosen;
            true
        }
        Err(error) => {
            failure::report(output, &error.into());
            false
        }
    });
    names.len() == count
}

fn chosen(name: &OsStr) -> virgo::Result<OsString> {
    let bytes = name.as_bytes();
    match bytes.iter().position(|&byte| byte == b':') {
        Some(colon) if is_open(name) => {
            let node = virgo::File::open(name)?.metadata()?.stat().node;
            let bytes = [node.to_string().as_bytes(), &bytes[colon..]].concat();
            Ok(OsString::from_vec(bytes))
        }
        _ => Ok(name.to_owned()),
    }
}

/// That something which is to be written is on one node.
///
/// # Errors
///
/// If its name leaves open on which.
pub(crate) fn ensure_one(name: &OsStr) -> Result<()> {
    ensure!(
        !is_open(name),
        "{} leaves open which node is written to: say one, NODE:/PATH",
        virgo::shown(name)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_node_stay_as_they_are() {
        for name in ["2:/a", "node2:/a:b", "/a", "a", "./1,2:/a", "x:/a"].map(OsStr::new) {
            assert!(!is_open(name), "{name:?}");
            assert_eq!(chosen(name).unwrap(), name);
            assert!(ensure_one(name).is_ok());
        }
        for name in ["1,2:/a", "random:/a", "least-used:/a/b"].map(OsStr::new) {
            assert!(is_open(name), "{name:?}");
            assert!(ensure_one(name).is_err());
        }
    }
}
