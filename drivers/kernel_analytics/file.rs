// SPDX-License-Identifier: GPL-2.0

//! `/etc/virgo_kernel_analytics.conf`.

use kernel::{
    prelude::*,
    str::CString, //
};
use linux::file;
use virgo_proto::{
    analytics::{
        source::ValueSource,
        FILE, //
    },
    errno::Errno, //
};
use virgo_utils::variables::{
    Refused,
    Setter,
    ValueOrigin, //
};

/// Reads the file, which may have `max` bytes, and sets what it says. May sleep.
///
/// # Errors
///
/// What is wrong with it, as `file:line: reason`; then nothing has changed.
pub(crate) fn load(setter: &Setter, max: usize) -> Result<usize, Refused> {
    let origin = ValueOrigin::new(ValueSource::File, 0);
    let bad = |reason: &str| refused(Errno::EINVAL, 0, reason);
    let path = CString::try_from_fmt(fmt!("{FILE}"))?;
    let contents = match file::read_settled(&path, max) {
        Ok(contents) => contents,
        // Nothing is set by a file that is not there.
        Err(ENOENT) => return setter.set_whole(b"", origin),
        Err(ENOMEM) => return Err(ENOMEM.into()),
        Err(EFBIG) => return Err(bad("longer than max_file_bytes")),
        Err(EINVAL) => return Err(bad("not a regular file")),
        Err(EAGAIN) => {
            return Err(refused(
                Errno::EAGAIN,
                0,
                "is being written; put it in place by renaming it",
            ))
        }
        Err(EINTR) => return Err(EINTR.into()),
        Err(_) => return Err(bad("cannot be read")),
    };
    if contents.uid != 0 || contents.mode & 0o022 != 0 {
        return Err(bad("must belong to root, and nobody else may write to it"));
    }
    setter
        .set_whole(&contents.bytes, origin)
        .map_err(|refusal| match refusal {
            Refused::Text {
                line,
                errno,
                reason,
            } => refused(errno, line, reason.to_str().unwrap_or_default()),
            error => error,
        })
}

fn refused(errno: Errno, line: u32, reason: &str) -> Refused {
    let text = match line {
        0 => CString::try_from_fmt(fmt!("{FILE}: {reason}")),
        _ => CString::try_from_fmt(fmt!("{FILE}:{line}: {reason}")),
    };
    match text {
        Ok(reason) => Refused::Text {
            line,
            errno,
            reason,
        },
        Err(error) => Refused::Error(error),
    }
}
